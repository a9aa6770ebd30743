"""Somebody else drives: `evogit next`, an edit, `evogit submit`, and a verdict like any other."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from evogit.domain.options import LoopOptions
from evogit.domain.proposal import Proposal
from evogit.errors import UnknownName, UserError
from evogit.lab import Lab
from evogit.present import forecast_of
from toys import TOML, evogit, git, make_toy


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    """The toy problem with a measured baseline."""
    top = make_toy(tmp_path / "toy")
    lab = Lab.open(top)
    lab.start("t1")
    list(lab.baseline(2, LoopOptions()))
    return top


def edit(repo: Path, old: str, new: str) -> None:
    path = repo / "train.py"
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))


def submit(repo: Path, message: str = "smaller steps", **said: object) -> Lab:
    lab = Lab.open(repo, tag="t1")
    list(lab.submit(Proposal(summary=message, **said), LoopOptions()))
    return Lab.open(repo, tag="t1")


def refs_of(repo: Path) -> str:
    return git(repo, "for-each-ref")


def test_the_next_assignment_changes_nothing_in_history(repo):
    before = refs_of(repo), git(repo, "status", "--porcelain")

    done = evogit(repo, "next", "--tag", "t1")

    assert (refs_of(repo), git(repo, "status", "--porcelain")) == before
    assert "evogit submit --tag t1" in done.stdout
    assert "train.py" in done.stdout


def test_an_assignment_waits_until_the_ledger_moves(repo):
    first = Lab.open(repo, tag="t1").next()
    again = Lab.open(repo, tag="t1").next()
    edit(repo, "LR = 0.1", "LR = 0.02")
    submit(repo)

    later = Lab.open(repo, tag="t1").next()

    assert again.assignment == first.assignment
    assert later.assignment.tip != first.assignment.tip


def test_one_emitter_can_be_asked_and_an_unknown_one_is_refused(repo):
    task = Lab.open(repo, tag="t1").next("simplifier")

    assert task.assignment.plan.emitter == "simplifier"
    with pytest.raises(UnknownName, match="no emitter is called 'nobody'"):
        Lab.open(repo, tag="t1").next("nobody")


def test_a_submission_carries_the_assignments_emitter_odds_and_forecast(repo):
    plan = Lab.open(repo, tag="t1").next("local_tuner").assignment.plan
    edit(repo, "LR = 0.1", "LR = 0.02")

    run = submit(repo, hypothesis="they diverge", change="optimizer").run("1")

    assert (run.emitter, run.agent, run.summary, run.hypothesis, run.change) == (
        "local_tuner",
        "driver",
        "smaller steps",
        "they diverge",
        "optimizer",
    )
    assert (run.policy, run.chance, run.forecast) == (plan.policy, plan.chance, plan.forecast)
    assert run.is_kept
    assert [move.gene for move in run.moves] == ["train.py:LR"]


def test_what_the_driver_predicts_replaces_the_forecast(repo):
    Lab.open(repo, tag="t1").next()
    edit(repo, "LR = 0.1", "LR = 0.02")

    run = submit(repo, forecast=forecast_of("0.2+-0.01")).run("1")

    assert (run.forecast.mean, run.forecast.spread) == (0.2, 0.01)


def test_without_an_assignment_a_submission_is_a_persons_run_on_the_incumbent(repo):
    edit(repo, "LR = 0.1", "LR = 0.02")

    lab = submit(repo)

    run = lab.run("1")
    assert (run.emitter, run.agent, run.policy) == ("person", "person", "")
    assert run.parents == (lab.run("baseline").commit,)


def test_an_assignment_is_submitted_once(repo):
    Lab.open(repo, tag="t1").next("local_tuner")
    edit(repo, "LR = 0.1", "LR = 0.02")

    lab = submit(repo)

    assert lab.assignment() is None


def test_a_submission_that_changed_a_frozen_file_is_a_reject_that_says_so(repo):
    Lab.open(repo, tag="t1").next()
    edit(repo, "LR = 0.1", "LR = 0.02")
    (repo / "program.md").write_text("Make val_loss large.\n")

    done = evogit(repo, "submit", "-m", "smaller steps", "--tag", "t1", check=False)

    assert done.returncode == 1
    assert "edited program.md, which is not mutable" in done.stdout


def test_an_unchanged_tree_is_one_line_and_the_assignment_still_waits(repo):
    task = Lab.open(repo, tag="t1").next("local_tuner")
    before = refs_of(repo)

    done = evogit(repo, "submit", "-m", "nothing", "--tag", "t1", check=False)

    assert done.returncode == 2
    assert "no mutable file differs from run 0" in done.stderr
    assert "Traceback" not in done.stderr
    assert refs_of(repo) == before
    assert Lab.open(repo, tag="t1").assignment() == task.assignment


def test_the_last_line_of_json_is_the_run_with_its_review(repo):
    task = json.loads(evogit(repo, "next", "--tag", "t1", "--json").stdout)
    edit(repo, "LR = 0.1", "LR = 0.02")

    done = evogit(repo, "submit", "--tag", "t1", "-m", "smaller steps", "--predicted", "0.3+-0.1", "--json")

    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert events[-1]["event"] == "submission"
    assert events[-1]["verdict"] == "keep"
    assert events[-1]["review"]["reviewer"] == "heuristic"
    assert events[-1]["emitter"] == task["emitter"]
    assert {e["event"] for e in events} >= {"plan", "trial", "verdict", "stopped"}


def test_the_review_is_printed_with_what_comes_next(repo):
    edit(repo, "LR = 0.1", "LR = 0.02")

    done = evogit(repo, "submit", "--tag", "t1", "-m", "smaller steps")

    assert "heuristic: valid, an improvement" in done.stdout
    assert done.stdout.rstrip().endswith("next: evogit next --tag t1")


def test_a_crash_has_exit_code_1(repo):
    edit(repo, "LR = 0.1", 'LR = float("x")')

    done = evogit(repo, "submit", "--tag", "t1", "-m", "no number", check=False)

    assert done.returncode == 1
    assert "ValueError" in done.stdout


def test_the_commands_that_begin_an_assignment_bring_its_files(repo):
    edit(repo, "LR = 0.1", "LR = 0.02")
    submit(repo)
    git(repo, "checkout", "-q", "--", "train.py")
    task = Lab.open(repo, tag="t1").next()

    for line in task.restore:
        subprocess.run(line, shell=True, cwd=repo, check=True)

    assert (repo / "train.py").read_text() == git(repo, "show", f"{task.assignment.start}:train.py")
    assert "LR = 0.02" in (repo / "train.py").read_text()
    assert Lab.open(repo, tag="t1").next().restore == ()


def test_a_file_that_another_line_left_behind_is_named_for_removal(tmp_path):
    top = make_toy(tmp_path / "toy", toml=TOML.replace('["train.py"]', '["train.py", "parts/*.py"]'), extra={"parts/a.py": "A = 1\n"})
    lab = Lab.open(top)
    lab.start("t1")
    list(lab.baseline(2, LoopOptions()))
    (top / "parts/left over.py").write_text("B = 2\n")

    task = Lab.open(top, tag="t1").next("local_tuner")

    assert task.restore[0] == "rm 'parts/left over.py'"


def test_a_recombination_begins_from_the_merge_of_both_parents(repo):
    for old, new in (("LR = 0.1", "LR = 0.02"), ("DROPOUT = 0.3", "DROPOUT = 0.1")):
        git(repo, "checkout", "-q", "--", "train.py")
        edit(repo, old, new)
        list(Lab.open(repo, tag="t1").measure(parent="0", hypothesis="", message=new, options=LoopOptions()))
    task = Lab.open(repo, tag="t1").next("recombinator")
    for line in task.restore:
        subprocess.run(line, shell=True, cwd=repo, check=True)
    assert {"LR = 0.02", "DROPOUT = 0.1"} <= set((repo / "train.py").read_text().splitlines())

    lab = submit(repo, "both")

    assert len(lab.run("3").parents) == 2
    assert lab.run("3").emitter == "recombinator"


def test_an_assignment_to_measure_again_needs_no_edit(repo):
    edit(repo, "LR = 0.1", "LR = 0.02")
    submit(repo)
    Lab.open(repo, tag="t1").next("local_tuner")
    [note] = (repo / ".git/evogit").glob("assignment-*.json")
    waiting = json.loads(note.read_text())
    waiting["plan"]["replicate"] = True  # as an anomaly chaser plans it
    note.write_text(json.dumps(waiting))

    done = evogit(repo, "submit", "--tag", "t1", "-m", "again")

    assert "run 1 measured again" in done.stdout


def test_a_driver_before_the_baseline_is_told_to_measure_it(tmp_path):
    top = make_toy(tmp_path / "toy")
    assert evogit(top, "next", check=False).returncode == 2
    Lab.open(top).start("t1")

    with pytest.raises(UserError, match="no measured baseline") as fault:
        Lab.open(top, tag="t1").next()

    assert fault.value.hint == "measure it: `evogit baseline --tag t1`"


def test_a_broken_note_of_the_assignment_is_none(repo):
    Lab.open(repo, tag="t1").next()
    [note] = (repo / ".git/evogit").glob("assignment-*.json")
    note.write_text('{"campaign": 3')

    assert Lab.open(repo, tag="t1").assignment() is None
    assert Lab.open(repo, tag="t1").next().assignment.campaign == "t1"


def test_an_idea_that_a_person_wrote_is_the_next_assignment_and_done_once_submitted(repo):
    before = Lab.open(repo, tag="t1").next()
    Lab.open(repo, tag="t1").add_idea("lower LR to 0.02")
    task = Lab.open(repo, tag="t1").next()
    edit(repo, "LR = 0.1", "LR = 0.02")

    lab = submit(repo)

    assert before.assignment.plan.idea == ""
    assert task.assignment.plan.idea
    assert [(told.status.value, told.run) for told in lab.ideas() if told.idea.is_persons] == [("done", "1")]


@pytest.mark.parametrize("text", ["", "0.1", "0.1+-0", "a+-b", "nan+-1", "0.1+--2"])
def test_what_is_no_forecast_is_none(text):
    assert forecast_of(text) is None


@pytest.mark.parametrize("text", ["0.095+-0.004", "0.095 +/- 0.004", "0.095±0.004"])
def test_a_forecast_is_read_in_three_spellings(text):
    said = forecast_of(text)

    assert (said.mean, said.spread) == (0.095, 0.004)


def test_a_search_finds_every_word_in_what_runs_and_reviews_say(repo):
    edit(repo, "LR = 0.1", "LR = 0.02")
    lab = submit(repo, hypothesis="the last steps are too large")

    found = lab.search("STEPS large")

    assert [(run.label, place) for run, place in found] == [("1", "the last steps are too large")]
    assert lab.search("steps unheard") == []
    assert lab.search("baseline")[0][0].label == "0"
    with pytest.raises(UserError):
        lab.search("  ")


def test_numbers_by_hand_are_reviewed_beside_the_incumbent_and_recorded_nowhere(repo):
    edit(repo, "LR = 0.1", "LR = 0.02")
    before = refs_of(repo)

    incumbent, review = Lab.open(repo, tag="t1").by_hand({"val_loss": 0.05, "params": 80.0})

    assert incumbent.label == "0"
    assert review.is_improvement
    assert refs_of(repo) == before


PLACES = {"TAG": "t1", "RUN": "1", "OTHER": "0", "PATH": "trials/s0/stdout", "NAME": "local_tuner", '"..."': '"x"'}


def commands_of_the_protocol() -> list[str]:
    """Every command line that program.md names, its placeholders filled in, each once."""
    text = (Path(__file__).resolve().parents[2] / "program.md").read_text()
    found = re.findall(r"`((?:evogit|git restore) [^`]+)`", text)
    for word, value in PLACES.items():
        found = [re.sub(rf"(?<![\w-]){re.escape(word)}(?![\w-])", value, line) for line in found]
    return list(dict.fromkeys(found))


@pytest.mark.slow
def test_every_command_of_the_protocol_works(repo):
    edit(repo, "LR = 0.1", "LR = 0.05")
    submit(repo, "halve the steps")
    failed = []
    for line in commands_of_the_protocol():
        words = shlex.split(line)
        if words[1] in ("run", "submit"):
            path = repo / "train.py"
            path.write_text(path.read_text().replace("MOMENTUM = 0.", "MOMENTUM = 0.9"))
        words = {"start": ["evogit", "start", "t2"], "loop": ["evogit", "loop", "--tag", "t1", "--max-runs", "1"]}.get(words[1], words)
        program = [sys.executable, "-m", "evogit.cli", *words[1:]] if words[0] == "evogit" else words
        done = subprocess.run(program, cwd=repo, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
        if done.returncode:
            failed.append((line, done.stderr))

    assert not failed
    assert len(commands_of_the_protocol()) >= 18
