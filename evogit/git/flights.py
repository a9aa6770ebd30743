"""Flights in git: refs/evogit/<tag>/inflight/<clone>/<n> points to a commit whose tree holds all that is known of an undecided run.

    flight.json  jobs.jsonl  outcomes/<key>/<name>  review.json

Its parents are none, then the candidate, which it keeps alive. Every update is a new commit without its predecessor, swapped in
place: a reader sees one state or the next. It decides nothing about what a state means, and it never drops what is in a flight.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import msgspec
import pygit2

from evogit.domain.flight import Flight, JobRecord
from evogit.errors import BadRecord
from evogit.git import objects, refs
from evogit.git.repository import Repository

_FLIGHT = msgspec.json.Decoder(Flight)
_JOB = msgspec.json.Decoder(JobRecord)


class StoredFlight(msgspec.Struct, frozen=True, kw_only=True):
    """A flight as it stands in git; `commit` is the value that the next update must find."""

    ref: str
    commit: str
    flight: Flight
    jobs: tuple[JobRecord, ...] = ()


class Listing(NamedTuple):
    """Flights that can be read, by number, and for the others what is wrong with each ref."""

    flights: list[StoredFlight]
    broken: dict[str, BadRecord]


def create(repo: Repository, flight: Flight) -> StoredFlight:
    """Write a new flight. Raises RefMoved if its number is taken, BadRecord if its candidate is not whole. 1 ms."""
    ref = refs.inflight(flight.campaign, flight.clone, flight.number)
    tree = _put(repo, None, {"flight.json": msgspec.json.encode(flight)})
    if flight.candidate is not None:
        _verify_candidate(repo, flight)
    commit = _commit(repo, flight, tree)
    refs.move(repo, ref, commit, None, f"flight {flight.state.value}")
    return StoredFlight(ref=ref, commit=commit, flight=flight)


def update(
    repo: Repository,
    stored: StoredFlight,
    *,
    flight: Flight | None = None,
    jobs: Sequence[JobRecord] | None = None,
    outcomes: Mapping[str, Mapping[str, bytes]] | None = None,
    review: bytes | None = None,
) -> StoredFlight:
    """Put more into a flight: what is not named stays. A job replaces the record of its key, new keys follow.

    Raises RefMoved if the flight is not what `stored` says, BadRecord if a new candidate or blob is not whole. 1 ms.
    """
    now = flight if flight is not None else stored.flight
    lines = _joined(stored.jobs, jobs or ())
    files: dict[str, objects.Content] = {}
    if flight is not None:
        files["flight.json"] = msgspec.json.encode(flight)
    if lines != stored.jobs:
        files["jobs.jsonl"] = b"".join(msgspec.json.encode(job) + b"\n" for job in lines)
    for key, parts in (outcomes or {}).items():
        files.update({f"outcomes/{key}/{name}": data for name, data in parts.items()})
    if review is not None:
        files["review.json"] = review
    tree = _put(repo, repo.tree_of(stored.commit), files)
    if _pin(now) != _pin(stored.flight):
        _verify_candidate(repo, now)
    commit = _commit(repo, now, tree)
    refs.move(repo, stored.ref, commit, stored.commit, f"flight {now.state.value}")
    return StoredFlight(ref=stored.ref, commit=commit, flight=now, jobs=lines)


def outcome(repo: Repository, stored: StoredFlight, key: str) -> dict[str, bytes]:
    """Files of a job's outcome, by name below its folder; {} if the flight holds none."""
    try:
        folder = repo.tree(stored.commit)[f"outcomes/{key}"]
    except (KeyError, ValueError):
        return {}
    return _files(folder, "") if isinstance(folder, pygit2.Tree) else {}


def review(repo: Repository, stored: StoredFlight) -> bytes | None:
    """The review's bytes, or None if there is none yet."""
    return repo.blob(stored.commit, "review.json")


def remove(repo: Repository, stored: StoredFlight) -> None:
    """End a flight. Raises RefMoved if it is not what `stored` says; no error if it is gone already."""
    if refs.read(repo, stored.ref) is not None:
        refs.move(repo, stored.ref, None, stored.commit, "flight ended")


def read(repo: Repository, ref: str) -> StoredFlight | None:
    """The flight at a ref, or None if there is none. Raises BadRecord if it cannot be read."""
    commit = refs.read(repo, ref)
    return None if commit is None else _load(repo, ref, commit)


def listing(repo: Repository, tag: str, clone: str | None = None) -> list[StoredFlight]:
    """Flights of a campaign (of one clone) that can be read, by number. `examine` names the others too."""
    return examine(repo, tag, clone).flights


def examine(repo: Repository, tag: str, clone: str | None = None) -> Listing:
    """All flights of a campaign (of one clone), those that cannot be read apart. 0.2 ms a flight."""
    flights: list[StoredFlight] = []
    broken: dict[str, BadRecord] = {}
    for ref, commit in refs.listing(repo, refs.inflight(tag, clone)).items():
        try:
            flights.append(_load(repo, ref, commit))
        except BadRecord as fault:
            broken[ref] = fault
    return Listing(sorted(flights, key=lambda stored: (stored.flight.number, stored.flight.clone)), broken)


def _load(repo: Repository, ref: str, commit: str) -> StoredFlight:
    body = repo.blob(commit, "flight.json")
    if body is None:
        raise BadRecord(ref, "has no flight.json")
    try:
        flight = _FLIGHT.decode(body)
        jobs = tuple(_JOB.decode(line) for line in (repo.blob(commit, "jobs.jsonl") or b"").splitlines() if line.strip())
    except (msgspec.DecodeError, UnicodeDecodeError) as fault:
        raise BadRecord(ref, str(fault)) from fault
    if ref != refs.inflight(flight.campaign, flight.clone, flight.number):
        raise BadRecord(ref, f"holds flight {flight.number} of campaign {flight.campaign}, clone {flight.clone}")
    return StoredFlight(ref=ref, commit=commit, flight=flight, jobs=jobs)


def _joined(before: tuple[JobRecord, ...], more: Sequence[JobRecord]) -> tuple[JobRecord, ...]:
    by_key = {job.key: job for job in before}
    by_key.update({job.key: job for job in more})
    return tuple(by_key.values())


def _put(repo: Repository, tree: str | None, files: Mapping[str, objects.Content]) -> str:
    """Write files and look again: a gc beside us was seen to take a fresh blob before anything pointed to it."""
    new = objects.put_paths(repo, tree, files)
    objects.verify(repo, new, known=tree)
    return new


def _verify_candidate(repo: Repository, flight: Flight) -> None:
    """The pin must hold a whole tree. What the candidate shares with its first parent is reachable, so safe, already."""
    commit = _pin(flight)
    if commit is None:
        return
    parents = repo.parents(commit)
    for parent in parents:
        repo.commit(parent)
    objects.verify(repo, commit, known=parents[0] if parents else None)


def _pin(flight: Flight) -> str | None:
    return flight.candidate.commit if flight.candidate is not None else None


def _commit(repo: Repository, flight: Flight, tree: str) -> str:
    pin = _pin(flight)
    parents = [pygit2.Oid(hex=pin)] if pin else []
    who = repo.identity()
    message = f"flight {flight.label}: {flight.state.value}\n"
    try:
        return str(repo.git.create_commit(None, who, who, message, pygit2.Oid(hex=tree), parents))
    except (ValueError, pygit2.GitError) as fault:
        raise BadRecord(pin or tree, f"cannot be pinned ({fault})") from fault


def _files(tree: pygit2.Tree, where: str) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    for entry in tree:
        if isinstance(entry, pygit2.Tree):
            found.update(_files(entry, f"{where}{entry.name}/"))
        elif isinstance(entry, pygit2.Blob):
            found[f"{where}{entry.name}"] = entry.data
    return found
