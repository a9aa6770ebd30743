"""Changes how the network is trained: optimizer, its settings, the learning-rate schedule. It leaves the model alone."""

from __future__ import annotations

import random
from typing import ClassVar

from evogit.domain.plan import Plan
from evogit.search.genes import Gene
from evogit.search.memory import Memory
from evogit.search.plans import by_payoff, mutate


class OptimizerHacker:
    """Asks how fast the same model can learn."""

    name = "optimizer_hacker"
    operators: ClassVar[dict[str, frozenset[str]]] = {
        "tune_optimizer": frozenset({"lr", "momentum", "decay", "clip", "batch"}),
        "swap_optimizer": frozenset({"optimizer"}),
        "change_schedule": frozenset({"schedule"}),
    }

    def ask(self, memory: Memory, rng: random.Random) -> Plan | None:
        """One change of the training procedure, families that paid first. None before a baseline has a number."""
        operators = by_payoff(memory, rng, self.operators)
        instruction = "Change one thing in the optimizer, its hyperparameters or the learning-rate schedule. Do not touch the model."
        only = _is_training if operators[0] == "tune_optimizer" else None
        return mutate(memory, rng, self.name, operators, instruction, change="optimizer", only=only)


def _is_training(gene: Gene) -> bool:
    return gene.family in OptimizerHacker.operators["tune_optimizer"] or gene.callee.startswith("torch.optim.")
