"""A metric: a name, a direction and the smallest gain that counts. It refuses to compare NaN."""

from __future__ import annotations

import math
from enum import Enum

import msgspec


class Direction(str, Enum):
    """Which way is better."""

    MINIMIZE = "minimize"
    MAXIMIZE = "maximize"


class Metric(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One number that the ruler reports. The first metric of a problem is its primary one."""

    name: str
    direction: Direction
    min_delta: float = 0.0  # metric's unit, >= 0: a gain not above it is no gain

    def gain(self, value: float, over: float) -> float:
        """How much better `value` is than `over`, in the metric's unit; positive is better. NaN stays NaN."""
        return over - value if self.direction is Direction.MINIMIZE else value - over

    def beats(self, value: float, over: float) -> bool:
        """True if `value` is better than `over` by more than `min_delta`. NaN never beats and is always beaten."""
        if math.isnan(value):
            return False
        if math.isnan(over):
            return True
        return self.gain(value, over) > self.min_delta

    def better(self, value: float, than: float) -> bool:
        """Strictly better, `min_delta` left aside: for rankings and dominance, never for verdicts."""
        return self.gain(value, than) > 0
