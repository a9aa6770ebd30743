"""Memory: folded from runs one at a time, equal to folding them all."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from builders import LOSS, PARAMS, baseline, commit_of, problem, run, trial
from evogit.domain.verdict import Verdict
from evogit.search import parents
from evogit.search.frontier import dominates, frontier, point
from evogit.search.memory import Memory
from evogit.search.noise import Spread


def test_spread_pools_the_deviation_within_runs_not_between_them():
    spread = Spread()
    spread.learn((1.0, 3.0))
    spread.learn((101.0, 103.0))

    assert abs(spread.std - 2**0.5) < 1e-12
    assert spread.is_known


def test_one_reading_teaches_nothing_about_noise():
    spread = Spread()
    spread.learn((1.0,))

    assert spread.std == 0.0
    assert not spread.is_known


@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), min_size=1, max_size=25))
def test_the_frontier_has_no_dominated_member_and_misses_none(points):
    runs = [run(str(n), float(x), params=(float(y),)) for n, (x, y) in enumerate(points)]
    objectives = (LOSS, PARAMS)

    front = frontier(runs, objectives)

    on_it = {r.commit for r in front}
    for r in runs:
        beaten = any(dominates(point(o, objectives), point(r, objectives), objectives) for o in runs)
        assert (r.commit in on_it) == (not beaten)


def test_a_run_that_lacks_an_objective_is_never_on_the_frontier():
    assert frontier([run("1", 0.1)], (LOSS, PARAMS)) == []


def history() -> list:
    return [
        baseline(0.10, 0.11),
        run("1", 0.09, 0.09, verdict=Verdict.KEEP),
        run("2", 0.30, parents=("1",)),
        run("3", 0.095, parents=("1",), near_miss=True),
        run("4", parents=("1",), verdict=Verdict.CRASH),
    ]


def test_the_incumbent_is_the_last_kept_run():
    memory = Memory.of(problem(), history())

    assert memory.incumbent.label == "1"
    assert memory.baseline.label == "0"
    assert [r.label for r in memory.near_misses] == ["3"]


def test_a_crash_is_never_a_parent():
    assert "4" not in [r.label for r in Memory.of(problem(), history()).pool()]


def test_parents_weights_sum_to_one_and_prefer_the_incumbent():
    weights = {r.label: w for r, w in parents.weights(Memory.of(problem(), history()))}

    assert abs(sum(weights.values()) - 1) < 1e-9
    assert max(weights, key=weights.get) == "1"
    assert weights["2"] < weights["3"] < weights["1"]


def test_a_crowded_parent_loses_weight():
    crowded = Memory.of(problem(), history())
    crowded.pending[commit_of("1")] += 30

    weight = {r.label: w for r, w in parents.weights(crowded)}["1"]

    assert weight < {r.label: w for r, w in parents.weights(Memory.of(problem(), history()))}["1"]


def test_a_new_epoch_forgets_numbers_but_not_what_was_tried():
    runs = [*history(), run("5", 0.5, parents=(), epoch=1, verdict=Verdict.KEEP, generation=0, emitter="baseline", sources="s5")]

    memory = Memory.of(problem(), runs)

    assert memory.baseline.label == memory.incumbent.label == "5"
    assert [r.label for r in memory.pool()] == ["5"]
    assert not memory.spread.is_known


def test_the_same_code_is_remembered_under_the_first_run_that_had_it():
    memory = Memory.of(problem(), [baseline(0.1, sources="a"), run("1", 0.2, sources="b"), run("2", 0.2, sources="b")])

    assert memory.tried == {"a": "0", "b": "1"}


def test_drawing_a_parent_depends_on_the_generator_alone():
    draws = [parents.pick(Memory.of(problem(), history()), random.Random(7))[0].label for _ in range(3)]

    assert len(set(draws)) == 1


def test_replicates_teach_the_same_noise_whenever_they_came():
    lines = [trial("0", seed, value) for seed, value in ((2, 0.13), (3, 0.08))]
    at_once = Memory.of(problem(), history(), {commit_of("0"): lines})
    memory = Memory.of(problem(), history())

    for line in lines:
        memory.learn_again(commit_of("0"), [line])

    pooled = Spread()
    pooled.learn((0.10, 0.11, 0.13, 0.08))
    pooled.learn((0.09, 0.09))
    assert abs(memory.spread.std - pooled.std) < 1e-12
    assert abs(at_once.spread.std - pooled.std) < 1e-12
    assert memory.incumbent.mean("val_loss") == 0.09


def test_a_replicate_of_a_run_of_an_older_epoch_says_nothing_of_this_ones_noise():
    memory = Memory.of(problem(), [*history(), run("5", 0.2, epoch=1, verdict=Verdict.KEEP)])

    memory.learn_again(commit_of("0"), [trial("0", 2, 9.0)])

    assert not memory.spread.is_known
