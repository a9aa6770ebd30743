"""Which part of a change did it: a regression of the gains of a parent's children on the parts that they share.

Each part has an effect of its own, drawn from N(0, t^2) before anything was measured, and effects add up (a Bayesian linear model with
a known noise: Rasmussen and Williams 2006, section 2.1, solved in its dual form). What it says is a likelihood among these parts: it
knows nothing of parts that work only together, and of a lone part it says that there is no other.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec

LIKELY = 0.8  # probability of being the strongest part in the gain's direction, from which a part is named
MOST_SIBLINGS = 32


class Case(msgspec.Struct, frozen=True, kw_only=True):
    """One child: the keys of its parts, and its gain over the shared parent."""

    keys: frozenset[str]
    gain: float
    sd: float  # one standard deviation of the gain, >= 0


class Effect(msgspec.Struct, frozen=True, kw_only=True):
    """What one part is believed to do."""

    key: str
    mean: float  # primary metric's unit, positive is better
    sd: float
    p_strongest: float  # probability that its effect passes that of the part next to it, in the gain's direction
    seen: int  # siblings that have it too


def attribute(mine: Case, others: Sequence[Case]) -> list[Effect]:
    """Effects of the parts of `mine`, the most responsible first. O((children)^3), children <= MOST_SIBLINGS + 1; nothing is raised."""
    cases = [*(c for c in others if math.isfinite(c.gain))][-MOST_SIBLINGS:] + [mine]
    keys = sorted(mine.keys)
    scale = max((abs(c.gain) for c in cases), default=0.0)
    if not keys or not scale or not math.isfinite(scale) or not math.isfinite(mine.gain):
        return [Effect(key=key, mean=0.0, sd=0.0, p_strongest=1.0 if len(keys) == 1 else 0.0, seen=_seen(key, others)) for key in keys]
    gains = [c.gain / scale for c in cases]
    # A fiftieth of the largest gain is laid to what does not add up: no noise at all could make the system singular.
    noise = [max(min(c.sd / scale, 1e3), 0.02) ** 2 for c in cases]
    gram = [[float(len(a.keys & b.keys)) + (noise[i] if i == j else 0.0) for j, b in enumerate(cases)] for i, a in enumerate(cases)]
    rows = {key: [1.0 if key in c.keys else 0.0 for c in cases] for key in keys}
    solved = _solve(gram, [gains, *rows.values()])
    weights, inverse = solved[0], dict(zip(keys, solved[1:]))
    means = {key: _dot(rows[key], weights) for key in keys}
    sign = 1.0 if mine.gain >= 0 else -1.0
    order = sorted(keys, key=lambda key: (-sign * means[key], key))

    def cov(a: str, b: str) -> float:
        return (1.0 if a == b else 0.0) - _dot(rows[a], inverse[b])

    def passes(a: str, b: str) -> float:
        spread = math.sqrt(max(cov(a, a) + cov(b, b) - 2 * cov(a, b), 1e-12))
        return 0.5 * math.erfc(-sign * (means[a] - means[b]) / spread / math.sqrt(2))

    first = order[0]
    rivals = {key: min((passes(key, other) for other in order if other != key), default=1.0) for key in order}
    return [
        Effect(
            key=key,
            mean=means[key] * scale,
            sd=math.sqrt(max(cov(key, key), 0.0)) * scale,
            p_strongest=rivals[key] if key == first else min(rivals[key], 0.5),
            seen=_seen(key, others),
        )
        for key in order
    ]


def _seen(key: str, others: Sequence[Case]) -> int:
    return sum(key in case.keys for case in others)


def _dot(a: Sequence[float], b: Sequence[float]) -> float:
    return math.fsum(x * y for x, y in zip(a, b))


def _solve(matrix: list[list[float]], sides: list[list[float]]) -> list[list[float]]:
    """Solutions of a symmetric positive definite system for several right-hand sides, by Cholesky."""
    n = len(matrix)
    lower = [[0.0] * n for _ in range(n)]
    for i in range(n):
        for j in range(i + 1):
            rest = matrix[i][j] - _dot(lower[i][:j], lower[j][:j])
            lower[i][j] = math.sqrt(max(rest, 1e-12)) if i == j else rest / lower[j][j]
    found = []
    for side in sides:
        half: list[float] = []
        for i in range(n):
            half.append((side[i] - _dot(lower[i][:i], half)) / lower[i][i])
        whole = [0.0] * n
        for i in reversed(range(n)):
            whole[i] = (half[i] - math.fsum(lower[k][i] * whole[k] for k in range(i + 1, n))) / lower[i][i]
        found.append(whole)
    return found
