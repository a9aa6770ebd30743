"""The eight verbs of a run, one a module: choose propose validate execute measure review decide record.

A stage takes nouns and hands and gives the next noun. Stages never import each other or a concrete hand.
"""
