"""memory -> Plan: one emitter after another, each asked for a plan of its own. It spends nothing."""

from __future__ import annotations

import random
from collections.abc import Sequence

import msgspec

from evogit.domain.plan import Plan
from evogit.errors import WorkFailed
from evogit.seams import Emitter
from evogit.search.memory import Memory


def choose(memory: Memory, emitters: Sequence[Emitter], rng: random.Random) -> Plan:
    """The next plan: the emitter whose turn it is, or the next one that has something to offer.

    `Plan.propensity` is the parent's probability times one over the number of emitters in the rotation. Raises
    WorkFailed if none has a plan (a baseline without a number).
    """
    for step in range(len(emitters)):
        emitter = emitters[(memory.turns + step) % len(emitters)]
        plan = emitter.ask(memory, rng)
        if plan is not None:
            return msgspec.structs.replace(plan, propensity=plan.propensity / len(emitters))
    raise WorkFailed("no emitter has anything to try", hint="is there a baseline with a number? `evogit status` tells")
