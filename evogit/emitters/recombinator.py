"""Joins two runs that each found something. It needs two compatible ones: no kin in the direct line, nothing that both moved apart."""

from __future__ import annotations

import random
from collections import deque
from itertools import combinations

import msgspec

from evogit.domain.change import MoveValue
from evogit.domain.plan import Plan
from evogit.domain.run import Run
from evogit.domain.verdict import Verdict
from evogit.search import worth
from evogit.search.memory import Memory

PARTNERS = 14  # hopeful runs that are paired: 91 pairs at most
HOPE = 0.1  # probability of a gain below which a run that was neither kept nor a near miss is left alone
DEPTH = 64  # runs of a line that are looked at: what lies deeper is shared, or too far to be joined


class Pair(msgspec.Struct, frozen=True, kw_only=True):
    """Two compatible runs, the better one first."""

    first: Run
    second: Run
    gain: float  # expected of the union over `first`, primary metric's unit
    promise: float  # expected of the union over the incumbent


class Recombinator:
    """Two gains found apart may add up; git merges them, and their conflicts are resolved gene by gene."""

    name = "recombinator"

    def ask(self, memory: Memory, rng: random.Random) -> Plan | None:
        """A plan with two parents, the better one first; None where no untried compatible pair exists."""
        pairs = self._pairs(memory)
        if not pairs:
            return None
        weights = [1.0 / (1 + rank) ** 2 for rank in range(len(pairs))]
        [at] = rng.choices(range(len(pairs)), weights=weights)
        a, b = pairs[at].first, pairs[at].second
        return Plan(
            emitter=self.name,
            parents=(a.commit, b.commit),
            merge=True,
            seeds=memory.problem.budget.seeds,
            rng=rng.getrandbits(48),
            instruction=f"Combine run {a.label} ({a.summary}) with run {b.label} ({b.summary}); keep what each of them gained.",
            operators=("mix_genes", "tune_near"),
            niche="recombination",
            change="recombination",
            forecast=memory.forecast((a.commit, b.commit), pairs[at].gain, max(abs(pairs[at].gain), worth.scale(memory, a))),
            propensity=weights[at] / sum(weights),
        )

    def _pairs(self, memory: Memory) -> list[Pair]:
        """Compatible pairs, the most promising first. O(partners squared)."""
        joined = memory.joined
        hopeful = _hopeful(memory)
        lines = {r.commit: _line(memory, r) for r in hopeful}
        known = {commit: run for line in lines.values() for commit, run in line.items()}
        gains = {commit: _own_gain(memory, run) for commit, run in known.items()}
        pairs = [
            pair
            for a, b in combinations(hopeful, 2)
            if frozenset((a.commit, b.commit)) not in joined and (pair := _joined(memory, a, b, lines, gains)) is not None
        ]
        # A union that is believed to be clearly worse than the incumbent is not worth a trial.
        least = -max(memory.spread.std, 0.1 * worth.scale(memory, hopeful[0])) if hopeful else 0.0
        return sorted((p for p in pairs if p.promise >= least), key=lambda p: (-p.promise, p.first.seq, p.second.seq))


def _hopeful(memory: Memory) -> list[Run]:
    """Kept runs, near misses, the frontier and others that may have gained: the best of each, never a baseline."""
    missed = [r for r in reversed(memory.near_misses) if r.is_measured]
    runs = {r.commit: r for r in (*memory.pool(), *missed) if r.generation > 0 and r.verdict is not Verdict.CRASH}
    hopeful = [r for r in runs.values() if _has_hope(memory, r)]
    return hopeful[: PARTNERS - 4] + [r for r in hopeful[PARTNERS - 4 :] if r.near_miss][:4]


def _has_hope(memory: Memory, run: Run) -> bool:
    belief = memory.belief(run.commit)
    if belief is None:
        return False
    gain = worth.shrunk(memory, run)
    seems_better = belief.gain_variance == 0 and gain is not None and gain > 0
    return run.is_kept or run.near_miss or max(belief.p_gain, belief.p_better) >= HOPE or seems_better


Line = dict[str, Run]  # by commit, newest first, over every parent


def _line(memory: Memory, run: Run) -> Line:
    """The run and what it descends from, over all parents, the nearest first, DEPTH at most."""
    seen: Line = {}
    todo = deque([run])
    while todo and len(seen) < DEPTH:
        at = todo.popleft()
        if at.commit not in seen:
            seen[at.commit] = at
            for parent in at.parents:
                if (known := memory.by_commit.get(parent)) is not None:
                    todo.append(known)
    return seen


def _joined(memory: Memory, a: Run, b: Run, lines: dict[str, Line], gains: dict[str, float | None]) -> Pair | None:
    """The pair with what it promises; None where one descends from the other, or both moved one gene to different values."""
    ours, theirs = lines[a.commit], lines[b.commit]
    if a.commit in theirs or b.commit in ours:
        return None
    mine = [r for c, r in ours.items() if c not in theirs]
    others = [r for c, r in theirs.items() if c not in ours]
    left, right = _moved(mine), _moved(others)
    if any(gene in right and right[gene] != value for gene, value in left.items()):
        return None
    if left and left == right:
        return None
    metric, mean_a, mean_b = memory.problem.primary, memory.belief(a.commit).mean, memory.belief(b.commit).mean
    first, second, added = (a, b, others) if metric.gain(mean_a, mean_b) >= 0 else (b, a, mine)
    gain = sum(own for r in added if (own := gains[r.commit]) is not None)
    standing = memory.incumbent or first
    held = memory.belief(standing.commit) or memory.belief(first.commit)
    promise = metric.gain(mean_a if first is a else mean_b, held.mean) + gain
    return Pair(first=first, second=second, gain=gain, promise=promise)


def _moved(runs: list[Run]) -> dict[str, MoveValue]:
    """Genes that these runs moved, with the newest value of each."""
    found: dict[str, MoveValue] = {}
    for run in runs:
        for move in run.moves:
            found.setdefault(move.gene, move.new)
    return found


def _own_gain(memory: Memory, run: Run) -> float | None:
    """What the run gained over its parent, shrunk; a merge's gain is its parents' and is not counted again."""
    return worth.shrunk(memory, run) if len(run.parents) == 1 else None
