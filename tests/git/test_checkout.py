"""Where the campaign's branch is checked out it is followed, and nothing that the user has not committed is lost."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from evogit.git import refs
from evogit.git.checkout import dirty, follow, view_paths
from evogit.git.repository import Repository

BRANCH = "refs/heads/autoresearch/növ 20".replace(" ", "-")
SHORT = BRANCH.removeprefix("refs/heads/")


def git(folder: Path, *args: str) -> str:
    env = {**os.environ, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
    return subprocess.run(["git", *args], cwd=folder, env=env, check=True, capture_output=True, text=True).stdout.strip()


def commit(folder: Path, message: str, **files: str) -> str:
    for name, text in files.items():
        (folder / f"{name}.py").write_text(text)
    git(folder, "add", "-A")
    git(folder, "-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qm", message, "--allow-empty")
    return git(folder, "rev-parse", "HEAD")


@pytest.fixture
def folder(tmp_path) -> Path:
    folder = tmp_path / "my prøject"
    folder.mkdir()
    git(folder, "init", "-q", "-b", "main")
    commit(folder, "base", train="1\n", model="1\n", notes="1\n")
    return folder


@pytest.fixture
def steps(folder) -> tuple[str, str]:
    """Two commits: the second changes train.py and adds fresh.py. The branch is at the first, and checked out."""
    git(folder, "switch", "-qc", SHORT)
    old = git(folder, "rev-parse", "HEAD")
    new = commit(folder, "step", train="2\n", fresh="2\n")
    git(folder, "reset", "-q", "--hard", old)
    return old, new


def move_and_follow(folder: Path, old: str, new: str) -> list[str]:
    repo = Repository.open(folder)
    refs.move(repo, BRANCH, new, old, "a test moves it")
    return follow(repo, BRANCH, old, new)


def test_a_clean_checkout_follows_the_branch(folder, steps):
    told = move_and_follow(folder, *steps)

    assert told == []
    assert (folder / "train.py").read_text() == "2\n"
    assert git(folder, "status", "--porcelain") == ""
    assert git(folder, "symbolic-ref", "HEAD") == BRANCH


def test_uncommitted_work_elsewhere_in_the_tree_is_kept(folder, steps):
    (folder / "model.py").write_text("mine\n")
    (folder / "notes.py").write_text("staged\n")
    git(folder, "add", "notes.py")
    (folder / "untracked").write_text("mine\n")

    told = move_and_follow(folder, *steps)

    assert told == []
    assert (folder / "train.py").read_text() == "2\n"
    assert git(folder, "status", "--porcelain").splitlines() == ["M model.py", "M  notes.py", "?? untracked"]
    assert (folder / "model.py").read_text() == "mine\n"


@pytest.mark.parametrize("name", ["train.py", "fresh.py"], ids=["a changed file", "an untracked file where a new one comes"])
def test_work_in_the_way_is_untouched_and_head_is_detached_where_it_was(folder, steps, name):
    old, new = steps
    (folder / name).write_text("mine\n")
    before = git(folder, "status", "--porcelain")

    told = move_and_follow(folder, old, new)

    assert len(told) == 1 and str(folder) in told[0] and f"git switch {SHORT}" in told[0]
    assert (folder / name).read_text() == "mine\n"
    assert git(folder, "status", "--porcelain") == before
    assert git(folder, "rev-parse", "HEAD") == old
    assert subprocess.run(["git", "symbolic-ref", "-q", "HEAD"], cwd=folder, check=False).returncode == 1
    assert git(folder, "rev-parse", BRANCH) == new


def test_an_index_that_another_program_holds_is_not_fought_over(folder, steps):
    (folder / ".git/index.lock").touch()

    told = move_and_follow(folder, *steps)
    (folder / ".git/index.lock").unlink()

    assert len(told) == 1
    assert git(folder, "status", "--porcelain") == ""
    assert git(folder, "rev-parse", "HEAD") == steps[0]


def test_following_twice_is_following_once(folder, steps):
    move_and_follow(folder, *steps)
    (folder / "train.py").write_text("edited since\n")

    told = follow(Repository.open(folder), BRANCH, *steps)

    assert told == []
    assert (folder / "train.py").read_text() == "edited since\n"
    assert git(folder, "symbolic-ref", "HEAD") == BRANCH


def test_every_work_tree_with_the_branch_follows_and_no_other(folder, steps, tmp_path):
    old, new = steps
    git(folder, "switch", "-q", "main")
    linked = tmp_path / "linked träe"
    git(folder, "worktree", "add", "-q", str(linked), SHORT)
    gone = tmp_path / "gone"
    git(folder, "worktree", "add", "-q", "-f", str(gone), SHORT)
    subprocess.run(["rm", "-rf", str(gone)], check=True)

    told = move_and_follow(linked, old, new)

    assert told == []
    assert view_paths(Repository.open(folder), BRANCH) == [linked]
    assert (linked / "train.py").read_text() == "2\n"
    assert git(linked, "status", "--porcelain") == ""
    assert (folder / "train.py").read_text() == "1\n"


def test_a_main_work_tree_follows_when_asked_from_a_linked_one(folder, steps, tmp_path):
    git(folder, "worktree", "add", "-q", str(tmp_path / "other"), "main")

    told = move_and_follow(tmp_path / "other", *steps)

    assert told == []
    assert view_paths(Repository.open(tmp_path / "other"), BRANCH) == [folder]
    assert git(folder, "status", "--porcelain") == ""


def test_a_touched_file_is_not_taken_for_a_changed_one(folder, steps):
    os.utime(folder / "train.py", (1, 1))

    told = move_and_follow(folder, *steps)

    assert told == []
    assert (folder / "train.py").read_text() == "2\n"


def test_hooks_of_the_user_do_not_run(folder, steps, tmp_path):
    for name in ("post-index-change", "post-checkout", "reference-transaction"):
        hook = folder / ".git/hooks" / name
        hook.write_text(f"#!/bin/sh\ntouch '{tmp_path}/ran'\n")
        hook.chmod(0o755)

    told = follow(Repository.open(folder), BRANCH, *steps)

    assert told == []
    assert not (tmp_path / "ran").exists()


def test_line_endings_of_the_user_are_kept(folder, steps):
    git(folder, "config", "core.autocrlf", "true")

    move_and_follow(folder, *steps)

    assert (folder / "train.py").read_bytes() == b"2\r\n"
    assert git(folder, "status", "--porcelain") == ""


def test_dirty_names_tracked_files_where_the_branch_is_checked_out(folder, steps, tmp_path):
    repo = Repository.open(folder)
    (folder / "train.py").write_text("mine\n")
    (folder / "with space.py").write_text("new\n")
    git(folder, "add", "with space.py")
    (folder / "untracked").touch()

    assert dirty(repo, BRANCH) == ["train.py", "with space.py"]
    assert dirty(repo, "refs/heads/main") == []
