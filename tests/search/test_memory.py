"""Memory: folded from runs one at a time, equal to folding them all."""

from __future__ import annotations

import math
import random

from hypothesis import given
from hypothesis import strategies as st

from builders import LOSS, PARAMS, baseline, commit_of, problem, run, trial
from evogit.domain.run import Again
from evogit.domain.verdict import Verdict
from evogit.search import parents
from evogit.search.frontier import dominates, frontier, point
from evogit.search.memory import Memory


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


def again(*values: float, first_seed: int, purpose: str = "replicate") -> Again:
    lines = tuple(trial("0", first_seed + n, value) for n, value in enumerate(values))
    return Again(of=commit_of("0"), purpose=purpose, lines=lines)


def test_replicates_teach_the_same_noise_whenever_they_came():
    at_once = Memory.of(problem(), [*history(), again(0.13, 0.08, first_seed=2)])
    memory = Memory.of(problem(), history())

    memory.learn_again(again(0.13, first_seed=2))
    memory.learn_again(again(0.08, first_seed=3))

    assert memory.spread.is_known
    assert memory.spread.std > 0
    assert math.isclose(memory.spread.std, at_once.spread.std)
    assert memory.incumbent.mean("val_loss") == 0.09
    assert (memory.replicates[commit_of("0")], at_once.replicates[commit_of("0")]) == (2, 1)


def test_replicates_sharpen_what_is_believed_of_their_run():
    memory = Memory.of(problem(), history())
    before = memory.belief(commit_of("0"))

    memory.learn_again(again(0.13, 0.08, 0.12, first_seed=2))

    after = memory.belief(commit_of("0"))
    assert after.mean > before.mean
    assert after.variance < before.variance


def test_a_replicate_of_a_run_of_an_older_epoch_says_nothing_of_this_ones_noise():
    memory = Memory.of(problem(), [*history(), run("5", 0.2, epoch=1, verdict=Verdict.KEEP)])

    memory.learn_again(again(9.0, first_seed=2))

    assert not memory.spread.is_known


def test_memory_folded_at_once_believes_what_memory_kept_as_it_came_believes():
    lessons = [*history(), again(0.13, 0.08, first_seed=2), run("5", 0.05, 0.06, parents=("1",)), run("6", 0.4, parents=("3",))]
    kept = Memory(problem())
    for lesson in lessons:
        kept.take(lesson)
        kept.standing(commit_of("1"))  # asking changes nothing

    folded = Memory.of(problem(), lessons)

    assert kept.standing(commit_of("1")) == folded.standing(commit_of("1"))
    assert [kept.belief(commit_of(str(n))) for n in range(7)] == [folded.belief(commit_of(str(n))) for n in range(7)]
    assert folded.belief(commit_of("4")) is None


def test_a_forecast_keeps_to_the_side_of_zero_where_the_metric_always_was():
    memory = Memory.of(problem(), history())
    parent = memory.incumbent.commit

    assert memory.forecast((parent,), gain=5.0).mean == 0.0
    assert 0.0 < memory.forecast((parent,), gain=0.01).mean < 0.2
    for negative in ([baseline(-0.10, -0.11)], [baseline(0.10, 0.11), run("1", -0.01)]):
        free = Memory.of(problem(), negative)
        assert free.forecast((free.incumbent.commit,), gain=5.0).mean < -4.0
    below = Memory.of(problem(), [baseline(-0.10, -0.11)])
    assert below.forecast((below.incumbent.commit,), gain=-5.0).mean == 0.0
