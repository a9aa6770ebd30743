from __future__ import annotations

import hashlib
import itertools
import multiprocessing
import os
import random
import signal
import subprocess
import threading
import time
from pathlib import Path

import pytest

from evogit.errors import BadRecord, RefMoved, RepositoryError
from evogit.git import artifacts, notes, refs
from evogit.git.locks import intent
from evogit.git.repository import Repository

REF = "refs/evogit/nov20/tip"


def git(folder: Path, *args: str, data: str = "") -> str:
    return subprocess.run(["git", *args], cwd=folder, check=True, capture_output=True, text=True, input=data).stdout.strip()


@pytest.fixture
def repo(tmp_path: Path) -> Repository:
    folder = tmp_path / "repo"
    git(tmp_path, "init", "-q", str(folder))
    git(folder, "config", "user.name", "Ada")
    git(folder, "config", "user.email", "ada@example.org")
    for message in ("one", "two", "three"):
        git(folder, "commit", "-q", "--allow-empty", "-m", message)
    return Repository.open(folder)


def commits(repo: Repository) -> list[str]:
    return git(repo.top, "rev-list", "--reverse", "HEAD").split()


def test_names_are_those_of_the_format():
    assert refs.branch("nov20") == "refs/heads/autoresearch/nov20"
    assert refs.tip("nov20") == "refs/evogit/nov20/tip"
    assert refs.artifacts("nov20") == "refs/evogit/nov20/artifacts"
    assert refs.inflight("nov20", "ab12", 3) == "refs/evogit/nov20/inflight/ab12/3"
    assert refs.inflight("nov20", "ab12") == "refs/evogit/nov20/inflight/ab12/"
    assert refs.inflight("nov20") == "refs/evogit/nov20/inflight/"


def test_a_ref_is_created_moved_and_deleted(repo: Repository):
    one, two, _ = commits(repo)
    seen = []
    for new, old in ((one, None), (two, one), (None, two), (None, None)):
        refs.move(repo, REF, new, old, "step")
        seen.append(refs.read(repo, REF))

    assert seen == [one, two, None, None]


def test_a_move_from_another_value_is_refused_and_changes_nothing(repo: Repository):
    one, two, three = commits(repo)
    refs.move(repo, REF, one, None, "")
    for new, old in ((two, None), (three, two), (None, two), (None, None)):
        with pytest.raises(RefMoved):
            refs.move(repo, REF, new, old, "")
    with pytest.raises(RefMoved):
        refs.move(repo, "refs/evogit/nov20/other", two, one, "")

    assert refs.read(repo, REF) == one


def test_packed_refs_are_read_moved_and_deleted(repo: Repository):
    one, two, three = commits(repo)
    refs.move(repo, REF, one, None, "")
    refs.move(repo, refs.branch("nov20"), three, None, "")
    git(repo.top, "pack-refs", "--all")
    assert refs.listing(repo, "refs/evogit/") == {REF: one}
    with pytest.raises(RefMoved):
        refs.move(repo, REF, two, None, "")
    refs.move(repo, REF, two, one, "")
    assert refs.read(repo, REF) == two
    git(repo.top, "pack-refs", "--all")
    refs.move(repo, REF, None, two, "")

    assert refs.read(repo, REF) is None
    assert git(repo.top, "for-each-ref", "refs/evogit") == ""
    assert refs.campaigns(repo) == ["nov20"]


def test_names_in_any_script_work_from_a_linked_worktree(repo: Repository, tmp_path: Path):
    one, two, _ = commits(repo)
    git(repo.top, "worktree", "add", "-q", "--detach", str(tmp_path / "linked"))
    linked = Repository.open(tmp_path / "linked")
    ref = refs.branch("größe/実験")
    refs.move(linked, ref, one, None, "")
    refs.move(repo, ref, two, one, "")

    assert refs.read(linked, ref) == two
    assert refs.campaigns(linked) == refs.campaigns(repo) == ["größe/実験"]
    git(repo.top, "pack-refs", "--all")
    assert refs.listing(linked, ref) == {ref: two}
    assert git(repo.top, "rev-parse", ref) == two


def test_a_listing_sees_only_its_folder_and_loose_wins_over_packed(repo: Repository):
    one, two, _ = commits(repo)
    git(repo.top, "update-ref", "--stdin", data="".join(f"create refs/tags/refs/evogit/nov20/{n} {one}\n" for n in range(2000)))
    for ref in (REF, "refs/evogit/nov20/inflight/ab/1", "refs/evogit/nov20/inflight/ab/2", "refs/evogit/nov201/tip"):
        refs.move(repo, ref, one, None, "")
    git(repo.top, "pack-refs", "--all")
    refs.move(repo, REF, two, one, "")
    refs.move(repo, "refs/evogit/nov20/inflight/cd/10", two, None, "")
    (repo.common / "refs/evogit/nov20/junk").write_text("not a hash")

    assert refs.listing(repo, "refs/evogit/nov20/") == {
        "refs/evogit/nov20/inflight/ab/1": one,
        "refs/evogit/nov20/inflight/ab/2": one,
        "refs/evogit/nov20/inflight/cd/10": two,
        REF: two,
    }
    assert refs.listing(repo, "refs/evogit/none/") == {}
    assert refs.listing(repo, "refs/evogit/nov201/tip") == {"refs/evogit/nov201/tip": one}


def test_a_ref_never_points_to_nothing(repo: Repository):
    with pytest.raises(BadRecord):
        refs.move(repo, REF, "1" * 40, None, "")

    assert refs.read(repo, REF) is None


@pytest.mark.parametrize("ref", ["refs/evogit/a..b/tip", "refs/evogit/a b/tip", "refs/evogit/x.lock", "refs/evogit/x/"])
def test_a_name_that_git_forbids_is_the_users_error(repo: Repository, ref: str):
    with pytest.raises(RepositoryError):
        refs.move(repo, ref, commits(repo)[0], None, "")


def test_a_name_below_another_ref_is_an_error_not_a_wait(repo: Repository):
    one = commits(repo)[0]
    refs.move(repo, REF, one, None, "")
    began = time.monotonic()
    with pytest.raises(RepositoryError):
        refs.move(repo, f"{REF}/below", one, None, "")

    assert time.monotonic() - began < 4.5  # the patience for a lock is 5 s


def test_a_held_lock_is_waited_for(repo: Repository):
    one, two, _ = commits(repo)
    refs.move(repo, REF, one, None, "")
    lock = repo.common / f"{REF}.lock"
    lock.write_text("")
    release = threading.Timer(0.2, lock.unlink)
    release.start()
    refs.move(repo, REF, two, one, "")
    release.join()

    assert refs.read(repo, REF) == two


def test_a_lock_that_stays_is_named(repo: Repository, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(refs, "_PATIENCE_S", 0.1)
    lock = repo.common / f"{REF}.lock"
    lock.parent.mkdir(parents=True)
    lock.write_text("")
    with pytest.raises(RepositoryError, match="locked"):
        refs.move(repo, REF, commits(repo)[0], None, "")

    assert lock.exists() and refs.read(repo, REF) is None


@pytest.mark.parametrize("name", [f"{REF}.lock", "packed-refs.lock"])
def test_a_lock_left_by_the_dead_is_removed(repo: Repository, name: str):
    one = commits(repo)[0]
    refs.move(repo, REF, one, None, "")
    git(repo.top, "pack-refs", "--all")
    lock = repo.common / name
    lock.parent.mkdir(parents=True, exist_ok=True)
    lock.write_text("")
    os.utime(lock, (time.time() - 120,) * 2)
    refs.move(repo, REF, None, one, "")

    assert refs.read(repo, REF) is None
    assert not lock.exists()


def test_a_writer_killed_in_the_middle_of_a_move_stops_the_next_for_a_second_at_most(repo: Repository):
    one, two, three = commits(repo)
    refs.move(repo, REF, one, None, "")
    refs.move(repo, refs.branch("nov20"), one, None, "")
    child = os.fork()
    if child == 0:
        with intent(repo, REF):
            (repo.common / f"{REF}.lock").write_text(two)  # what libgit2 leaves if it dies between lock and rename
            os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)
    began = time.monotonic()
    refs.move(repo, refs.branch("nov20"), two, one, "another ref first")
    refs.move(repo, REF, three, one, "")

    assert time.monotonic() - began < 4.5  # the patience for a lock is 5 s
    assert refs.read(repo, REF) == three
    assert (repo.home / "write.lock").read_bytes() == b""


def test_a_lock_on_a_ref_that_a_killed_writer_had_just_deleted_goes_with_any_later_move(repo: Repository):
    one, two, _ = commits(repo)
    refs.move(repo, refs.branch("nov20"), one, None, "")
    child = os.fork()
    if child == 0:
        with intent(repo, REF):
            (repo.common / REF).parent.mkdir(parents=True)
            (repo.common / f"{REF}.lock").touch()  # what libgit2 leaves if it dies between the ref's removal and the lock's
            os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)
    refs.move(repo, refs.branch("nov20"), two, one, "it may still be at work")
    assert (repo.common / f"{REF}.lock").exists()
    os.utime(repo.common / f"{REF}.lock", (time.time() - 2,) * 2)

    refs.move(repo, refs.branch("nov20"), one, two, "nobody touches that ref again")

    assert not (repo.common / f"{REF}.lock").exists()
    assert (repo.home / "write.lock").read_bytes() == b""


def test_a_lock_from_before_the_clock_was_set_back_is_removed(repo: Repository):
    one = commits(repo)[0]
    lock = repo.common / f"{REF}.lock"
    lock.parent.mkdir(parents=True)
    lock.touch()
    os.utime(lock, (time.time() + 86400,) * 2)

    refs.move(repo, REF, one, None, "")

    assert refs.read(repo, REF) == one


def _add_for_ever(folder: Path, who: str, pipe: int) -> None:
    repo = Repository.open(folder)
    for n in itertools.count():
        commit = hashlib.sha1(f"{who} {n}".encode()).hexdigest()
        artifacts.add(repo, "t", commit, {"out": b"x"})
        notes.add(repo, notes.METRICS, {commit: [b'{"id": "a"}']}, "")
        os.write(pipe, commit.encode())


@pytest.mark.slow
def test_writers_killed_at_random_lose_nothing_they_had_finished(repo: Repository):
    rng, finished = random.Random(1), []
    context = multiprocessing.get_context("fork")
    for turn in range(25):
        reading, writing = os.pipe()
        writers = [context.Process(target=_add_for_ever, args=(repo.top, f"{turn} {n}", writing)) for n in range(2)]
        for process in writers:
            process.start()
        os.close(writing)
        finished += [os.read(reading, 40).decode() for _ in range(rng.randrange(1, 12))]
        for process in writers:
            process.kill()
            process.join()
        while more := os.read(reading, 40):
            finished.append(more.decode())
        os.close(reading)
    git(repo.top, "fsck", "--strict", "--no-dangling")

    assert len(finished) > 25
    assert all(notes.read(repo, notes.METRICS, commit) and artifacts.read(repo, "t", commit, "out") for commit in finished)


def _count_up(folder: Path, ref: str, times: int) -> None:
    repo = Repository.open(folder)
    for _ in range(times):
        while True:
            old = refs.read(repo, ref)
            number = int(repo.commit(old).message) if old else 0
            new = str(repo.git.create_commit(None, repo.identity(), repo.identity(), str(number + 1), repo.git.head.peel().tree_id, []))
            try:
                refs.move(repo, ref, new, old, "count")
                break
            except RefMoved:
                continue


def test_four_processes_that_count_lose_nothing(repo: Repository):
    context = multiprocessing.get_context("fork")
    counting = [context.Process(target=_count_up, args=(repo.top, REF, 100)) for _ in range(4)]
    for process in counting:
        process.start()
    for process in counting:
        process.join()

    assert [process.exitcode for process in counting] == [0] * 4
    assert repo.commit(refs.read(repo, REF)).message == "400"


def _create(folder: Path, ref: str, barrier, won) -> None:
    repo = Repository.open(folder)
    for n in range(40):
        barrier.wait()
        try:
            refs.move(repo, f"{ref}/{n}", str(repo.git.head.target), None, "")
            won.put(n)
        except RefMoved:
            pass


def test_of_many_creators_exactly_one_wins(repo: Repository):
    context = multiprocessing.get_context("fork")
    barrier, won = context.Barrier(3), context.Queue()
    creating = [context.Process(target=_create, args=(repo.top, "refs/evogit/race", barrier, won)) for _ in range(3)]
    for process in creating:
        process.start()
    winners = sorted(won.get(timeout=20) for _ in range(40))
    for process in creating:
        process.join()

    assert winners == list(range(40))
    assert won.empty()
