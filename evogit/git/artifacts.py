"""What trials wrote (text, capped by the caller), kept by run: refs/evogit/<tag>/artifacts holds <ab/cd/rest of the run>/<path>.

A chain of commits, one a run, each the parent of the next. It never takes a file away, and it reads no meaning into one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import pygit2

from evogit.errors import BadRecord, RefMoved
from evogit.git import objects, refs
from evogit.git.locks import write_lock
from evogit.git.repository import Repository

_ATTEMPTS = 50


def add(repo: Repository, tag: str, run_commit: str, files: Mapping[str, bytes]) -> None:
    """Keep files of a run beside those it has; a path that is there gets the new bytes. The same twice makes one commit.

    files: path such as "trials/s0/stdout" -> bytes. Raises BadRecord for a path that leaves the run's folder or that git cannot
    hold, Busy, RepositoryError. 1 ms and 0.1 ms a file.
    """
    ref = refs.artifacts(tag)
    folder = objects.fanout(run_commit)
    with write_lock(repo):
        for _ in range(_ATTEMPTS):
            old = refs.read(repo, ref)
            before = repo.tree_of(old) if old else None
            tree = objects.put_paths(repo, before, {f"{folder}/{path}": data for path, data in files.items()})
            if tree == before or not files:
                return
            who = repo.identity()
            parents = [pygit2.Oid(hex=old)] if old else []
            new = repo.git.create_commit(None, who, who, f"artifacts of {run_commit[:10]}", pygit2.Oid(hex=tree), parents)
            try:
                return refs.move(repo, ref, str(new), old, "artifacts")
            except RefMoved:
                continue
    raise RefMoved(ref)


def listing(repo: Repository, tag: str, run_commit: str) -> dict[str, int]:
    """Paths of a run's files and their sizes in bytes, sorted; {} if it has none. Reads the files too."""
    folder = _folder(repo, tag, run_commit)
    return dict(sorted(_sizes(folder, ""))) if folder is not None else {}


def read(repo: Repository, tag: str, run_commit: str, path: str) -> bytes | None:
    """Bytes of one file of a run, or None if there is no such file. 0.1 ms."""
    folder = _folder(repo, tag, run_commit)
    return repo.blob(str(folder.id), path) if folder is not None else None


def _folder(repo: Repository, tag: str, run_commit: str) -> pygit2.Tree | None:
    tip = refs.read(repo, refs.artifacts(tag))
    if tip is None:
        return None
    try:
        found = repo.tree(tip)[objects.fanout(run_commit)]
    except KeyError:
        return None
    if not isinstance(found, pygit2.Tree):
        raise BadRecord(f"{refs.artifacts(tag)}: {objects.fanout(run_commit)}", "is not a folder")
    return found


def _sizes(tree: pygit2.Tree, where: str) -> Iterator[tuple[str, int]]:
    for entry in tree:
        path = f"{where}{entry.name}"
        if isinstance(entry, pygit2.Tree):
            yield from _sizes(entry, f"{path}/")
        elif isinstance(entry, pygit2.Blob):
            yield path, entry.size
