from __future__ import annotations

from pathlib import Path

import pytest

from evogit import problem
from evogit.errors import ProblemError, UserError

CONTRACT = '[problem]\nmutable = ["train.py"]\ncommand = "python train.py"\n[[metric]]\nname = "loss"\ndirection = "minimize"\n'


def make(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "evogit.toml").write_text(CONTRACT)
    (folder / "train.py").write_text("print('METRIC loss=1')\n")
    return folder


class Tree:
    """A commit's tree, as `Files`."""

    def __init__(self, files: dict[str, bytes]) -> None:
        self.files = files

    def read(self, path: str) -> bytes | None:
        return self.files.get(path)

    def listing(self) -> list[str]:
        return list(self.files)


def test_disk_and_commit_give_the_same_problem(tmp_path):
    top = tmp_path / "my lab é"
    make(top)
    make(top / "rp" / "digits")
    files = {p.relative_to(top).as_posix(): p.read_bytes() for p in top.rglob("*") if p.is_file()}

    for folder in ("", "rp/digits"):
        assert problem.load(top / folder, top) == problem.load_from(Tree(files), folder, top_name="my lab é")
    assert problem.load(top, top).name == "my lab é"
    assert problem.load(top / "rp/digits", top).folder == "rp/digits"
    assert problem.load_from(Tree(files), "rp/digits/").folder == "rp/digits"


def test_a_folder_without_a_contract_says_how_to_get_one(tmp_path):
    with pytest.raises(ProblemError, match="no evogit.toml") as error:
        problem.load(tmp_path, tmp_path)

    assert "evogit init" in error.value.hint


def test_a_folder_outside_the_repository_is_refused(tmp_path):
    inside = tmp_path / "repo"
    inside.mkdir()

    with pytest.raises(ProblemError, match="outside"):
        problem.load(make(tmp_path / "other"), inside)


def test_the_nearest_problem_above_is_found_first(tmp_path):
    make(tmp_path)
    near = make(tmp_path / "rp" / "a")
    (near / "src" / "deep").mkdir(parents=True)

    assert problem.find(near / "src" / "deep", tmp_path) == near
    assert problem.find(tmp_path / "rp", tmp_path) == tmp_path


def test_the_only_problem_below_is_found(tmp_path):
    only = make(tmp_path / "rp" / "digits")
    (tmp_path / ".venv" / "x").mkdir(parents=True)
    make(tmp_path / ".venv" / "x")
    (tmp_path / "docs").mkdir()

    assert problem.find(tmp_path, tmp_path) == only
    assert problem.find(tmp_path / "docs", tmp_path) == only


def test_several_problems_below_are_listed(tmp_path):
    make(tmp_path / "rp" / "a")
    make(tmp_path / "rp" / "b")
    (tmp_path / "docs").mkdir()

    with pytest.raises(UserError, match="2 problems here: rp/a, rp/b") as error:
        problem.find(tmp_path, tmp_path)
    with pytest.raises(UserError) as from_docs:
        problem.find(tmp_path / "docs", tmp_path)

    assert "--problem rp/a" in error.value.hint
    assert "--problem ../rp/a" in from_docs.value.hint


def test_no_problem_anywhere_names_init(tmp_path):
    with pytest.raises(UserError, match="no problem") as error:
        problem.find(tmp_path, tmp_path)

    assert "evogit init" in error.value.hint


def test_a_problem_above_the_repository_is_not_found(tmp_path):
    make(tmp_path)
    repo = tmp_path / "repo"
    repo.mkdir()

    with pytest.raises(UserError, match="no problem"):
        problem.find(repo, repo)


def test_files_on_disk_stay_inside_the_top(tmp_path):
    top = tmp_path / "repo"
    make(top)
    (tmp_path / "secret").write_text("x")
    (top / "out").symlink_to(tmp_path / "secret")
    (top / "in").symlink_to(top / "train.py")
    files = problem.DiskFiles(top)

    assert files.read("out") is None
    assert files.read("../secret") is None
    assert files.read("bad\0name") is None
    assert files.read("") is None
    assert files.read("in") == b"print('METRIC loss=1')\n"
    assert files.listing() == ["evogit.toml", "train.py"]


def test_the_door_offers_what_stages_need(tmp_path):
    one = problem.load(make(tmp_path / "p"), tmp_path)

    assert problem.argv(one, one.command, 3, ["--x"]) == ("python", "train.py", "--x")
    assert problem.is_mutable(one, "p/train.py")
    assert problem.mutable_paths(one, ["p/train.py", "p/b.py"]) == ["p/train.py"]
    assert problem.run_id(3) == "run_000003"
