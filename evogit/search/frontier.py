"""The Pareto set, kept up to date run by run, and the ranks behind it. A run that lacks one of the objectives has no place in either.

Means are compared as they were measured, noise and all. Where a believed (shrunk) mean of the primary metric is at hand, pass it as
`believed`: a lucky reading then puts nobody on the front. The other metrics are compared bare: sizes and times hardly move with a seed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from evogit.domain.metric import Direction, Metric
from evogit.domain.run import Run

Believed = Callable[[Run], "float | None"]  # mean of the first objective that is believed of a run, None: as measured


def point(run: Run, objectives: Sequence[Metric], believed: Believed | None = None) -> tuple[float, ...] | None:
    """The run's means in the order of the objectives, or None if it lacks one; `believed` stands in for the first."""
    means = [run.mean(metric.name) for metric in objectives]
    if any(m is None or m != m for m in means):  # noqa: PLR0124 - NaN differs from itself, and wins nothing
        return None
    shrunk = believed(run) if believed is not None else None
    if shrunk is not None and means:
        means[0] = shrunk
    return tuple(m for m in means if m is not None)


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

    def __init__(self, objectives: Sequence[Metric], believed: Believed | None = None) -> None:
        self.objectives, self._believed = tuple(objectives), believed  # what is believed is asked once, when a run is learnt
        self._points: dict[str, tuple[float, ...]] = {}
        self._runs: dict[str, Run] = {}

    def learn(self, run: Run) -> bool:
        """Take a run in; True if it is on the front now."""
        mine = point(run, self.objectives, self._believed)
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
    def points(self) -> list[tuple[float, ...]]:
        """The members' points, in the order in which they came."""
        return list(self._points.values())

    @property
    def runs(self) -> list[Run]:
        """The members, best primary metric first."""
        sign = _sign(self.objectives[0])
        return sorted(self._runs.values(), key=lambda r: (sign * self._points[r.commit][0], r.seq))


def frontier(runs: Iterable[Run], objectives: Sequence[Metric], believed: Believed | None = None) -> list[Run]:
    """The Pareto set of some runs, best primary metric first. O(runs x front)."""
    front = Frontier(objectives, believed)
    for run in runs:
        front.learn(run)
    return front.runs


def ranks(runs: Iterable[Run], objectives: Sequence[Metric], believed: Believed | None = None) -> dict[str, int]:
    """Non-dominated sorting: commit -> 0 for the front, 1 for what is the front without those, and so on.

    Runs that lack an objective are left out. Sorted by the first objective first, a run is compared with members of fronts that came
    before it alone, and the fronts are searched by bisection (Zhang et al. 2015, efficient non-dominated sort).
    """
    signs = [_sign(metric) for metric in objectives]
    known = [(p, run) for run in runs if (p := point(run, objectives, believed)) is not None]
    known.sort(key=lambda item: (*(s * x for s, x in zip(signs, item[0])), item[1].seq))
    fronts: list[list[tuple[float, ...]]] = []
    found: dict[str, int] = {}
    for mine, run in known:
        low, high = 0, len(fronts)
        while low < high:
            middle = (low + high) // 2
            if any(dominates(p, mine, objectives) for p in reversed(fronts[middle])):
                low = middle + 1
            else:
                high = middle
        if low == len(fronts):
            fronts.append([])
        fronts[low].append(mine)
        found[run.commit] = low
    return found


def _sign(metric: Metric) -> float:
    return 1.0 if metric.direction is Direction.MINIMIZE else -1.0
