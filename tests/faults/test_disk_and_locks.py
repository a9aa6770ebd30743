"""A full disk, a git directory that may not be written, gc beside the loop, locks left by the dead: a clear line, and nothing lost."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

import pytest

from faults.runner import Shot, until
from toys import git


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 6 MiB. Needs root, and a kernel that lets us mount."""
    place = tmp_path / "disk"
    place.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=6m", "none", str(place)], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"cannot mount a small file system: {done.stderr.strip()}")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def _fill(place: Path) -> Path:
    """Take all the room there is."""
    ballast = place / "ballast"
    with ballast.open("wb", buffering=0) as file:
        for size in (1 << 16, 1 << 12, 1):
            try:
                while True:
                    file.write(b"\1" * size)
            except OSError:
                continue
    return ballast


def _complained(errors: str) -> str:
    """The one line that says what is wrong."""
    lines = errors.splitlines()
    assert [line.split(":")[0] for line in lines] in (["error"], ["error", "hint"]), errors
    assert "bug" not in errors
    return lines[0]


def test_a_full_disk_ends_the_loop_in_one_line_and_nothing_is_lost_once_there_is_room(small_disk, tmp_path):
    shot = Shot(small_disk / "toy", aside=tmp_path)
    loop = shot.spawn("--max-runs", "3", hold="1")
    until(lambda: ("1", 0) in shot.diary("begin"))
    ballast = _fill(small_disk)
    gate = shot.open_gate()
    _, errors = loop.communicate(timeout=60)

    assert loop.returncode in (1, 2)
    assert "no space left" in _complained(errors).lower()
    again = shot.loop("--max-runs", "1", check=False)
    assert again.returncode in (1, 2)
    assert "no space left" in _complained(again.stderr).lower()
    ballast.unlink()
    shot.loop("--max-runs", "2")
    os.close(gate)
    shot.check()


@pytest.mark.slow
@pytest.mark.parametrize("pages", [1, 2, 3, 5, 8, 13, 21, 34, 55, 89])
def test_a_disk_that_is_full_at_the_nth_write_loses_nothing_once_there_is_room(small_disk, tmp_path, pages):
    """On this file system a file takes a page at least, so that room for n pages ends at the n-th write or soon after."""
    shot = Shot(small_disk / "toy", aside=tmp_path)
    shot.loop("--max-runs", "1")
    ballast = _fill(small_disk)
    os.truncate(ballast, ballast.stat().st_size - pages * 4096)

    done = shot.loop("--max-runs", "4", "--workers", "2", check=False)

    assert done.returncode in (1, 2), done.stdout + done.stderr
    assert "no space left" in _complained(done.stderr).lower()
    ballast.unlink()
    shot.loop("--max-runs", "2")
    shot.check()


@pytest.mark.parametrize("pages", [0, 2, 8, 32, pytest.param(64, marks=pytest.mark.slow), pytest.param(128, marks=pytest.mark.slow)])
def test_a_full_disk_of_the_cache_ends_the_loop_in_one_line_and_the_next_goes_on(small_disk, tmp_path, monkeypatch, pages):
    monkeypatch.setenv("EVOGIT_CACHE", str(small_disk / "cache"))
    shot = Shot(tmp_path / "toy")
    shot.loop("--max-runs", "1")
    ballast = _fill(small_disk)
    os.truncate(ballast, ballast.stat().st_size - pages * 4096)

    done = shot.loop("--max-runs", "30", "--workers", "2", check=False)

    if done.returncode:  # with a little room, what a run leaves is removed as fast as it comes
        assert done.returncode in (1, 2, 3), done.stdout + done.stderr
        assert _complained(done.stderr)
    ballast.unlink()
    shot.loop("--max-runs", "2")
    shot.check_books()
    shot.check_nothing_left()


def test_a_git_directory_that_cannot_be_written_ends_the_loop_in_one_line(small_disk, tmp_path):
    shot = Shot(small_disk / "toy", aside=tmp_path)
    loop = shot.spawn("--max-runs", "3", hold="1")
    until(lambda: ("1", 0) in shot.diary("begin"))
    done = subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], capture_output=True, text=True, check=False)
    if done.returncode:  # a file is open for writing: forbid it to new ones alone
        loop.kill()
        loop.communicate()
        done = subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    gate = shot.open_gate()
    loop.communicate(timeout=60)

    second = shot.loop("--max-runs", "1", check=False)

    assert second.returncode == 2
    assert "read-only" in _complained(second.stderr).lower()
    subprocess.run(["mount", "-o", "remount,rw", str(small_disk)], check=True)
    shot.loop("--max-runs", "2")
    os.close(gate)
    shot.check()


def test_gc_that_prunes_beside_a_loop_loses_nothing(tmp_path):
    shot = Shot(tmp_path / "toy")
    loop = shot.spawn("--max-runs", "12", "--workers", "2")
    while loop.poll() is None:
        git(shot.repo, "gc", "--prune=now", "--quiet", check=False)
    _, errors = loop.communicate(timeout=60)

    assert loop.returncode == 0, errors
    shot.loop("--max-runs", "1")
    shot.check()


@pytest.mark.parametrize("name", ["refs/heads/autoresearch/t1", "refs/evogit/t1/tip", "refs/notes/evogit/metrics", "packed-refs"])
def test_a_lock_that_a_dead_git_left_long_ago_stands_in_nobodys_way(tmp_path, name):
    shot = Shot(tmp_path / "toy")
    lock = shot.repo / ".git" / f"{name}.lock"
    lock.parent.mkdir(parents=True, exist_ok=True)
    lock.touch()
    os.utime(lock, (time.time() - 3600,) * 2)

    shot.loop("--max-runs", "2")

    assert not lock.exists() or name == "packed-refs"  # which nobody had to write
    lock.unlink(missing_ok=True)
    shot.check()


def test_a_lock_that_somebody_holds_now_ends_the_loop_in_one_line_that_names_it(tmp_path):
    shot = Shot(tmp_path / "toy")
    lock = shot.repo / ".git" / "refs" / "heads" / "autoresearch" / "t1.lock"
    lock.touch()

    refused = shot.loop("--max-runs", "1", check=False)

    assert refused.returncode == 2
    assert str(lock) in _complained(refused.stderr)
    lock.unlink()
    shot.loop("--max-runs", "2")
    shot.check()
