"""The three best runs as parents at 70, 20 and 10 %, every fifth run explores, five discards diversify. For comparison.

It is about parents; emitters are all alike to it.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

from evogit.domain.run import Run
from evogit.policies.floors import floored
from evogit.search.memory import Memory

SHARES = (0.7, 0.2, 0.1)
EXPLORES = 5  # every so many runs
PATIENCE = 5  # runs without a keep after which it diversifies


class TopK:
    """Emitters alike, parents by rank."""

    name = "topk"

    def chances(self, memory: Memory, emitters: Sequence[str]) -> dict[str, float]:
        """1/n each."""
        return floored(memory, emitters, {})

    def parent(self, memory: Memory, rng: random.Random) -> tuple[Run, float] | None:
        """A run to mutate and the probability with which it was drawn; None while nothing has a number."""
        weights = self.parents(memory)
        if not weights:
            return None
        [chosen] = rng.choices(weights, weights=[w for _, w in weights])
        return chosen

    def parents(self, memory: Memory) -> list[tuple[Run, float]]:
        """Every parent that it could draw now. They sum to 1."""
        pool = memory.pool()
        discards = memory.portfolio.newest(PATIENCE)
        is_stuck = len(discards) == PATIENCE and not any(r.kept for r in discards)
        if is_stuck or memory.turns % EXPLORES == EXPLORES - 1:
            return [(run, 1 / len(pool)) for run in pool]
        best = list(zip(pool, SHARES))
        total = sum(share for _, share in best)
        return [(run, share / total) for run, share in best]
