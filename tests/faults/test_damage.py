"""A damaged repository, and people at work in it beside the loop: one clear line where it cannot go on, and nothing lost where it can."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

import pytest

from evogit.git import notes
from faults.runner import EVER_BETTER, Shot, until
from toys import evogit, git

TIP = "refs/evogit/t1/tip"


@pytest.fixture
def shot(tmp_path) -> Shot:
    found = Shot(tmp_path / "toy")
    found.loop("--max-runs", "1")
    return found


def refused(done: subprocess.CompletedProcess[str]) -> str:
    """The one line of a command that a person can do something about."""
    assert done.returncode in (1, 2), done.stdout + done.stderr
    lines = done.stderr.splitlines()
    assert [line.split(":")[0] for line in lines] in (["error"], ["error", "hint"]), done.stderr
    assert "bug" not in done.stderr
    return lines[0]


def loose(shot: Shot, name: str) -> Path:
    hash = git(shot.repo, "rev-parse", name).strip()
    return shot.repo / ".git/objects" / hash[:2] / hash[2:]


def damage(path: Path) -> None:
    """As a crash of the machine leaves it; what comes next is the first command after the restart."""
    path.chmod(0o644)
    path.write_bytes(path.read_bytes()[:7])
    (path.parents[2] / "evogit/boot").unlink(missing_ok=True)


# the index


@pytest.mark.parametrize("garbage", [b"", b"DIRC\0\0\0\2 garbage", os.urandom(4096)])
def test_a_corrupted_index_stops_no_loop_and_is_named(tmp_path, garbage):
    shot = Shot(tmp_path / "toy", train=EVER_BETTER)
    git(shot.repo, "switch", "-q", "autoresearch/t1")
    (shot.repo / ".git/index").write_bytes(garbage)

    done = shot.loop("--max-runs", "2", check=False)

    assert done.returncode == 0, done.stderr
    (shot.repo / ".git/index").unlink()
    git(shot.repo, "reset", "-q", "--hard")
    shot.loop("--max-runs", "1")
    shot.check()


def test_an_index_lock_that_a_dead_git_left_stops_no_loop(tmp_path):
    shot = Shot(tmp_path / "toy", train=EVER_BETTER)
    git(shot.repo, "switch", "-q", "autoresearch/t1")
    lock = shot.repo / ".git/index.lock"
    lock.touch()
    os.utime(lock, (time.time() - 3600,) * 2)

    shot.loop("--max-runs", "2")

    lock.unlink(missing_ok=True)
    shot.check_numbers()


# refs


def test_a_garbage_line_in_packed_refs_is_refused_in_one_line_and_costs_nothing(shot):
    git(shot.repo, "pack-refs", "--all")
    packed = shot.repo / ".git/packed-refs"
    whole = packed.read_bytes()
    packed.write_bytes(whole + b"this is no ref\n")

    line = refused(shot.loop("--max-runs", "1", check=False))

    assert "packed-refs" in line or "packed references" in line
    packed.write_bytes(whole)
    shot.loop("--max-runs", "1")
    shot.check()


def test_a_ref_that_holds_garbage_is_named_by_loop_and_doctor(shot):
    path = shot.repo / ".git" / TIP
    whole = path.read_bytes()
    path.write_bytes(b"not a hash\n")

    line = refused(shot.loop("--max-runs", "1", check=False))

    assert TIP in line
    assert TIP in evogit(shot.repo, "doctor", "--tag", "t1", check=False).stdout
    path.write_bytes(whole)
    shot.loop("--max-runs", "1")
    shot.check()


# objects


def test_a_damaged_object_that_a_run_needs_is_named_and_nothing_is_decided_without_it(shot):
    path = loose(shot, "autoresearch/t1:train.py")
    whole = path.read_bytes()
    damage(path)

    line = refused(shot.loop("--max-runs", "1", check=False))

    assert path.parent.name + path.name[:8] in line
    path.write_bytes(whole)
    shot.loop("--max-runs", "2")
    shot.check()


def test_a_damaged_object_that_nobody_needs_is_put_aside_by_the_doctor(shot):
    (shot.repo / "draft").write_text("never committed")
    hash = git(shot.repo, "hash-object", "-w", "draft").strip()
    (shot.repo / "draft").unlink()
    path = shot.repo / ".git/objects" / hash[:2] / hash[2:]
    damage(path)

    line = refused(shot.loop("--max-runs", "1", check=False))

    assert hash in line
    evogit(shot.repo, "doctor", "--fix", "--tag", "t1")
    shot.loop("--max-runs", "2")
    shot.check()


# notes


@pytest.mark.parametrize("text", ["not json\n", '{"id": 3}\n{"v": 1, "id": "x", "metrics": "none"}\n', "\x00\xff" * 50, "{" * 5000])
def test_a_note_that_somebody_wrote_garbage_into_stops_no_loop(shot, text):
    run = shot.lab().run("1").commit
    note = shot.repo.parent / "note"
    for ref in ("metrics", "reviews", "ideas"):
        note.write_bytes(text.encode("latin-1"))
        git(shot.repo, "notes", f"--ref=evogit/{ref}", "add", "-f", "-F", str(note), run)
        blob = git(shot.repo, "hash-object", "-w", str(note)).strip()
        git(shot.repo, "notes", f"--ref=evogit/{ref}", "add", "-f", "-C", blob, run)

    shot.loop("--max-runs", "2", "--workers", "2")

    evogit(shot.repo, "doctor", "--fix", "--tag", "t1")
    lines = notes.read(shot.lab().repo, notes.METRICS, run)
    assert {notes.line_id(line) for line in lines} >= {trial.id for trial in shot.lab().run("1").trials}


# people beside the loop


def test_a_person_who_switches_branches_all_the_time_loses_nothing_and_disturbs_nothing(tmp_path):
    shot = Shot(tmp_path / "toy", train=EVER_BETTER)
    loop = shot.spawn("--max-runs", "8", "--workers", "2")
    switched = 0
    while loop.poll() is None:
        for branch in ("autoresearch/t1", "main"):
            switched += subprocess.run(["git", "switch", "-q", branch], cwd=shot.repo, capture_output=True, check=False).returncode == 0
    _, errors = loop.communicate(timeout=60)

    assert loop.returncode == 0, errors
    assert switched > 3
    if git(shot.repo, "status", "--porcelain", "-uno"):  # git read the branch before it moved, and wrote its files afterwards
        shown = git(shot.repo, "hash-object", "train.py").strip()
        assert shown in {git(shot.repo, "rev-parse", f"{run.commit}:train.py").strip() for run in shot.lab().campaign.history.runs}
    git(shot.repo, "switch", "-q", "--discard-changes", "main")
    shot.loop("--max-runs", "1")
    shot.check()


@pytest.mark.parametrize(
    "rewrite", [("reset", "-q", "--hard", "HEAD~1"), ("commit", "-q", "--amend", "-m", "mine"), ("rebase", "-q", "--root")]
)
def test_a_branch_that_a_person_rewrites_beside_the_loop_ends_it_in_one_line_and_the_hint_restores_it(tmp_path, rewrite):
    shot = Shot(tmp_path / "toy")
    shot.loop("--max-runs", "2")
    git(shot.repo, "switch", "-q", "autoresearch/t1")
    loop = shot.spawn("--max-runs", "50", hold="3")
    until(lambda: ("3", 0) in shot.diary("begin"))
    git(shot.repo, *rewrite)
    gate = shot.open_gate()
    _, errors = loop.communicate(timeout=60)

    assert loop.returncode == 2, errors
    assert "was rewritten" in errors.splitlines()[0] or "not part of" in errors.splitlines()[0]
    [command] = [part for part in errors.split("`") if part.startswith("git update-ref")]
    subprocess.run(command, shell=True, cwd=shot.repo, check=True)
    git(shot.repo, "reset", "-q", "--hard")
    shot.loop("--max-runs", "2")
    os.close(gate)
    shot.check()
