"""Takes something away from the incumbent, first what was added without a clear gain. It adds nothing, and expects no gain."""

from __future__ import annotations

import random
from typing import ClassVar

from evogit.domain.plan import Aim, Plan
from evogit.domain.run import Run
from evogit.search.memory import Memory
from evogit.search.plans import by_payoff, mutate
from evogit.search.tuning import line

CLEAR = 0.8  # probability of a gain from which an addition has earned its place
CAPACITY = frozenset({"width", "depth", "heads"})


class Simplifier:
    """Asks what the incumbent could do without: less code, fewer parameters, one regulariser fewer."""

    name = "simplifier"
    operators: ClassVar[dict[str, frozenset[str]]] = {
        "neutralise": frozenset({"dropout", "smoothing", "decay", "noise"}),
        "remove_something": frozenset({"simplification"}),
        "halve_capacity": CAPACITY | {"capacity_decrease"},
    }

    def ask(self, memory: Memory, rng: random.Random) -> Plan | None:
        """One removal from the incumbent, forecast to be equal. None before a baseline has a number."""
        operators = by_payoff(memory, rng, self.operators)
        instruction = "Delete or neutralise one thing (a layer, a regulariser, a trick) so that the code is simpler and no worse."
        added = self._unearned(memory)
        aims: tuple[Aim, ...] = ()
        if added is not None:
            operators = ("take_back", *operators)
            instruction += f" Run {added.label} ({added.summary}) added to it without a clear gain: look there first."
            aims = tuple(Aim(gene=m.gene, value=m.old) for m in added.moves if _grew(m) and not isinstance(m.old, tuple))
        return mutate(
            memory,
            rng,
            self.name,
            operators,
            instruction,
            change="simplification",
            parent=memory.incumbent,
            contrast=added.commit if added else "",
            aims=aims,
            gain=0.0,
            spread=0.0,
        )

    def _unearned(self, memory: Memory) -> Run | None:
        """The run in the incumbent's line that added the most doubtful thing, not looked into yet."""
        if memory.incumbent is None:
            return None
        doubtful = [
            (belief.p_gain, -run.seq, run)
            for run in line(memory, memory.incumbent)
            if run.parents
            and (run.lines[0] > run.lines[1] or any(_grew(m) for m in run.moves))
            and (self.name, run.commit) not in memory.contrasted
            and (belief := memory.belief(run.commit)) is not None
            and belief.p_gain < CLEAR
        ]
        return min(doubtful)[2] if doubtful else None


def _grew(move) -> bool:
    return move.family in CAPACITY and move.direction > 0
