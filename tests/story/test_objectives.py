"""`[decide] objective` and constraints in a real campaign: what is kept beside what val_loss alone would say."""

from __future__ import annotations

from pathlib import Path

from evogit.domain.options import LoopOptions
from evogit.domain.run import Run
from evogit.domain.verdict import Verdict
from evogit.lab import Lab
from toys import TOML, TRAIN, evogit, git, make_toy

BRANCH = "autoresearch/t1"


def started(top: Path, decide: str) -> Path:
    """A campaign with a measured baseline: width 8, so 80 parameters."""
    make_toy(top, toml=f"{TOML}[decide]\n{decide}")
    evogit(top, "start", "t1")
    evogit(top, "baseline", "--tag", "t1", "--seeds", "4")
    return top


def tried(top: Path, width: int, parent: str = "0", **more: float) -> Run:
    """A person's run of that width. A smaller net has a greater loss and fewer parameters."""
    text = TRAIN.replace("WIDTH = 8", f"WIDTH = {width}")
    for name, value in more.items():
        text = text.replace(f"{name} = 0.1", f"{name} = {value}")
    (top / "train.py").write_text(text)
    list(Lab.open(top, tag="t1").measure(parent=parent, hypothesis="", message=f"width {width}", options=LoopOptions()))
    return Lab.open(top, tag="t1").runs()[-1]


def test_a_worse_loss_is_kept_for_far_fewer_parameters_where_they_are_worth_more(tmp_path):
    top = started(tmp_path / "toy", 'objective = "weighted"\nweights = { params = 0.01 }\n')

    small = tried(top, 2)  # a loss of 0.24 for 60 parameters, worth 0.6
    large = tried(top, 32, parent=small.label, LR=0.01)  # a gain of 0.37 for 300 parameters more

    assert small.verdict is Verdict.KEEP
    assert small.mean("val_loss") > Lab.open(top, tag="t1").run("0").mean("val_loss") + 0.2
    assert "params worth 0.6: better by 0.3" in small.reason
    assert large.verdict is Verdict.DISCARD
    assert "params worth -3: worse by 2." in large.reason
    assert git(top, "show", f"{BRANCH}:train.py") == TRAIN.replace("WIDTH = 8", "WIDTH = 2")


def test_without_the_objective_the_same_run_is_discarded(tmp_path):
    small = tried(started(tmp_path / "toy", "accept = 0.7\n"), 2)

    assert small.verdict is Verdict.DISCARD


def test_a_trade_is_discarded_in_words_and_stays_on_the_frontier(tmp_path):
    top = started(tmp_path / "toy", 'rule = "pareto"\n')

    trade = tried(top, 2)

    assert trade.verdict is Verdict.DISCARD
    assert trade.reason.endswith("params better by 60: a trade of one metric for another")
    assert len(trade.readings["val_loss"]) == 1  # a clear loser buys no second seed
    assert {run.label for run in Lab.open(top, tag="t1").frontier()} == {"0", trade.label}


def test_a_baseline_outside_its_constraints_says_so_and_gives_way_to_the_first_run_within_them(tmp_path):
    top = started(tmp_path / "toy", 'constraints = ["params <= 40"]\n')
    baseline = Lab.open(top, tag="t1").run("0")
    assert (baseline.verdict, baseline.reason) == (Verdict.KEEP, "baseline; params is 80, and must be <= 40")

    looped = evogit(top, "loop", "--tag", "t1", "--max-runs", "1", "--agent", "noop")
    within = tried(top, 4)
    outside = tried(top, 16, parent=within.label)

    assert "the baseline (run 0) breaks a constraint: params is 80, and must be <= 40" in looped.stdout + looped.stderr
    assert within.verdict is Verdict.KEEP
    assert within.reason.startswith(
        "within its constraints, where the incumbent is not: params is 80, and must be <= 40 (val_loss worse by "
    )
    assert (outside.verdict, outside.reason) == (Verdict.DISCARD, "params is 160, and must be <= 40")
