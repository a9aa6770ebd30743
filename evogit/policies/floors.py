"""The floor under every probability, and what a plateau does to it. It prefers nobody."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from evogit.search.memory import Memory

FLOOR = 0.02  # of each emitter, unless the problem says another
STILL = 0.2  # of the choice that is handed to all alike once the search stands still


def floored(memory: Memory, emitters: Sequence[str], wanted: Mapping[str, float]) -> dict[str, float]:
    """Probabilities in the proportions wanted, none below the floor, flatter on a plateau. They sum to 1.

    wanted: >= 0 each, any sum; all zero means all alike.
    """
    same, total = 1 / len(emitters), sum(wanted.get(e, 0.0) for e in emitters)
    floor = min(memory.problem.search.floor or FLOOR, same)
    even = max(len(emitters) * floor, STILL if memory.portfolio.is_plateau else 0.0) if total > 0 else 1.0
    return {e: even * same + (1 - even) * (wanted.get(e, 0.0) / total if total > 0 else 0.0) for e in emitters}
