"""A growing gap is told from a constant one, and a noisy constant one is seldom called growing."""

from __future__ import annotations

import random

import pytest

from builders import LOSS
from evogit.domain.metric import Direction, Metric
from evogit.search.overfitting import FEWEST, LEVEL, gap, trend, two_sided, upper_tail

# P(T > t), and the t that |T| passes with 5 %, from tables of Student's distribution.
TAILS = [(2.0150, 5, 0.05), (3.3649, 5, 0.01), (2.7638, 10, 0.01), (6.3138, 1, 0.05), (1.6973, 30, 0.05)]


@pytest.mark.parametrize(("t", "freedom", "p"), TAILS)
def test_the_tail_of_students_distribution_is_that_of_the_tables(t, freedom, p):
    assert upper_tail(t, freedom) == pytest.approx(p, rel=2e-4)
    assert upper_tail(-t, freedom) == pytest.approx(1 - p, rel=2e-4)


@pytest.mark.parametrize(("freedom", "t"), [(3, 3.1824), (8, 2.3060), (30, 2.0423)])
def test_the_interval_is_that_of_the_tables(freedom, t):
    assert two_sided(0.05, freedom) == pytest.approx(t, rel=1e-4)


def test_a_gap_is_how_much_worse_held_out_is_whatever_the_direction():
    accuracy = Metric(name="accuracy", direction=Direction.MAXIMIZE)

    assert gap(LOSS, 0.10, 0.12) == pytest.approx(0.02)
    assert gap(accuracy, 0.90, 0.88) == pytest.approx(0.02)


def test_too_few_runs_have_no_trend():
    assert trend([0.0, 1.0, 2.0, 3.0]) is None and FEWEST == 5


def test_a_constant_gap_does_not_grow_however_large_it_is():
    assert not trend([7316429.0 + 1e-10 * n for n in range(8)]).is_growing
    assert not trend([0.0] * 8).is_growing


def test_a_gap_that_grows_is_called_so_with_its_slope_and_interval():
    rng = random.Random(1)

    found = trend([0.01 * n + rng.gauss(0, 0.01) for n in range(12)])

    assert found.is_growing and found.p <= LEVEL
    assert found.low < 0.01 < found.high
    assert not trend([-0.01 * n for n in range(12)]).is_growing
    assert trend([0.01 * n for n in range(12)]).is_growing


def test_asked_after_each_kept_run_a_campaign_without_growth_is_seldom_called_overfitted():
    rng, alarms, campaigns = random.Random(7), 0, 400
    for _ in range(campaigns):
        gaps = [rng.gauss(0.02, 0.01) for _ in range(30)]
        alarms += any(trend(gaps[:n]).is_growing for n in range(FEWEST, 31))

    assert alarms / campaigns <= 0.05
