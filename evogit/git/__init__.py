"""The books: the only door to history. Objects and refs through pygit2, porcelain through the user's own git.

Nothing above this package opens a repository, and nothing in it judges what it reads. `FORMAT.md` is the specification.
"""
