"""Readings of one run are a group: its variance, and which groups of a window speak of the noise. It knows no seeds and no metrics.

Kept up to date group by group, for it is asked after each lesson: what does not change between two questions is not worked out again.
"""

from __future__ import annotations

import bisect
import math
import sys
from collections.abc import Sequence
from functools import lru_cache
from itertools import repeat
from operator import mul, truediv
from statistics import median
from typing import NamedTuple

FEW, MANY = 3, 8  # groups: from FEW on a group can be called far off, from MANY on it is done by the book
LENIENT = 10.0  # with few groups their middle is uncertain itself: only the absurd is left out
LIKELY = 3.0  # standard deviations (of a chi-square's cube root) that a group's variance may lie above the middle
TINY, HUGE = 5e-324, sys.float_info.max
ENOUGH, FAR_OUT = 5, 7.5  # readings of one run, and median deviations (five standard deviations, were it normal) from its median


class Group(NamedTuple):
    """The readings of one run, as far as they say how noisy the ruler is."""

    variance: float  # metric's unit squared; infinite where it leaves the range of floats
    freedom: int  # > 0
    scaled: float  # variance over the median of chi-square with that freedom: what groups of any size share
    ratio: float  # variance over what one in a thousand shows of that freedom; 0.0 only where there is no spread at all


class Groups:
    """The groups of a window's runs. All of it costs O(log groups), and walks over a list at the speed of C."""

    def __init__(self) -> None:
        self._all: dict[str, Group] = {}
        self._ratios: list[float] = []  # sorted, and the next two lists by it
        self._variances: list[float] = []
        self._freedoms: list[int] = []
        self._scaled: list[float] = []  # of the groups that have a finite spread, sorted

    def put(self, run: str, readings: Sequence[float]) -> None:
        """Take in all readings of a run; they replace those that it had."""
        self.drop(run)
        variance, freedom = _variance(readings)
        if not freedom:
            return
        ratio = max(variance / _quantile(freedom, LIKELY), TINY) if variance else 0.0
        group = self._all[run] = Group(variance, freedom, variance / _quantile(freedom, 0.0), ratio)
        at = bisect.bisect_left(self._ratios, ratio)
        self._ratios.insert(at, ratio)
        self._variances.insert(at, variance)
        self._freedoms.insert(at, freedom)
        if 0 < variance < math.inf:
            bisect.insort(self._scaled, group.scaled)

    def drop(self, run: str) -> None:
        """Forget a run, if it is known."""
        group = self._all.pop(run, None)
        if group is None:
            return
        at = bisect.bisect_left(self._ratios, group.ratio)
        while (self._variances[at], self._freedoms[at]) != (group.variance, group.freedom):
            at += 1
        del self._ratios[at], self._variances[at], self._freedoms[at]
        if 0 < group.variance < math.inf:
            del self._scaled[bisect.bisect_left(self._scaled, group.scaled)]

    def pooled(self) -> tuple[float, int]:
        """Variance and degrees of freedom of the groups that speak, together; (0.0, 0) of none."""
        least, most = self._limits()
        first, last = bisect.bisect_left(self._ratios, least), bisect.bisect_right(self._ratios, most)
        freedoms = self._freedoms[first:last]
        total = sum(freedoms)
        return (math.fsum(map(mul, self._variances[first:last], map(truediv, freedoms, repeat(total)))), total) if total else (0.0, 0)

    def speaks(self, run: str) -> bool:
        """True for a run whose group counts."""
        least, most = self._limits()
        group = self._all.get(run)
        return group is not None and least <= group.ratio <= most

    def _limits(self) -> tuple[float, float]:
        """Least and greatest ratio that is believed: not of the absurdly noisy, nor of those that ignored seeds where most did not."""
        moving, finite = len(self._scaled), bisect.bisect_right(self._ratios, HUGE)
        if 2 * moving <= finite:
            return 0.0, HUGE
        if moving < FEW:
            return TINY, HUGE
        middle = (self._scaled[(moving - 1) // 2] + self._scaled[moving // 2]) / 2
        return TINY, min(HUGE, (1.0 if moving >= MANY else LENIENT) * middle)


@lru_cache(maxsize=256)
def _quantile(freedom: int, z: float) -> float:
    """Quantile of chi-square over its degrees of freedom, at z standard deviations (Wilson and Hilferty)."""
    step = 2 / (9 * freedom)
    return (1 - step + z * math.sqrt(step)) ** 3


def _variance(readings: Sequence[float]) -> tuple[float, int]:
    """Unbiased variance of some readings and its degrees of freedom, (0.0, 0) of fewer than two; infinite where it leaves the range of floats.

    Of `ENOUGH` readings or more, those far out are left out: the cut takes one normal reading in hundreds, and most wild ones.
    """
    if len(readings) >= ENOUGH:
        middle = median(readings)
        usual = median(abs(r - middle) for r in readings)
        readings = [r for r in readings if abs(r - middle) <= FAR_OUT * usual] if usual else readings
    freedom = max(0, len(readings) - 1)
    if not freedom or min(readings) == max(readings):  # three times 0.1 have a mean that is not 0.1
        return 0.0, freedom
    try:
        mean = math.fsum(readings) / len(readings)
        return math.fsum((r - mean) * (r - mean) for r in readings) / freedom, freedom
    except OverflowError:
        return math.inf, freedom
