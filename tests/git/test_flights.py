from __future__ import annotations

import subprocess
from pathlib import Path

import msgspec
import pytest

from evogit.domain.flight import Flight, FlightState, JobRecord
from evogit.domain.plan import Plan
from evogit.domain.proposal import Candidate
from evogit.errors import BadRecord, RefMoved
from evogit.git import flights, objects, refs
from evogit.git.repository import Repository


def git(folder: Path, *args: str) -> str:
    who = ["-c", "user.name=a", "-c", "user.email=a@b"]
    return subprocess.run(["git", *who, *args], cwd=folder, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def repo(tmp_path: Path) -> Repository:
    git(tmp_path, "init", "-q", "-b", "main")
    (tmp_path / "train.py").write_text("lr = 1\n")
    git(tmp_path, "add", "-A")
    git(tmp_path, "commit", "-q", "-m", "first")
    return Repository.open(tmp_path)


def flight(number: int = 3, clone: str = "ab12", **more: object) -> Flight:
    plan = Plan(emitter="simplifier", parents=("1" * 40,), seeds=(0, 1), rng=7)
    label = {"campaign": "nov20", "label": str(number), "state": FlightState.PLANNED}
    return Flight(**{**label, "number": number, "clone": clone, "plan": plan, **more})


def pinned(repo: Repository, before: Flight, tree: str | None = None) -> Flight:
    """The flight once its candidate exists: a commit that nothing else reaches."""
    who, parent = repo.identity(), repo.resolve("HEAD")
    tree = tree or objects.put_paths(repo, repo.tree_of(parent), {"train.py": b"lr = 2\n"})
    commit = str(repo.git.create_commit(None, who, who, "exp: halve\n", tree, [parent]))
    candidate = Candidate(
        commit=commit, tree=tree, label=before.label, parents=(parent,), plan=before.plan, agent="offline", summary="halve"
    )
    return msgspec.structs.replace(before, candidate=candidate, state=FlightState.PINNED)


def job(key: str, **more: object) -> JobRecord:
    return JobRecord(key=key, seed=0, step="train", **more)


def test_a_new_flight_is_read_back(repo: Repository):
    stored = flights.create(repo, flight())

    assert stored.ref == "refs/evogit/nov20/inflight/ab12/3"
    assert flights.read(repo, stored.ref) == stored
    assert flights.listing(repo, "nov20") == [stored]
    assert repo.parents(stored.commit) == ()
    assert flights.outcome(repo, stored, "k") == {} and flights.review(repo, stored) is None


def test_a_number_is_taken_once(repo: Repository):
    flights.create(repo, flight())

    with pytest.raises(RefMoved):
        flights.create(repo, flight())


def test_every_update_adds_and_keeps_the_rest(repo: Repository):
    stored = flights.create(repo, flight())
    stored = flights.update(repo, stored, flight=pinned(repo, stored.flight))
    stored = flights.update(repo, stored, jobs=[job("k1"), job("k2")])
    stored = flights.update(repo, stored, jobs=[job("k2", handle="h2"), job("k3")])
    stored = flights.update(repo, stored, outcomes={"k1": {"outcome.json": b"{}", "artifacts/log": b"x"}})
    stored = flights.update(repo, stored, outcomes={"k2": {"stdout": b"\xff"}, "k1": {"stdout": b""}})
    stored = flights.update(repo, stored, review=b'{"valid": true}')

    assert flights.listing(repo, "nov20", "ab12") == [stored]
    assert [(record.key, record.handle) for record in stored.jobs] == [("k1", ""), ("k2", "h2"), ("k3", "")]
    assert flights.outcome(repo, stored, "k1") == {"outcome.json": b"{}", "artifacts/log": b"x", "stdout": b""}
    assert flights.outcome(repo, stored, "k2") == {"stdout": b"\xff"}
    assert flights.review(repo, stored) == b'{"valid": true}'
    assert repo.parents(stored.commit) == (stored.flight.candidate.commit,)


def test_a_pinned_candidate_survives_gc(repo: Repository):
    stored = flights.create(repo, flight())
    stored = flights.update(repo, stored, flight=pinned(repo, stored.flight))
    git(repo.top, "reflog", "expire", "--expire=now", "--all")
    git(repo.top, "gc", "--prune=now", "-q")

    assert Repository.open(repo.top).blob(stored.flight.candidate.commit, "train.py") == b"lr = 2\n"
    assert flights.listing(repo, "nov20") == [stored]


def test_an_update_of_an_older_state_is_refused(repo: Repository):
    first = flights.create(repo, flight())
    second = flights.update(repo, first, jobs=[job("k1")])
    for late in (lambda: flights.update(repo, first, review=b"{}"), lambda: flights.remove(repo, first)):
        with pytest.raises(RefMoved):
            late()

    assert flights.listing(repo, "nov20") == [second]


def test_a_candidate_with_a_missing_blob_is_not_pinned(repo: Repository):
    stored = flights.create(repo, flight())
    wanted = pinned(repo, stored.flight)
    lost = str(repo.tree(wanted.candidate.tree)["train.py"].id)
    (repo.common / "objects" / lost[:2] / lost[2:]).unlink()
    with pytest.raises(BadRecord, match=r"^train\.py:"):
        flights.update(repo, stored, flight=wanted)
    with pytest.raises(BadRecord):
        flights.create(repo, msgspec.structs.replace(wanted, number=4))

    assert flights.listing(repo, "nov20") == [stored]


def test_a_candidate_that_does_not_exist_is_not_pinned(repo: Repository):
    stored = flights.create(repo, flight())
    wanted = pinned(repo, stored.flight)
    wanted = msgspec.structs.replace(wanted, candidate=msgspec.structs.replace(wanted.candidate, commit="1" * 40))

    with pytest.raises(BadRecord):
        flights.update(repo, stored, flight=wanted)


def test_a_removed_flight_is_gone_and_removing_it_again_is_no_error(repo: Repository):
    stored = flights.create(repo, flight())
    flights.remove(repo, stored)
    flights.remove(repo, stored)

    assert flights.listing(repo, "nov20") == []
    assert flights.read(repo, stored.ref) is None
    with pytest.raises(RefMoved):
        flights.update(repo, stored, review=b"{}")


def test_flights_are_listed_by_number_and_by_clone(repo: Repository):
    for number, clone in ((10, "ab12"), (9, "ab12"), (2, "cd34")):
        flights.create(repo, flight(number, clone))

    assert [stored.flight.number for stored in flights.listing(repo, "nov20")] == [2, 9, 10]
    assert [stored.flight.number for stored in flights.listing(repo, "nov20", "ab12")] == [9, 10]
    assert flights.listing(repo, "nov2") == flights.listing(repo, "nov20", "ab") == []


def test_a_broken_flight_is_named_and_hides_no_other(repo: Repository):
    stored = flights.create(repo, flight(1))
    who = repo.identity()
    bodies = {
        2: {"flight.json": b"{"},
        3: {"readme": b""},
        4: {"flight.json": b"\xff"},
        5: {"flight.json": msgspec.json.encode(flight(99))},
        6: {"flight.json": msgspec.json.encode(flight(6)), "jobs.jsonl": b"{}\n"},
    }
    for number, files in bodies.items():
        commit = str(repo.git.create_commit(None, who, who, "", objects.put_paths(repo, None, files), []))
        refs.move(repo, refs.inflight("nov20", "ab12", number), commit, None, "")
    blob = objects.write_blob(repo, b"not a commit")
    refs.move(repo, refs.inflight("nov20", "ab12", 7), blob, None, "")

    found = flights.examine(repo, "nov20")
    assert found.flights == flights.listing(repo, "nov20") == [stored]
    assert sorted(found.broken) == [refs.inflight("nov20", "ab12", number) for number in range(2, 8)]


def test_an_outcome_whose_key_is_a_path_is_refused(repo: Repository):
    stored = flights.create(repo, flight())

    with pytest.raises(BadRecord):
        flights.update(repo, stored, outcomes={"../k": {"x": b""}})
    assert flights.outcome(repo, stored, "../..") == {}
