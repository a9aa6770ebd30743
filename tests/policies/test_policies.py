"""Policies: probabilities that sum to one, stay above the floor and follow what pays."""

from __future__ import annotations

import random

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from builders import LOSS, baseline, commit_of, problem, run
from evogit.domain.problem import Search
from evogit.domain.verdict import Verdict
from evogit.policies.floors import floored
from evogit.policies.phases import STREAK, Phases
from evogit.policies.sw_ucb import SlidingWindowUcb
from evogit.policies.thompson import Thompson, best_of
from evogit.policies.topk import TopK
from evogit.policies.uniform import Uniform
from evogit.seams import Policy
from evogit.search.memory import Memory

NAMES = ("local_tuner", "simplifier", "recombinator", "contrarian")
ALL = (SlidingWindowUcb, Thompson, Uniform, Phases, TopK)
LEARNERS = (SlidingWindowUcb, Thompson)


def campaign(emitters, paying: str = "", floor: float = 0.0, spoilt: bool = False) -> Memory:
    """A noisy problem; changes of the paying emitter gain 0.02 each, all others lose."""
    memory = Memory(problem(metrics=(LOSS,), search=Search(floor=floor)))
    memory.learn(baseline(1.00, 1.01, 0.99, emitter="baseline"))
    best, at = 1.0, "0"
    for n, emitter in enumerate(emitters, 1):
        if spoilt and n % 3 == 0:
            memory.learn(run(str(n), parents=(at,), emitter=emitter, verdict=Verdict.CRASH, incumbent=commit_of(at)))
        elif emitter == paying:
            best, at = best - 0.05, str(n)
            memory.learn(run(at, best, best + 0.01, parents=(memory.incumbent.label,), emitter=emitter, verdict=Verdict.KEEP, seconds=2.0))
        else:
            memory.learn(run(str(n), best + 0.2, parents=(at,), emitter=emitter, incumbent=commit_of(at), seconds=1.0))
    return memory


@pytest.mark.parametrize("policy", ALL)
@given(emitters=st.lists(st.sampled_from(NAMES), max_size=30), paying=st.sampled_from(NAMES), spoilt=st.booleans(), count=st.integers(1, 4))
@settings(max_examples=8, deadline=None)
def test_chances_sum_to_one_and_none_is_below_the_floor(policy, emitters, paying, spoilt, count):
    memory = campaign(emitters, paying, floor=0.05, spoilt=spoilt)

    chances = policy().chances(memory, NAMES[:count])

    assert list(chances) == list(NAMES[:count])
    assert sum(chances.values()) == pytest.approx(1)
    assert min(chances.values()) >= 0.05 - 1e-12


@pytest.mark.parametrize("policy", ALL)
def test_every_policy_fills_the_seam(policy):
    assert isinstance(policy(), Policy)


@pytest.mark.parametrize("policy", ALL)
def test_the_same_memory_gives_the_same_chances(policy):
    assert policy().chances(campaign(NAMES * 5, "simplifier"), NAMES) == policy().chances(campaign(NAMES * 5, "simplifier"), NAMES)


@pytest.mark.parametrize("policy", ALL)
def test_without_any_success_there_is_still_a_chance_for_each(policy):
    chances = policy().chances(campaign(()), NAMES)

    assert all(chance == pytest.approx(0.25) for chance in chances.values())


@pytest.mark.parametrize("policy", LEARNERS)
def test_the_emitter_that_pays_is_asked_most(policy):
    chances = policy().chances(campaign(NAMES * 8, "contrarian"), NAMES)

    assert max(chances, key=chances.get) == "contrarian"
    assert chances["contrarian"] > 0.5


@pytest.mark.parametrize("policy", LEARNERS)
def test_when_another_emitter_pays_it_takes_over(policy):
    memory = campaign(NAMES * 6, "contrarian")
    later = campaign((*NAMES * 6, *("contrarian", "simplifier", "local_tuner", "simplifier") * 15), "simplifier")

    before, after = policy().chances(memory, NAMES), policy().chances(later, NAMES)

    assert max(before, key=before.get) == "contrarian"
    assert max(after, key=after.get) == "simplifier"


@pytest.mark.parametrize("policy", LEARNERS)
def test_a_plateau_makes_chances_flatter(policy):
    paying = campaign(NAMES * 8, "contrarian")
    before = policy().chances(paying, NAMES)
    assert not paying.portfolio.is_plateau
    paying.portfolio.plateau = 50

    after = policy().chances(paying, NAMES)

    assert max(after.values()) < max(before.values())
    assert min(after.values()) > min(before.values())


def test_a_floor_too_high_for_so_many_emitters_is_uniform():
    chances = floored(campaign((), floor=0.9), NAMES, {"simplifier": 1.0})

    assert all(chance == pytest.approx(0.25) for chance in chances.values())


@given(st.dictionaries(st.sampled_from(NAMES), st.tuples(st.floats(-1, 1), st.floats(0.05, 1)), min_size=1))
def test_the_chances_of_being_best_sum_to_one(posteriors):
    assert sum(best_of(posteriors).values()) == pytest.approx(1, abs=0.03)


def test_the_chance_of_being_best_agrees_with_drawing():
    posteriors, rng = {"a": (0.0, 1.0), "b": (0.5, 0.5), "c": (-0.5, 2.0)}, random.Random(0)
    drawn = [max(posteriors, key=lambda e: rng.gauss(*posteriors[e])) for _ in range(20000)]

    found = best_of(posteriors)

    assert all(found[e] == pytest.approx(drawn.count(e) / 20000, abs=0.03) for e in posteriors)


def test_phases_recombine_after_they_exploit():
    memory = campaign((*NAMES * 3, "local_tuner"))
    chances = Phases().chances(memory, NAMES)

    assert memory.turns == 13
    assert max(chances, key=chances.get) == "recombinator"


def test_phases_break_a_streak():
    chances = Phases().chances(campaign((*NAMES * 2, *["simplifier"] * STREAK), "simplifier"), NAMES)

    assert chances["simplifier"] == min(chances.values())


def test_topk_draws_the_three_best_at_seventy_twenty_ten():
    memory = campaign(("simplifier", "contrarian", "simplifier"), "simplifier")

    drawn = TopK().parents(memory)

    assert [probability for _, probability in drawn] == pytest.approx([0.7, 0.2, 0.1])
    assert drawn[0][0].label == "3"


def test_topk_diversifies_after_five_discards_and_explores_every_fifth_run():
    stuck, fifth = campaign(["contrarian"] * 5), campaign(["simplifier"] * 4, "simplifier")

    assert len({probability for _, probability in TopK().parents(stuck)}) == 1
    assert len({probability for _, probability in TopK().parents(fifth)}) == 1
    assert sum(probability for _, probability in TopK().parents(stuck)) == pytest.approx(1)


def test_topk_has_no_parent_before_a_baseline():
    assert TopK().parent(Memory(problem()), random.Random(0)) is None


def test_changing_the_unit_of_the_metric_changes_no_chance():
    def scaled(factor: float) -> Memory:
        memory = Memory(problem(metrics=(LOSS,)))
        rng = random.Random(5)
        memory.learn(baseline(*(factor * (1 + rng.gauss(0, 0.01)) for _ in range(3)), emitter="baseline"))
        for n in range(1, 30):
            emitter = NAMES[n % 4]
            loss = factor * (1 + rng.gauss(0, 0.01) - 0.02 * (emitter == "simplifier"))
            memory.learn(msgspec.structs.replace(run(str(n), loss, emitter=emitter)))
        return memory

    one, other = Thompson().chances(scaled(1.0), NAMES), Thompson().chances(scaled(1024.0), NAMES)

    assert other == pytest.approx(one, abs=1e-6)


def test_one_lucky_run_makes_no_favourite():
    memory = campaign(["local_tuner", "simplifier", "recombinator", "contrarian"] * 5 + ["simplifier"], paying="simplifier")
    once = campaign(["simplifier", "local_tuner", "recombinator", "contrarian"], paying="simplifier")

    def lead(memory: Memory) -> float:
        bounds = SlidingWindowUcb().bounds(memory, NAMES)
        return bounds["simplifier"] - max(b for name, b in bounds.items() if name != "simplifier")

    assert 0 < lead(once) < lead(memory) / 2
