"""What changes were worth so far, read from memory: of one run, of a topic, of a role's direction. It decides nothing."""

from __future__ import annotations

import math
from collections.abc import Iterable
from statistics import median

from evogit.domain.run import Run
from evogit.search.memory import Memory

FALLBACK = 0.05  # of the parent's own value: what a change may be worth before anything was measured
FEW = 3  # measured changes below which that is a floor
CLOSED = 0.25  # of what a topic promises, once it is a dead end: its assumption may be wrong


def measured(memory: Memory, run: Run) -> tuple[float, float] | None:
    """Gain over what the parent is believed to be, and its variance, primary metric's unit; None where either has no number.

    It is not shrunk: those who fit many runs at once shrink for themselves.
    """
    parent, metric = memory.parent_of(run), memory.problem.primary
    values = run.readings.get(metric.name, ())
    theirs = memory.belief(parent.commit) if parent else None
    if not values or theirs is None:
        return None
    noise = memory.spread.std**2 / len(values)
    return metric.gain(sum(values) / len(values), theirs.mean), noise + theirs.variance


def shrunk(memory: Memory, run: Run) -> float | None:
    """The gain over its parent that is believed; what was read, where no noise is known. None where it has no number."""
    belief = memory.belief(run.commit)
    if belief is None:
        return None
    return belief.gain if belief.gain_variance > 0 else memory.gain(run)


def recent(memory: Memory) -> list[tuple[Run, float]]:
    """The recent runs with their `shrunk` gain, oldest first; those without one are left out. Worked out once between two lessons."""
    if (gains := memory.worked_out.get("gains")) is None:
        gains = [math.nan if (gain := shrunk(memory, run)) is None else gain for run in memory.recent]
        memory.worked_out["gains"] = gains
    return [(run, gain) for run, gain in zip(memory.recent, gains) if not math.isnan(gain)]


def scale(memory: Memory, parent: Run) -> float:
    """The usual size of a change's effect, primary metric's unit, > 0: the median of the recent ones, noise taken out."""
    sigma = memory.spread.std
    if (seen := memory.worked_out.get("changes")) is None:
        changes = (measured(memory, r) for r in memory.recent if len(r.parents) == 1)
        seen = memory.worked_out["changes"] = [abs(m[0]) for m in changes if m is not None and m[0] and math.isfinite(m[0])]
    middle = median(seen) if seen else 0.0
    usual = max(math.sqrt(max(0.0, (middle - sigma) * (middle + sigma))), 0.3 * sigma) if seen else 0.0
    if len(seen) < FEW:
        belief = memory.belief(parent.commit)
        usual = max(usual, FALLBACK * abs(belief.mean) if belief else 0.0, sigma)
    return max(usual, 1e-12)


def effect(memory: Memory, key: str) -> tuple[float, float]:
    """What a topic was worth: mean and variance of its gain, primary metric's unit; (0, 0) where nothing was measured."""
    known = memory.conjectures.effect(key)
    return (known.mean, known.variance) if known.n else (0.0, 0.0)


def tendency(memory: Memory, role: str) -> float:
    """What raising constants of a role was worth against lowering them; 0.0 where nobody knows."""
    return (effect(memory, f"role:{role}+")[0] - effect(memory, f"role:{role}-")[0]) / 2 if role else 0.0


def prospect(memory: Memory, keys: Iterable[str]) -> float:
    """A factor in (0, 1] for what is expected of some topics: smaller where they crash, or are a dead end."""
    factor = 1.0
    for key in keys:
        factor = min(factor, (CLOSED if memory.dead_ends.is_closed(key) else 1.0) * (1.0 - memory.faults.risk(key)))
    return factor


def is_stuck(memory: Memory) -> bool:
    """True on a plateau: a while without a keep. Roles dare more then."""
    return memory.portfolio.is_plateau
