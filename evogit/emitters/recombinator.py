"""Joins two runs that each found something. It needs two measured runs of which neither descends from the other."""

from __future__ import annotations

import random
from itertools import combinations

from evogit.domain.plan import Plan
from evogit.domain.run import Run
from evogit.search.memory import Memory


class Recombinator:
    """Two gains found apart may add up; git merges them, and their conflicts are resolved gene by gene."""

    name = "recombinator"
    PARTNERS = 12  # best runs that are paired: 66 pairs at most

    def ask(self, memory: Memory, rng: random.Random) -> Plan | None:
        """A plan with two parents, the better one first; None where no untried pair exists."""
        pairs = self._pairs(memory)
        if not pairs:
            return None
        weights = [1.0 / (1 + rank) for rank in range(len(pairs))]
        [(a, b)] = rng.choices(pairs, weights=weights)
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
            forecast=memory.forecast((a.commit, b.commit)),
            propensity=weights[pairs.index((a, b))] / sum(weights),
        )

    def _pairs(self, memory: Memory) -> list[tuple[Run, Run]]:
        """Pairs of good runs, best first, that are no kin in the direct line and were not joined lately."""
        joined = {frozenset(r.parents) for r in memory.recent if len(r.parents) == 2}
        best = [r for r in memory.pool() if r.generation > 0][: self.PARTNERS]
        oldest = min((r.generation for r in best), default=0)
        lines = {r.commit: self._ancestors(memory, r, oldest) for r in best}
        return [
            (a, b)
            for a, b in combinations(best, 2)
            if a.commit not in lines[b.commit] and b.commit not in lines[a.commit] and frozenset((a.commit, b.commit)) not in joined
        ]

    @staticmethod
    def _ancestors(memory: Memory, run: Run, oldest: int) -> set[str]:
        """Every run that it descends from, itself included, down to a generation: a long campaign's lines are long."""
        seen: set[str] = set()
        todo = [run.commit]
        while todo:
            commit = todo.pop()
            if commit not in seen and (known := memory.by_commit.get(commit)) is not None and known.generation >= oldest:
                seen.add(commit)
                todo.extend(known.parents)
        return seen
