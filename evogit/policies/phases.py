"""A fixed order of phases, as autoresearch-evo has it: explore, exploit, recombine, stabilise, and no long streaks.

It goes by counts of runs and keeps alone; how much a keep was worth is nothing to it. For comparison.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

from evogit.policies.floors import floored
from evogit.search.memory import Memory
from evogit.search.portfolio import Record

WINDOW = 60  # runs that count
EXPLORE = 2  # runs of each emitter before anyone is preferred
ROUND = 20  # runs from one recombination phase to the next
STREAK = 3  # runs in a row after which another emitter has its turn
RECOMBINE, STABILISE = ("recombinator",), ("local_tuner", "simplifier", "anomaly_chaser")


class Phases:
    """Explore each twice, then rounds of: exploit what is kept, recombine, stabilise."""

    name = "phases"

    def chances(self, memory: Memory, emitters: Sequence[str]) -> dict[str, float]:
        """Probabilities; O(WINDOW)."""
        records = memory.portfolio.newest(WINDOW)
        wanted = self._wanted(memory.turns, records, emitters)
        if (tired := _streak(records)) in wanted and len(wanted) > 1:
            del wanted[tired]
        return floored(memory, emitters, wanted)

    def parent(self, memory: Memory, rng: random.Random) -> None:
        """Parents are the emitters' own choice."""

    def _wanted(self, turns: int, records: Sequence[Record], emitters: Sequence[str]) -> dict[str, float]:
        runs = {e: sum(r.emitter == e for r in records) for e in emitters}
        if turns < EXPLORE * len(emitters):
            fewest = min(runs.values())
            return {e: 1.0 for e in emitters if runs[e] == fewest}
        place = turns % ROUND
        phase = RECOMBINE if 12 <= place < 15 else STABILISE if place >= 15 else ()
        if named := {e: 1.0 for e in emitters if e in phase}:
            return named
        keeps = {e: sum(r.kept for r in records if r.emitter == e) for e in emitters}
        return {e: (1 + keeps[e]) / (2 + runs[e]) for e in emitters}


def _streak(records: Sequence[Record]) -> str:
    """Who ran STREAK times in a row just now; "" if nobody did."""
    last = {r.emitter for r in records[:STREAK]}
    return last.pop() if len(last) == 1 and len(records) >= STREAK else ""
