"""The verdict: a pure function of readings, incumbent and noise."""

from __future__ import annotations

import math

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from builders import LOSS, baseline, problem, trial
from evogit.domain.metric import Direction, Metric
from evogit.domain.trial import Crash, Measurement, Status
from evogit.domain.verdict import Verdict
from evogit.stages.decide import decide, wants_more_seeds


def measured(*losses: float) -> Measurement:
    return Measurement(values={"val_loss": losses}, trials=tuple(trial("1", seed, loss) for seed, loss in enumerate(losses)))


def crashed() -> Measurement:
    line = msgspec.structs.replace(trial("1", 0, 0.0), status=Status.CRASH, metrics={}, crash=Crash(kind="ValueError", message="shapes"))
    return Measurement(values={}, trials=(line,))


def test_a_lower_mean_is_kept_when_the_metric_is_minimised():
    decision = decide(problem(), measured(0.08, 0.09, 0.07), baseline(0.10, 0.11, 0.09), 0.01)

    assert decision.verdict is Verdict.KEEP
    assert math.isclose(decision.gain, 0.02)


def test_a_higher_mean_is_kept_when_the_metric_is_maximised():
    up = problem(metrics=(Metric(name="val_loss", direction=Direction.MAXIMIZE),))

    assert decide(up, measured(0.9), baseline(0.8), 0.0).verdict is Verdict.KEEP
    assert decide(up, measured(0.7), baseline(0.8), 0.0).verdict is Verdict.DISCARD


def test_a_gain_not_above_min_delta_is_no_gain():
    picky = problem(metrics=(Metric(name="val_loss", direction=Direction.MINIMIZE, min_delta=0.05),))

    assert decide(picky, measured(0.06), baseline(0.10), 0.0).verdict is Verdict.DISCARD
    assert decide(picky, measured(0.04), baseline(0.10), 0.0).verdict is Verdict.KEEP


def test_equal_is_not_better():
    decision = decide(problem(), measured(0.1), baseline(0.1), 0.0)

    assert decision.verdict is Verdict.DISCARD
    assert decision.reason == "val_loss unchanged"


def test_a_loss_within_twice_the_spread_is_a_near_miss():
    assert decide(problem(), measured(0.115), baseline(0.10), 0.01).near_miss
    assert not decide(problem(), measured(0.125), baseline(0.10), 0.01).near_miss


def test_a_gain_on_fewer_seeds_than_the_incumbent_is_not_believed():
    decision = decide(problem(), measured(0.05), baseline(0.10, 0.10, 0.10), 0.01)

    assert decision.verdict is Verdict.DISCARD
    assert decision.near_miss


def test_a_baseline_with_a_number_is_kept_and_one_without_is_a_crash():
    assert decide(problem(), measured(0.5), None, 0.0).verdict is Verdict.KEEP
    assert decide(problem(), Measurement(values={}, trials=()), None, 0.0).verdict is Verdict.CRASH


def test_a_crash_on_any_seed_is_a_crash_and_says_why():
    decision = decide(problem(), crashed(), baseline(0.1), 0.0)

    assert decision.verdict is Verdict.CRASH
    assert decision.reason == "ValueError: shapes"


def test_a_gate_wins_over_everything():
    decision = decide(problem(), measured(0.0), baseline(0.1), 0.0, rejected="edited evaluate.py")

    assert decision.verdict is Verdict.REJECT
    assert decision.reason == "edited evaluate.py"


def test_a_clear_loser_buys_no_second_seed():
    assert not wants_more_seeds(problem(), (0.2,), baseline(0.10), 0.01)
    assert wants_more_seeds(problem(), (0.115,), baseline(0.10), 0.01)
    assert wants_more_seeds(problem(), (0.05,), baseline(0.10), 0.01)


def test_while_no_spread_is_known_any_loss_is_clear():
    assert not wants_more_seeds(problem(), (0.1001,), baseline(0.10), 0.0)
    assert wants_more_seeds(problem(), (0.10,), baseline(0.10), 0.0)


def test_no_run_gets_more_seeds_than_the_budget():
    assert not wants_more_seeds(problem(), (0.05, 0.05, 0.05), baseline(0.10), 0.01)


@given(
    st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=4),
    st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=4),
    st.floats(0, 10),
    st.integers(-20, 20),
)
def test_changing_the_unit_of_the_metric_changes_no_verdict(mine, theirs, spread, power):
    unit = 2.0**power  # a power of two scales floats exactly

    plain = decide(problem(), measured(*mine), baseline(*theirs), spread)
    scaled = decide(problem(), measured(*(x * unit for x in mine)), baseline(*(x * unit for x in theirs)), spread * unit)

    assert (plain.verdict, plain.near_miss) == (scaled.verdict, scaled.near_miss)


def test_nan_never_beats_and_is_always_beaten():
    assert not LOSS.beats(math.nan, 1.0)
    assert LOSS.beats(1.0, math.nan)
