"""What the other metrics add to a verdict: their worth moves the posterior's bounds, their order and their trades are told."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builders import LOSS, PARAMS, problem
from evogit.domain.belief import Belief, Ruler, Standing
from evogit.domain.metric import Direction, Metric
from evogit.domain.problem import Decide
from evogit.search.beliefs import judge
from evogit.search.mixture import below
from evogit.search.objectives import Beside, believed, beside
from evogit.search.scoring import is_settled

ACCURACY = Metric(name="accuracy", direction=Direction.MAXIMIZE, min_delta=0.01)
THREE = (LOSS, PARAMS, ACCURACY)


def toy(objective: str, **more):
    return problem(metrics=THREE, decide=Decide(objective=objective, **more))


def at(loss: float, params: float, accuracy: float) -> dict[str, float]:
    return {"val_loss": loss, "params": params, "accuracy": accuracy}


def noisy(*, is_child: bool, mean: float = 0.0) -> Standing:
    incumbent = Belief(mean=mean, variance=0.25)
    parent = incumbent if is_child else None
    return Standing(
        ruler=Ruler.NOISY, sigma=1.0, scales=(2.0, 2.0), parent=parent, incumbent=incumbent, is_child=is_child, incumbent_mean=mean
    )


# worth ---------------------------------------------------------------------------------------------------------------


@given(st.floats(-5, 5), st.floats(-5, 5), st.floats(0, 2))
def test_what_is_known_for_certain_moves_a_normal_posterior_and_keeps_its_width(reading, worth, margin):
    found = believed(LOSS, {0: reading}, noisy(is_child=False), margin, worth)

    width = math.sqrt(1.0 + 0.25)
    assert found.belief.p_better == pytest.approx(below((-reading + worth) / width))
    assert found.p_loss == pytest.approx(below((reading - worth - margin) / width))
    assert found.belief.gain_over_incumbent == pytest.approx(-reading + worth)


@given(st.lists(st.floats(-6, 6), min_size=1, max_size=3), st.floats(-6, 6), st.floats(0, 3), st.floats(0, 2))
def test_the_more_the_others_are_worth_the_surer_is_a_gain(readings, worth, more, margin):
    by_seed, standing = dict(enumerate(readings)), noisy(is_child=True)

    poor, rich = (believed(LOSS, by_seed, standing, margin, w) for w in (worth, worth + more))

    assert poor.belief.p_better <= rich.belief.p_better + 1e-9
    assert poor.p_loss >= rich.p_loss - 1e-9
    assert rich.belief.p_better + rich.p_loss <= 1 + 1e-9


@given(st.lists(st.floats(-6, 6), min_size=1, max_size=3), st.floats(0.01, 3))
def test_a_certain_cost_asks_what_a_larger_min_delta_would(readings, cost):
    by_seed, standing = dict(enumerate(readings)), noisy(is_child=True)

    charged = believed(LOSS, by_seed, standing, 0.0, -cost)

    asked = judge(Metric(name="val_loss", direction=Direction.MINIMIZE, min_delta=cost), by_seed, standing)
    assert charged.belief.p_better == asked.belief.p_better


def test_a_change_that_does_nothing_to_the_primary_metric_is_a_gain_by_what_the_others_are_worth():
    alone, beside_it = (believed(LOSS, {0: 0.0, 1: 0.01}, noisy(is_child=True), 0.0, worth) for worth in (0.0, 1e-9))

    assert beside_it.belief.p_better > alone.belief.p_better + 0.2  # the part of the prior that says "nothing" counts now


def test_worth_nothing_the_judgement_is_the_plain_one():
    assert believed(LOSS, {0: 0.3}, noisy(is_child=True), 0.5, 0.0) == judge(LOSS, {0: 0.3}, noisy(is_child=True), 0.5)


@pytest.mark.parametrize("worth", [1e6, 1e9, 1e12])
def test_a_run_that_diverged_is_not_saved_by_weights_beyond_all_noise(worth):
    lost, saved = (believed(LOSS, {0: loss}, noisy(is_child=True), 0.0, worth).belief.p_better for loss in (1e30, 1.0))

    assert (lost, saved) == (0.0, 1.0)


# order, trades, gaps -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mine", "tips", "told"),
    [
        (at(0.1, 90, 0.0), 1, ("params better by 10",)),  # the second one differs: the third does not matter
        (at(0.1, 110, 0.9), -1, ("params worse by 10",)),
        (at(0.1, 100, 0.9), 1, ("accuracy better by 0.4",)),
        (at(0.1, 100, 0.505), 0, ()),
    ],
)
def test_the_first_other_metric_that_differs_speaks_where_the_order_counts(mine, tips, told):
    said = beside(toy("lexicographic"), mine, at(0.1, 100, 0.5))

    assert (said.tips, said.better + said.worse) == (tips, told)


@pytest.mark.parametrize(
    ("mine", "tips"),
    [(at(0.1, 90, 0.6), 1), (at(0.1, 90, 0.5), 1), (at(0.1, 100, 0.5), 0), (at(0.1, 90, 0.4), -1), (at(0.1, 110, 0.5), -1)],
)
def test_one_metric_that_is_worse_speaks_against_it_where_nothing_may_be_traded(mine, tips):
    assert beside(toy("pareto"), mine, at(0.1, 100, 0.5)).tips == tips


def test_metrics_outside_the_frontier_and_those_without_a_weight_are_not_asked():
    theirs, mine = at(0.1, 100, 0.5), {"val_loss": 0.1, "params": 90.0}
    narrow = problem(metrics=THREE, frontier=("val_loss", "params"), decide=Decide(objective="pareto"))

    assert beside(narrow, mine, theirs).tips == 1
    assert beside(toy("weighted", weights={"params": 0.1, "accuracy": 0.0}), mine, theirs).worth == pytest.approx(1.0)
    assert beside(toy("primary"), {}, {}) == Beside("primary")


def test_the_primary_metric_counts_even_where_the_frontier_leaves_it_out():
    without = problem(metrics=THREE, frontier=("params",), decide=Decide(objective="pareto"))

    assert beside(without, at(9.0, 90, 0.5), at(0.1, 100, 0.5)).better == ("params better by 10",)


@pytest.mark.parametrize("objective", ["weighted", "lexicographic", "pareto"])
def test_a_gap_leaves_the_primary_metric_alone_and_is_named(objective):
    found = toy(objective, weights={"params": 1.0} if objective == "weighted" else {})

    here, there = beside(found, {"val_loss": 0.1}, at(0.1, 100, 0.5)), beside(found, at(0.1, 100, 0.5), {"val_loss": 0.1})

    assert (here.objective, here.missing) == ("primary", "params was not reported, so val_loss was judged alone")
    assert (there.objective, there.missing) == ("primary", "the incumbent has no params, so val_loss was judged alone")


def test_a_worth_that_is_no_finite_number_is_said_to_be_none():
    said = beside(toy("weighted", weights={"params": 1e14}), at(0.1, 1e300, 0.5), at(0.1, -1e300, 0.5))

    assert (said.objective, said.worth) == ("primary", 0.0)
    assert said.missing


def test_a_constraint_settles_only_what_no_further_seed_can_change():
    both = problem(decide=Decide(constraints=("val_loss < 1", "params <= 100")))
    good, fat, lossy = {"val_loss": 0.5, "params": 50.0}, {"val_loss": 0.5, "params": 500.0}, {"val_loss": 2.0, "params": 50.0}

    assert is_settled(both, fat, good)
    assert not is_settled(both, lossy, good)
    assert not is_settled(both, good, fat)
    assert not is_settled(both, fat, lossy)
    assert is_settled(problem(decide=Decide(constraints=("params <= 100",))), good, fat)
    assert not is_settled(problem(), good, fat)
