"""Ranks and hypervolume: against their definitions, by brute force."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builders import LOSS, PARAMS, baseline, run
from evogit.domain.metric import Direction, Metric
from evogit.search.frontier import dominates, frontier, point, ranks
from evogit.search.hypervolume import covered, over_runs

BOTH = (LOSS, PARAMS)
SCORE = Metric(name="params", direction=Direction.MAXIMIZE)
points = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), min_size=1, max_size=25)


def runs_at(values):
    return [run(str(i), float(x), params=(float(y),)) for i, (x, y) in enumerate(values)]


def peeled(runs, objectives):
    """Ranks as they are defined: the front, then the front of the rest, and so on."""
    left, rank, found = list(runs), 0, {}
    while left:
        front = [a for a in left if not any(dominates(point(b, objectives), point(a, objectives), objectives) for b in left)]
        found.update({r.commit: rank for r in front})
        left, rank = [r for r in left if r not in front], rank + 1
    return found


@given(points, st.sampled_from([BOTH, (LOSS, SCORE)]))
def test_ranks_are_the_fronts_that_are_left_when_better_ones_are_taken_away(values, objectives):
    runs = runs_at(values)

    assert ranks(runs, objectives) == peeled(runs, objectives)


@given(points)
def test_the_frontier_is_the_first_rank(values):
    runs = runs_at(values)

    found = ranks(runs, BOTH)

    assert {r.commit for r in frontier(runs, BOTH)} == {commit for commit, rank in found.items() if rank == 0}


def test_a_run_that_lacks_an_objective_has_no_rank():
    assert ranks([run("1", 0.1)], BOTH) == {}


def test_a_lucky_reading_that_nobody_believes_puts_no_run_on_the_front():
    lucky, solid = run("1", 0.10, params=(5.0,)), run("2", 0.11, params=(5.0,))

    front = frontier([lucky, solid], BOTH, lambda r: 0.12 if r is lucky else None)

    assert front == [solid]


def test_a_run_that_dominates_the_whole_box_covers_it():
    steps = over_runs([baseline(0.5, params=(100.0,)), run("1", 0.1, params=(10.0,))], BOTH)

    assert [(s.run, s.volume) for s in steps] == [("0", 0.0), ("1", 1.0)]


@given(points)
def test_the_volume_is_the_share_of_cells_that_a_front_dominates(values):
    losses = [(float(x), float(y)) for x, y in values]
    worst = (6.0, 6.0)
    seen = [*losses, worst, (0.0, 0.0)]

    share = covered(losses, seen)

    cells = [(i + 0.5, j + 0.5) for i in range(6) for j in range(6)]
    assert share == pytest.approx(sum(any(x <= a and y <= b for x, y in losses) for a, b in cells) / 36, abs=1e-12)


@given(points)
def test_the_volume_over_runs_never_falls_and_stays_a_share(values):
    steps = [s.volume for s in over_runs(runs_at(values), BOTH)]

    assert steps == sorted(steps)
    assert all(0 <= v <= 1 + 1e-12 for v in steps)


@given(points, st.sampled_from([1e-3, 7.0, 1e6]))
def test_the_unit_of_a_metric_changes_no_volume(values, unit):
    scaled = [(x * unit, y) for x, y in values]

    assert [s.volume for s in over_runs(runs_at(scaled), BOTH)] == pytest.approx([s.volume for s in over_runs(runs_at(values), BOTH)])


def test_a_run_that_was_hopeless_when_it_came_does_not_stretch_the_box():
    runs = [baseline(0.5, params=(100.0,)), run("1", 1e6, params=(200.0,)), run("2", 0.4, params=(150.0,)), run("3", 0.3, params=(100.0,))]

    volumes = {s.run: s.volume for s in over_runs(runs, BOTH)}

    assert volumes["1"] == volumes["0"] == 0.0
    assert volumes["3"] == pytest.approx(1.0)


def test_an_axis_without_extent_leaves_the_others_to_speak():
    steps = over_runs([baseline(0.5, params=(7.0,)), run("1", 0.3, params=(7.0,))], BOTH)

    assert [s.volume for s in steps] == [0.0, 1.0]


def test_three_objectives_are_measured_too():
    front = [(0.0, 1.0, 1.0), (1.0, 0.0, 1.0), (1.0, 1.0, 0.0)]

    assert covered([*front, (0.5, 0.5, 0.5)], [*front, (1.0, 1.0, 1.0)]) == pytest.approx(0.125)
