"""The mind in a real loop: ideas are carried out, choices carry their chances, and what was learnt can be asked for."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from evogit.domain.idea import IdeaStatus
from evogit.domain.options import LoopOptions
from evogit.lab import Lab
from toys import TOML, evogit, git, make_toy


@pytest.fixture(scope="module")
def searched(tmp_path_factory) -> Path:
    """Twelve runs with a calibrated baseline."""
    with pytest.MonkeyPatch.context() as patch:
        home = tmp_path_factory.mktemp("search-home")
        patch.setenv("HOME", str(home))
        patch.setenv("XDG_CACHE_HOME", str(home / "cache"))
        (home / ".gitconfig").write_text("[user]\n\tname = Ada\n\temail = ada@example.org\n")
        top = make_toy(tmp_path_factory.mktemp("search") / "toy", toml=TOML.replace("[0, 1]", "[0, 1, 2]"))
        evogit(top, "start", "t1")
        evogit(top, "baseline", "--seeds", "5", "--tag", "t1")
        evogit(top, "loop", "--tag", "t1", "--max-runs", "12")
        return top


@pytest.fixture
def repo(searched, tmp_path) -> Path:
    shutil.copytree(searched, tmp_path / "toy", symlinks=True)
    return tmp_path / "toy"


def runs(top: Path) -> list:
    return Lab.open(top, tag="t1").runs()


def test_the_search_finds_gains_and_every_choice_has_its_chance_on_record(searched):
    history = runs(searched)

    chosen = [run for run in history if run.policy == "sw-ucb"]
    assert chosen
    assert all(0 < run.chance <= 1 and 0 < run.propensity <= run.chance for run in chosen)
    assert any(run.is_kept for run in history if run.generation)


def test_run_commits_say_which_constants_they_moved_and_how_many_lines(searched):
    moved = [run for run in runs(searched) if run.moves]

    assert moved
    for run in moved:
        assert run.lines != (0, 0)
        assert all(move.gene.startswith("train.py:") and move.old != move.new for move in run.moves)


def test_a_persons_idea_goes_before_everything_else(repo):
    evogit(repo, "ideas", "add", "DROPOUT = 0.05", "--type", "hyperparameter", "--tag", "t1")

    evogit(repo, "loop", "--tag", "t1", "--max-runs", "1")

    run = runs(repo)[-1]
    assert [(m.gene, m.new) for m in run.moves] == [("train.py:DROPOUT", 0.05)]
    (told,) = [t for t in Lab.open(repo, tag="t1").ideas() if t.idea.is_persons]
    assert (told.status, told.run, run.idea) == (IdeaStatus.DONE, run.label, told.idea.id)


def test_an_idea_that_the_offline_agent_cannot_read_is_not_carried_out_by_something_else(repo):
    evogit(repo, "ideas", "add", "let the weights forgive each other", "--type", "poetry", "--tag", "t1")

    done = evogit(repo, "loop", "--tag", "t1", "--max-runs", "2")

    refused, after = runs(repo)[-2:]
    (told,) = [t for t in Lab.open(repo, tag="t1").ideas() if t.idea.is_persons]
    assert (refused.verdict.value, refused.moves) == ("reject", ())
    assert "needs a model: the offline agent edits by rule, and has no rule here for: let the weights forgive each other" in done.stdout
    assert (told.status, told.run) == (IdeaStatus.NEEDS_MODEL, refused.label)
    assert after.idea != told.idea.id  # it is not tried again by whom it says nothing to
    assert "needs-model" in evogit(repo, "ideas", "--tag", "t1").stdout


def test_no_ideas_leaves_the_queue_alone(repo):
    evogit(repo, "ideas", "add", "DROPOUT = 0.05", "--tag", "t1")

    evogit(repo, "loop", "--tag", "t1", "--max-runs", "2", "--no-ideas", "--policy", "uniform")

    assert {run.policy for run in runs(repo)[-2:]} == {"uniform"}
    (told,) = [t for t in Lab.open(repo, tag="t1").ideas() if t.idea.is_persons]
    assert told.status is IdeaStatus.QUEUED


def test_a_policy_that_does_not_exist_is_refused_before_anything_is_begun(repo):
    before = git(repo, "rev-parse", "autoresearch/t1")

    done = evogit(repo, "loop", "--tag", "t1", "--max-runs", "1", "--policy", "greed", check=False)

    assert done.returncode == 2
    assert "sw-ucb" in done.stderr
    assert git(repo, "rev-parse", "autoresearch/t1") == before


def test_emitters_tell_what_they_earned_and_what_another_policy_would_have(searched):
    said = json.loads(evogit(searched, "emitters", "--tag", "t1", "--what-if", "uniform", "--json").stdout)

    assert sum(said["chances"].values()) == pytest.approx(1.0)
    assert min(chance for chance in said["chances"].values() if chance) >= 0.02 - 1e-9  # none: it has nothing to offer now
    searched_runs = [run for run in runs(searched) if run.emitter not in {"baseline", "person"}]
    assert sum(account["runs"] for account in said["accounts"]) == len(searched_runs)
    assert said["asked"] == "uniform"
    assert said["estimate"]["runs"] <= len(searched_runs)


def test_the_emitters_table_has_a_line_for_each_role(searched):
    lines = evogit(searched, "emitters", "--tag", "t1").stdout.splitlines()

    assert {line.split()[0] for line in lines[1:8]} == set(Lab.open(searched, tag="t1").emitters().chances)
    assert any(line.startswith("policy sw-ucb: ") for line in lines)


def test_the_conclusion_names_the_incumbent_and_its_gain(searched):
    lab = Lab.open(searched, tag="t1")

    text = evogit(searched, "conclude", "--tag", "t1").stdout

    assert text.startswith("# Conclusion of campaign t1")
    assert f"Run {lab.run('incumbent').label} takes val_loss" in text
    assert "## What helped" in text


def test_a_candidate_that_ignores_its_seeds_counts_as_one_reading(tmp_path):
    top = make_toy(tmp_path / "toy", toml=TOML + '[decide]\nrule = "confirm"\n')
    evogit(top, "start", "t1")
    evogit(top, "baseline", "--tag", "t1")
    source = top / "train.py"
    source.write_text(source.read_text().replace('int(os.environ.get("EVOGIT_SEED", "0"))', "7").replace("LR = 0.1", "LR = 0.02"))

    list(Lab.open(top, tag="t1").measure(parent="0", hypothesis="", message="one seed for all", options=LoopOptions()))

    run = runs(top)[-1]
    assert len(run.readings["val_loss"]) == 2
    assert len(set(run.readings["val_loss"])) == 1
    assert "counts as one reading" in run.reason


def test_a_run_that_was_kept_for_a_doubtful_gain_is_read_once_more_and_no_budget_counts_that(tmp_path):
    top = make_toy(tmp_path / "toy", toml=TOML.replace("[0, 1]", "[0, 1, 2]"))
    evogit(top, "start", "t1")
    evogit(top, "baseline", "--seeds", "5", "--tag", "t1")
    source = top / "train.py"
    source.write_text(source.read_text().replace("LR = 0.1", "LR = 0.092"))
    list(Lab.open(top, tag="t1").measure(parent="0", hypothesis="", message="a little less", options=LoopOptions()))

    evogit(top, "loop", "--tag", "t1", "--max-runs", "1")

    kept = runs(top)[1]
    assert kept.is_kept and 0.05 < 1 - float(kept.reason.rpartition(", ")[2].partition("%")[0]) / 100 < 0.75
    (again,) = Lab.open(top, tag="t1").campaign.history.replicates[kept.commit]
    assert again.seed not in {line.seed for line in kept.trials}
    assert len(runs(top)) == 3
