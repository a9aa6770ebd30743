from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import msgspec
import pytest

from evogit.domain.trial import TrialLine
from evogit.domain.verdict import Verdict
from evogit.git import artifacts, notes, refs
from evogit.git.history import History
from evogit.git.repository import Repository

SCRIPT = Path(__file__).parent.parent / "benchmarks" / "make_history.py"


def git(folder: Path, *args: str) -> str:
    return subprocess.run(["git", *args], cwd=folder, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_history", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    sys.modules["make_history"] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def campaign(script: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> tuple[Repository, list]:
    folder = tmp_path_factory.mktemp("made") / "repo"
    made = list(script.make(folder, 60, "big", 3, artifacts=True))
    return Repository.open(folder), made


def test_the_history_that_is_read_is_the_one_that_was_made(campaign):
    repo, made = campaign

    history = History.read(repo, "big")

    assert [(r.commit, r.label, r.parents, r.verdict, r.readings.get("val_loss", ())) for r in history.runs] == [
        (m.commit, m.label, m.parents, m.verdict, m.values) for m in made
    ]
    assert history.incumbent == [m.commit for m in made if m.verdict is Verdict.KEEP][-1]
    assert repo.tree_of(history.tip) == repo.tree_of(history.incumbent)
    assert refs.read(repo, refs.tip("big")) == history.tip
    assert {m.verdict for m in made} == set(Verdict)
    assert any(len(m.parents) == 2 for m in made)


def test_git_finds_no_fault_and_nothing_out_of_place(campaign):
    repo, _ = campaign

    assert git(repo.top, "fsck", "--strict") == ""
    assert git(repo.top, "status", "--porcelain") == ""


def test_every_run_that_was_made_touches_mutable_files_only(campaign):
    repo, made = campaign

    touched = {git(repo.top, "diff-tree", "-r", "--name-only", f"{m.commit}^1", m.commit) for m in made[1:]}

    assert touched == {"train.py"}


def test_the_notes_that_were_made_hold_the_lines_of_the_branch(campaign):
    repo, made = campaign

    told = {commit: lines for commit, lines in notes.items(repo, notes.METRICS)}

    runs = History.read(repo, "big").runs
    assert {commit: tuple(msgspec.json.decode(line, type=TrialLine) for line in lines) for commit, lines in told.items()} == {
        run.commit: run.trials for run in runs if run.trials
    }
    assert len(notes.read(repo, notes.REVIEWS, made[7].commit)) == 1
    assert '"val_loss"' in git(repo.top, "log", "-1", "--notes=evogit/metrics", made[0].commit)
    assert "plan.json" in artifacts.listing(repo, "big", made[7].commit)


def test_the_same_seed_makes_the_same_history(campaign, script, tmp_path):
    _, made = campaign

    again = list(script.make(tmp_path / "again", 60, "big", 3))

    assert [m.commit for m in again] == [m.commit for m in made]


def test_the_made_up_problem_runs(campaign):
    repo, _ = campaign

    said = subprocess.run([sys.executable, "train.py"], cwd=repo.top, check=True, capture_output=True, text=True).stdout

    assert "METRIC val_loss=" in said
