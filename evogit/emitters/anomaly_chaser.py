"""Looks into the run that surprised most: measures it again, or takes half of its step. It needs a measured run."""

from __future__ import annotations

import random

from evogit.domain.plan import Plan
from evogit.domain.run import Run
from evogit.search.memory import Memory
from evogit.search.plans import mutate


class AnomalyChaser:
    """A result far from its parent's is a fluke or a lever; both are worth one look."""

    name = "anomaly_chaser"

    def ask(self, memory: Memory, rng: random.Random) -> Plan | None:
        """Half of the most surprising recent step; where noise is unknown, a replicate of it first. None if nothing moved."""
        run = self._most_surprising(memory)
        if run is None:
            return None
        if not memory.spread.is_known and not memory.replicates[run.commit]:
            return self._replicate(memory, run, rng)
        instruction = f"Run {run.label} ({run.summary}) moved the metric more than expected. Take half of its step, or isolate its part."
        return mutate(
            memory,
            rng,
            self.name,
            ("halve_step", "isolate_change", "tune_near"),
            instruction,
            change="anomaly",
            parent=memory.parent_of(run),
            contrast=run.commit,
        )

    def _most_surprising(self, memory: Memory) -> Run | None:
        """The recent run with the greatest distance from its parent that was not chased yet."""
        moves = [
            (abs(gain), run.seq, run)
            for run in memory.recent
            if len(run.parents) == 1 and (self.name, run.commit) not in memory.contrasted and (gain := memory.gain(run))
        ]
        return max(moves)[2] if moves else None

    def _replicate(self, memory: Memory, run: Run, rng: random.Random) -> Plan:
        return Plan(
            emitter=self.name,
            parents=(run.commit,),
            replicate=True,
            seeds=memory.problem.budget.seeds[:1],
            rng=rng.getrandbits(48),
            instruction=f"Measure run {run.label} again: its number surprised, and nobody knows yet how noisy the ruler is.",
            contrast=run.commit,
            niche="replicate",
            change="replicate",
            forecast=memory.forecast((run.commit,)),
        )
