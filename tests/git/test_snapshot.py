"""What is kept of a history is what the branch says, or it does not count."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from evogit.git import refs, snapshot
from evogit.git.history import History
from evogit.git.repository import Repository

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "make_history.py"
TAG = "big"


def state(history: History) -> dict[str, object]:
    return {name: value for name, value in vars(history).items() if name not in ("revision", "_repo")}


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    spec = importlib.util.spec_from_file_location("make_history", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    sys.modules["make_history"] = module
    spec.loader.exec_module(module)
    folder = tmp_path_factory.mktemp("made") / "repo"
    list(module.make(folder, 60, TAG, 5))
    return folder


@pytest.fixture
def repo(made, tmp_path, monkeypatch) -> Repository:
    """A campaign of 60 runs, of which 20 are worth keeping."""
    monkeypatch.setattr(snapshot, "WORTH", 20)
    subprocess.run(["cp", "-r", str(made), str(tmp_path / "repo")], check=True)
    return Repository.open(tmp_path / "repo")


@pytest.fixture
def whole_reads(monkeypatch) -> list[str]:
    """Tips from which all of a history was read."""
    tips, real = [], History._read_all
    monkeypatch.setattr(History, "_read_all", lambda self, repo, tip: (tips.append(tip), real(self, repo, tip))[1])
    return tips


def earlier(repo: Repository, count: int) -> str:
    """The branch as it was so many decisions before."""
    return subprocess.run(
        ["git", "rev-parse", f"autoresearch/{TAG}~{count}"], cwd=repo.top, check=True, capture_output=True, text=True
    ).stdout.strip()


def test_its_parts_are_all_that_a_history_holds():
    assert set(snapshot.Parts.__annotations__) == set(History(TAG).parts())


def test_a_long_campaign_is_read_once_and_tells_the_same_ever_after(repo, whole_reads):
    first = snapshot.read(repo, TAG)
    second = snapshot.read(repo, TAG)

    assert len(whole_reads) == 1
    assert state(second) == state(first) == state(History.read(repo, TAG))
    assert second.find("incumbent").commit == first.incumbent
    assert second.advance(repo, second.tip) == []


def test_a_short_campaign_is_not_kept(repo, monkeypatch):
    monkeypatch.setattr(snapshot, "WORTH", 61)

    snapshot.read(repo, TAG)

    assert not snapshot.place(repo, TAG).exists()


@pytest.mark.parametrize(("behind", "is_written"), [(5, False), (30, True)])
def test_what_came_since_is_read_from_the_branch_and_written_down_once_it_is_much(repo, whole_reads, behind, is_written):
    snapshot.save(repo, History.at(repo, TAG, earlier(repo, behind)))
    before = snapshot.place(repo, TAG).read_bytes()
    del whole_reads[:]

    history = snapshot.read(repo, TAG)

    assert whole_reads == []
    assert (snapshot.place(repo, TAG).read_bytes() != before) is is_written
    assert state(history) == state(History.read(repo, TAG))


def test_a_branch_that_was_rewritten_is_read_anew_and_kept_as_it_is_now(repo):
    snapshot.read(repo, TAG)
    branch = refs.branch(TAG)
    refs.move(repo, branch, earlier(repo, 25), refs.read(repo, branch), "rewritten")

    assert state(snapshot.read(repo, TAG)) == state(History.read(repo, TAG))
    assert snapshot.load(repo, TAG).tip == refs.read(repo, branch)


def damage(data: bytes) -> list[bytes]:
    return [b"", data[:10], data[:-1], data + b"x", data[:40] + bytes([data[40] ^ 1]) + data[41:], data[:-5] + b"\0" * 5, b"\0" * len(data)]


@pytest.mark.parametrize("number", range(7))
def test_what_is_not_whole_does_not_count(repo, number):
    snapshot.read(repo, TAG)
    place = snapshot.place(repo, TAG)
    place.write_bytes(damage(place.read_bytes())[number])

    assert snapshot.load(repo, TAG) is None
    assert state(snapshot.read(repo, TAG)) == state(History.read(repo, TAG))
    assert snapshot.load(repo, TAG) is not None


def test_what_other_code_wrote_does_not_count(repo, monkeypatch):
    snapshot.read(repo, TAG)
    monkeypatch.setattr(snapshot, "_signature", lambda: b"another version of that code ...."[:32])

    assert snapshot.load(repo, TAG) is None


def test_a_place_that_cannot_be_written_is_no_obstacle(repo):
    views = repo.views(TAG)
    subprocess.run(["rm", "-rf", str(views)], check=True)
    views.parent.mkdir(exist_ok=True)
    views.write_text("a file where the folder should be")

    assert len(snapshot.read(repo, TAG).runs) == 60


def test_a_git_directory_in_which_nothing_can_be_made_is_no_obstacle(repo, monkeypatch):
    def refuse(_: Repository) -> Path:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Repository, "home", property(refuse))

    assert len(snapshot.read(repo, TAG).runs) == 60


def test_a_branch_with_a_hole_is_not_taken_for_whole(repo, monkeypatch):
    history = snapshot.read(repo, TAG)
    real = Repository.has_all
    for gone in (history.runs[3].decision, history.runs[3].commit):
        monkeypatch.setattr(Repository, "has_all", lambda self, hashes, gone=gone: gone not in hashes and real(self, hashes))
        assert snapshot.load(repo, TAG) is None
    monkeypatch.setattr(Repository, "has_all", real)
    assert not repo.has_all([history.tip, "0" * 39 + "1"])
    assert snapshot.load(repo, TAG) is not None


def test_drafts_of_writers_that_were_killed_go_with_the_next_one(repo):
    history = snapshot.read(repo, TAG)
    old, new = (repo.views(TAG) / f".{snapshot.NAME}.{n}" for n in (1, 2))
    old.touch()
    new.touch()
    os.utime(old, (0, 0))

    snapshot.save(repo, history)

    assert (old.exists(), new.exists()) == (False, True)


def test_a_text_that_cannot_be_written_down_is_no_obstacle(repo, monkeypatch):
    history = History.read(repo, TAG)
    history.clone = "\udcff"

    snapshot.save(repo, history)

    assert not snapshot.place(repo, TAG).exists()


def test_many_writers_and_readers_at_once_leave_one_whole_file(repo):
    history = History.read(repo, TAG)
    found: list[int] = []

    def work() -> None:
        for _ in range(10):
            snapshot.save(repo, history)
            found.append(len(snapshot.load(repo, TAG).runs))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert found == [60] * 40
    assert os.listdir(repo.views(TAG)) == [snapshot.NAME]
