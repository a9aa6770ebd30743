from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from evogit.errors import BadRecord
from evogit.git import artifacts, objects, refs
from evogit.git.repository import Repository

RUN, OTHER = "ab" * 20, "abab" + "c" * 36


@pytest.fixture
def repo(tmp_path: Path) -> Repository:
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    who = ["-c", "user.name=a", "-c", "user.email=a@b"]
    subprocess.run(["git", *who, "commit", "-q", "--allow-empty", "-m", "first"], cwd=tmp_path, check=True)
    return Repository.open(tmp_path)


def test_files_of_a_run_are_found_again(repo: Repository):
    artifacts.add(repo, "nov20", RUN, {"trials/s0/stdout": b"epoch 1\n", "plan.json": b"{}"})
    artifacts.add(repo, "nov20", OTHER, {"trials/s0/stdout": b"\xff\x00"})

    assert artifacts.listing(repo, "nov20", RUN) == {"plan.json": 2, "trials/s0/stdout": 8}
    assert artifacts.read(repo, "nov20", RUN, "trials/s0/stdout") == b"epoch 1\n"
    assert artifacts.read(repo, "nov20", OTHER, "trials/s0/stdout") == b"\xff\x00"


def test_what_is_not_there_is_none(repo: Repository):
    assert artifacts.listing(repo, "nov20", RUN) == {}
    assert artifacts.read(repo, "nov20", RUN, "x") is None
    artifacts.add(repo, "nov20", RUN, {"a/b": b"x"})

    assert artifacts.listing(repo, "nov20", OTHER) == artifacts.listing(repo, "dec01", RUN) == {}
    for path in ("a", "a/b/c", "", "..", "/a/b"):
        assert artifacts.read(repo, "nov20", RUN, path) is None


def test_more_files_join_those_that_are_there(repo: Repository):
    artifacts.add(repo, "nov20", RUN, {"s0/out": b"1", "s1/out": b"2"})
    artifacts.add(repo, "nov20", RUN, {"s1/out": b"3", "s1/err": b"44"})

    assert artifacts.listing(repo, "nov20", RUN) == {"s0/out": 1, "s1/err": 2, "s1/out": 1}
    assert artifacts.read(repo, "nov20", RUN, "s1/out") == b"3"


def test_the_same_files_again_make_no_commit(repo: Repository):
    artifacts.add(repo, "nov20", RUN, {"a": b"1"})
    tip = refs.read(repo, refs.artifacts("nov20"))
    artifacts.add(repo, "nov20", RUN, {"a": b"1"})
    artifacts.add(repo, "nov20", RUN, {})

    assert refs.read(repo, refs.artifacts("nov20")) == tip


def test_each_addition_descends_from_the_one_before(repo: Repository):
    tips = []
    for run in (RUN, OTHER):
        artifacts.add(repo, "nov20", run, {"a": b"1"})
        tips.append(refs.read(repo, refs.artifacts("nov20")))

    assert [repo.parents(tip) for tip in tips] == [(), (tips[0],)]
    assert repo.blob(tips[1], f"{objects.fanout(RUN)}/a") == b"1"


@pytest.mark.parametrize("path", ["../x", "a/../../x", "/etc/passwd", "", "a//b", "./a", "a/.git/hooks/x", ".git", "bad\udcff"])
def test_a_path_that_leaves_the_runs_folder_is_refused(repo: Repository, path: str):
    with pytest.raises(BadRecord):
        artifacts.add(repo, "nov20", RUN, {path: b"x"})

    assert refs.read(repo, refs.artifacts("nov20")) is None
    assert not objects.can_hold(repo, path)


def test_names_of_any_script_are_held(repo: Repository):
    files = {"größe/実験 1.txt": b"x", "-dash": b"y", "line\nbreak": b"z", "back\\slash": b"w"}
    artifacts.add(repo, "nov20", RUN, files)

    assert {path: artifacts.read(repo, "nov20", RUN, path) for path in files} == files
    assert all(objects.can_hold(repo, path) for path in files)
