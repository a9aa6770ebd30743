"""The seven roles: each asks for its own kind of change, from memory alone."""

from __future__ import annotations

import random

import pytest

from builders import baseline, commit_of, problem, run
from evogit import registry
from evogit.domain.verdict import Verdict
from evogit.search.memory import Memory

ROLES = registry.names("emitters")


def emitter(name: str):
    return registry.find("emitters", name)()


def campaign() -> Memory:
    """A baseline, two independent gains, a harmful step and a surprise."""
    return Memory.of(
        problem(),
        [
            baseline(0.10, 0.11, 0.09),
            run("1", 0.08, 0.084, 0.076, verdict=Verdict.KEEP),
            run("2", 0.085, 0.081, 0.089),
            run("3", 0.50, parents=("1",)),
        ],
    )


def test_the_seven_roles_are_registered_in_order():
    assert ROLES == [
        "local_tuner",
        "optimizer_hacker",
        "architecture_mutator",
        "simplifier",
        "contrarian",
        "recombinator",
        "anomaly_chaser",
    ]


@pytest.mark.parametrize("name", ROLES)
def test_a_role_has_nothing_to_offer_before_a_baseline_and_never_raises(name):
    assert emitter(name).ask(Memory(problem()), random.Random(0)) is None


@pytest.mark.parametrize("name", ROLES)
def test_a_role_is_deterministic_in_memory_and_generator(name):
    first, second = (emitter(name).ask(campaign(), random.Random(5)) for _ in range(2))

    assert first == second
    assert first.emitter == name
    assert first.parents and set(first.parents) <= {commit_of(str(n)) for n in range(4)}
    assert first.instruction and first.forecast is not None and first.forecast.spread > 0


def test_the_contrarian_reverses_the_most_harmful_step_from_where_it_was_made():
    plan = emitter("contrarian").ask(campaign(), random.Random(0))

    assert plan.contrast == commit_of("3")
    assert plan.parents == (commit_of("1"),)
    assert plan.operators[0] == "reverse_change"


def test_the_contrarian_does_not_reverse_the_same_step_twice():
    memory = campaign()
    memory.learn(run("4", 0.12, emitter="contrarian", contrast=commit_of("3"), parents=("1",)))

    assert emitter("contrarian").ask(memory, random.Random(0)).contrast != commit_of("3")


def test_the_recombinator_joins_two_runs_of_which_neither_descends_from_the_other():
    plan = emitter("recombinator").ask(campaign(), random.Random(0))

    assert plan.merge
    assert set(plan.parents) <= {commit_of("1"), commit_of("2"), commit_of("3")}
    assert set(plan.parents) != {commit_of("1"), commit_of("3")}


def test_the_recombinator_waits_for_two_runs():
    assert emitter("recombinator").ask(Memory.of(problem(), [baseline(0.1), run("1", 0.2)]), random.Random(0)) is None


def test_the_anomaly_chaser_halves_the_most_surprising_step_once():
    memory = campaign()
    plan = emitter("anomaly_chaser").ask(memory, random.Random(0))
    memory.learn(run("4", 0.2, emitter="anomaly_chaser", contrast=plan.contrast, parents=("1",)))

    assert plan.contrast == commit_of("3")
    assert emitter("anomaly_chaser").ask(memory, random.Random(0)).contrast != commit_of("3")


def test_the_anomaly_chaser_measures_again_while_the_noise_is_unknown():
    memory = Memory.of(problem(), [baseline(0.1), run("1", 0.5)])

    plan = emitter("anomaly_chaser").ask(memory, random.Random(0))

    assert plan.replicate
    assert plan.parents == (commit_of("1"),)


def test_the_simplifier_starts_from_the_incumbent():
    assert emitter("simplifier").ask(campaign(), random.Random(0)).parents == (commit_of("1"),)
