"""What an open lab has folded of its campaign, kept and moved on: a look at ten thousand runs pays for the new ones alone.

The same comes out as from folding all of it, which is what happens wherever something that was told already is told differently.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Generic, Protocol, TypeVar

from evogit.billing import Sum
from evogit.domain.metric import Metric
from evogit.domain.problem import Problem
from evogit.domain.run import Again, Run
from evogit.domain.verdict import Verdict
from evogit.git.history import History
from evogit.search.facts import Facts
from evogit.search.frontier import Frontier


class Fold(Protocol):
    """Something that lessons are folded into, in the order of the ledger."""

    def take(self, lesson: Run | Again) -> None: ...


F = TypeVar("F", bound=Fold)


class Kept(Generic[F]):
    """One fold of a history, and how far it has come."""

    def __init__(self, make: Callable[[], F]) -> None:
        self._make = make
        self._of: History | None = None
        self._told, self._state = 0, (0, 0)

    def at(self, history: History) -> F:
        """It, with everything that the history holds now. O(new lessons); O(runs) the first time, and after a judge, a join, an epoch, or a
        certificate, which changes what was said of an earlier run."""
        state = (history.revision, history.epoch)
        new = list(history.lessons(self._told)) if self._of is history and self._state == state else None
        if new is None or any(isinstance(lesson, Again) and lesson.certified is not None for lesson in new):
            self._fold, new = self._make(), list(history.lessons())
        self._of = None  # what breaks off half way is folded anew
        for lesson in new:
            self._fold.take(lesson)
        self._of, self._told, self._state = history, history.told, state
        return self._fold


class Count:
    """How many runs there are of which kind, what they took, and what they cost."""

    def __init__(self) -> None:
        self.verdicts = {"keep": 0, "discard": 0, "crash": 0, "reject": 0}
        self.emitters: dict[str, dict[str, int]] = {}  # -> {"runs", "keeps"}
        self.baselines = 0  # epochs that have one
        self.seconds = 0.0
        self.sum = Sum()

    def take(self, lesson: Run | Again) -> None:
        """The next lesson."""
        self.sum.take(lesson)
        if isinstance(lesson, Again):
            return
        self.verdicts[lesson.verdict.value] += 1
        tally = self.emitters.setdefault(lesson.emitter, {"runs": 0, "keeps": 0})
        tally["runs"] += 1
        tally["keeps"] += lesson.is_kept
        self.baselines += lesson.is_kept and not lesson.generation
        self.seconds += lesson.seconds


class Front:
    """The Pareto set of the epoch that holds."""

    def __init__(self, epoch: int, objectives: Sequence[Metric]) -> None:
        self._epoch, self.found = epoch, Frontier(objectives)

    def take(self, lesson: Run | Again) -> None:
        """The next lesson. A later reading of a run puts nobody on the front: see `search.frontier`."""
        if isinstance(lesson, Run) and is_comparable(lesson, self._epoch):
            self.found.learn(lesson)


class Glance:
    """The folds of one campaign that its screens ask for again and again. A few bytes a run."""

    def __init__(self, history: History, problem: Problem) -> None:
        """problem: the contract that holds. Make another one for another."""
        self.history, self.problem = history, problem
        self._facts, self._count = Kept(lambda: Facts(problem)), Kept(Count)
        self._fronts: dict[tuple[Metric, ...], Kept[Front]] = {}

    def facts(self) -> Facts:
        """What every chapter of memory shares. It moves on with the next call: keep none of it."""
        facts = self._facts.at(self.history)
        facts.stand(self.history.epoch, self.history.incumbent)
        return facts

    def count(self) -> Count:
        """The same of what was counted."""
        return self._count.at(self.history)

    def front(self, objectives: Sequence[Metric]) -> list[Run]:
        """The runs of this epoch that no other one dominates, best first objective first."""
        wanted = tuple(objectives)
        if wanted not in self._fronts:
            self._fronts = {wanted: Kept(lambda: Front(self.history.epoch, wanted))}  # one: screens show one at a time
        return self._fronts[wanted].at(self.history).found.runs


def is_comparable(run: Run, epoch: int) -> bool:
    """True for a run of that epoch that did not crash: one that failed under its second seed has a first reading, and no claim."""
    return run.epoch == epoch and run.verdict is not Verdict.CRASH
