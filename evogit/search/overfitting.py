"""Does the gap between validation and held-out grow as the search goes on? A pure test; it sees no file and moves no verdict.

A constant gap says nothing: the two sets differ. Growth is what selection on the validation set does. Each gap is of one
trained model on both sets, so what the seed did to that model is in both and cancels.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache

from evogit.domain.holdout import Trend
from evogit.domain.metric import Direction, Metric

FEWEST = 5  # kept runs; with fewer a line fits anything
# Asked after every kept run, a test at 5 % would call one campaign in three overfitted. At 0.3 % it is at most 5 % of the
# campaigns with up to 60 kept runs, by simulation, where gaps are independent and the gap does not grow.
LEVEL = 0.003


def gap(metric: Metric, validation: float, held_out: float) -> float:
    """By how much held-out is worse than validation, in the metric's unit; below 0 it is better."""
    return held_out - validation if metric.direction is Direction.MINIMIZE else validation - held_out


def trend(gaps: Sequence[float]) -> Trend | None:
    """The gaps of kept runs in the order of their decisions, as a straight line; None for fewer than `FEWEST`. O(n).

    It grows where a slope like this one or a greater has a probability of at most `LEVEL` under none (one-sided t test).
    """
    n = len(gaps)
    if n < FEWEST:
        return None
    middle, mean = (n - 1) / 2, math.fsum(gaps) / n
    width = math.fsum((i - middle) ** 2 for i in range(n))
    slope = math.fsum((i - middle) * g for i, g in enumerate(gaps)) / width
    rest = math.fsum((g - mean - slope * (i - middle)) ** 2 for i, g in enumerate(gaps))
    error = math.sqrt(rest / (n - 2) / width)
    rounding = 1e-9 * max(map(abs, gaps))
    if abs(slope) <= rounding:
        slope = 0.0
    if error <= rounding:  # a line without noise
        p, reach = (0.0, 0.0) if slope > 0 else (1.0, 0.0)
    else:
        p, reach = upper_tail(slope / error, n - 2), error * two_sided(0.05, n - 2)
    return Trend(runs=n, slope=slope, low=slope - reach, high=slope + reach, p=p, is_growing=p <= LEVEL)


def upper_tail(t: float, freedom: int) -> float:
    """P(T > t) for Student's t with a whole number of degrees of freedom (Abramowitz and Stegun, 26.7.3 and 26.7.4). O(freedom)."""
    angle = math.atan2(abs(t), math.sqrt(freedom))
    cos2, term, total = math.cos(angle) ** 2, 1.0, 0.0
    if freedom % 2:
        term = math.cos(angle)
        for k in range(1, freedom - 1, 2):
            total, term = total + term, term * cos2 * (k + 1) / (k + 2)
        inside = 2 / math.pi * (angle + math.sin(angle) * total)
    else:
        for k in range(0, freedom - 1, 2):
            total, term = total + term, term * cos2 * (k + 1) / (k + 2)
        inside = math.sin(angle) * total
    tail = max(0.0, (1 - inside) / 2)
    return tail if t >= 0 else 1 - tail


@cache
def two_sided(level: float, freedom: int) -> float:
    """The t that |T| passes with probability `level`, by bisection."""
    low, high = 0.0, 1.0
    while 2 * upper_tail(high, freedom) > level:
        high *= 2
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if 2 * upper_tail(middle, freedom) > level else (low, middle)
    return high
