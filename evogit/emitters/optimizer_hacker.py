"""Changes how the network is trained: optimizer, its settings, the learning-rate schedule. It leaves the model alone."""

from __future__ import annotations

import random

from evogit.domain.plan import Plan
from evogit.search.memory import Memory
from evogit.search.plans import mutate


class OptimizerHacker:
    """Asks how fast the same model can learn."""

    name = "optimizer_hacker"
    operators = ("tune_optimizer", "swap_optimizer", "change_schedule")

    def ask(self, memory: Memory, rng: random.Random) -> Plan | None:
        """One change of the training procedure, the three families in random order. None before a baseline has a number."""
        operators = tuple(rng.sample(self.operators, len(self.operators)))
        instruction = "Change one thing in the optimizer, its hyperparameters or the learning-rate schedule. Do not touch the model."
        return mutate(memory, rng, self.name, operators, instruction, change="optimizer")
