"""A campaign's conclusion: what it says is what the runs said."""

from __future__ import annotations

import json
from types import SimpleNamespace

import msgspec
import pytest
from click.testing import CliRunner

from builders import baseline, commit_of, problem, run
from evogit.cli import conclude as face
from evogit.cli.invocation import Invocation
from evogit.concluding import CampaignConclusion, conclude, markdown, question
from evogit.domain.belief import Ruler
from evogit.domain.idea import Idea
from evogit.domain.trial import Crash, Status, TrialLine
from evogit.domain.verdict import Verdict
from evogit.search.memory import Memory


def crashed(label, message="shapes do not fit", **more):
    line = TrialLine(
        id=commit_of(label)[:16],
        time="2026-01-01T00:00:00Z",
        purpose="select",
        run=commit_of(label),
        seed=0,
        status=Status.CRASH,
        seconds=1.0,
        crash=Crash(kind="RuntimeError", message=message, where="train.py:7"),
    )
    return run(label, verdict=Verdict.CRASH, trials=(line,), **more)


def a_campaign():
    first = baseline(0.50, 0.51, 0.49)
    kept = run("1", 0.30, 0.31, 0.29, verdict=Verdict.KEEP, change="hyperparameter", summary="raise LR", seconds=60.0)
    found = [first, kept]
    for n in range(2, 7):
        found.append(run(str(n), 0.6, parents=("1",), incumbent=kept.commit, change="schedule", summary="another schedule"))
    return [*found, crashed("7", change="architecture"), crashed("8", message="shapes do not fit", change="architecture")]


def concluded(runs, goal="# Make the loss small\n\nAs small as can be.\n", **more) -> CampaignConclusion:
    return conclude(Memory.of(problem(**more), runs), runs, goal)


def test_the_question_is_the_goals_first_heading():
    assert question("\nintro\n# Make it fast\n", "toy") == "Make it fast"
    assert question("Make it small.\nAt once.", "toy") == "Make it small."
    assert question("", "toy") == "toy"


def test_what_was_tried_counts_every_run_but_the_baseline_once():
    runs = a_campaign()

    tried = {t.category: (t.runs, t.keeps, t.crashes) for t in concluded(runs).tried}

    assert tried == {"schedule": (5, 0, 0), "hyperparameter": (1, 1, 0), "architecture": (2, 0, 2)}


def test_what_helped_is_the_incumbents_lineage_with_its_interval():
    said = concluded(a_campaign())

    (step,) = said.helped
    assert (step.run, step.summary, step.verdict) == ("1", "raise LR", "keep")
    assert step.interval[0] < step.gain < step.interval[1]
    assert step.interval[0] > 0
    assert step.standing in {"provisional", "unconfirmed"}
    assert said.interval[0] < said.gain < said.interval[1]


def test_what_did_not_help_names_the_runs_that_say_so():
    failed = concluded(a_campaign()).failed

    assert any("schedule" in f.statement and set(f.runs) <= {"2", "3", "4", "5", "6"} for f in failed)


def test_one_fault_is_told_once_with_its_count():
    (broke,) = concluded(a_campaign()).broke

    assert (broke.runs, broke.first, broke.last) == (2, "7", "8")
    assert "RuntimeError" in broke.fault


def test_without_a_known_noise_there_is_no_interval_and_it_is_asked_for():
    runs = [baseline(0.5), run("1", 0.3, verdict=Verdict.KEEP)]

    said = concluded(runs)

    assert (said.ruler, said.interval, said.helped[0].interval) == (Ruler.UNKNOWN, None, None)
    assert said.gain == pytest.approx(0.2)
    assert "evogit baseline --seeds 5" in said.next[0]


def test_ideas_that_wait_are_among_what_to_try_next():
    runs = a_campaign()
    memory = Memory.of(problem(), runs)
    idea = Idea(id="a" * 16, source=runs[1].commit, by="Ada", mutation_type="optimizer", description="try a cosine schedule")

    memory.ideas.learn_person(idea)

    assert any("try a cosine schedule (by Ada)" in step for step in conclude(memory, runs).next)


def test_no_change_that_helped_is_a_conclusion_too():
    runs = [baseline(0.5, 0.51), run("1", 0.6, 0.61)]

    text = markdown(concluded(runs))

    assert "No change beat the baseline" in text
    assert text.count("## ") == 6


def test_a_campaign_without_a_run_has_a_conclusion():
    assert "Nothing was measured yet" in markdown(concluded([]))


def test_an_agents_words_cannot_break_the_page():
    runs = [baseline(0.5, 0.51), run("1", 0.3, 0.31, verdict=Verdict.KEEP, summary="a\n# b | <script>\x1b[31m", change="x|y")]

    text = markdown(concluded(runs, goal="# hi\x1b]0;x"))

    assert "\x1b" not in text
    assert "<script>" not in text
    assert "\n# b" not in text
    assert "| x\\|y |" in text


def test_the_same_history_concludes_the_same():
    assert concluded(a_campaign()) == concluded(a_campaign())


def test_the_command_prints_markdown_or_one_object():
    said = concluded(a_campaign())
    invocation = Invocation(open_lab=lambda path, **where: SimpleNamespace(conclude=lambda: said))

    text = CliRunner().invoke(face.command, [], obj=invocation)
    told = CliRunner().invoke(face.command, ["--json"], obj=invocation)

    assert text.stdout.startswith("# Conclusion of campaign toy\n")
    assert msgspec.json.decode(told.stdout, type=CampaignConclusion) == said
    assert set(json.loads(told.stdout)) == set(CampaignConclusion.__struct_fields__)


def test_the_document_says_what_its_steps_are_compared_with_and_what_an_empty_list_means():
    text = markdown(concluded(a_campaign()[:2]))

    assert (
        "## What helped\n\nSteps from run 0 to run 1, each against its parent; a gain whose interval holds 0 may be luck.\n\n- run 1"
        in text
    )
    assert "## What did not\n\nNo kind of change lost often enough to say so.\n" in text
    assert "## What helped\n\nNothing yet.\n" in markdown(concluded(a_campaign()[:1]))
