"""Changes the model: depth, width, activation, normalisation, pooling, initialisation. It leaves training alone."""

from __future__ import annotations

import random
from typing import ClassVar

from evogit.domain.plan import Plan
from evogit.search.genes import Gene
from evogit.search.memory import Memory
from evogit.search.plans import by_payoff, mutate


class ArchitectureMutator:
    """Asks whether another model learns more from the same training."""

    name = "architecture_mutator"
    operators: ClassVar[dict[str, frozenset[str]]] = {
        "change_width": frozenset({"width", "heads"}),
        "swap_activation": frozenset({"activation"}),
        "swap_norm": frozenset({"norm"}),
        "change_depth": frozenset({"depth"}),
        "swap_pooling": frozenset({"pooling"}),
        "swap_init": frozenset({"initialiser", "init", "initialisation"}),
        "insert_regulariser": frozenset({"dropout", "smoothing", "regularization"}),
    }

    def ask(self, memory: Memory, rng: random.Random) -> Plan | None:
        """One structural change, families that paid first. None before a baseline has a number."""
        operators = by_payoff(memory, rng, self.operators)
        instruction = "Change one structural property of the model: depth, width, activation, normalisation, pooling or initialisation."
        only = _is_width if operators[0] == "change_width" else None
        return mutate(memory, rng, self.name, operators, instruction, change="architecture", only=only)


def _is_width(gene: Gene) -> bool:
    return gene.family in ArchitectureMutator.operators["change_width"]
