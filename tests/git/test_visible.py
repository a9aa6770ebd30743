"""What a trial is shown: folders of the environment and the data, never the repository; what is hidden, wherever it lies."""

from __future__ import annotations

import os
import subprocess

import pytest

from evogit.domain.metric import Direction, Metric
from evogit.domain.problem import Evaluate, Problem, Sandbox
from evogit.errors import ProblemError
from evogit.git import visible
from evogit.git.environment import Environment
from evogit.git.repository import Repository
from evogit.git.workspace import Workspace

FILES = {
    "train.py": "", "evaluate.py": "", "task.py": "", "log.csv": "", "pkg/a.py": "", "pkg/labels/one.npy": "", "labels/two.npy": "", "deep/x/labels.csv": "",
}  # fmt: skip


@pytest.fixture
def place(tmp_path):
    """Repository and materialised workspace."""
    top = tmp_path / "repo"
    for name, text in FILES.items():
        (top / name).parent.mkdir(parents=True, exist_ok=True)
        (top / name).write_text(text)
    for command in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "one"]):
        subprocess.run(["git", *command], cwd=top, check=True)
    repo = Repository.open(top)
    workspace = Workspace.open(repo, "t", "0")
    workspace.materialise(repo.tree_of(str(repo.git.head.target)))
    yield repo, workspace
    workspace.close()


def problem(**sandbox) -> Problem:
    return Problem(
        name="p", folder="", layout="evogit", goal="", mutable=("train.py",), command="python train.py",
        evaluate=Evaluate(command="python evaluate.py"), metrics=(Metric(name="loss", direction=Direction.MINIMIZE),),
        sandbox=Sandbox(**sandbox),
    )  # fmt: skip


def ground(place, tmp_path, *, folders=(), data="", is_ruler=False, **sandbox) -> visible.Ground:
    repo, workspace = place
    environment = Environment(kind="host", python="/usr/bin/python3", path="", env={}, key="k", folders=tuple(map(str, folders)))
    return visible.Ground(
        repo=repo, problem=problem(**sandbox), workspace=workspace, environment=environment, data_dir=str(data),
        artifacts=str(tmp_path / "artifacts"), records=str(tmp_path / "records"), is_ruler=is_ruler,
    )  # fmt: skip


def test_the_repository_the_cache_and_what_people_keep_are_closed_whatever_is_shown(place, tmp_path, monkeypatch):
    repo, workspace = place
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))

    seen = visible.view(ground(place, tmp_path, read=(str(tmp_path),)))

    assert {str(repo.common), str(repo.cache), str(tmp_path / "state" / "evogit")} <= set(seen.masked)
    assert str(tmp_path) in seen.readable
    assert set(seen.writable) == {str(workspace.home), str(tmp_path / "records")}


def test_the_ruler_sees_what_is_hidden_and_cannot_change_what_was_left(place, tmp_path):
    seen = visible.view(ground(place, tmp_path, is_ruler=True, hide=("labels/**",)))

    assert str(tmp_path / "artifacts") in seen.readable
    assert not any("labels" in path for path in seen.masked)
    assert not seen.frozen


def test_frozen_code_is_the_rulers_first_and_no_logs(place, tmp_path):
    root = str(place[1].root)

    seen = visible.view(ground(place, tmp_path))

    assert seen.frozen == tuple(f"{root}/{name}" for name in ("evaluate.py", "task.py", "pkg/a.py"))


def test_only_so_many_files_are_frozen_one_by_one():
    paths = [f"deep/{n}.py" for n in range(500)] + ["evaluate.py"]

    found = visible.frozen(problem(), "/top", paths)

    assert len(found) == visible.FROZEN_MAX
    assert found[0] == "/top/evaluate.py"


@pytest.mark.parametrize(
    ("glob", "hidden"),
    [
        ("labels/**", {"labels"}),
        ("**/labels.csv", {"deep/x/labels.csv"}),
        ("**/labels/*.npy", {"labels/two.npy", "pkg/labels/one.npy"}),
        ("pkg/labels/one.npy", {"pkg/labels/one.npy"}),
        ("no/such", set()),
    ],
)
def test_globs_hide_files_of_the_checkout(place, tmp_path, glob, hidden):
    root = str(place[1].root)

    seen = visible.view(ground(place, tmp_path, hide=(glob,)))

    assert {path.removeprefix(root + "/") for path in seen.masked if path.startswith(root)} == hidden


def test_globs_hide_files_of_packages_and_data_under_each_of_their_names(place, tmp_path):
    packages, data, other = tmp_path / "venv/lib/site-packages", tmp_path / "data", tmp_path / "other"
    for folder in (packages / "sklearn/datasets", data / "labels", other):
        folder.mkdir(parents=True)
    secret = packages / "sklearn/datasets/digits.csv.gz"
    secret.write_text("labels")
    (data / "labels" / "one").write_text("x")
    os.link(secret, packages / "copy.bin")
    os.symlink(secret, packages / "link.csv.gz")
    asked = ("**/sklearn/datasets/digits.csv.gz", "labels/**", "**/link.csv.gz")

    seen = visible.view(ground(place, tmp_path, folders=(tmp_path / "venv", packages), data=data, hide=asked))

    assert {str(secret), str(packages / "copy.bin"), str(packages / "link.csv.gz"), str(data / "labels")} <= set(seen.masked)
    assert str(other) not in seen.masked


def test_a_folder_that_is_asked_for_with_a_slash_at_its_end_hides_as_much(place, tmp_path):
    data = tmp_path / "shown"
    (data / "labels").mkdir(parents=True)
    (data / "answers.csv").write_text("")

    seen = visible.view(ground(place, tmp_path, read=(f"{data}/",), hide=("labels/**", "answers.csv")))

    assert {str(data / "labels"), str(data / "answers.csv")} <= set(seen.masked)


def test_other_names_of_a_hidden_file_below_a_hidden_folder_need_no_hiding(place, tmp_path):
    data = tmp_path / "data"
    (data / "labels").mkdir(parents=True)
    (data / "answers.csv").write_text("x")
    for n in range(250):
        os.link(data / "answers.csv", data / "labels" / str(n))

    seen = visible.view(ground(place, tmp_path, data=data, hide=("labels/**", "answers.csv")))

    assert len([path for path in seen.masked if path.startswith(str(data))]) == 2


def test_a_name_with_a_line_break_hides_nothing_from_a_glob(place, tmp_path):
    data = tmp_path / "data"
    (data / "a\nb").mkdir(parents=True)
    (data / "a\nb" / "labels.csv").write_text("")

    seen = visible.view(ground(place, tmp_path, data=data, hide=("**/labels.csv", "other/**")))

    assert str(data / "a\nb" / "labels.csv") in seen.masked


def test_an_absolute_glob_hides_what_it_names(place, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "a.csv").write_text("")

    seen = visible.view(ground(place, tmp_path, hide=(f"{tmp_path}/elsewhere/*.csv",)))

    assert str(tmp_path / "elsewhere" / "a.csv") in seen.masked


def test_too_many_hidden_files_are_refused_with_a_way_out(place, tmp_path):
    (tmp_path / "data").mkdir()
    for n in range(visible.HIDDEN_MAX + 1):
        (tmp_path / "data" / f"{n}.csv").write_text("")

    with pytest.raises(ProblemError, match="names 20[0-9] files") as caught:
        visible.view(ground(place, tmp_path, data=tmp_path / "data", hide=("*.csv",)))

    assert "labels/**" in caught.value.hint


def test_a_file_that_is_here_and_was_not_found_is_named(tmp_path):
    (tmp_path / "data.bin").write_text("")

    assert visible.absent(f"FileNotFoundError: [Errno 2] No such file or directory: '{tmp_path}/data.bin'") == f"{tmp_path}/data.bin"
    assert visible.absent("FileNotFoundError: [Errno 2] No such file or directory: '/no/such'") == ""
    assert visible.absent(f"ValueError: {tmp_path}/data.bin") == ""


def test_a_file_that_another_user_may_not_read_is_named(tmp_path):
    (tmp_path / "open").write_text("")
    (tmp_path / "closed").write_text("")
    (tmp_path / "closed").chmod(0o600)

    assert visible.forbidden(f"PermissionError: [Errno 13] Permission denied: '{tmp_path}/closed'") == f"{tmp_path}/closed"
    assert visible.forbidden(f"PermissionError: [Errno 13] Permission denied: '{tmp_path}/open'") == ""  # hidden, say
