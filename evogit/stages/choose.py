"""memory -> Plan: a person's idea, or a reviewer's, or what the emitter that the policy drew asks for. It spends nothing.

The probability of every choice is exact: all emitters are asked before one is drawn, so that the chance of one that has
nothing to offer, or that rests, is handed to the others before the draw and not after it.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence

import msgspec

from evogit.domain.idea import Idea
from evogit.domain.plan import Plan
from evogit.errors import WorkFailed
from evogit.seams import Emitter, Policy
from evogit.search.ideas import share
from evogit.search.memory import Memory

BY_IDEA = "ideas"  # name in `Plan.policy` of runs that no policy chose
REVIEWERS_SHARE = 0.3  # chance of a reviewer's idea of priority 1; one of priority 0.5 has half of it


def choose(memory: Memory, emitters: Sequence[Emitter], policy: Policy, rng: random.Random, ideas: bool = True) -> Plan:
    """The next plan. People's ideas go first, the best of the reviewers' competes by its priority, else the policy draws.

    `chance` is the probability with which the policy draws this emitter where it is the policy's turn, `propensity` that
    of the whole choice, parent and operators included. Costs one question to every emitter. Raises WorkFailed if there is
    no idea and none has a plan (a baseline without a number).
    """
    if ideas and (plan := _persons(memory, rng)) is not None:
        return plan
    odds = 0.0
    if ideas and (idea := memory.ideas.best()) is not None and (plan := _plan_for(memory, idea, rng)) is not None:
        odds = REVIEWERS_SHARE * share(idea.priority)
        if rng.random() < odds:
            return msgspec.structs.replace(plan, policy=BY_IDEA, chance=odds, propensity=odds * plan.propensity, idea=idea.id)
    offered = offers(memory, emitters, rng)
    chances = policy.chances(memory, list(offered))
    name = _draw(chances, rng)
    plan = _with_parent(memory, policy, offered[name], rng)
    return msgspec.structs.replace(plan, policy=policy.name, chance=chances[name], propensity=(1 - odds) * chances[name] * plan.propensity)


def _persons(memory: Memory, rng: random.Random) -> Plan | None:
    """The plan of the person's idea that waits longest, if one can be made of it."""
    idea = memory.ideas.next_person()
    plan = _plan_for(memory, idea, rng) if idea is not None else None
    return msgspec.structs.replace(plan, policy=BY_IDEA, chance=1.0, idea=idea.id) if plan is not None and idea is not None else None


def offers(memory: Memory, emitters: Sequence[Emitter], rng: random.Random) -> dict[str, Plan]:
    """What each emitter would do now; those that rest are asked only if no other has anything. Raises WorkFailed if none has."""
    awake = set(memory.portfolio.awake([e.name for e in emitters]))
    seeds = {e.name: rng.getrandbits(48) for e in emitters}  # one each, so that what one draws changes no other's plan
    for is_up in (True, False):
        asked = [e for e in emitters if (e.name in awake) is is_up]
        said = {e.name: e.ask(memory, random.Random(seeds[e.name])) for e in asked}
        if found := {name: plan for name, plan in said.items() if plan is not None}:
            return found
    raise WorkFailed("no emitter has anything to try", hint="is there a baseline with a number? `evogit status` tells")


def _draw(chances: Mapping[str, float], rng: random.Random) -> str:
    [name] = rng.choices(list(chances), weights=list(chances.values()))
    return name


def _with_parent(memory: Memory, policy: Policy, plan: Plan, rng: random.Random) -> Plan:
    """The plan from the parent that the policy prefers, if it has one; a plan about one certain run stays with it."""
    if plan.merge or plan.replicate or plan.contrast or len(plan.parents) != 1:
        return plan
    if (picked := policy.parent(memory, rng)) is None:
        return plan
    parent, probability = picked
    return msgspec.structs.replace(
        plan, parents=(parent.commit,), aims=(), propensity=probability, forecast=memory.forecast((parent.commit,))
    )


def _plan_for(memory: Memory, idea: Idea, rng: random.Random) -> Plan | None:
    from evogit.search.idea_plans import plan_for

    return plan_for(memory, idea, random.Random(rng.getrandbits(48)))
