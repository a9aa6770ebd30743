"""The lab book on another machine: one branch is enough to read it, and a clone goes on under its own labels."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from toys import TOML, evogit, git, make_toy

BRANCH = "refs/heads/autoresearch/t1"


@pytest.fixture(scope="module")
def searched(tmp_path_factory) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        home = tmp_path_factory.mktemp("searched-home")
        patch.setenv("HOME", str(home))
        patch.setenv("XDG_CACHE_HOME", str(home / "cache"))
        (home / ".gitconfig").write_text("[user]\n\tname = Ada\n\temail = ada@example.org\n")
        top = make_toy(tmp_path_factory.mktemp("searched") / "toy", toml=TOML.replace("[0, 1]", "[0]"))
        evogit(top, "start", "t1")
        evogit(top, "loop", "--tag", "t1", "--max-runs", "4")
        return top


@pytest.fixture
def repo(searched, tmp_path) -> Path:
    shutil.copytree(searched, tmp_path / "toy", symlinks=True)
    return tmp_path / "toy"


@pytest.fixture
def clone(repo, tmp_path) -> Path:
    """A clone of a bare repository that was given nothing but the branch."""
    git(tmp_path, "init", "-q", "--bare", "hub.git")
    git(repo, "push", "-q", str(tmp_path / "hub.git"), BRANCH)
    git(tmp_path, "clone", "-q", "-b", "autoresearch/t1", str(tmp_path / "hub.git"), "clone")
    return tmp_path / "clone"


def book(top: Path) -> str:
    return evogit(top, "log", "--tag", "t1", "--json").stdout


def labels(top: Path) -> list[str]:
    return [json.loads(line)["run"] for line in book(top).splitlines()]


def test_pushing_the_branch_alone_loses_no_verdict_and_no_number(repo, clone):
    assert book(clone) == book(repo)


def test_the_other_faces_read_the_same_on_a_clone(repo, clone):
    for face in ("leaderboard", "frontier", "lineage 2"):
        assert evogit(clone, *face.split(), "--json").stdout == evogit(repo, *face.split(), "--tag", "t1", "--json").stdout


def test_a_loop_on_a_clone_numbers_its_runs_with_its_own_name(repo, clone):
    before = labels(repo)

    evogit(clone, "loop", "--max-runs", "2", "--emitter", "local_tuner")

    mine = (clone / ".git" / "evogit" / "clone").read_text().strip()
    assert labels(clone) == [*before, f"{mine}/0", f"{mine}/1"]
    assert git(clone, "fsck", "--no-dangling") == ""
    assert git(clone, "status", "--porcelain") == ""


def test_a_run_of_a_clone_is_found_by_its_label(clone):
    evogit(clone, "loop", "--max-runs", "1", "--emitter", "local_tuner")

    shown = evogit(clone, "show", labels(clone)[-1], "--json").stdout

    assert json.loads(shown)["run"] == labels(clone)[-1]


def test_what_a_clone_found_can_be_pulled_back_and_gone_on_with(repo, clone):
    evogit(clone, "loop", "--max-runs", "1", "--emitter", "local_tuner")
    git(clone, "push", "-q", "origin", BRANCH)

    git(repo, "fetch", "-q", str(clone), f"{BRANCH}:{BRANCH}")
    evogit(repo, "loop", "--tag", "t1", "--max-runs", "1", "--emitter", "local_tuner")

    assert labels(repo)[:-1] == labels(clone)
    assert int(labels(repo)[-1]) > max(int(label) for label in labels(clone) if "/" not in label)


def test_the_whole_lab_book_can_be_pushed_with_the_refspecs_that_start_offers(repo, tmp_path):
    git(tmp_path, "init", "-q", "--bare", "all.git")
    offered = json.loads(evogit(repo, "start", "t2", "--json").stdout)["refspecs"]

    git(repo, "push", "-q", str(tmp_path / "all.git"), *(spec.replace("t2", "t1") for spec in offered))

    refs = git(tmp_path / "all.git", "for-each-ref", "--format=%(refname)").split()
    assert {BRANCH, "refs/notes/evogit/metrics", "refs/notes/evogit/reviews", "refs/evogit/t1/artifacts"} <= set(refs)


def test_export_writes_results_tsv_where_it_is_asked_to(repo, tmp_path):
    evogit(repo, "export", "-o", str(tmp_path / "out.tsv"), "--tag", "t1")

    assert (tmp_path / "out.tsv").read_text() == (repo / ".git/evogit/views/t1/results.tsv").read_text()


def test_a_missing_results_tsv_is_written_again_by_the_next_loop(repo):
    path = repo / ".git/evogit/views/t1/results.tsv"
    before = path.read_text()
    path.unlink()

    evogit(repo, "loop", "--tag", "t1", "--max-runs", "1", "--emitter", "local_tuner")

    assert path.read_text().startswith(before)
    assert len(path.read_text().splitlines()) == len(before.splitlines()) + 1
