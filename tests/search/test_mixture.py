"""The posterior of a change: closed form, equal to brute force, finite everywhere."""

from __future__ import annotations

import math

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from evogit.search.mixture import WIDER, WILD, located, log_below, mills, posterior, refreshed, tail

PARTS = (0.6, 0.3, 0.1)
SIZES = st.floats(1e-12, 1e12)
ANY = st.floats(allow_nan=False, allow_infinity=False)


def of(*gains: float, sigma: float = 1.0, variance: float = 0.2, **more):
    return posterior(gains, sigma, parent_variance=variance, **{"parts": PARTS, "scales": (2.0, 2.0), **more})


def normal(x: float, variance: float) -> float:
    return math.exp(-0.5 * x * x / variance) / math.sqrt(2 * math.pi * variance)


def brute(gains: tuple[float, ...], variance: float, scale: float, min_delta: float) -> tuple[float, float, float, float]:
    """Gain, mean, P(harm), P(gain) by sums over a grid of changes and parents, noise of one."""
    step, total, found = 0.04, 0.0, [0.0] * 4
    parents = [n * 0.1 for n in range(-25, 26)]
    for n in range(-500, 501):
        change = (n + (0.5 if n >= 0 else -0.5)) * step if n else 0.0
        slab = PARTS[0] if change < 0 else PARTS[2]
        prior = slab / scale * math.exp(-abs(change) / scale) * step if n else PARTS[1]
        for parent in parents:
            here = prior * normal(parent, variance)
            for gain in gains:
                off = gain - parent - change
                here *= (1 - WILD) * normal(off, 1.0) + WILD * normal(off, WIDER**2)
            total += here
            found[0] += here * change
            found[1] += here * (parent + change)
            found[2] += here * (change < 0)
            found[3] += here * (change > min_delta)
    return tuple(f / total for f in found)


@pytest.mark.parametrize(
    ("gains", "variance", "scale", "min_delta"),
    [((0.7,), 0.2, 2.0, 0.0), ((3.0, 1.0), 0.3, 1.0, 0.5), ((-2.0, 6.0), 0.1, 2.0, 0.0), ((-1.0, -1.5, 0.2), 0.25, 3.0, 1.0)],
)
def test_it_equals_brute_force(gains, variance, scale, min_delta):
    found = of(*gains, variance=variance, scales=(scale, scale), min_delta=min_delta)
    gain, mean, harm, p_gain = brute(gains, variance, scale, min_delta)

    assert math.isclose(found.gain, gain, abs_tol=0.05)
    assert math.isclose(found.mean, mean, abs_tol=0.05)
    assert math.isclose(found.parts[0], harm, abs_tol=0.02)
    assert math.isclose(found.p_gain, p_gain, abs_tol=0.02)


def test_one_good_reading_is_shrunk_and_more_of_them_are_believed():
    one, three = of(2.0), of(2.0, 2.1, 1.9)

    assert 0 < one.gain < three.gain < 2
    assert one.p_gain < 0.5 < three.p_gain
    assert three.variance < one.variance


def test_one_wild_reading_among_sane_ones_moves_little():
    assert of(0.1, -0.1, 40.0).p_gain < 0.3
    assert of(*(0.1, -0.1) * 4, 40.0).p_gain < 0.3


def test_an_uncertain_parent_makes_a_gain_less_sure():
    assert of(2.5, variance=4.0).p_gain < of(2.5, variance=0.0).p_gain


def test_only_gains_above_min_delta_count():
    assert of(2.0, min_delta=5.0).p_gain < 0.05 < of(2.0).p_gain


@given(st.lists(ANY, min_size=1, max_size=8), SIZES, st.floats(0, 1e12), SIZES, SIZES)
@example([1e308, -1e308], 1e-12, 1e12, 1e-12, 0.0)
@example([-1e308], 1e-12, 0.0, 1e12, 1e12)
def test_no_finite_input_gives_what_is_no_number(gains, sigma, variance, scale, limit):
    found = of(*gains, sigma=sigma, variance=variance, scales=(scale, scale), min_delta=limit, margin=limit)

    assert all(math.isfinite(x) for x in (found.mean, found.variance, found.gain, found.gain_variance, *found.sizes, *found.parts))
    assert found.variance >= 0
    assert found.gain_variance >= 0
    assert math.isclose(sum(found.parts), 1)
    assert 0 <= found.p_gain <= found.parts[2] + 1e-9
    assert 0 <= found.p_loss <= found.parts[0] + 1e-9


@given(st.lists(st.floats(-50, 50), min_size=1, max_size=4), st.floats(0, 4), st.integers(-40, 40))
def test_changing_the_unit_changes_no_probability(gains, variance, power):
    unit = 2.0**power
    plain = of(*gains, variance=variance)
    scaled = of(*(gain * unit for gain in gains), sigma=unit, variance=variance * unit * unit, scales=(2.0 * unit, 2.0 * unit))

    assert math.isclose(scaled.p_gain, plain.p_gain, rel_tol=1e-9, abs_tol=1e-12)
    assert math.isclose(scaled.gain, plain.gain * unit, rel_tol=1e-9, abs_tol=1e-12 * unit)


@pytest.mark.parametrize("z", [-25.0, 5.0])
def test_the_pieces_of_the_tails_meet(z):
    below, above = math.nextafter(z, -math.inf), math.nextafter(z, math.inf)

    assert math.isclose(log_below(below), log_below(above), rel_tol=1e-6)
    assert z > 0 or math.isclose(mills(below), mills(above), rel_tol=1e-6)
    assert all(math.isclose(a, b, rel_tol=1e-3) for a, b in zip(tail(below + 0.5, 2.0, 0.1), tail(above + 0.5, 2.0, 0.1)))


def test_more_readings_narrow_a_belief_and_a_wild_one_moves_it_little():
    mean, variance = refreshed(0.0, 1.0, 1.0, 1.0)

    assert math.isclose(mean, 0.5, abs_tol=0.05)
    assert variance < 0.6
    assert abs(refreshed(0.0, 0.1, 1e6, 1.0)[0]) < 1e6 / 100


@given(st.floats(-1e300, 1e300), st.floats(0, 1e12), ANY, SIZES)
def test_a_refreshed_belief_is_finite(mean, variance, reading, sigma):
    found = refreshed(mean, variance, reading, sigma)

    assert all(math.isfinite(x) for x in found)
    assert found[1] >= 0


def test_a_wild_reading_among_five_moves_what_they_are_about_by_a_trifle():
    calm, wild = located([0.1, -0.1, 0.0, 0.05, -0.05], 0.1), located([0.1, -0.1, 0.0, 0.05, 3.0], 0.1)

    assert calm == pytest.approx((0.0, 0.1**2 / 5), rel=0.2, abs=1e-3)
    assert abs(wild[0]) < 0.06
    assert wild[1] > calm[1]


def test_of_two_readings_nobody_can_tell_which_is_wild():
    assert located([1.0, 5.0], 1.0) == (3.0, 0.5)
