"""What somebody meets in their first hour: numbers that are no runs, plain ends of commands, refusals before anything is recorded."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from evogit import mcp
from evogit.domain.assignment import Task
from evogit.domain.event import Planned, Replicated
from evogit.domain.options import LoopOptions
from evogit.domain.proposal import Proposal
from evogit.errors import UnknownName, UserError
from evogit.lab import Lab
from toys import TOML, evogit, git, make_toy


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    """The toy problem with a measured baseline."""
    top = make_toy(tmp_path / "toy")
    Lab.open(top).start("t1")
    list(Lab.open(top, tag="t1").baseline(2, LoopOptions()))
    return top


def edit(repo: Path, old: str, new: str) -> None:
    path = repo / "train.py"
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new, 1))


def submit(repo: Path, message: str) -> Lab:
    list(Lab.open(repo, tag="t1").submit(Proposal(summary=message), LoopOptions()))
    return Lab.open(repo, tag="t1")


def test_a_reading_tells_what_asked_for_it_and_whose_it_is(repo):
    events = list(Lab.open(repo, tag="t1").baseline(4, LoopOptions()))

    [planned] = [e for e in events if isinstance(e, Planned)]
    [read] = [e for e in events if isinstance(e, Replicated)]
    assert (planned.emitter, planned.of) == ("baseline", "0")
    assert (read.run, read.reading) == ("0", planned.run)


def test_a_number_that_a_reading_had_is_known_by_it_until_a_run_has_it(repo):
    list(Lab.open(repo, tag="t1").baseline(4, LoopOptions()))
    lab = Lab.open(repo, tag="t1")

    shown = evogit(repo, "show", "1", "--tag", "t1").stdout

    assert shown.startswith("1 was a reading of run 0, not a run; its numbers are among those of run 0\n\n")
    told, whole = mcp.answer(lambda: lab, "show", {"run": "1"}, lambda line: None)
    assert told.startswith("1 was a reading of run 0, not a run\nrun 0 keep") and whole["run"] == "0"
    assert lab.read_by("1") == ["0"] and lab.read_by("0") == lab.read_by("77") == []
    with pytest.raises(UnknownName, match="1 is no run: it was a reading of run 0"):
        lab.diff("1")
    list(lab.loop(LoopOptions(max_runs=1)))
    assert Lab.open(repo, tag="t1").show("1").run.label == "1"
    assert not evogit(repo, "show", "1", "--tag", "t1").stdout.startswith("1 was")


def begun_elsewhere(repo: Path) -> Task:
    """Run 1 is kept and in the work tree, which is then put back to the base: the next assignment starts from other files."""
    edit(repo, "LR = 0.1", "LR = 0.01")
    submit(repo, "smaller steps")
    git(repo, "checkout", "--", "train.py")
    return Lab.open(repo, tag="t1").next("local_tuner")


def test_a_submission_that_has_not_begun_is_refused_before_anything_is_recorded(repo):
    task = begun_elsewhere(repo)
    assert task.restore and task.assignment.found.keys() == {"train.py"}
    before = git(repo, "for-each-ref")

    for change in ("", "WIDTH = 8"):  # nothing changed at all; a change of what was there before
        edit(repo, change, change and "WIDTH = 16")
        done = evogit(repo, "submit", "--tag", "t1", "-m", "wider", check=False)
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr.startswith("error: train.py: not the files that the assignment starts from, which has not begun\nhint: begin, ")
        assert task.restore[-1] in done.stderr and "--begun" in done.stderr

    assert git(repo, "for-each-ref") == before
    assert Lab.open(repo, tag="t1").assignment() == task.assignment


def test_the_tool_refuses_a_submission_that_has_not_begun_as_well(repo):
    begun_elsewhere(repo)

    with pytest.raises(UserError, match="has not begun"):
        mcp.answer(lambda: Lab.open(repo, tag="t1"), "submit", {"message": "wider"}, lambda line: None)


def test_once_the_begin_commands_were_given_an_edit_is_measured(repo):
    for command in begun_elsewhere(repo).restore:
        subprocess.run(command, shell=True, cwd=repo, check=True)
    edit(repo, "WIDTH = 8", "WIDTH = 16")

    run = submit(repo, "wider").run("2")

    assert (run.emitter, run.verdict.value) == ("local_tuner", "keep")


def test_who_undoes_what_the_start_changed_says_that_they_have_begun(repo):
    for command in begun_elsewhere(repo).restore:
        subprocess.run(command, shell=True, cwd=repo, check=True)
    edit(repo, "LR = 0.01", "LR = 0.1")  # back to what was there, and one thing more
    edit(repo, "WIDTH = 8", "WIDTH = 16")
    assert evogit(repo, "submit", "--tag", "t1", "-m", "wider, as before", check=False).returncode == 2

    evogit(repo, "submit", "--tag", "t1", "-m", "wider, as before", "--begun")

    assert Lab.open(repo, tag="t1").run("2").is_measured


def test_a_file_that_begin_would_remove_and_one_that_it_would_bring_count_too(tmp_path):
    toml = TOML.replace('mutable = ["train.py"]', 'mutable = ["*.py"]')
    repo = make_toy(tmp_path / "toy", toml=toml, extra={"extra.py": "A = 1\nB = 2\n"})
    Lab.open(repo).start("t1")
    list(Lab.open(repo, tag="t1").baseline(2, LoopOptions()))
    (repo / "extra.py").unlink()
    (repo / "own.py").write_text("C = 3\n")
    task = Lab.open(repo, tag="t1").next("local_tuner")
    assert task.assignment.found == {"extra.py": None, "own.py": "C = 3\n"}

    with pytest.raises(UserError, match="extra.py, own.py: not the files"):
        submit(repo, "nothing")
    for command in task.restore:
        subprocess.run(command, shell=True, cwd=repo, check=True)
    edit(repo, "LR = 0.1", "LR = 0.01")

    assert submit(repo, "smaller steps").run("1").is_measured


def test_a_run_that_is_not_there_is_told_before_anything_is_printed(repo):
    done = evogit(repo, "certify", "99", "--tag", "t1", check=False)

    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: campaign t1 has no run '99'\n")


def test_a_role_with_nothing_to_offer_has_no_chance_and_is_named(repo):
    said = Lab.open(repo, tag="t1").emitters()

    assert said.chances["recombinator"] == 0.0  # one run alone
    assert sum(said.chances.values()) == pytest.approx(1.0)
    last = evogit(repo, "emitters", "--tag", "t1").stdout.splitlines()[-1]
    assert last.startswith("nothing to offer now: ") and "recombinator" in last


def test_a_recombination_is_said_to_start_from_merged_code(repo):
    edit(repo, "LR = 0.1", "LR = 0.01")
    submit(repo, "smaller steps")
    git(repo, "checkout", "--", "train.py")
    edit(repo, "DROPOUT = 0.3", "DROPOUT = 0.0")
    evogit(repo, "run", "--tag", "t1", "--parent", "0", "-m", "no dropout")

    merged, plain = (Lab.open(repo, tag="t1").next(name).packet for name in ("recombinator", "local_tuner"))

    assert re.search(r"^The code to start from: runs \d and \d, merged$", merged, re.MULTILINE)
    assert "The parent's code" not in merged and "The parent's code (run" in plain


def test_the_end_of_an_errand_counts_no_runs(repo):
    assert evogit(repo, "baseline", "--seeds", "5", "--tag", "t1").stdout.splitlines()[-1] == "done; search on with: evogit loop --tag t1"


def test_init_names_the_folder_that_it_looked_into(tmp_path):
    done = evogit(tmp_path, "init", check=False)

    assert done.returncode == 2
    assert done.stderr.startswith(f"error: there is no Python training script in {tmp_path}\n")
