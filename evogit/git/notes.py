"""Notes of runs: JSON Lines on run commits, one note a run and ref, in a tree with a fixed two-level fan-out (ab/cd/rest).

A line is told by its bytes: writing it twice is writing it once, and a note only ever grows. Lines that are not JSON, not UTF-8
or not ours are kept as they are and never interpreted; a verdict is never read from here. Trees that git or a person wrote (no
fan-out, one level, three) are read, and merged into ours where they are touched.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import msgspec
import pygit2

from evogit.errors import BadRecord, RefMoved
from evogit.git import objects, refs
from evogit.git.locks import write_lock
from evogit.git.repository import Repository

METRICS = "refs/notes/evogit/metrics"
REVIEWS = "refs/notes/evogit/reviews"
IDEAS = "refs/notes/evogit/ideas"

_ATTEMPTS = 50  # only a git command beside us can win against the write lock, and it holds the ref for milliseconds
_HEX = frozenset("0123456789abcdef")


class Conflict(NamedTuple):
    """Lines of one note that claim the same id with other bytes."""

    commit: str
    id: str
    lines: tuple[bytes, ...]


def add(repo: Repository, ref: str, additions: Mapping[str, Sequence[bytes]], message: str) -> None:
    """Put lines on commits in one notes commit; lines that are there already change nothing (no commit then).

    additions: run commit -> lines without line breaks, else BadRecord. Raises Busy, RepositoryError. 1.5 ms and the
    ref's move, at 100 notes as at 60,000.
    """
    for commit, lines in additions.items():
        if not is_hash(commit) or any(b"\n" in line for line in lines):
            raise BadRecord(commit, "a note goes on a full commit hash, and a line of it holds no line break")
    with write_lock(repo):
        for _ in range(_ATTEMPTS):
            old = refs.read(repo, ref)
            base = repo.tree(old) if old else None
            changes: dict[str, objects.Content] = {}
            for commit, lines in additions.items():
                changes.update(_merged(repo, base, commit, lines))
            if not changes:
                return
            tree = objects.put_paths(repo, str(base.id) if base is not None else None, changes)
            if _moved(repo, ref, tree, [old] if old else [], old, message):
                return
    raise RefMoved(ref)


def read(repo: Repository, ref: str, commit: str) -> list[bytes]:
    """Lines of a commit's note, [] if it has none; all depths of fan-out are searched. 0.1 ms."""
    tip = refs.read(repo, ref)
    if tip is None:
        return []
    return union(split(repo.git[oid].data) for _, oid in _find(repo.tree(tip), commit))


def items(repo: Repository, ref: str) -> Iterator[tuple[str, list[bytes]]]:
    """Every commit that has a note, sorted, with its lines. Reads the whole tree: some 40 us a note."""
    tip = refs.read(repo, ref)
    if tip is None:
        return
    notes: dict[str, list[pygit2.Oid]] = {}
    for path, oid in _walk(repo.tree(tip), ""):
        commit = path.replace("/", "")
        if is_hash(commit):
            notes.setdefault(commit, []).append(oid)
    for commit in sorted(notes):
        yield commit, union(split(repo.git[oid].data) for oid in notes[commit])


def conflicts(repo: Repository, ref: str) -> list[Conflict]:
    """Notes in which one id stands on lines with other bytes: somebody edited, or two writers disagree. Reads everything."""
    found: list[Conflict] = []
    for commit, lines in items(repo, ref):
        by_id: dict[str, list[bytes]] = {}
        for line in lines:
            by_id.setdefault(line_id(line), []).append(line)
        found += [Conflict(commit, id, tuple(same)) for id, same in sorted(by_id.items()) if id and len(same) > 1]
    return found


def join(repo: Repository, ref: str, other: str) -> str:
    """Union of `ref` with another notes history, a commit hash or a ref's name; returns the new tip of `ref`.

    Every line of either side is in the result, so the order of joins, and doing one twice, changes no set of lines. Folders that
    are equal on both sides are not opened. Raises BadRecord if `other` names no commit.
    """
    theirs = refs.read(repo, other) if other.startswith("refs/") else other
    if theirs is None:
        raise BadRecord(other, "names no notes")
    with write_lock(repo):
        for _ in range(_ATTEMPTS):
            ours = refs.read(repo, ref)
            mine, yours = (repo.tree_of(ours) if ours else None), repo.tree_of(theirs)
            tree = _united(repo, mine, yours)
            if ours is not None and tree == mine and _holds(repo, ours, theirs):
                return ours
            if tree == yours and (ours is None or _holds(repo, theirs, ours)):
                made = _pointed(repo, ref, theirs, ours, "join: fast-forward")
            else:
                made = _moved(repo, ref, tree, [ours, theirs] if ours else [theirs], ours, "join notes")
            if made is not None:
                return made
    raise RefMoved(ref)


def split(data: bytes) -> list[bytes]:
    """Lines of a note's bytes, each once, blank ones left out (`git notes append` writes them between records)."""
    return list(dict.fromkeys(line for raw in data.split(b"\n") if (line := raw.rstrip())))


def union(notes: Iterable[Sequence[bytes]]) -> list[bytes]:
    """Lines of several notes, each once, in the order in which they are first met."""
    return list(dict.fromkeys(line for lines in notes for line in lines))


def line_id(line: bytes) -> str:
    """The id of a record's line; "" where the line is no JSON object or has none."""
    try:
        record = msgspec.json.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return ""
    id = record.get("id") if isinstance(record, dict) else None
    return id if isinstance(id, str) else ""


def is_hash(text: str) -> bool:
    """True if `text` is a full hash, as notes are named after."""
    return len(text) == 40 and _HEX.issuperset(text)


def _merged(repo: Repository, base: pygit2.Tree | None, commit: str, lines: Sequence[bytes]) -> dict[str, objects.Content]:
    """What has to change in the tree so that the commit's note holds `lines` too, at its one right place."""
    found = _find(base, commit) if base is not None else []
    there = union(split(repo.git[oid].data) for _, oid in found)
    wanted = union([there, split(b"\n".join(lines))])
    place = objects.fanout(commit)
    if not wanted or (wanted == there and [path for path, _ in found] == [place]):
        return {}
    return {**{path: None for path, _ in found}, place: _bytes(wanted)}


def _bytes(lines: Sequence[bytes]) -> bytes:
    return b"".join(line + b"\n" for line in lines)


def _find(tree: pygit2.Tree, commit: str) -> list[tuple[str, pygit2.Oid]]:
    """Where a commit's note lies, ours first. Two can be there after a person's `git notes` on a tree of ours."""
    ab, cd, ef = commit[:2], commit[2:4], commit[4:6]
    places = (f"{ab}/{cd}/{commit[4:]}", commit, f"{ab}/{commit[2:]}", f"{ab}/{cd}/{ef}/{commit[6:]}")
    found = []
    for place in places:
        try:
            entry = tree[place]
        except KeyError:
            continue
        if isinstance(entry, pygit2.Blob):
            found.append((place, entry.id))
    return found


def _walk(tree: pygit2.Tree, where: str) -> Iterator[tuple[str, pygit2.Oid]]:
    for entry in tree:
        name = entry.raw_name.decode("ascii", "replace")
        if isinstance(entry, pygit2.Tree):
            if len(name) == 2 and where.count("/") < 3:
                yield from _walk(entry, f"{where}{name}/")
        elif isinstance(entry, pygit2.Blob):
            yield where + name, entry.id


def _united(repo: Repository, mine: str | None, yours: str) -> str:
    """Tree with all lines of both. What is not a note is kept from our side, or taken over where we have nothing."""
    if mine is None or mine == yours:
        return yours
    left, right = repo.tree(mine), repo.tree(yours)
    changes: dict[str, objects.Content] = {}
    for path in sorted(_differing(left, right)):
        commit = path.replace("/", "")
        if not is_hash(commit):
            if path not in left:
                changes[path] = str(right[path].id)
            continue
        here, there = _find(left, commit), _find(right, commit)
        note = _joined(repo, objects.fanout(commit), here, there)
        changes.update({**{old: None for old, _ in here}, **note})
    return objects.put_paths(repo, mine, changes)


def _joined(repo: Repository, place: str, *sides: list[tuple[str, pygit2.Oid]]) -> dict[str, objects.Content]:
    """One commit's note from both sides. A side that holds all keeps its bytes, so that what only grew is fast-forwarded."""
    read_of = [union(split(repo.git[oid].data) for _, oid in side) for side in sides]
    lines = sorted(union(read_of))
    whole = [side for side, there in zip(sides, read_of) if len(there) == len(lines) and [path for path, _ in side] == [place]]
    if len({side[0][1] for side in whole}) == 1:
        return {place: str(whole[0][0][1])}
    return {place: _bytes(lines)} if lines else {}


def _differing(left: pygit2.Tree, right: pygit2.Tree) -> set[str]:
    """Paths of `right` that `left` does not hold with the same bytes; equal folders are not entered."""
    found: set[str] = set()
    stack = [("", left, right)]
    while stack:
        where, ours, theirs = stack.pop()
        mine = {entry.raw_name: entry for entry in ours} if ours is not None else {}
        for entry in theirs:
            twin = mine.get(entry.raw_name)
            if twin is not None and twin.id == entry.id:
                continue
            path = where + entry.raw_name.decode("utf-8", "surrogateescape")
            if isinstance(entry, pygit2.Tree):
                stack.append((f"{path}/", twin if isinstance(twin, pygit2.Tree) else None, entry))
            elif isinstance(entry, pygit2.Blob):
                found.add(path)
    return found


def _holds(repo: Repository, commit: str, ancestor: str) -> bool:
    return commit == ancestor or bool(repo.git.descendant_of(pygit2.Oid(hex=commit), pygit2.Oid(hex=ancestor)))


def _moved(repo: Repository, ref: str, tree: str, parents: list[str], old: str | None, message: str) -> str | None:
    who = repo.identity()
    new = repo.git.create_commit(None, who, who, message, pygit2.Oid(hex=tree), [pygit2.Oid(hex=parent) for parent in parents])
    return _pointed(repo, ref, str(new), old, message)


def _pointed(repo: Repository, ref: str, new: str, old: str | None, message: str) -> str | None:
    try:
        refs.move(repo, ref, new, old, message)
    except RefMoved:
        return None
    return new
