"""Takes something away from a good run. It adds nothing."""

from __future__ import annotations

import random

from evogit.domain.plan import Plan
from evogit.search.memory import Memory
from evogit.search.plans import mutate


class Simplifier:
    """Asks what the incumbent could do without: less code, fewer parameters, one regulariser fewer."""

    name = "simplifier"
    operators = ("neutralise", "remove_something", "halve_capacity")

    def ask(self, memory: Memory, rng: random.Random) -> Plan | None:
        """One removal from the incumbent. None before a baseline has a number."""
        operators = tuple(rng.sample(self.operators, len(self.operators)))
        instruction = "Delete or neutralise one thing (a layer, a regulariser, a trick) so that the code is simpler and no worse."
        return mutate(memory, rng, self.name, operators, instruction, change="simplification", parent=memory.incumbent)
