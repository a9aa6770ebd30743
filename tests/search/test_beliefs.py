"""Beliefs along a lineage: shrunk, sharpened by later readings, taught by the campaign."""

from __future__ import annotations

import math
import random

import pytest

from builders import baseline, problem, run
from evogit.domain.belief import Ruler
from evogit.domain.metric import Direction, Metric
from evogit.domain.verdict import Verdict
from evogit.search.beliefs import FLOOR, Beliefs
from evogit.search.memory import Memory
from evogit.search.noise import Spread

ROOT = baseline(0.0, 1.0, -1.0, 0.5, -0.5, 1.2, -1.2, 0.8, -0.8)


def started(*, root=ROOT, the_problem=None) -> tuple[Spread, Beliefs]:
    spread = Spread()
    beliefs = Beliefs(the_problem or problem(), spread)
    spread.learn(root.commit, dict(enumerate(root.readings["val_loss"])), screened=False)
    beliefs.learn(root, None, None)
    return spread, beliefs


def test_a_baseline_is_believed_as_far_as_its_readings_go():
    spread, beliefs = started()
    belief = beliefs.of(ROOT.commit)

    assert abs(belief.mean) < 1e-12
    assert math.isclose(belief.variance, spread.sigma**2 / 9)


def test_a_lucky_child_shrinks_towards_its_parent():
    _, beliefs = started()

    belief = beliefs.learn(run("1", -2.0), ROOT, ROOT)

    assert -2 < belief.mean < 0
    assert 0 < belief.gain < 2
    assert belief.p_better == belief.p_gain < 0.5
    assert math.isclose(belief.p_harm + belief.p_null + belief.p_gain, 1)


def test_the_better_way_of_the_metric_is_minded():
    up = problem(metrics=(Metric(name="val_loss", direction=Direction.MAXIMIZE),))
    _, beliefs = started(the_problem=up)

    belief = beliefs.learn(run("1", 6.0, 5.0), ROOT, ROOT)

    assert belief.p_gain > 0.9
    assert belief.mean > 3


def test_a_child_of_another_run_is_held_against_the_incumbent():
    _, beliefs = started()
    good, child = run("1", -9.0, -9.5, verdict=Verdict.KEEP), run("2", -2.0, -2.5)
    beliefs.learn(good, ROOT, ROOT)

    belief = beliefs.learn(child, ROOT, good)

    assert belief.p_gain > 0.5
    assert belief.p_better < 0.01
    assert belief.gain_over_incumbent < -4


def test_later_readings_sharpen_a_belief_and_move_it():
    _, beliefs = started()
    child = run("1", -3.0)
    before = beliefs.learn(child, ROOT, ROOT)

    for seed in range(10, 20):
        beliefs.learn_again(child, {seed: 0.0})

    after = beliefs.of(child.commit)
    assert after.variance < before.variance
    assert abs(after.mean) < 0.5 < abs(before.mean)
    assert after.gain < before.gain


def test_a_selected_reading_told_again_changes_nothing():
    _, beliefs = started()
    child = run("1", -3.0)
    before = beliefs.learn(child, ROOT, ROOT)

    beliefs.learn_again(child, {0: -3.0})

    assert beliefs.of(child.commit) == before


def test_without_noise_numbers_are_compared_plainly():
    root = baseline(0.5)
    _, beliefs = started(root=root)

    better, worse = beliefs.learn(run("1", 0.4), root, root), beliefs.learn(run("2", 0.6), root, root)

    assert (better.p_gain, better.p_better, better.variance) == (1.0, 1.0, 0.0)
    assert (worse.p_gain, worse.p_harm) == (0.0, 1.0)
    assert beliefs.standing(root, root).ruler is Ruler.UNKNOWN


def test_what_was_read_before_noise_was_known_is_no_longer_certain_after():
    root = baseline(0.5)
    spread, beliefs = started(root=root)
    assert beliefs.of(root.commit).variance == 0.0

    spread.learn(root.commit, {1: 0.7})
    beliefs.learn_again(root, {1: 0.7})

    belief = beliefs.of(root.commit)
    assert math.isclose(belief.mean, 0.6)
    assert math.isclose(belief.variance, spread.sigma**2 / 2)


def test_a_run_without_a_number_is_not_believed_in():
    _, beliefs = started()

    assert beliefs.learn(run("1"), ROOT, ROOT) is None
    assert beliefs.of(run("1").commit) is None


def test_a_campaign_teaches_how_often_changes_pay():
    g = random.Random(4)
    (_, dull), (_, rich) = started(), started()
    for n in range(1, 200):
        dull.learn(run(str(n), g.gauss(0, 1)), ROOT, ROOT)
        rich.learn(run(str(n), g.gauss(-4, 1)), ROOT, ROOT)

    assert dull.parts[2] < 0.1
    assert rich.parts[2] > 0.5
    assert all(part >= 0.9 * FLOOR for part in dull.parts)
    assert math.isclose(sum(rich.parts), 1)


def test_diverged_runs_do_not_teach_that_gains_are_huge():
    spread, beliefs = started()
    for n in range(1, 100):
        beliefs.learn(run(str(n), 1e12), ROOT, ROOT)

    assert max(beliefs.scales) <= 4.0 * spread.sigma
    assert all(math.isfinite(part) for part in beliefs.parts)


def test_a_standing_carries_the_incumbents_means_of_all_metrics():
    _, beliefs = started()
    good = run("1", 1.0, 3.0, params=(90.0, 110.0), verdict=Verdict.KEEP)
    beliefs.learn(good, ROOT, ROOT)

    assert beliefs.standing(ROOT, good).incumbent_means == {"val_loss": 2.0, "params": 100.0}
    assert beliefs.standing(ROOT, ROOT).incumbent_means.keys() == {"val_loss"}
    assert beliefs.standing(None, None).incumbent_means == {}


def test_diverging_runs_make_harms_large_and_leave_gains_as_they_are():
    memory = Memory.of(problem(), [baseline(1.0, 1.01, 0.99), *(run(str(n), 9.0) for n in range(1, 9))])

    harm, gain = memory.beliefs.scales
    assert harm > 1.8 * gain
    assert gain == pytest.approx(2 * memory.spread.sigma, rel=0.05)
