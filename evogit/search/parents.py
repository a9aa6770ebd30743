"""Which run to start from: score, Pareto membership and number of children, as a probability. It makes no plan."""

from __future__ import annotations

import math
import random

from evogit.domain.review import Branch
from evogit.domain.run import Run
from evogit.search.memory import Memory

TEMPERATURE = 0.35  # of the softmax over scores; smaller is greedier

# A reviewer's word moves a parent's weight and never decides alone.
ADVICE = {Branch.CONTINUE: 1.2, Branch.BRANCH: 1.0, Branch.FIX: 0.5, Branch.ABANDON: 0.25, Branch.STOP: 0.25}


def weights(memory: Memory) -> list[tuple[Run, float]]:
    """Every possible parent with its probability; [] before a baseline has a number. O(pool)."""
    pool = memory.pool()
    scored = [(run, math.exp(_score(memory, run, rank) / TEMPERATURE) * _advice(memory, run)) for rank, run in enumerate(pool)]
    total = math.fsum(w for _, w in scored)
    return [(run, w / total) for run, w in scored]


def pick(memory: Memory, rng: random.Random) -> tuple[Run, float] | None:
    """Draw one parent; its probability comes with it. None while nothing has a number."""
    options = weights(memory)
    if not options:
        return None
    [chosen] = rng.choices(options, weights=[w for _, w in options])
    return chosen


def _score(memory: Memory, run: Run, rank: int) -> float:
    """1 for the best run, falling with rank; more on the frontier; less for each child that was already tried from it."""
    crowd = memory.children[run.commit] + memory.pending[run.commit]
    bonus = 0.15 if run.commit in memory.frontier else 0.0
    if memory.incumbent is not None and run.commit == memory.incumbent.commit:
        bonus += 0.35
    return 1.0 / (1.0 + rank) + bonus - 0.06 * math.log1p(crowd)


def _advice(memory: Memory, run: Run) -> float:
    return ADVICE.get(memory.advice.get(run.commit, Branch.BRANCH), 1.0)
