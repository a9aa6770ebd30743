"""Plans from a memory: the part that all search roles share. It does not know the roles."""

from __future__ import annotations

import random

from evogit.domain.plan import Plan
from evogit.domain.run import Run
from evogit.search import parents
from evogit.search.memory import Memory


def mutate(
    memory: Memory,
    rng: random.Random,
    emitter: str,
    operators: tuple[str, ...],
    instruction: str,
    *,
    change: str = "",
    parent: Run | None = None,
    contrast: str = "",
) -> Plan | None:
    """A plan to change one thing in one parent, drawn by `search.parents` unless it is given. None without any parent."""
    probability = 1.0
    if parent is None:
        drawn = parents.pick(memory, rng)
        if drawn is None:
            return None
        parent, probability = drawn
    return Plan(
        emitter=emitter,
        parents=(parent.commit,),
        seeds=memory.problem.budget.seeds,
        rng=rng.getrandbits(48),
        instruction=instruction,
        operators=operators,
        contrast=contrast,
        niche=change,
        change=change,
        forecast=memory.forecast((parent.commit,)),
        propensity=probability,
    )
