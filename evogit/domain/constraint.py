"""A constraint: a metric, a comparison and a bound, as in `params <= 100k`. It knows no problem and no run."""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable

import msgspec

_FORM = re.compile(r"\s*(\S+?)\s*(<=|>=|<|>)\s*([+-]?(?:\d[\d_]*\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)\s*([kKMGT]?)\s*")
_SUFFIXES = {"": 1.0, "k": 1e3, "K": 1e3, "M": 1e6, "G": 1e9, "T": 1e12}
_TESTS: dict[str, Callable[[float, float], bool]] = {"<=": operator.le, "<": operator.lt, ">=": operator.ge, ">": operator.gt}


class Constraint(msgspec.Struct, frozen=True, kw_only=True):
    """What a metric's mean has to satisfy."""

    metric: str
    sign: str  # "<=", "<", ">=" or ">"
    bound: float  # metric's unit
    text: str  # as it was written

    def holds(self, value: float) -> bool:
        """True if `value` satisfies it; NaN satisfies nothing."""
        return _TESTS[self.sign](value, self.bound)


def parse(text: str) -> Constraint:
    """`params <= 100k`, `latency_ms<5`, `accuracy >= .9`; k, M, G, T are powers of 1000. Raises ValueError that says what is wrong."""
    found = _FORM.fullmatch(text)
    if found is None:
        raise ValueError("is no comparison of a metric with a number")
    metric, sign, digits, suffix = found.groups()
    bound = float(digits) * _SUFFIXES[suffix]
    if not math.isfinite(bound):
        raise ValueError("has a bound that is no finite number")
    return Constraint(metric=metric, sign=sign, bound=bound, text=" ".join(text.split()))
