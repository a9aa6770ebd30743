"""Warnings: what a person should look at, and silence where nothing is wrong."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from builders import baseline, commit_of, problem, run, trial
from evogit.domain.problem import Budget, Decide
from evogit.domain.run import Again
from evogit.domain.trial import Crash, Status, TrialLine
from evogit.domain.verdict import Verdict
from evogit.search.facts import Facts
from evogit.search.memory import Memory
from evogit.search.noise import Spread
from evogit.search.warnings import drifted, warnings
from lessons import KINDS, Story, unit_problem

EMITTERS = ("local_tuner", "simplifier", "contrarian")


def noisy(rng: random.Random, mean: float = 1.0) -> list[float]:
    return [rng.gauss(mean, 0.01) for _ in range(3)]


def healthy(count: int = 50, **more) -> list:
    rng = random.Random(5)
    runs = [run(str(n), *noisy(rng), emitter=EMITTERS[n % 3], params=(9.0,), **more) for n in range(1, count)]
    return [baseline(*noisy(rng), params=(9.0,)), *runs]


def kinds(lessons, **more) -> list[str]:
    return [w.kind for w in warnings(Memory.of(problem(**more), lessons))]


def test_a_campaign_without_trouble_is_not_warned_of():
    assert kinds(healthy()) == []
    assert kinds([]) == []


def test_one_emitter_that_takes_over_is_told_while_there_are_others():
    rng = random.Random(5)
    taken = [*healthy(20), *(run(str(n), *noisy(rng), emitter="simplifier", params=(9.0,)) for n in range(20, 55))]
    alone = [baseline(*noisy(rng)), *(run(str(n), *noisy(rng), emitter="simplifier") for n in range(1, 60))]

    assert kinds(taken) == ["collapse"]
    assert kinds(alone) == []
    assert [w.kind for w in warnings(Memory.of(problem(), alone), available=EMITTERS)] == ["collapse"]


def test_a_fault_that_strikes_again_and_again_is_told_once():
    def crashed(n: int):
        crash = Crash(kind="ValueError", message=f"bad shape {n}", where=f"train.py:{n}")
        line = TrialLine(id=str(n), time="", purpose="select", run=commit_of(str(n)), seed=0, status=Status.CRASH, crash=crash)
        return run(str(n), verdict=Verdict.CRASH, trials=(line,), emitter=EMITTERS[n % 3])

    (warning,) = warnings(Memory.of(problem(), [*healthy(20), *(crashed(n) for n in range(20, 30))]))

    assert warning.kind == "crashes"
    assert warning.message == "10 of the newest 29 runs crash alike: ValueError in train.py: bad shape #"
    assert warning.hint == "evogit show 29 --tag toy"


def test_two_faults_are_two_warnings_however_often_each_is_counted_again():
    def crashed(n: int, kind: str):
        line = TrialLine(
            id=str(n), time="", purpose="select", run=commit_of(str(n)), seed=0, status=Status.CRASH, crash=Crash(kind=kind, message="bad")
        )
        return run(str(n), verdict=Verdict.CRASH, trials=(line,), emitter=EMITTERS[n % 3])

    lessons = [*healthy(20), *(crashed(n, "ValueError" if n % 2 else "KeyError") for n in range(20, 40))]
    told = [warnings(Memory.of(problem(), some)) for some in (lessons[:-2], lessons)]

    assert [w.kind for w in told[0]] == ["crashes", "crashes"]
    assert {w.about for w in told[0]} == {w.about for w in told[1]}
    assert len({w.about for w in told[0]}) == 2
    assert {w.message for w in told[0]} != {w.message for w in told[1]}


def test_an_agent_that_has_nothing_left_to_offer_is_told_after_two_turns_of_every_emitter():
    refused = [run(str(n), verdict=Verdict.REJECT, reason="no untried edit is left", emitter=EMITTERS[n % 3]) for n in range(20, 34)]

    assert kinds([*healthy(20), *refused[:-1]]) == []
    (warning,) = warnings(Memory.of(problem(), [*healthy(20), *refused]))
    assert warning.kind == "refusals"
    assert warning.message == "the newest 14 candidates were refused before they ran, the last one because: no untried edit is left"
    assert "train.py" in warning.hint and "evogit show 33 --tag toy" in warning.hint


def test_unknown_noise_with_one_seed_is_told_with_what_to_do():
    (warning,) = warnings(Memory.of(problem(budget=Budget(seeds=(0,))), [baseline(0.5), run("1", 0.4)]))

    assert (warning.kind, warning.hint) == ("noise", "evogit baseline --seeds 5 --tag toy")


def test_candidates_that_ignore_their_seeds_among_others_that_do_not_are_named():
    (warning,) = warnings(Memory.of(problem(), [*healthy(20), run("20", 1.0, 1.0, 1.0, params=(9.0,))]))

    assert warning.kind == "seeds"
    assert warning.message.endswith(": 20")


def test_a_problem_whose_seeds_change_nothing_is_told_so():
    lessons = [baseline(1.0, 1.0, 1.0), run("1", 0.9, 0.9, 0.9)]

    assert kinds(lessons) == ["seeds"]
    assert kinds(lessons, budget=Budget(seeds=(0,))) == []


def test_a_metric_that_is_reported_no_more_is_told_after_five_runs():
    rng = random.Random(5)
    quiet = [run(str(n), *noisy(rng), emitter=EMITTERS[n % 3]) for n in range(20, 25)]

    assert kinds([*healthy(20), *quiet[:4]]) == []
    (warning,) = warnings(Memory.of(problem(), [*healthy(20), *quiet]))
    assert warning.kind == "metrics"
    assert "run 19 had it" in warning.message


def test_a_baseline_that_measures_otherwise_now_has_drifted():
    rng = random.Random(2)
    first = [rng.gauss(1.0, 0.01) for _ in range(5)]

    assert drifted(first, [rng.gauss(1.1, 0.01) for _ in range(3)], 0.05) == pytest.approx(0.1, abs=0.02)
    assert drifted(first, [rng.gauss(1.0, 0.01) for _ in range(3)], 0.01) == 0.0
    assert drifted([1.0], [2.0], 0.7) == 0.0
    assert drifted([1.0, 1.0], [1.5], 0.0) == 0.5
    assert drifted(first, [], 0.01) == 0.0


@given(steps=st.lists(st.tuples(st.sampled_from(KINDS), st.integers(0, 2**20)), max_size=60), noise=st.sampled_from((0.0, 0.01, 0.1)))
@settings(max_examples=25, deadline=None)
def test_a_glance_at_the_facts_warns_of_what_the_whole_memory_warns_of(steps, noise):
    story = Story(unit_problem(), noise=noise).tell(steps)

    facts = Facts.at(unit_problem(), story.lessons, story.memory.epoch)

    assert warnings(facts, EMITTERS) == warnings(story.memory, EMITTERS)
    assert (facts.spread.std, facts.spread.ruler) == (story.memory.spread.std, story.memory.spread.ruler)
    assert (facts.baseline, facts.incumbent) == (story.memory.baseline, story.memory.incumbent)


def test_an_epoch_without_a_decided_run_has_no_facts_of_the_one_before():
    facts = Facts.at(problem(budget=Budget(seeds=(0,))), [baseline(0.5), run("1", 0.4)], epoch=1)

    assert (facts.baseline, facts.incumbent, list(facts.recent)) == (None, None, [])
    assert warnings(facts) == []


@pytest.mark.skipif(not hasattr(Spread, "readings"), reason="this ruler keeps no single readings")
def test_memory_tells_a_drifting_baseline_from_its_replicates():
    rng = random.Random(8)
    lines = [tuple(trial("0", seed, rng.gauss(mean, 0.01)) for seed in range(3, 7)) for mean in (1.0, 1.5)]
    still, moved = ([*healthy(), Again(of=commit_of("0"), purpose="replicate", lines=some)] for some in lines)

    assert kinds(still) == []
    assert kinds(moved) == ["drift"]


def limited(*lessons):
    return [w for w in warnings(Memory.of(problem(decide=Decide(constraints=("params <= 100k",))), lessons)) if w.kind == "constraints"]


def test_an_incumbent_that_breaks_a_constraint_is_told_until_one_that_breaks_none_has_its_place():
    heavy = baseline(0.1, 0.11, 0.09, params=(120_000.0,))
    worse = run("1", 0.05, params=(130_000.0,), verdict=Verdict.KEEP)
    light = run("2", 0.2, params=(90_000.0,), verdict=Verdict.KEEP)

    (first,), (second,) = limited(heavy), limited(heavy, worse)

    assert first.message == "the baseline (run 0) breaks a constraint: params is 120000, and must be <= 100k"
    assert "whatever its val_loss" in first.hint
    assert second.message == "the incumbent (run 1) breaks a constraint: params is 130000, and must be <= 100k"
    assert limited(heavy, light) == []
    assert limited() == []
