"""How much the primary metric moves between seeds when nothing else changes. It decides nothing."""

from __future__ import annotations

import math
from collections.abc import Sequence


class Spread:
    """Pooled standard deviation between seeds, learnt run by run. O(readings) per run, O(1) to ask.

    Pooled variance: sum of squared deviations from each run's own mean over the sum of (n - 1), so that runs of
    different quality do not widen it (the usual within-group estimate of a one-way analysis of variance).
    """

    __slots__ = ("_freedom", "_squares")

    def __init__(self) -> None:
        self._squares = 0.0
        self._freedom = 0

    def learn(self, readings: Sequence[float]) -> None:
        """Take in one run's readings of one metric; fewer than two teach nothing."""
        if len(readings) < 2:
            return
        mean = math.fsum(readings) / len(readings)
        self._squares += math.fsum((r - mean) ** 2 for r in readings)
        self._freedom += len(readings) - 1

    @property
    def std(self) -> float:
        """One standard deviation in the metric's unit; 0.0 while unknown or if seeds change nothing."""
        return math.sqrt(self._squares / self._freedom) if self._freedom else 0.0

    @property
    def is_known(self) -> bool:
        """True once any run was measured under two seeds."""
        return self._freedom > 0
