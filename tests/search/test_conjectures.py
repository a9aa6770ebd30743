"""Conjectures: they appear when something truly pays, and fall when it stops."""

from __future__ import annotations

import math
import random

from hypothesis import given
from hypothesis import strategies as st

from builders import baseline, problem, run
from evogit.domain.belief import Belief
from evogit.search.conjectures import KEYS, NEWEST, Conjectures
from evogit.search.lesson import Lesson
from evogit.search.memory import Memory

KEY = "change:activation"


def lesson(number: int, gain: float | None, *keys: str, variance: float = 0.0, sigma: float = 0.0) -> Lesson:
    belief = None if gain is None else Belief(mean=0.0, variance=0.0, gain=gain, gain_variance=variance)
    return Lesson(
        run=run(str(number)),
        parent=baseline(0.5),
        incumbent=None,
        belief=belief,
        parent_belief=None,
        incumbent_belief=None,
        sigma=sigma,
        topics=keys or (KEY,),
    )


def told(gains, start: int = 1, into: Conjectures | None = None, **more) -> Conjectures:
    conjectures = into or Conjectures()
    for number, gain in enumerate(gains, start):
        conjectures.learn(lesson(number, gain, **more))
    return conjectures


def test_a_conjecture_appears_when_a_category_pays_and_is_withdrawn_when_it_stops():
    rng = random.Random(3)
    paid = told([rng.gauss(2.0, 0.7) for _ in range(8)], sigma=1.0)
    (stands,) = paid.standing()

    assert stands.helps
    assert stands.statement == "changes of category activation help"
    assert len(stands.for_) >= 7

    told([rng.gauss(-0.7, 0.7) for _ in range(NEWEST)], start=9, into=paid, sigma=1.0)

    assert not any(c.helps for c in paid.standing())
    (fell,) = paid.withdrawn()
    assert fell.helps
    assert fell.against[-1] in {str(n) for n in range(9, 9 + NEWEST)}


def test_what_hurts_is_a_conjecture_too():
    (stands,) = told([-2.0, -2.5, -1.8, -2.2], sigma=0.5).standing()

    assert not stands.helps
    assert stands.z < 0
    assert stands.for_ == ("1", "2", "3", "4")


def test_two_runs_one_lucky_run_and_crashes_make_no_rule():
    assert told([9.0, 9.0], sigma=1.0).standing() == []
    assert told([9.0, -0.1, 0.1, 0.0], sigma=0.1).standing() == []
    assert told([None] * 9).standing() == []


def test_without_noise_gains_that_agree_are_a_rule_and_gains_that_do_not_are_none():
    assert [c.helps for c in told([1.0, 1.0, 1.0]).standing()] == [True]
    assert told([1.0, 1.0, -1.9]).standing() == []
    assert told([0.0] * 5).standing() == []


def test_one_more_reading_does_not_flip_a_statement_to_and_fro():
    conjectures = told([1.5, 1.5, 1.5], sigma=1.0)

    told([-0.9], start=4, into=conjectures, sigma=1.0)

    assert [c.against for c in conjectures.standing()] == [("4",)]


def test_a_statement_that_stands_again_is_withdrawn_no_more():
    conjectures = told([2.0] * 4, sigma=0.5)
    told([-2.0] * 4, start=5, into=conjectures, sigma=0.5)
    assert conjectures.withdrawn()

    told([2.0] * NEWEST, start=9, into=conjectures, sigma=0.5)

    assert [c.helps for c in conjectures.standing()] == [True]
    assert not any(c.helps for c in conjectures.withdrawn())


def test_an_effect_is_shrunk_and_nobody_knows_what_nobody_tried():
    conjectures = told([2.0, 2.0, 2.0, 2.0], sigma=1.0)

    known, unknown = conjectures.effect(KEY), conjectures.effect("change:loss")

    assert 0 < known.mean < 2.0
    assert known.variance < unknown.variance == 1.0
    assert (unknown.mean, unknown.n, known.n) == (0.0, 0, 4)
    assert Conjectures().effect(KEY).n == 0


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=20), st.just(0.0) | st.floats(1e-30, 1e3), st.sampled_from([0.5, 4.0, 1024.0]))
def test_the_unit_of_the_metric_changes_no_conjecture(gains, sigma, unit):
    gains = [round(g, 3) for g in gains]
    plain, scaled = told(gains, sigma=sigma), told([g * unit for g in gains], sigma=sigma * unit)

    assert [(c.key, c.helps, c.for_) for c in plain.standing()] == [(c.key, c.helps, c.for_) for c in scaled.standing()]
    assert all(math.isfinite(x) for x in (plain.effect(KEY).mean, plain.effect(KEY).variance))
    assert abs(plain.effect(KEY).mean) <= max(abs(g) for g in gains)


def test_topics_are_bounded_and_those_touched_last_stay():
    conjectures = Conjectures()
    for number in range(KEYS + 5):
        conjectures.learn(lesson(number + 1, 1.0, f"gene:a.py:X={number}"))

    assert conjectures.effect("gene:a.py:X=0").n == 0
    assert conjectures.effect(f"gene:a.py:X={KEYS + 4}").n == 1


def test_a_number_that_is_none_teaches_nothing():
    assert told([math.nan, math.inf, 1.0, 1.0]).effect(KEY).n == 2


def test_memory_concludes_from_measured_runs_what_pays():
    rng = random.Random(1)
    means = [10.0, *(10.0 - n % 2 for n in range(12))]
    readings = [[rng.gauss(mean, 0.1) for _ in range(3)] for mean in means]
    runs = [run(str(n), *readings[n], change="schedule" if n % 2 else "activation") for n in range(1, 13)]
    lessons = [baseline(*readings[0]), *runs]

    memory = Memory.of(problem(), lessons)

    assert [(c.key, c.helps) for c in memory.conjectures.standing() if c.helps] == [("change:activation", True)]
    assert memory.conjectures.effect("change:activation").mean > 0.5 > abs(memory.conjectures.effect("change:schedule").mean)
