from __future__ import annotations

import fcntl
import os
import subprocess
from pathlib import Path

import pytest

from evogit.git import maintenance, objects, porcelain, refs
from evogit.git.repository import Repository


@pytest.fixture
def repo(tmp_path: Path) -> Repository:
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    who = ["-c", "user.name=a", "-c", "user.email=a@b"]
    subprocess.run(["git", *who, "commit", "-q", "--allow-empty", "-m", "first"], cwd=tmp_path, check=True)
    return Repository.open(tmp_path)


def fill(repo: Repository, number: int) -> str:
    """Many blobs behind one ref; returns the hash of the last."""
    tree = objects.put_paths(repo, None, {f"{n % 16}/{n}": b"%d" % n for n in range(number)})
    who = repo.identity()
    refs.move(repo, "refs/evogit/t/artifacts", str(repo.git.create_commit(None, who, who, "", tree, [])), None, "")
    return str(repo.tree(tree)[f"{(number - 1) % 16}/{number - 1}"].id)


def wait_for_lock(repo: Repository) -> None:
    """Block until the repack that holds the lock has ended, as the kernel tells it."""
    with open(repo.home / "repack.lock", "rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_SH)


def loose(repo: Repository) -> int:
    return int(porcelain.git(repo, "count-objects").split()[0])


def test_the_estimate_is_near_the_truth(repo: Repository):
    assert maintenance.loose_objects(repo) <= 512
    fill(repo, 4000)

    assert loose(repo) / 2 < maintenance.loose_objects(repo) < loose(repo) * 2


def test_a_repack_packs_what_is_reachable_and_keeps_what_is_not(repo: Repository):
    last = fill(repo, 300)
    alone = objects.write_blob(repo, b"not reachable yet")
    assert maintenance.repack_in_background(repo) > 0
    wait_for_lock(repo)

    assert loose(repo) == 1
    assert len(list((repo.common / "objects" / "pack").glob("*.pack"))) == 1
    assert repo.exists(last) and repo.exists(alone)
    assert Repository.open(repo.top).exists(last)
    assert porcelain.fsck(repo) == []


def test_only_one_repack_runs_and_its_lock_ends_with_it(repo: Repository):
    assert not maintenance.repack_runs(repo)
    with open(repo.home / "repack.lock", "wb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert maintenance.repack_in_background(repo) == 0
        assert maintenance.repack_runs(repo)
    started = maintenance.repack_in_background(repo)
    wait_for_lock(repo)

    assert started > 0
    assert not maintenance.repack_runs(repo)
    os.waitpid(started, 0)


def test_writing_goes_on_while_a_repack_runs(repo: Repository):
    fill(repo, 500)
    maintenance.repack_in_background(repo)
    written = [objects.write_blob(repo, b"during %d" % n) for n in range(300)]
    wait_for_lock(repo)

    assert all(repo.exists(hash) for hash in written)
    assert repo.blob(refs.read(repo, "refs/evogit/t/artifacts"), "3/3") == b"3"
