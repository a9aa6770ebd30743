"""How much the primary metric moves between seeds when nothing else changes. It decides nothing."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from evogit.domain.trial import TrialLine


class Spread:
    """Pooled standard deviation between seeds, learnt run by run. O(readings) per run, O(1) to ask.

    Pooled variance: sum of squared deviations from each run's own mean over the sum of (n - 1), so that runs of
    different quality do not widen it (the usual within-group estimate of a one-way analysis of variance).
    """

    __slots__ = ("_freedom", "_squares")

    def __init__(self) -> None:
        self._squares = 0.0
        self._freedom = 0

    def learn(self, readings: Sequence[float], before: Sequence[float] = ()) -> None:
        """Take in one run's readings of one metric; fewer than two teach nothing.

        before: readings of the same run that were taken in already. Together they are one group, however they came.
        """
        whole = (*before, *readings)
        self._squares = max(0.0, self._squares + _squares(whole) - _squares(before))
        self._freedom += max(0, len(whole) - 1) - max(0, len(before) - 1)

    @property
    def std(self) -> float:
        """One standard deviation in the metric's unit; 0.0 while unknown or if seeds change nothing."""
        return math.sqrt(self._squares / self._freedom) if self._freedom else 0.0

    @property
    def is_known(self) -> bool:
        """True once any run was measured under two seeds."""
        return self._freedom > 0


def readings_of(lines: Iterable[TrialLine], metric: str) -> tuple[float, ...]:
    """The readings of a metric among some trial lines, in their order."""
    return tuple(line.metrics[metric] for line in lines if metric in line.metrics)


def _squares(readings: Sequence[float]) -> float:
    """Squared deviations from the readings' own mean, summed; 0.0 for fewer than two."""
    if len(readings) < 2:
        return 0.0
    mean = math.fsum(readings) / len(readings)
    return math.fsum((r - mean) ** 2 for r in readings)
