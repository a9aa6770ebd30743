"""Sliding-window UCB on credit per cost: the emitter that paid most of late, give or take how little is known. The default.

Garivier and Moulines 2011, with the spread of the credits themselves as the scale of doubt, so that it needs no unit and no
success to start from.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence

from evogit.policies.floors import floored
from evogit.search.memory import Memory

WINDOW = 80  # runs that count; older ones may have been of another search
DOUBT = 0.5  # of the textbook's width: campaigns are short and gains rare, so `benchmarks/` pay for haste
PRIOR = 4.0  # median runs of everybody's mean that each emitter starts with: one lucky run does not make a favourite


class SlidingWindowUcb:
    """The best upper bound gets what the floor leaves; ties share it."""

    name = "sw-ucb"

    def chances(self, memory: Memory, emitters: Sequence[str]) -> dict[str, float]:
        """Probabilities; O(WINDOW)."""
        bounds = self.bounds(memory, emitters)
        best = max(bounds.values())
        return floored(memory, emitters, {e: float(b == best) for e, b in bounds.items()})

    def parent(self, memory: Memory, rng: random.Random) -> None:
        """Parents are the emitters' own choice."""

    def bounds(self, memory: Memory, emitters: Sequence[str]) -> dict[str, float]:
        """Upper bound of credit per cost of each."""
        records = [r for r in memory.portfolio.newest(WINDOW) if r.emitter in emitters]
        mean = math.fsum(r.credit.total for r in records) / max(1, len(records))
        cost, earned = dict.fromkeys(emitters, PRIOR), dict.fromkeys(emitters, PRIOR * mean)
        for record in records:
            cost[record.emitter] += record.cost
            earned[record.emitter] += record.credit.total
        spread = math.sqrt(math.fsum((r.credit.total - mean) ** 2 for r in records) / max(1, len(records)))
        reach = DOUBT * spread * math.sqrt(2 * math.log(max(2, len(records))))
        return {e: earned[e] / cost[e] + reach / math.sqrt(cost[e]) for e in emitters}
