"""The Pareto set, kept up to date run by run. It never holds a run that lacks one of the objectives."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from evogit.domain.metric import Metric
from evogit.domain.run import Run


def point(run: Run, objectives: Sequence[Metric]) -> tuple[float, ...] | None:
    """The run's means in the order of the objectives, or None if it lacks one."""
    means = [run.mean(metric.name) for metric in objectives]
    return None if any(m is None for m in means) else tuple(m for m in means if m is not None)


def dominates(a: Sequence[float], b: Sequence[float], objectives: Sequence[Metric]) -> bool:
    """True if `a` is nowhere worse than `b` and somewhere better. Equal points do not dominate each other."""
    somewhere = False
    for metric, x, y in zip(objectives, a, b):
        if metric.better(y, x):
            return False
        somewhere = somewhere or metric.better(x, y)
    return somewhere


class Frontier:
    """The runs that no other run dominates. `learn` costs O(size of the front)."""

    def __init__(self, objectives: Sequence[Metric]) -> None:
        self.objectives = tuple(objectives)
        self._points: dict[str, tuple[float, ...]] = {}
        self._runs: dict[str, Run] = {}

    def learn(self, run: Run) -> bool:
        """Take a run in; True if it is on the front now."""
        mine = point(run, self.objectives)
        if mine is None or any(dominates(p, mine, self.objectives) for p in self._points.values()):
            return False
        for commit in [c for c, p in self._points.items() if dominates(mine, p, self.objectives)]:
            del self._points[commit], self._runs[commit]
        self._points[run.commit], self._runs[run.commit] = mine, run
        return True

    def __contains__(self, commit: str) -> bool:
        return commit in self._runs

    def __len__(self) -> int:
        return len(self._runs)

    @property
    def runs(self) -> list[Run]:
        """The members, best primary metric first."""
        primary = self.objectives[0]
        sign = 1.0 if primary.direction.value == "minimize" else -1.0
        return sorted(self._runs.values(), key=lambda r: (sign * self._points[r.commit][0], r.seq))


def frontier(runs: Iterable[Run], objectives: Sequence[Metric]) -> list[Run]:
    """The Pareto set of some runs, best primary metric first. O(runs x front)."""
    front = Frontier(objectives)
    for run in runs:
        front.learn(run)
    return front.runs
