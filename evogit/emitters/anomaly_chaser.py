"""Looks into what surprised most: measures it again, or takes half or a part of its step. It needs a decided run."""

from __future__ import annotations

import random

from evogit.domain.plan import Plan
from evogit.domain.run import Run
from evogit.domain.verdict import Verdict
from evogit.search import worth
from evogit.search.memory import Memory
from evogit.search.plans import mutate
from evogit.search.topics import topics

FLUKE = 5.0  # standard deviations of a reading up to which a lone reading may be luck
STILL_HOPEFUL = 0.1  # probability of a gain from which a surprise is worth money at all, where it seemed good


class AnomalyChaser:
    """A result far from what was foretold is a fluke or a lever; both are worth one look."""

    name = "anomaly_chaser"

    def ask(self, memory: Memory, rng: random.Random) -> Plan | None:
        """A smaller step where a promising change crashed; else the most surprising run: again, half of it, or a part. None if nothing moved."""
        crashed = self._promising_crash(memory)
        if crashed is not None:
            words = f"Run {crashed.label} ({crashed.summary}) crashed, and changes like it pay. Take the same idea by a smaller step."
            return self._look(memory, rng, crashed, ("halve_step", "isolate_change", "tune_near"), words)
        run = self._most_surprising(memory)
        if run is None:
            return None
        if self._may_be_luck(memory, run):
            return self._replicate(memory, run, rng)
        words = f"Run {run.label} ({run.summary}) moved the metric more than expected. Take half of its step, or isolate its part."
        several = len(run.moves) > 1 or not run.moves and sum(run.lines) > 2
        operators = ("isolate_change", "halve_step", "tune_near") if several else ("halve_step", "isolate_change", "tune_near")
        return self._look(memory, rng, run, operators, words)

    def _look(self, memory: Memory, rng: random.Random, run: Run, operators: tuple[str, ...], words: str) -> Plan | None:
        gain = worth.shrunk(memory, run) or 0.0
        return mutate(
            memory,
            rng,
            self.name,
            operators,
            words,
            change="anomaly",
            parent=memory.parent_of(run),
            contrast=run.commit,
            gain=gain / 2,
            spread=abs(gain) / 2,
        )

    def _most_surprising(self, memory: Memory) -> Run | None:
        """The recent mutation whose reading lies furthest from its forecast, in the forecast's own spreads, not chased yet.

        A great loss counts for less, the greater the less: half of a step off a cliff seldom ends on a hill.
        """
        seen = [
            (surprise(memory, run) * _hope(memory, run), run.seq, run)
            for run in memory.recent
            if len(run.parents) == 1 and run.emitter != self.name and not self._is_chased(memory, run) and run.verdict is not Verdict.CRASH
        ]
        seen = [s for s in seen if s[0] > 0]
        return max(seen)[2] if seen else None

    def _promising_crash(self, memory: Memory) -> Run | None:
        """The newest crash of a kind that was new, in a change whose like has gained; not chased yet."""
        for run in reversed(memory.recent):
            if run.verdict is Verdict.CRASH and len(run.parents) == 1 and not self._is_chased(memory, run) and memory.faults.is_new(run):
                parent = memory.parent_of(run)
                if parent is not None and parent.is_measured and any(worth.effect(memory, key)[0] > 0 for key in topics(run)):
                    return run
        return None

    def _is_chased(self, memory: Memory, run: Run) -> bool:
        return (self.name, run.commit) in memory.contrasted

    def _may_be_luck(self, memory: Memory, run: Run) -> bool:
        """True where one more reading could explain the surprise away, and none was taken yet."""
        if memory.replicates[run.commit]:
            return False
        if not memory.spread.is_known:
            return True
        sigma, readings = memory.spread.std, len(run.readings.get(memory.problem.primary.name, ()))
        belief = memory.belief(run.commit)
        if not sigma or readings > 1 or belief is None:
            return False
        gain = memory.gain(run) or 0.0
        return 0 < gain < FLUKE * sigma and (belief.gain_variance == 0 or belief.p_gain >= STILL_HOPEFUL)

    def _replicate(self, memory: Memory, run: Run, rng: random.Random) -> Plan:
        return Plan(
            emitter=self.name,
            parents=(run.commit,),
            replicate=True,
            seeds=memory.problem.budget.seeds[:1],
            rng=rng.getrandbits(48),
            instruction=f"Measure run {run.label} again: its number surprised, and noise alone could explain it.",
            contrast=run.commit,
            niche="replicate",
            change="replicate",
            forecast=memory.forecast((run.commit,)),
        )


def surprise(memory: Memory, run: Run) -> float:
    """How many spreads a run's mean lies from its forecast, or from its parent where nothing was foretold; 0.0 without a number."""
    mean, gain, sigma = run.mean(memory.problem.primary.name), memory.gain(run), memory.spread.std
    if mean is None or gain is None:
        return 0.0
    if run.forecast is not None and run.forecast.spread > 0:
        return abs(mean - run.forecast.mean) / run.forecast.spread
    parent = memory.parent_of(run)
    return abs(gain) / max(sigma, worth.scale(memory, parent)) if parent else 0.0


def _hope(memory: Memory, run: Run) -> float:
    """1 for a gain over the parent, less with the loss in usual changes."""
    gain, parent = memory.gain(run), memory.parent_of(run)
    return 1.0 / (1.0 + max(0.0, -gain) / (2 * worth.scale(memory, parent))) if gain is not None and parent is not None else 0.0
