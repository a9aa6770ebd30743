"""While the lock is held `git gc` leaves the repository alone; the dead and the old hold nobody up."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import pytest

from evogit.git import gc_lock as module
from evogit.git.gc_lock import gc_lock
from evogit.git.repository import Repository
from toys import git, make_toy


@pytest.fixture
def repo(tmp_path):
    return Repository.open(make_toy(tmp_path / "r"))


def _gc(repo: Repository) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["git", "gc", "--prune=now"], cwd=repo.top, capture_output=True, text=True, check=False)


def test_git_gc_is_refused_while_the_lock_is_held_and_not_afterwards(repo):
    blob = str(repo.git.create_blob(b"nobody points to me yet"))
    with gc_lock(repo):
        refused = _gc(repo)

    assert refused.returncode != 0
    assert f"pid {os.getpid()}" in refused.stderr
    assert repo.exists(blob)
    assert _gc(repo).returncode == 0
    assert git(repo.top, "cat-file", "-t", blob, check=False) == ""


def test_a_lock_of_a_process_that_was_killed_is_taken_over(repo):
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    (repo.common / "gc.pid").write_text(f"{dead.pid} {os.uname().nodename}")

    with gc_lock(repo):
        assert (repo.common / "gc.pid").read_text().split()[0] == str(os.getpid())


def test_the_lock_is_kept_young_because_git_takes_an_old_one_for_a_leftover(repo):
    path = repo.common / "gc.pid"
    with gc_lock(repo) as keep:
        os.utime(path, (1, 1))
        keep()

        assert path.stat().st_mtime > 1
        assert _gc(repo).returncode != 0


def test_a_gc_that_runs_is_waited_for_but_not_for_ever_and_its_lock_is_left_alone(repo, monkeypatch):
    monkeypatch.setattr(module, "PATIENCE_S", 0.1)
    path = repo.common / "gc.pid"
    path.write_text(f"{os.getppid()} {os.uname().nodename}")

    with gc_lock(repo) as keep:
        keep()
        assert path.read_text().split()[0] == str(os.getppid())
        path.unlink()
        keep()
        assert path.read_text().split()[0] == str(os.getpid())

    assert not path.exists()


@pytest.mark.parametrize("age_s", [10, -86400])
def test_the_lock_of_the_lock_that_a_killed_loop_left_keeps_nobody_waiting(repo, age_s):
    left = repo.common / "gc.pid.lock"
    left.touch()
    os.utime(left, (time.time() - age_s,) * 2)
    began = time.monotonic()

    with gc_lock(repo):
        assert (repo.common / "gc.pid").read_text().split()[0] == str(os.getpid())

    assert time.monotonic() - began < module.PATIENCE_S / 2
    assert not left.exists()
