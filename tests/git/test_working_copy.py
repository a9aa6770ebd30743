"""A folder as it stands: what is copied of it, and what may come back."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from evogit.errors import UserError
from evogit.git import working_copy
from evogit.git.working_copy import Ground, WorkingCopy


def git(folder: Path, *args: str) -> None:
    subprocess.run(["git", "-c", "protocol.file.allow=always", *args], cwd=folder, check=True, capture_output=True)


@pytest.fixture
def repo(tmp_path) -> Path:
    folder = tmp_path / "repo"
    folder.mkdir()
    git(folder, "init", "-q")
    (folder / "train.py").write_text("1\n")
    (folder / "run.sh").write_text("#!/bin/sh\n")
    os.chmod(folder / "run.sh", 0o755)
    (folder / ".gitignore").write_text("build/\n")
    git(folder, "add", "-A")
    git(folder, "commit", "-qm", "first")
    return folder


def opened(folder: Path, **more) -> WorkingCopy:
    copy = WorkingCopy.open(Ground.of(folder), **more)
    copy.materialise()
    return copy


def test_a_copy_has_what_git_would_commit_and_nothing_it_ignores(repo):
    (repo / "build").mkdir()
    (repo / "build" / "junk.o").write_text("")
    (repo / "new.txt").write_text("new")
    (repo / "train.py").unlink()
    (repo / "link").symlink_to("run.sh")

    copy = opened(repo)

    assert sorted(copy.paths()) == [".gitignore", "link", "new.txt", "run.sh"]
    assert os.access(copy.root / "run.sh", os.X_OK)
    assert os.readlink(copy.root / "link") == "run.sh"


def test_submodules_and_repositories_inside_are_copied_without_their_git(repo, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    git(other, "init", "-q")
    (other / "lib.py").write_text("lib")
    git(other, "add", "-A")
    git(other, "commit", "-qm", "lib")
    git(repo, "submodule", "add", "-q", str(other), "vendored")
    git(tmp_path, "clone", "-q", str(other), str(repo / "cloned"))

    copy = opened(repo)

    assert {"vendored/lib.py", "cloned/lib.py"} <= set(copy.paths())
    assert not list(copy.root.rglob("HEAD"))


@pytest.mark.parametrize("state", ["ignored by git", "bare beside it", "no commit yet"])
def test_where_git_says_nothing_of_a_folder_it_is_copied_whole(repo, state):
    folder = repo / "build"
    folder.mkdir()
    (folder / "junk.o").write_text("")
    if state == "bare beside it":
        git(folder, "init", "-q", "--bare", "store.git")
    if state == "no commit yet":
        git(folder, "init", "-q")

    assert "junk.o" in set(opened(folder).paths())


def test_a_folder_that_is_too_large_is_refused_in_words(repo, monkeypatch):
    monkeypatch.setattr(working_copy, "FILES_CAP", 2)

    with pytest.raises(UserError, match="too much to copy") as error:
        opened(repo)

    assert "--in-place" in error.value.hint


def test_a_slot_serves_one_at_a_time_and_is_made_new_for_the_next(repo):
    first, second = opened(repo), opened(repo)
    (first.root / "left.txt").write_text("")
    (first.home / "left.txt").write_text("")
    first.close()

    third = opened(repo)

    assert first.root != second.root
    assert third.root == first.root
    assert "left.txt" not in {*third.paths(), *os.listdir(third.home)}


def test_what_comes_back_goes_through_no_link_and_never_into_git(repo, tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (repo / "data").symlink_to(outside)
    copy = opened(repo)
    names = ["made/x.txt", "data/x.txt", "sub/.git/hooks/pre-commit", "train.py", "run.sh/x"]
    for name in ("made/x.txt", "sub/.git/hooks/pre-commit", "train.py"):
        (copy.root / name).parent.mkdir(parents=True, exist_ok=True)
        (copy.root / name).write_text("theirs")

    refused = copy.take_over(names, ["data/gone", ".gitignore"])

    assert refused == ["data/x.txt", "sub/.git/hooks/pre-commit", "run.sh/x"]
    assert list(outside.iterdir()) == []
    assert (repo / "made" / "x.txt").read_text() == (repo / "train.py").read_text() == "theirs"
    assert not (repo / ".gitignore").exists()
    assert not (repo / "sub").exists()


@pytest.mark.parametrize("to", ["/etc/passwd", "../outside", "sub/../../outside", "train.py/../../outside"])
def test_no_link_that_leads_out_is_brought_home(repo, to):
    copy = opened(repo)
    (copy.root / "way").symlink_to(to)
    (copy.root / "near").symlink_to("train.py")

    assert copy.take_over(["near", "way"], []) == ["way"]
    assert not os.path.lexists(repo / "way")
    assert os.readlink(repo / "near") == "train.py"
    assert sorted(path.name for path in repo.glob(".*")) == [".git", ".gitignore"]


def test_nothing_is_written_through_a_link_that_came_home_before(repo, tmp_path):
    victim = tmp_path / "victim"
    victim.write_text("mine")
    (repo / f".train.py.evogit-{os.getpid()}").symlink_to(victim)
    copy = opened(repo)
    (copy.root / "train.py").write_text("theirs")

    assert copy.take_over(["train.py"], []) == []
    assert (victim.read_text(), (repo / "train.py").read_text()) == ("mine", "theirs")


def test_what_is_deeper_than_paths_go_is_no_file_of_the_copy(repo):
    copy = opened(repo)
    folder = os.open(copy.root, os.O_RDONLY)
    for _ in range(20):
        os.mkdir("d" * 250, dir_fd=folder)
        folder, before = os.open("d" * 250, os.O_RDONLY, dir_fd=folder), folder
        os.close(before)
    os.close(folder)

    assert sorted(copy.states()) == [".gitignore", "run.sh", "train.py"]
    copy.materialise()


def test_in_place_nothing_is_copied_and_what_is_written_is_seen(repo):
    copy = opened(repo, is_in_place=True)
    before = copy.states()

    (repo / "train.py").write_text("2\n")

    assert copy.root == repo
    assert [name for name, state in copy.states().items() if before.get(name) != state] == ["train.py"]
