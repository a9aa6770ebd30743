"""Changes the model: depth, width, activation, normalisation, pooling, initialisation. It leaves training alone."""

from __future__ import annotations

import random

from evogit.domain.plan import Plan
from evogit.search.memory import Memory
from evogit.search.plans import mutate


class ArchitectureMutator:
    """Asks whether another model learns more from the same training."""

    name = "architecture_mutator"
    operators = ("change_width", "swap_activation", "swap_norm", "change_depth", "swap_pooling", "swap_init", "insert_regulariser")

    def ask(self, memory: Memory, rng: random.Random) -> Plan | None:
        """One structural change, the families in random order. None before a baseline has a number."""
        operators = tuple(rng.sample(self.operators, len(self.operators)))
        instruction = "Change one structural property of the model: depth, width, activation, normalisation, pooling or initialisation."
        return mutate(memory, rng, self.name, operators, instruction, change="architecture")
