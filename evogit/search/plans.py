"""Plans from a memory: the part that all search roles share. It does not know the roles."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping

from evogit.domain.plan import Aim, Plan
from evogit.domain.run import Run
from evogit.search import parents, worth
from evogit.search.genes import Gene
from evogit.search.memory import Memory
from evogit.search.tuning import tune

FARTHEST = 3.0  # usual changes: what one run may say for or against its family


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
    aims: tuple[Aim, ...] = (),
    gain: float | None = None,
    spread: float = 0.0,
    propensity: float = 1.0,
    only: Callable[[Gene], bool] | None = None,
) -> Plan | None:
    """A plan to change one thing in one parent, drawn by `search.parents` unless it is given. None without any parent.

    gain, spread: of the forecast, primary metric's unit; by default what changes of this category were worth so far.
    propensity: of the given parent, where it was drawn by the caller. only: numbers whose measured moves say what to set
    them to (`search.tuning`); aims, gain and spread are its.
    """
    if parent is None:
        drawn = parents.pick(memory, rng)
        if drawn is None:
            return None
        parent, propensity = drawn
    if only is not None:
        tuned = tune(memory, parent, rng, far=worth.is_stuck(memory), only=only)
        if tuned.aims:
            aims, gain, spread = tuned.aims, tuned.gain, tuned.spread
    if gain is None:
        gain, variance = worth.effect(memory, f"change:{change}")
        spread = math.sqrt(variance)
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
        forecast=memory.forecast((parent.commit,), gain, spread or worth.scale(memory, parent)),
        propensity=propensity,
        aims=aims,
    )


def by_payoff(memory: Memory, rng: random.Random, roles_of: Mapping[str, frozenset[str]]) -> tuple[str, ...]:
    """Operator families, ordered by a draw from what runs that moved their roles were worth (Thompson).

    roles_of: family -> roles and change categories that tell its runs. Where nothing is known the order is plain chance.
    """
    found: dict[str, list[float]] = {name: [] for name in roles_of}
    for run, gain in worth.recent(memory):
        if len(run.parents) == 1 and run.emitter not in {"baseline", "person"}:
            told = {m.family for m in run.moves if m.family} or {run.change}
            for name, tells in roles_of.items():
                if not told.isdisjoint(tells):
                    found[name].append(gain)
    unit = worth.scale(memory, memory.incumbent) if memory.incumbent else 1.0
    drawn = {}
    for name, gains in found.items():
        # One divergence says "never again" of its value, and not that its whole family loses that much.
        mean = sum(max(-FARTHEST * unit, min(FARTHEST * unit, g)) for g in gains) / (len(gains) + 2)
        odds = worth.prospect(memory, (f"change:{tell}" for tell in sorted(roles_of[name])))
        score = rng.gauss(mean, 0.5 * unit / math.sqrt(len(gains) + 1))
        drawn[name] = score - (1 - odds) * unit
    return tuple(sorted(drawn, key=lambda name: -drawn[name]))
