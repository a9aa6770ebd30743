"""Which run to start from: score, Pareto membership and number of children, as a probability. It makes no plan."""

from __future__ import annotations

import math
import random

from evogit.domain.metric import Direction
from evogit.domain.review import Branch
from evogit.domain.run import Run
from evogit.search import worth
from evogit.search.memory import Memory

TEMPERATURE = 0.22  # of the softmax over scores; smaller is greedier
STUCK_TEMPERATURE = 1.4  # on a plateau: what was good is no guide any more
OLDER = 12  # niches' elites, and near misses, that may become parents on a plateau

# A reviewer's word moves a parent's weight and never decides alone.
ADVICE = {Branch.CONTINUE: 1.2, Branch.BRANCH: 1.0, Branch.FIX: 0.5, Branch.ABANDON: 0.25, Branch.STOP: 0.25}


def weights(memory: Memory) -> list[tuple[Run, float]]:
    """Every possible parent with its probability; [] before a baseline has a number. O(pool).

    On a plateau elites of other niches and near misses join the pool, and the scores count for less.
    """
    pool, temperature = memory.pool(), TEMPERATURE
    if pool and worth.is_stuck(memory):
        pool, temperature = _with_older(memory, pool), STUCK_TEMPERATURE
    ranked = sorted(pool, key=lambda run: _believed(memory, run))
    scored = [(run, math.exp(_score(memory, run, rank) / temperature) * _advice(memory, run)) for rank, run in enumerate(ranked)]
    total = math.fsum(w for _, w in scored)
    return [(run, w / total) for run, w in scored]


def pick(memory: Memory, rng: random.Random) -> tuple[Run, float] | None:
    """Draw one parent; its probability comes with it. None while nothing has a number."""
    options = weights(memory)
    if not options:
        return None
    [chosen] = rng.choices(options, weights=[w for _, w in options])
    return chosen


def _with_older(memory: Memory, pool: list[Run]) -> list[Run]:
    missed = [r for r in reversed(memory.near_misses) if r.is_measured]
    older = [*memory.archive.elites()[:OLDER], *missed[:OLDER]]
    return list({run.commit: run for run in (*pool, *older)}.values())


def _believed(memory: Memory, run: Run) -> float:
    """Like a loss: a lucky reading leads a run to the top of the pool, and its belief takes it down again."""
    belief = memory.belief(run.commit)
    if belief is None:
        return math.inf
    return belief.mean if memory.problem.primary.direction is Direction.MINIMIZE else -belief.mean


def _score(memory: Memory, run: Run, rank: int) -> float:
    """1 for the best run, falling with rank; more on the frontier; less for each child that was already tried from it."""
    crowd = memory.children[run.commit] + memory.pending[run.commit]
    bonus = 0.15 if run.commit in memory.frontier else 0.0
    if memory.incumbent is not None and run.commit == memory.incumbent.commit:
        bonus += 0.35
    return 1.0 / (1.0 + rank) + bonus - 0.06 * math.log1p(crowd)


def _advice(memory: Memory, run: Run) -> float:
    return ADVICE.get(memory.advice.get(run.commit, Branch.BRANCH), 1.0)
