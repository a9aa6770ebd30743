"""Tunes one constant of a good run by a small step. It never touches structure."""

from __future__ import annotations

import random

from evogit.domain.plan import Plan
from evogit.search.memory import Memory
from evogit.search.plans import mutate


class LocalTuner:
    """The patient one: most of the gain of most campaigns is a constant that was slightly off."""

    name = "local_tuner"

    def ask(self, memory: Memory, rng: random.Random) -> Plan | None:
        """A small step of one numeric constant. None before a baseline has a number."""
        instruction = "Change exactly one numeric constant by a small step (a factor of at most 2) that should improve the primary metric."
        return mutate(memory, rng, self.name, ("tune_near", "tune_constant"), instruction, change="hyperparameter")
