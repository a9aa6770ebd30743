"""What the past teaches, folded from the ledger one lesson at a time. It is recomputed from history and stored nowhere.

Each chapter is a module of its own and learns from the same `Lesson`; this one keeps the order in which they learn, and the
plain facts that all of them share. The same lessons in the same order give the same memory, whether folded at once or as
they come.
"""

from __future__ import annotations

import bisect
import math
from collections import defaultdict, deque
from collections.abc import Iterable, Mapping
from typing import Protocol

import msgspec

from evogit.domain.belief import Belief, Standing
from evogit.domain.metric import Direction
from evogit.domain.plan import Forecast
from evogit.domain.problem import Problem
from evogit.domain.review import Branch
from evogit.domain.run import Again, Run
from evogit.domain.verdict import Verdict
from evogit.search.archive import Archive
from evogit.search.beliefs import Beliefs
from evogit.search.conjectures import Conjectures
from evogit.search.deadends import DeadEnds
from evogit.search.evidence import Certification
from evogit.search.facts import RECENT, Facts
from evogit.search.faults import Faults
from evogit.search.frontier import Frontier
from evogit.search.ideas import Ideas
from evogit.search.lesson import Lesson
from evogit.search.portfolio import Portfolio
from evogit.search.topics import topics

POOL = 24  # best runs that may become parents: enough for variety, few enough to weigh each time


class Library(Protocol):
    """The mutable files of any run, for those who have to look into them. Reading it is the only cost that memory has beside time."""

    def sources(self, commit: str) -> Mapping[str, str]: ...


class Memory(Facts):
    """One campaign's memory. `learn` costs O(log runs + front) a run, so a loop never passes over history again."""

    def __init__(self, problem: Problem, library: Library | None = None) -> None:
        self._library = library
        self.ideas = Ideas()
        super().__init__(problem)
        self.tried: dict[str, str] = {}  # sources hash -> label of the run that had it
        self.advice: dict[str, Branch] = {}  # run -> what its reviewer would do with the line
        self.replicates: defaultdict[str, int] = defaultdict(int)  # run -> how often it was measured again
        self.pending: defaultdict[str, int] = defaultdict(int)  # parent -> candidates in flight
        self.worked_out: dict[str, list[float]] = {}  # what was computed of the lessons so far: forgotten with the next one
        self.turns = 0  # plans carried out by emitters so far, those in flight included

    def _start_epoch(self, epoch: int) -> None:
        super()._start_epoch(epoch)
        self.beliefs = Beliefs(self.problem, self.spread)
        self.frontier = Frontier(self.problem.objectives)
        self.archive = Archive(self.problem)
        self.faults = Faults()
        self.conjectures = Conjectures()
        self.dead_ends = DeadEnds()
        self.certification = Certification(self.problem, self.spread)
        self.portfolio = Portfolio(self.problem)
        self.near_misses: deque[Run] = deque(maxlen=RECENT)
        self.children: defaultdict[str, int] = defaultdict(int)
        self.dismissed: set[str] = set()  # runs that a person discarded, and those never kept that descend from them: no parents
        self.contrasted: set[tuple[str, str]] = set()  # (emitter, run whose change it looked into)
        self.joined: set[frozenset[str]] = set()  # pairs of runs that were recombined
        self._ranked: list[tuple[float, int, str]] = []  # (loss-like mean, seq, commit), best first
        self._bounds = (0.0, 0.0)  # a metric that was never below (above) zero is not expected there

    @classmethod
    def of(cls, problem: Problem, lessons: Iterable[Run | Again], library: Library | None = None, incumbent: str = "") -> Memory:
        """Fold a whole history, in the order of the ledger. incumbent: the run that is it now, as in `Facts.at`."""
        memory = cls(problem, library)
        for lesson in lessons:
            memory.take(lesson)
        memory.follow(incumbent)
        return memory

    def learn(self, run: Run) -> None:
        """Take in one decided run; runs of an older epoch teach only what was tried."""
        self.worked_out.clear()
        is_of_now = self._enter(run)
        if run.sources:
            self.tried.setdefault(run.sources, run.label)
        if run.emitter not in {"baseline", "person"}:
            self.turns += 1
        self.ideas.settle(run)
        if not is_of_now:
            return
        lesson = self._lesson(run)
        self._learn_numbers(run)
        for chapter in (self.faults, self.conjectures, self.dead_ends, self.portfolio):
            chapter.learn(lesson)
        if run.commit not in self.dismissed:
            self.archive.learn(lesson)
        self._learn_place(run)
        if self.incumbent is run:
            self.certification.follow(run, lesson.incumbent)

    def _moved(self, run: Run, before: Run | None) -> None:
        self.worked_out.clear()
        self.certification.follow(run, before)

    def _lesson(self, run: Run) -> Lesson:
        """The run beside what was known before it; its readings enter noise and beliefs here."""
        parent, incumbent = self.parent_of(run), self.incumbent
        sigma = self.spread.std
        parent_belief = self.beliefs.of(parent.commit) if parent else None
        incumbent_belief = self.beliefs.of(incumbent.commit) if incumbent else None
        self._learn_noise(run)
        belief = self.beliefs.learn(run, parent, incumbent) if run.verdict is not Verdict.CRASH else None
        return Lesson(
            run=run,
            parent=parent,
            incumbent=incumbent,
            belief=belief,
            parent_belief=parent_belief,
            incumbent_belief=incumbent_belief,
            sigma=sigma,
            topics=topics(run),
        )

    def learn_again(self, again: Again) -> None:
        """Take in later readings of a run: they sharpen its belief and tell how noisy the ruler is; those of older epochs teach nothing."""
        self.worked_out.clear()
        self.replicates[again.of] += again.purpose == "replicate"
        known, run = self.by_commit.get(again.of), self._read_again(again)
        if known is not None and again.purpose == "replicate":
            self.ideas.read_again(known.commit, known.label)
        if run is None:
            return
        readings = self._numbers(again)
        self.spread.learn(run.commit, readings, screened=False)
        self.beliefs.learn_again(run, readings)
        is_over = again.purpose == "certify" and self.certification.learn(again, readings)
        if is_over:  # before its last look a "no" means "not yet"
            self.portfolio.learn_certified(run, again)

    def _learn_numbers(self, run: Run) -> None:
        self.recent.append(run)
        if run.is_dismissed or (not run.is_kept and not self.dismissed.isdisjoint(run.parents)):
            self.dismissed.add(run.commit)
        if run.contrast:
            self.contrasted.add((run.emitter, run.contrast))
        for parent in run.parents:
            self.children[parent] += 1
        if len(run.parents) == 2:
            self.joined.add(frozenset(run.parents))
        if run.near_miss and run.commit not in self.dismissed:
            self.near_misses.append(run)
        mean = run.mean(self.problem.primary.name)
        if mean is None or not math.isfinite(mean) or run.verdict is Verdict.CRASH or run.commit in self.dismissed:
            return
        self.frontier.learn(run)
        self._bounds = (min(self._bounds[0], mean), max(self._bounds[1], mean))
        loss = mean if self.problem.primary.direction is Direction.MINIMIZE else -mean
        bisect.insort(self._ranked, (loss, run.seq, run.commit))
        del self._ranked[POOL:]

    # asking ----------------------------------------------------------------------------------------------------------

    def belief(self, commit: str) -> Belief | None:
        """What is believed of a run's primary metric; None where it has no number."""
        return self.beliefs.of(commit)

    def standing(self, parent: str) -> Standing:
        """What a candidate with that first parent is judged against now."""
        standing = self.beliefs.standing(self.by_commit.get(parent), self.incumbent)
        gain = self.certification.gain(self.incumbent.commit) if self.incumbent is not None else None
        return standing if gain is None else msgspec.structs.replace(standing, certified=gain)

    def sources(self, commit: str) -> Mapping[str, str]:
        """Mutable files of a run: path below the problem's folder -> text; {} without a library."""
        return self._library.sources(commit) if self._library is not None else {}

    def parent_of(self, run: Run) -> Run | None:
        """The run it mutated (the first parent), if it was decided in this campaign."""
        return self.by_commit.get(run.parents[0]) if run.parents else None

    def gain(self, run: Run) -> float | None:
        """How much better than its first parent, primary metric's unit, as it was read; None where either has no number."""
        parent = self.parent_of(run)
        metric = self.problem.primary
        mine, theirs = run.mean(metric.name), parent.mean(metric.name) if parent else None
        return None if mine is None or theirs is None else metric.gain(mine, theirs)

    def pool(self) -> list[Run]:
        """Runs that may become parents: the best, the frontier, the incumbent. Best first, never a run without a finite number."""
        commits = dict.fromkeys(commit for _, _, commit in self._ranked)
        commits.update(dict.fromkeys(r.commit for r in self.frontier.runs[:POOL]))
        if self.incumbent is not None:
            commits.setdefault(self.incumbent.commit)
        return [self.by_commit[c] for c in commits]

    def forecast(self, parents: Iterable[str], gain: float = 0.0, spread: float = 0.0) -> Forecast | None:
        """A forecast: as good as the better parent is believed to be, better by `gain`, give or take noise and `spread`.

        gain, spread: primary metric's unit. A metric that had one sign so far keeps it. Without a spread, a twentieth of the parent's own value. None without a number.
        """
        metric = self.problem.primary
        beliefs = [b for p in parents if (b := self.beliefs.of(p)) is not None]
        if not beliefs:
            return None
        best = (min if metric.direction is Direction.MINIMIZE else max)(beliefs, key=lambda b: b.mean)
        mean = best.mean - gain if metric.direction is Direction.MINIMIZE else best.mean + gain
        low, high = self._bounds
        mean = max(mean, 0.0) if low == 0.0 else min(mean, 0.0) if high == 0.0 else mean
        own = spread or 0.05 * abs(best.mean)
        return Forecast(mean=mean, spread=max((self.spread.std**2 + best.variance + own**2) ** 0.5, 1e-12))
