"""What the past teaches, folded from decided runs one at a time. It is recomputed from history and stored nowhere."""

from __future__ import annotations

import bisect
import math
from collections import defaultdict, deque
from collections.abc import Iterable, Mapping, Sequence

from evogit.domain.metric import Direction
from evogit.domain.plan import Forecast
from evogit.domain.problem import Problem
from evogit.domain.review import Branch
from evogit.domain.run import Run
from evogit.domain.trial import TrialLine
from evogit.domain.verdict import Verdict
from evogit.search.frontier import Frontier
from evogit.search.noise import Spread, readings_of

POOL = 24  # best runs that may become parents: enough for variety, few enough to weigh each time
RECENT = 64  # runs that emitters look back on


class Memory:
    """One campaign's memory. `learn` costs O(log runs + front) a run, so a loop never passes over history again."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self._start_epoch(0)
        self.by_commit: dict[str, Run] = {}
        self.tried: dict[str, str] = {}  # sources hash -> label of the run that had it
        self.advice: dict[str, Branch] = {}  # run -> what its reviewer would do with the line
        self.replicates: defaultdict[str, int] = defaultdict(int)  # run -> how often it was measured again
        self.pending: defaultdict[str, int] = defaultdict(int)  # parent -> candidates in flight
        self.turns = 0  # plans carried out by emitters so far, those in flight included

    def _start_epoch(self, epoch: int) -> None:
        self.epoch = epoch
        self.baseline: Run | None = None
        self.incumbent: Run | None = None
        self.spread = Spread()
        self.frontier = Frontier(self.problem.objectives)
        self.recent: deque[Run] = deque(maxlen=RECENT)
        self.near_misses: deque[Run] = deque(maxlen=RECENT)
        self.children: defaultdict[str, int] = defaultdict(int)
        self.contrasted: set[tuple[str, str]] = set()  # (emitter, run whose change it looked into)
        self._ranked: list[tuple[float, int, str]] = []  # (loss-like mean, seq, commit), best first
        self._samples: dict[str, tuple[float, ...]] = {}  # run that was measured again -> its readings in `spread`

    @classmethod
    def of(cls, problem: Problem, runs: Iterable[Run], replicates: Mapping[str, Sequence[TrialLine]] | None = None) -> Memory:
        """Fold a whole history. replicates: run hash -> lines of the readings taken after its decision."""
        memory = cls(problem)
        for run in runs:
            memory.learn(run)
        for commit, lines in (replicates or {}).items():
            memory.learn_again(commit, lines)
        return memory

    def learn(self, run: Run) -> None:
        """Take in one decided run; runs of an older epoch teach only what was tried."""
        if run.epoch > self.epoch:
            self._start_epoch(run.epoch)
        self.by_commit[run.commit] = run
        if run.sources:
            self.tried.setdefault(run.sources, run.label)
        if run.emitter not in {"baseline", "person"}:
            self.turns += 1
        if run.epoch < self.epoch:
            return
        self._learn_numbers(run)
        if run.generation == 0:
            self.baseline = run
        if run.is_kept and run.incumbent == run.commit:
            self.incumbent = run

    def learn_again(self, commit: str, lines: Iterable[TrialLine]) -> None:
        """Take in a replicate of a run: its readings tell how noisy the ruler is, and change no mean. Those of older epochs teach nothing."""
        self.replicates[commit] += 1
        run, metric = self.by_commit.get(commit), self.problem.primary.name
        if run is None or run.epoch < self.epoch or run.verdict is Verdict.CRASH:
            return
        before, more = self._samples.get(commit, run.readings.get(metric, ())), readings_of(lines, metric)
        self.spread.learn(more, before)
        self._samples[commit] = (*before, *more)

    def _learn_numbers(self, run: Run) -> None:
        self.recent.append(run)
        if run.contrast:
            self.contrasted.add((run.emitter, run.contrast))
        for parent in run.parents:
            self.children[parent] += 1
        if run.near_miss:
            self.near_misses.append(run)
        mean = run.mean(self.problem.primary.name)
        if mean is None or run.verdict is Verdict.CRASH:
            return
        self.spread.learn(run.readings[self.problem.primary.name])
        self.frontier.learn(run)
        loss = mean if self.problem.primary.direction is Direction.MINIMIZE else -mean
        bisect.insort(self._ranked, (loss, run.seq, run.commit))
        del self._ranked[POOL:]

    def parent_of(self, run: Run) -> Run | None:
        """The run it mutated (the first parent), if it was decided in this campaign."""
        return self.by_commit.get(run.parents[0]) if run.parents else None

    def gain(self, run: Run) -> float | None:
        """How much better than its first parent, primary metric's unit; None where either has no number."""
        parent = self.parent_of(run)
        metric = self.problem.primary
        mine, theirs = run.mean(metric.name), parent.mean(metric.name) if parent else None
        return None if mine is None or theirs is None else metric.gain(mine, theirs)

    def pool(self) -> list[Run]:
        """Runs that may become parents: the best, the frontier, the incumbent. Best first, never a run without numbers."""
        commits = dict.fromkeys(commit for _, _, commit in self._ranked)
        commits.update(dict.fromkeys(r.commit for r in self.frontier.runs[:POOL]))
        if self.incumbent is not None:
            commits.setdefault(self.incumbent.commit)
        return [self.by_commit[c] for c in commits]

    def forecast(self, parents: Iterable[str]) -> Forecast | None:
        """The plainest honest forecast: as good as the better parent, give or take noise and a twentieth of its size."""
        metric = self.problem.primary
        means = [m for p in parents if (r := self.by_commit.get(p)) and (m := r.mean(metric.name)) is not None]
        if not means:
            return None
        mean = min(means) if metric.direction is Direction.MINIMIZE else max(means)
        return Forecast(mean=mean, spread=max(math.hypot(self.spread.std, 0.05 * abs(mean)), 1e-12))
