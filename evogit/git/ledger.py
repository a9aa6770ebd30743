"""The lab book as commits: writing run commits and ledger entries, and walking a branch back to its base. Objects only.

It moves no ref (`refs.move` does, as the last step of a record), judges nothing, and reads no note.
"""

from __future__ import annotations

import heapq
import time as clock
from collections.abc import Collection, Iterator, Sequence
from sys import intern

import msgspec
import pygit2

from evogit.domain.usage import Spent
from evogit.domain.verdict import Decision
from evogit.errors import BadRecord
from evogit.git import messages
from evogit.git.messages import EntryMessage, RunMessage
from evogit.git.repository import Repository

_HASH_DIGITS = (40, 64)
FREE = Spent()


class Commit(msgspec.Struct, frozen=True, gc=False):
    """A commit as its bytes say, read without building pygit2's object."""

    hash: str
    tree: str
    parents: tuple[str, ...]
    authored: int  # unix seconds
    time: int  # unix seconds, the committer's
    text: str  # the message


class Entry(EntryMessage, frozen=True, kw_only=True):
    """One commit on the ledger's line. Kind "person" is a commit that evogit did not write."""

    commit: str
    parents: tuple[str, ...]
    time: int  # unix seconds


class Walk(msgspec.Struct, frozen=True, kw_only=True):
    """What a walk found."""

    entries: list[Entry]  # oldest first
    base: str  # the commit the campaign started from; "" if the walk ended at `stop`
    stopped: bool  # it met a commit of `stop`


def write_run(
    repo: Repository,
    *,
    tree: str,
    parents: tuple[str, ...],
    run: RunMessage,
    author: pygit2.Signature | None = None,
    time: int | None = None,
) -> str:
    """A run commit, not yet pinned by any ref. `time` in unix seconds, now if None. The same inputs give the same hash."""
    return _write(repo, tree, parents, messages.build_run(run), time, author)


def write_decision(
    repo: Repository,
    *,
    tip: str,
    run: str,
    label: str,
    incumbent: str,
    seq: int,
    campaign: str,
    decision: Decision,
    about: str = "",
    lines: Sequence[bytes] = (),
    spent: Spent = FREE,
    flags: Sequence[str] = (),
    time: int | None = None,
) -> str:
    """The merge [tip, run] that decides `run`; its tree is that of the commit `incumbent` (the run itself if it was kept).

    about: what follows `keep 3: ` in the subject (see `messages.measured`), the decision's reason if empty.
    seq: `History.next_seq`; 0 for the campaign's first decision and only there.
    lines: trial lines, verbatim. flags: what in the run's files may give a cheat away, as much as fits a line. With `time` given, a replay after a crash writes the same commit.
    """
    entry = EntryMessage(
        kind="decision",
        subject=f"{decision.verdict.value} {label}: {about or decision.reason}",
        campaign=campaign,
        decides=run,
        verdict=decision.verdict,
        incumbent=incumbent,
        seq=seq,
        reason=decision.reason,
        gain=decision.gain,
        near_miss=decision.near_miss,
        spent=spent,
        flags=tuple(flags),
        lines=tuple(lines),
    )
    return _write(repo, commit(repo, incumbent).tree, (tip, run), messages.build_entry(entry), time, None)


def write_entry(repo: Repository, *, tip: str, entry: EntryMessage, other: str = "", time: int | None = None) -> str:
    """Any other entry on top of `tip`: judge, certify, replicate, epoch, and join, where `other` is the second parent.

    The tree is that of `entry.incumbent` or of an epoch's `entry.baseline` where it names one, else the tip's own.
    """
    tree = commit(repo, entry.incumbent or entry.baseline or tip).tree
    parents = (tip, other) if other else (tip,)
    return _write(repo, tree, parents, messages.build_entry(entry), time, None)


def commit(repo: Repository, name: str) -> Commit:
    """The commit of that full hash. ~10 us. Raises `BadRecord` if it is missing (a shallow or broken clone) or no commit."""
    if len(name) not in _HASH_DIGITS:
        raise BadRecord(name or "an empty hash", "is not a full hash")
    try:
        kind, data = repo.git.read(name)
    except (KeyError, ValueError, pygit2.GitError) as error:
        raise BadRecord(name, "this commit is missing") from error
    if kind != pygit2.enums.ObjectType.COMMIT:
        raise BadRecord(name, "is not a commit")
    head, _, body = data.partition(b"\n\n")
    parents, authored, committed = [], b"0", b"0"
    for line in head.split(b"\n")[1:]:
        if line.startswith(b"parent "):
            parents.append(intern(line[7:].decode()))
        elif line.startswith(b"author "):
            authored = line.rsplit(b" ", 2)[-2]
        elif line.startswith(b"committer "):
            committed = line.rsplit(b" ", 2)[-2]
            break
    tree = head[5:].split(b"\n", 1)[0].decode()
    if not (authored.isdigit() and committed.isdigit()):
        raise BadRecord(name, "has no author or committer with a time")
    return Commit(name, tree, tuple(parents), int(authored), int(committed), body.decode("utf-8", "replace"))


def walk(repo: Repository, tip: str, *, campaign: str = "", stop: Collection[str] = ()) -> list[Entry]:
    """Every entry from the campaign's base (exclusive) to `tip`, oldest first; [] if nothing was decided yet. See `climb`."""
    return climb(repo, tip, campaign=campaign, stop=stop).entries


def newest(repo: Repository, tip: str, decisions: int, *, campaign: str = "") -> tuple[list[Entry], bool]:
    """The end of a ledger, oldest first: its newest decisions and what was written between them; True if there are no others.

    First parents alone are followed: of a book that was joined the other half is left out. ~40 us an entry. Raises BadRecord.
    """
    found: list[Entry] = []
    for entry in _line(repo, tip, campaign, (), ()):
        found.append(entry)
        decisions -= entry.kind == "decision"
        is_first = entry.kind == "decision" and entry.seq == 0
        if is_first or decisions <= 0:
            return found[::-1], is_first
    return [], True


def climb(repo: Repository, tip: str, *, campaign: str = "", stop: Collection[str] = ()) -> Walk:
    """Walk first parents down to the decision with `Evogit-Seq: 0`, whose first parent is the base, and both parents of a join.

    A person's merge that brings another lab book of the same campaign in (a `git pull`) is followed on both sides as well.
    Entries of another campaign end the walk: they belong to the base. Without any decision the tip is the base.
    The order is a function of the set of entries: parents first, then by time, then by hash. Two clones that joined the same
    histories in other orders read the same. Costs ~40 us an entry from a pack; without any decision, the first-parent history.
    Raises `BadRecord` where the first decision is missing.
    """
    found: dict[str, Entry] = {}
    firsts: dict[str, Entry] = {}
    merges: list[Entry] = []
    todo, stopped, pulled = [tip], False, False
    while todo:
        for entry in _line(repo, todo.pop(), campaign, found, stop):
            found[entry.commit] = entry
            if entry.kind == "decision" and entry.seq == 0:
                firsts[entry.commit] = entry
            elif entry.kind == "join":
                todo += entry.parents[1:]
            elif entry.kind == "person" and len(entry.parents) > 1:
                merges.append(entry)
            stopped = stopped or any(parent in stop for parent in entry.parents)
        if not todo and merges:
            todo, merges, pulled = _other_books(repo, merges, [*firsts, *stop]), [], True
    if not firsts and not stopped:
        return _nothing_decided(tip, found)
    entries = _in_order(found)
    if pulled:
        entries = _above(entries, {*firsts, *stop})
    base = next((entry.parents[0] for entry in entries if entry.commit in firsts), "")
    return Walk(entries=entries, base=base, stopped=stopped)


def _line(repo: Repository, name: str, campaign: str, found: Collection[str], stop: Collection[str]) -> Iterator[Entry]:
    """Entries down the first parents, until the line has ended or meets what is known."""
    while name and name not in found and name not in stop:
        entry = _entry(repo, name)
        if entry.kind != "person" and campaign and entry.campaign not in ("", campaign):
            return
        yield entry
        if entry.kind == "decision" and entry.seq == 0:
            return
        name = entry.parents[0] if entry.parents else ""


def _entry(repo: Repository, name: str) -> Entry:
    got = commit(repo, name)
    return Entry(commit=name, parents=got.parents, time=got.time, **messages.entry_fields(got.text, name))


def _other_books(repo: Repository, merges: list[Entry], firsts: list[str]) -> list[str]:
    """Those further parents of a person's merges that descend from this campaign's first decision; all, if none was found yet."""
    others = [parent for entry in merges for parent in entry.parents[1:]]
    return [p for p in others if not firsts or any(p == first or repo.git.descendant_of(p, first) for first in firsts)]


def _above(entries: list[Entry], firsts: set[str]) -> list[Entry]:
    """Only the entries that descend from a first decision: a person's merge may also have led down `main`."""
    known = set(firsts)
    return [entry for entry in entries if entry.commit in known or (not known.isdisjoint(entry.parents) and not known.add(entry.commit))]


def _nothing_decided(tip: str, found: dict[str, Entry]) -> Walk:
    lost = next((entry for entry in found.values() if entry.kind != "person"), None)
    if lost is not None:
        raise BadRecord(lost.commit, "the campaign's first decision is not among its ancestors: the branch was rewritten")
    return Walk(entries=[], base=tip, stopped=False)


def _in_order(found: dict[str, Entry]) -> list[Entry]:
    """Parents first, then time, then hash."""
    waits = {name: sum(parent in found for parent in entry.parents) for name, entry in found.items()}
    children: dict[str, list[str]] = {}
    for name, entry in found.items():
        for parent in entry.parents:
            if parent in found:
                children.setdefault(parent, []).append(name)
    ready = [(found[name].time, name) for name, count in waits.items() if count == 0]
    heapq.heapify(ready)
    out: list[Entry] = []
    while ready:
        _, name = heapq.heappop(ready)
        out.append(found[name])
        for child in children.get(name, ()):
            waits[child] -= 1
            if waits[child] == 0:
                heapq.heappush(ready, (found[child].time, child))
    return out


def _write(repo: Repository, tree: str, parents: tuple[str, ...], message: str, time: int | None, author: pygit2.Signature | None) -> str:
    me = repo.identity()
    when = int(clock.time()) if time is None else time
    committer = pygit2.Signature(me.name, me.email, when, 0)
    return str(repo.git.create_commit(None, author or committer, committer, message, tree, list(parents)))
