"""choose: whose plan it is, and with what probability."""

from __future__ import annotations

import random

import msgspec
import pytest

from builders import LOSS, baseline, commit_of, problem, run
from evogit.domain.idea import Idea
from evogit.domain.plan import Plan
from evogit.domain.verdict import Verdict
from evogit.errors import WorkFailed
from evogit.policies.topk import TopK
from evogit.policies.uniform import Uniform
from evogit.search.memory import Memory
from evogit.stages.choose import BY_IDEA, REVIEWERS_SHARE, choose


class Asks:
    """An emitter that always, or never, has a plan."""

    def __init__(self, name: str, *, offers: bool = True, own: float = 0.5, **more) -> None:
        self.name, self.offers, self.own, self.more = name, offers, own, more

    def ask(self, memory: Memory, rng: random.Random) -> Plan | None:
        if not self.offers:
            return None
        return Plan(emitter=self.name, parents=(commit_of("0"),), seeds=(0,), rng=rng.getrandbits(48), propensity=self.own, **self.more)


class Fixed:
    """A policy with weights of its own."""

    name = "fixed"

    def __init__(self, **weights: float) -> None:
        self.weights = weights

    def chances(self, memory, emitters):
        total = sum(self.weights[e] for e in emitters)
        return {e: self.weights[e] / total for e in emitters}

    def parent(self, memory, rng):
        return None


def memory_with(*runs) -> Memory:
    return Memory.of(problem(metrics=(LOSS,)), (baseline(1.0, 1.01), *runs))


def idea(by: str, priority: float = 0.5) -> Idea:
    return Idea(
        id="0123456789abcdef",
        source=commit_of("0"),
        by=by,
        mutation_type="hyperparameter",
        description="raise the learning rate a little",
        priority=priority,
    )


def test_the_plan_carries_the_policy_its_chance_and_the_whole_propensity():
    plan = choose(memory_with(), [Asks("a")], Fixed(a=1), random.Random(0))

    assert (plan.policy, plan.chance, plan.propensity) == ("fixed", 1.0, 0.5)


def test_the_recorded_chance_is_how_often_an_emitter_is_chosen():
    memory, emitters = memory_with(), [Asks("a"), Asks("b", offers=False), Asks("c")]
    plans = [choose(memory, emitters, Fixed(a=3, b=5, c=1), random.Random(n)) for n in range(2000)]

    assert {p.chance for p in plans if p.emitter == "a"} == {0.75}
    assert {p.chance for p in plans if p.emitter == "c"} == {0.25}
    assert sum(p.emitter == "a" for p in plans) / 2000 == pytest.approx(0.75, abs=0.03)


def test_an_emitter_that_was_refused_twice_rests_and_its_chance_is_handed_on():
    refused = [run(str(n), emitter="a", verdict=Verdict.REJECT, incumbent=commit_of("0")) for n in (1, 2)]

    plan = choose(memory_with(*refused), [Asks("a"), Asks("b")], Uniform(), random.Random(0))

    assert (plan.emitter, plan.chance) == ("b", 1.0)


def test_one_that_rests_is_asked_when_no_other_has_anything():
    refused = [run(str(n), emitter="a", verdict=Verdict.REJECT, incumbent=commit_of("0")) for n in (1, 2)]

    plan = choose(memory_with(*refused), [Asks("a"), Asks("b", offers=False)], Uniform(), random.Random(0))

    assert plan.emitter == "a"


def test_nobody_with_a_plan_is_said_plainly():
    with pytest.raises(WorkFailed, match="no emitter has anything to try"):
        choose(memory_with(), [Asks("a", offers=False)], Uniform(), random.Random(0))


def test_the_same_memory_and_seed_give_the_same_plan():
    emitters = [Asks("a"), Asks("b")]

    assert choose(memory_with(), emitters, Uniform(), random.Random(7)) == choose(memory_with(), emitters, Uniform(), random.Random(7))


def test_what_one_emitter_draws_changes_no_others_plan():
    alone = choose(memory_with(), [Asks("a"), Asks("b", offers=False)], Uniform(), random.Random(7))
    beside = choose(memory_with(), [Asks("a"), Asks("b")], Fixed(a=1, b=1e-12), random.Random(7))

    assert alone.rng == beside.rng


def test_a_persons_idea_goes_first():
    memory = memory_with()
    memory.ideas.learn_person(idea("Ada"))

    plan = choose(memory, [Asks("a")], Uniform(), random.Random(0))

    assert plan.policy == BY_IDEA
    assert plan.idea == "0123456789abcdef"
    assert plan.chance == 1.0


def test_without_ideas_the_queue_is_left_alone():
    memory = memory_with()
    memory.ideas.learn_person(idea("Ada"))

    assert choose(memory, [Asks("a")], Uniform(), random.Random(0), ideas=False).emitter == "a"


def test_a_reviewers_idea_competes_by_its_priority(monkeypatch):
    memory = memory_with()
    best = idea("reviewer:heuristic", priority=0.8)
    monkeypatch.setattr(memory.ideas, "best", lambda: best)
    plans = [choose(memory, [Asks("a"), Asks("b")], Uniform(), random.Random(n)) for n in range(2000)]
    taken, others = [p for p in plans if p.policy == BY_IDEA], [p for p in plans if p.policy == "uniform"]

    assert len(taken) / 2000 == pytest.approx(0.8 * REVIEWERS_SHARE, abs=0.03)
    assert all(p.chance == pytest.approx(0.24) and p.idea == best.id for p in taken)
    assert all(p.chance == 0.5 and p.propensity == pytest.approx(0.76 * 0.5 * 0.5) for p in others)


def test_a_policy_with_parents_of_its_own_says_where_to_start():
    kept = [run(str(n), 1.0 - n / 10, emitter="a", verdict=Verdict.KEEP) for n in (1, 2, 3)]
    memory = memory_with(*kept)
    plans = [choose(memory, [Asks("a")], TopK(), random.Random(n)) for n in range(400)]

    assert {p.parents[0] for p in plans} == {commit_of(label) for label in "123"}
    best = [p for p in plans if p.parents[0] == commit_of("3")]
    assert len(best) / 400 == pytest.approx(0.7, abs=0.08)
    assert all(p.propensity == pytest.approx(0.7) for p in best)


def test_a_plan_about_one_certain_run_keeps_its_parent():
    kept = run("1", 0.5, emitter="a", verdict=Verdict.KEEP)
    asked = Asks("a", contrast=commit_of("1"))

    plan = choose(memory_with(kept), [asked], TopK(), random.Random(0))

    assert plan.parents == (commit_of("0"),)
    assert msgspec.structs.asdict(plan)["propensity"] == 0.5
