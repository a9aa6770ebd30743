"""How much of the room between the worst and the best the Pareto set covers, run by run. It ranks nobody and decides nothing.

The room is a box. Its worst corner (the reference point) is, on each axis, the worst of the baseline and of every run that was on the
front when it was decided; its best corner is the best value seen on each axis. Both are taken over all the runs that are asked about,
so volumes within one answer can be compared and those of two answers cannot. Volumes are shares of the box, in [0, 1]: no unit enters.
An axis on which all these runs agree is left out. Exact, by moocore, which pulls numpy: both are loaded when a volume is asked for.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from evogit.domain.metric import Direction, Metric
from evogit.domain.run import Run
from evogit.errors import UserError
from evogit.search.frontier import Believed, Frontier, point

Point = tuple[float, ...]


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """The covered share after one run."""

    run: str  # label
    seq: int
    volume: float  # 0 to 1


def over_runs(runs: Iterable[Run], objectives: Sequence[Metric], believed: Believed | None = None) -> list[Step]:
    """One step for each run that has all the objectives, in the order given; [] if there is none. Never falls.

    O(runs x front), and one exact volume for each run that changed the front. Raises UserError without moocore.
    """
    front = Frontier(objectives, believed)
    fronts: list[tuple[Run, list[Point] | None]] = []  # None: this run changed nothing
    seen: list[Point] = []
    for run in runs:
        mine = point(run, objectives, believed)
        if mine is None:
            continue
        joined = front.learn(run)
        if joined or run.generation == 0:
            seen.append(_losses(mine, objectives))
        fronts.append((run, [_losses(p, objectives) for p in front.points] if joined else None))
    volume, steps = 0.0, []
    for run, points in fronts:
        volume = max(volume, covered(points, seen)) if points is not None else volume
        steps.append(Step(run=run.label, seq=run.seq, volume=volume))
    return steps


def covered(front: Sequence[Point], seen: Sequence[Point]) -> float:
    """Share of the box around `seen` that lies behind `front`. Points are losses: less is better on each axis. Raises UserError."""
    axes = [(min(axis), max(axis)) for axis in zip(*seen)]
    spans = [(i, best, worst) for i, (best, worst) in enumerate(axes) if worst > best]
    if not spans or not front:
        return 0.0
    unit = [[_share(p[i], best, worst) for i, best, worst in spans] for p in front]
    if len(spans) == 1:
        return 1.0 - min(p[0] for p in unit)
    try:
        import moocore  # numpy comes with it
    except ImportError as error:
        raise UserError(f"hypervolume needs moocore ({error})", hint="pip install moocore") from error
    return float(moocore.hypervolume(unit, ref=[1.0] * len(spans)))


def _losses(values: Point, objectives: Sequence[Metric]) -> Point:
    return tuple(x if m.direction is Direction.MINIMIZE else -x for x, m in zip(values, objectives))


def _share(value: float, best: float, worst: float) -> float:
    """Where a value lies between the best (0) and the worst (1); halved first, as a span may pass the largest float."""
    return min(1.0, max(0.0, (value / 2 - best / 2) / (worst / 2 - best / 2)))
