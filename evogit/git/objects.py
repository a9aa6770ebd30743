"""Blobs and trees, written in process. A tree is changed by naming paths: only the folders on the way are written again.

It moves no ref and reads no work tree: what it writes is unreachable until a ref of ours points to it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

import pygit2

from evogit.errors import BadRecord
from evogit.git.repository import Repository

Content = bytes | str | None  # a file's bytes, the hash of a blob or tree that exists, or None: take the path away

_FILE = 0o100644
_FILE_MODES = (_FILE, 0o100755)
_TREE = 0o040000
_EMPTY = pygit2.Oid(hex="4b825dc642cb6eb9a060e54bf8d69288fbee4904")  # git's name for the tree without entries
_GITLINK = 0o160000


def fanout(hash: str) -> str:
    """The path of an object's entry in a two-level fan-out: ab/cd/rest."""
    return f"{hash[:2]}/{hash[2:4]}/{hash[4:]}"


def write_blob(repo: Repository, data: bytes) -> str:
    """Store bytes, return their hash. 0.1 ms."""
    return str(repo.git.create_blob(data))


def can_hold(repo: Repository, path: str) -> bool:
    """True if git can hold a file at that path of a tree: `put_paths` would not refuse it. For names that a trial chose."""
    try:
        builder = repo.git.TreeBuilder()
        empty = builder.write()
        for name in path.split("/"):
            builder.insert(name, empty, _TREE)
    except (ValueError, pygit2.GitError):
        return False
    return True


def put_paths(repo: Repository, tree: str | None, files: Mapping[str, Content]) -> str:
    """A new tree: `tree` (None is the empty one) with those paths replaced, added, or removed (None).

    A file that is replaced keeps its mode; what was a link or a folder becomes a plain file; a folder left empty goes. Raises
    BadRecord for a path that git cannot hold ("", "..", ".git", a name that is both file and folder).
    """
    nested: dict[str, object] = {}
    for path, content in files.items():
        _nest(nested, path, content)
    return str(_write(repo, repo.tree(tree) if tree else None, nested, ""))


def verify(repo: Repository, hash: str, *, known: str | None = None) -> None:
    """Everything that a commit's tree (or a tree) needs is here. Raises BadRecord naming the first path that is not.

    known: a commit or tree that is safe already; what the two share is taken for granted, so a pin costs what it changed.
    """
    top = repo.tree(hash)
    _verify(repo, top, repo.tree(known) if known else None, "")


def _nest(nested: dict[str, object], path: str, content: Content) -> None:
    *folders, name = path.split("/")
    here = nested
    for folder in folders:
        below = here.setdefault(folder, {})
        if not isinstance(below, dict):
            raise BadRecord(path, "is a file and a folder at once")
        here = below
    if isinstance(here.get(name), dict):
        raise BadRecord(path, "is a file and a folder at once")
    here[name] = content


def _write(repo: Repository, old: pygit2.Tree | None, changes: dict[str, object], where: str) -> pygit2.Oid:
    builder = repo.git.TreeBuilder(old) if old is not None else repo.git.TreeBuilder()
    for name, content in changes.items():
        entry = old[name] if old is not None and name and "/" not in name and name in old else None
        if isinstance(content, dict):
            inside = entry if isinstance(entry, pygit2.Tree) else None
            below = _write(repo, inside, content, f"{where}{name}/")
            # Taking away what never was below a file must not take the file away.
            _place(builder, name, None if below == _EMPTY else below, _TREE, inside, where)
        elif content is None:
            _place(builder, name, None, _FILE, entry, where)
        else:
            oid, mode = _store(repo, content, entry)
            _place(builder, name, oid, mode, entry, where)
    return builder.write()


def _place(builder: pygit2.TreeBuilder, name: str, oid: pygit2.Oid | None, mode: int, entry: pygit2.Object | None, where: str) -> None:
    try:
        if oid is not None:
            builder.insert(name, oid, mode)
        elif entry is not None:
            builder.remove(name)
    except (ValueError, pygit2.GitError) as fault:
        raise BadRecord(f"{where}{name}", f"cannot stand in a tree ({fault})") from fault


def _store(repo: Repository, content: bytes | str, entry: pygit2.Object | None) -> tuple[pygit2.Oid, int]:
    mode = entry.filemode if entry is not None and entry.filemode in _FILE_MODES else _FILE
    if isinstance(content, bytes):
        return repo.git.create_blob(content), mode
    try:
        found = repo.git[pygit2.Oid(hex=content)]
    except (KeyError, ValueError, pygit2.GitError) as fault:
        raise BadRecord(content, "is missing from this repository") from fault
    return found.id, _TREE if isinstance(found, pygit2.Tree) else mode


def _verify(repo: Repository, tree: pygit2.Tree, known: pygit2.Tree | None, where: str) -> None:
    safe = {entry.raw_name: entry for entry in known} if known is not None else {}
    for entry in tree:
        twin = safe.get(entry.raw_name)
        if entry.filemode == _GITLINK or (twin is not None and twin.id == entry.id):
            continue
        path = where + os.fsdecode(entry.raw_name)
        if entry.id not in repo.git:
            raise BadRecord(path, f"object {entry.id} is missing from this repository")
        if entry.filemode == _TREE:
            _verify(repo, repo.tree(str(entry.id)), twin if isinstance(twin, pygit2.Tree) else None, f"{path}/")
