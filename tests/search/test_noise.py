"""Noise: pooled over runs, robust against the wild ones, silent about what was not measured."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evogit.domain.belief import Ruler
from evogit.search.noise import WINDOW, Spread, inflation

# A spread below 1e-150 has no variance among floats in one unit, and one in another.
READINGS = st.dictionaries(st.integers(0, 3), st.floats(-1e6, 1e6).map(lambda x: x if abs(x) > 1e-100 else 0.0), min_size=1, max_size=4)


def learnt(*groups: dict[int, float], screened: bool = True) -> Spread:
    spread = Spread()
    for n, group in enumerate(groups):
        spread.learn(f"run {n}", group, screened=screened)
    return spread


def pairs(count: int, seed: int = 1, wild: float = 0.0, effects: tuple[float, ...] = (0.0, 0.0, 0.0)) -> list[dict[int, float]]:
    """Runs of different quality under three seeds each, with noise of one."""
    g = random.Random(seed)
    runs = [g.gauss(0, 100) for _ in range(count)]
    return [{s: run + e + g.gauss(0, 5 if g.random() < wild else 1) for s, e in enumerate(effects)} for run in runs]


def test_the_deviation_is_pooled_within_runs_not_between_them():
    spread = learnt({0: 1.0, 1: 3.0}, {0: 101.0, 1: 103.0})

    assert math.isclose(spread.std, 2**0.5)
    assert spread.is_known
    assert spread.ruler is Ruler.NOISY


def test_one_reading_teaches_nothing():
    spread = learnt({0: 1.0}, {0: 2.0})

    assert (spread.std, spread.sigma, spread.is_known, spread.ruler) == (0.0, 0.0, False, Ruler.UNKNOWN)


def test_one_pair_of_equal_readings_does_not_make_a_ruler_exact_and_three_do():
    assert learnt({0: 1.0, 1: 1.0}).ruler is Ruler.UNKNOWN
    assert learnt({0: 1.0, 1: 1.0, 2: 1.0}).ruler is Ruler.EXACT
    assert learnt({0: 1.0, 1: 1.0}, {0: 2.0, 1: 2.0}).ruler is Ruler.EXACT


def test_readings_of_a_run_are_one_group_however_they_came():
    bit_by_bit = Spread()
    for seed, value in ((0, 1.0), (1, 2.0), (2, 4.0)):
        bit_by_bit.learn("run", {seed: value})

    assert bit_by_bit.std == learnt({0: 1.0, 1: 2.0, 2: 4.0}).std


def test_the_same_number_under_the_same_seed_is_no_new_reading():
    spread = learnt({0: 1.0, 1: 2.0})
    before = spread.std

    spread.learn("run 0", {0: 1.0})

    assert (spread.std, spread.freedom) == (before, 1)


def test_a_few_wild_readings_hardly_widen_it():
    assert 0.85 < learnt(*pairs(60)).std < 1.15
    assert 0.85 < learnt(*pairs(60, wild=0.05)).std < 1.35


def test_a_diverged_run_does_not_blow_it_up():
    assert learnt(*pairs(60), {0: 1e9, 1: -1e9}).std < 1.2
    assert learnt(*pairs(3), {0: 1e300, 1: -1e300}).std < 3


def test_one_wild_reading_among_many_of_a_baseline_does_not_blow_it_up():
    assert learnt(dict(enumerate((0.1, -0.4, 0.9, -1.1, 0.3, 1000.0)))).std < 2


def test_runs_that_ignore_their_seeds_do_not_make_the_others_look_exact():
    spread = learnt(*pairs(12), *({0: 5.0, 1: 5.0, 2: 5.0} for _ in range(5)))

    assert spread.std == learnt(*pairs(12)).std


def test_a_noisy_newcomer_in_an_exact_problem_is_noticed():
    spread = learnt(*({0: 5.0, 1: 5.0} for _ in range(9)), {0: 5.0, 1: 6.0})

    assert spread.ruler is Ruler.NOISY
    assert 0 < spread.std < 0.5


def test_only_the_newest_runs_speak():
    old = [{0: n + 0.0, 1: n + 100.0} for n in range(WINDOW)]
    new = [{0: n + 0.0, 1: n + 1.0} for n in range(WINDOW)]

    assert math.isclose(learnt(*old, *new).std, 0.5**0.5)


@pytest.mark.parametrize(("freedom", "factor"), [(0, 2.0), (1, 2**0.5), (2, 1.5**0.5), (4, 1.25**0.5), (200, 1.0025)])
def test_the_fewer_readings_the_wider_the_cautious_deviation(freedom, factor):
    assert math.isclose(inflation(freedom), factor, rel_tol=1e-3)


def test_lucky_seeds_are_measured_where_they_matter():
    spread = learnt(*pairs(40, effects=(-5.0, 0.0, 5.0)), screened=False)

    assert [round(e) for e in spread.seed_effects.values()] == [-5, 0, 5]
    assert spread.std > 4
    assert spread.sigma < 1.3


def test_seeds_that_do_not_matter_are_not_corrected_for():
    assert all(learnt(*pairs(30, seed), screened=False).seed_effects == {} for seed in range(60))


def test_seeds_bought_because_earlier_ones_looked_good_do_not_make_the_first_one_lucky():
    assert learnt(*pairs(40, effects=(-5.0, 0.0, 5.0))).seed_effects == {}


def test_too_few_runs_say_nothing_of_seeds():
    assert learnt(*pairs(5, effects=(-5.0, 0.0, 5.0)), screened=False).seed_effects == {}


def test_runs_that_share_no_seeds_say_nothing_of_seeds():
    apart = [{n: g[0], 100 + n: g[1]} for n, g in enumerate(pairs(20, effects=(-5.0, 5.0)))]

    assert learnt(*apart, screened=False).seed_effects == {}


@given(st.lists(READINGS, max_size=14), st.integers(-30, 30), st.booleans())
def test_changing_the_unit_changes_nothing_but_the_unit(groups, power, screened):
    unit = 2.0**power
    plain = learnt(*groups, screened=screened)
    scaled = learnt(*({seed: value * unit for seed, value in group.items()} for group in groups), screened=screened)

    if plain.std > 1e-100:
        assert math.isclose(scaled.std, plain.std * unit, rel_tol=1e-12)
        assert math.isclose(scaled.sigma, plain.sigma * unit, rel_tol=1e-12)
        assert scaled.ruler is plain.ruler


@given(st.lists(READINGS, max_size=14), st.randoms(use_true_random=False))
def test_the_order_of_runs_does_not_matter_within_the_window(groups, g):
    named = list(enumerate(groups))
    shuffled = named.copy()
    g.shuffle(shuffled)
    one, other = Spread(), Spread()
    for spread, order in ((one, named), (other, shuffled)):
        for n, group in order:
            spread.learn(str(n), group)

    assert math.isclose(one.std, other.std, rel_tol=1e-9)
    assert one.ruler is other.ruler


@given(st.lists(st.dictionaries(st.integers(0, 3), st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=4), max_size=12))
def test_no_finite_reading_makes_it_infinite(groups):
    spread = learnt(*groups, screened=False)

    assert math.isfinite(spread.std)
    assert math.isfinite(spread.sigma)


@given(st.floats(-1e6, 1e6), st.integers(3, 7))
def test_the_same_number_again_and_again_is_no_noise(value, count):
    assert learnt(dict.fromkeys(range(count), value)).ruler is Ruler.EXACT
