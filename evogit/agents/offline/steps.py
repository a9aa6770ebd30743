"""How far a number may move, and how it is written down. Bounds hold whatever was asked; it knows no file."""

from __future__ import annotations

import math
import re

from evogit.search.families import START
from evogit.search.genes import Gene

LARGEST = 1 << 16
LARGEST_SHARE = 0.999999  # six digits are kept of a share, and 1 is none
_BOUNDS = {
    "lr": (1e-6, 10.0),
    "decay": (1e-7, 1.0),
    "dropout": (0.01, 0.95),
    "smoothing": (0.005, 0.5),
    "momentum": (0.05, 0.9999),
    "clip": (1e-3, 100.0),
}


def scaled(gene: Gene, factor: float, *, far: bool = False) -> int | float | None:
    """The gene's value moved by about `factor` on its own scale (log; from the other end for shares above 0.8).

    None where it cannot move that way: at a bound, not a number, or 0 with no sensible place to begin.
    """
    value = gene.value
    if isinstance(value, bool) or not isinstance(value, (int, float)) or gene.kind in {"tuple", "name", "str"}:
        return None
    if value == 0:
        return START.get(gene.family) if factor > 1 and isinstance(value, float) else None
    if isinstance(value, int):
        new: int | float = _whole(gene, value, factor, far)
    elif gene.kind == "ratio":
        new = _share(gene, value, factor)
    else:
        low, high = _BOUNDS.get(gene.family, (1e-12, 1e12))
        low, high = min(low, abs(value)), max(high, abs(value))
        new = math.copysign(min(max(tidy(abs(value) * factor), low), high), value)
    return None if new == value or (abs(new) > abs(value)) != (factor > 1) else new


def _share(gene: Gene, value: float, factor: float) -> float:
    """Shares stay shares: near 1 it is the rest that is stepped, since 0.9 to 0.99 is as far as 0.1 to 0.01."""
    low, high = _BOUNDS.get(gene.family, (0.01, 0.95))
    high = max(min(high, LARGEST_SHARE), value)
    new = 1 - tidy((1 - value) / factor) if value >= 0.8 else tidy(value * factor)
    if factor > 1 and value < 0.8:
        new = min(new, tidy((1 + value) / 2))
    return min(max(round(new, 6), min(low, value)), high)


def _whole(gene: Gene, value: int, factor: float, far: bool) -> int:
    top = max(LARGEST, value * 2) if value > LARGEST // 2 else LARGEST
    top = min(top, max(int(_BOUNDS.get(gene.family, (0, top))[1]), value))
    if gene.family == "steps":
        factor = min(max(factor, 0.5), 2.0)
    elif gene.family == "depth":
        factor = min(max(factor, 0.25), 4.0)
    if gene.family in {"heads", "kernel"} or (gene.family == "batch" and value & (value - 1) == 0):
        new = value * 2 if factor > 1 else value // 2 if value % 2 == 0 else value
    elif gene.family == "depth" and not far:
        new = value + (1 if factor > 1 else -1)
    elif gene.kind == "size" and value >= 8:
        unit = 8 if value % 8 == 0 and value >= 32 else 4 if value % 4 == 0 and value >= 16 else 2 if value % 2 == 0 else 1
        new = round(value * factor / unit) * unit
        if new == value:
            new += unit if factor > 1 else -unit
    else:
        new = round(value * factor)
        if new == value:
            new += 1 if factor > 1 else -1
    return min(max(new, 1), top)


def within(gene: Gene, value: float) -> float:
    """The value, brought inside the bounds of the gene's role; a share stays below 1."""
    low, high = _BOUNDS.get(gene.family, (0.01, 0.95) if gene.kind == "ratio" else (1e-12, 1e12))
    size = abs(gene.value) or low
    return math.copysign(min(max(abs(value), min(low, size)), max(high, size)), value)


def snapped(gene: Gene, value: float) -> int:
    """The whole number near `value` that this gene could have: a size stays a multiple of what it was a multiple of."""
    unit = 8 if gene.kind == "size" and gene.value % 8 == 0 and value >= 16 else 1
    return max(1, round(value / unit) * unit)


def tidy(value: float, digits: int = 2) -> float:
    """A number as a person would write it: two significant digits, never 0 for what was not 0."""
    return float(f"{value:.{digits - 1}e}")


def written(value: bool | float, old: str) -> str:
    """The literal, in the style of the one it replaces: `2**19` stays a power, `3e-4` keeps its exponent."""
    if isinstance(value, bool):
        return str(value)
    if isinstance(value, int):
        power = re.match(r"(2\s*\*\*\s*|1\s*<<\s*)\d+$", old)
        if power and value > 1 and value & (value - 1) == 0:
            return f"{power.group(1)}{value.bit_length() - 1}"
        return f"{value:_}" if "_" in old else str(value)
    if "e" in old.lower() and value:
        mantissa, _, exponent = f"{value:e}".partition("e")
        mantissa = mantissa.rstrip("0").rstrip(".")
        return f"{mantissa}e{int(exponent)}" if float(f"{mantissa}e{int(exponent)}") == value else repr(value)
    return repr(value)


def verb(old: float, new: float) -> str:
    """ "halve", "double", "raise" or "lower": how a person would call the step."""
    if old and new == 2 * old:
        return "double"
    if old and 2 * new == old:
        return "halve"
    return "raise" if new > old else "lower"
