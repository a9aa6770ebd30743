"""How far a constant may plausibly go in one step, from two values that it had: no new sign, no share above one, no leap.

For what is proposed in words and numbers. What a file may hold in the end is the worker's to know, who sees the file.
"""

from __future__ import annotations

import math

FACTOR = 4.0  # of one step, at most
FACTORS = {"steps": 2.0, "depth": 2.0}  # where the step is paid for in time


def plausible(to: float, start: float, other: float, family: str = "") -> float | None:
    """The number closest to `to` that a constant may plausibly have next; None where it can go no further that way.

    start: the value that the step is made from; other: another one that it had, on the other side. family: its role, "" if unknown.
    """
    if not math.isfinite(to):
        return None
    low, high = min(start, other), max(start, other)
    if (to < 0 <= low) or (to > 0 >= high):  # what never had that sign may have to stay so
        return None
    most = FACTORS.get(family, FACTOR)
    if start:
        to = math.copysign(min(max(abs(to), abs(start) / most), abs(start) * most), to) if to else to
    else:
        to = math.copysign(min(abs(to), most * abs(other)), to)
    if 0 <= low and high <= 1 <= to and (isinstance(start, float) or isinstance(other, float)):  # a dropout, a momentum
        return (1 + high) / 2 if high < 1 else None
    return to
