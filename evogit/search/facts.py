"""The plain facts of a campaign's epoch, folded from the ledger: its baseline, its incumbent, its noise, its newest runs.

They are what every chapter of memory shares, and all that a glance needs; a glance pays for nothing else. It judges nothing.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping

from evogit.domain.problem import Problem
from evogit.domain.run import Again, Run
from evogit.domain.verdict import Verdict
from evogit.search.noise import Spread

RECENT = 64  # runs that emitters look back on


class Facts:
    """Of one campaign. `take` costs some 5 us a lesson; `Memory` is the same with everything that was learnt, at fifty times that."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self.by_commit: dict[str, Run] = {}
        self._start_epoch(0)

    def _start_epoch(self, epoch: int) -> None:
        self.epoch = epoch
        self.baseline: Run | None = None
        self.incumbent: Run | None = None
        self.spread = Spread()
        self.recent: deque[Run] = deque(maxlen=RECENT)

    @classmethod
    def at(cls, problem: Problem, lessons: Iterable[Run | Again], epoch: int, incumbent: str = "") -> Facts:
        """Fold a whole history, in the order of the ledger. epoch: the one that holds now; no run of it may be decided yet.

        incumbent: the run that is it now, where its last decision may not tell.
        """
        facts = cls(problem)
        for lesson in lessons:
            facts.take(lesson)
        facts.stand(epoch, incumbent)
        return facts

    def stand(self, epoch: int, incumbent: str) -> None:
        """Say what holds after the last lesson, as in `at`."""
        if epoch > self.epoch:
            self._start_epoch(epoch)
        self.follow(incumbent)

    def take(self, lesson: Run | Again) -> None:
        """Take in the next lesson of the ledger."""
        if isinstance(lesson, Run):
            self.learn(lesson)
        else:
            self.learn_again(lesson)

    def learn(self, run: Run) -> None:
        """Take in one decided run; runs of an older epoch are known by name alone."""
        if self._enter(run):
            self._learn_noise(run)
            self.recent.append(run)
            self._learn_place(run)

    def learn_again(self, again: Again) -> None:
        """Take in later readings of a run; those of older epochs say nothing."""
        run = self._read_again(again)
        if run is not None:
            self.spread.learn(run.commit, self._numbers(again), screened=False)

    def _enter(self, run: Run) -> bool:
        """Know the run, and begin its epoch where it is a new one. False if its epoch is over."""
        if run.epoch > self.epoch:
            self._start_epoch(run.epoch)
        self.by_commit[run.commit] = run
        if run.epoch != self.epoch:
            return False
        self.follow(run.rival)
        return True

    def follow(self, commit: str) -> None:
        """The incumbent is that run now, whatever its own decision said: a person judged it, or two books were joined.

        A run that is unknown, of another epoch or without a number never is. Costs a look-up where nothing moved.
        """
        run = self.by_commit.get(commit)
        if run is None or run is self.incumbent or run.epoch != self.epoch or run.verdict not in (Verdict.KEEP, Verdict.DISCARD):
            return
        before, self.incumbent = self.incumbent, run
        self._moved(run, before)

    def _moved(self, run: Run, before: Run | None) -> None:
        """For chapters that care how the incumbent came to be."""

    def _learn_noise(self, run: Run) -> None:
        if run.verdict is not Verdict.CRASH:
            self.spread.learn(run.commit, self.readings(run), screened=run.generation > 0)

    def _learn_place(self, run: Run) -> None:
        if run.generation == 0:
            self.baseline = run
        if run.is_kept and run.incumbent == run.commit:
            self.incumbent = run

    def _read_again(self, again: Again) -> Run | None:
        """The run whose later readings count; None where they do not."""
        run = self.by_commit.get(again.of)
        return None if run is None or run.epoch < self.epoch or run.verdict is Verdict.CRASH else run

    def _numbers(self, again: Again) -> Mapping[int, float]:
        metric = self.problem.primary.name
        return {line.seed: line.metrics[metric] for line in again.lines if metric in line.metrics}

    def readings(self, run: Run) -> dict[int, float]:
        """Its "select" readings of the primary metric, by seed."""
        metric = self.problem.primary.name
        return {seed: metrics[metric] for seed, metrics in run.by_seed.items() if metric in metrics}
