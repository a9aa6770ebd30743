"""What a seed adds to every run that uses it, where that was measured. Where it was not, it says nothing rather than guess."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import NamedTuple

LEAST_RUNS = 6  # that share seeds, two each at least
MOST_RUNS, MOST_SEEDS = 48, 12  # the newest runs and the most used seeds: what it costs stays bounded
CLEAR = 3.0  # standard deviations of the F test: it is asked again and again, so once in a hundred would be too often
WORTH = 0.75  # residual over plain variance: below it pairing pays

Pair = tuple[int, float]


class Paired(NamedTuple):
    """Seed effects (metric's unit, they sum to zero) and one standard deviation of what they leave."""

    effects: dict[int, float]
    std: float
    freedom: int


def seed_effects(groups: Sequence[Sequence[Pair]]) -> Paired | None:
    """The two-way decomposition reading = run + seed + rest by least squares, or None unless it clearly helps.

    groups: (seed, reading) pairs of one run each, oldest first. Helps: at least `LEAST_RUNS` runs, the residual variance at most
    `WORTH` of the plain one, and an F test beyond `CLEAR`. O(MOST_RUNS * MOST_SEEDS**2).
    """
    shared = _shared(groups)
    if len(shared) < LEAST_RUNS:
        return None
    rows = [_centred(group) for group in shared]
    seeds = sorted({seed for row in rows for seed in row})
    plain = math.fsum(d * d for row in rows for d in row.values())
    found = _solve(rows, seeds)
    if found is None or not math.isfinite(plain) or plain <= 0:
        return None
    effects = dict(zip(seeds, found))
    rest = math.fsum(_rest(row, effects) for row in rows)
    freedom_plain = sum(len(row) - 1 for row in rows)
    freedom = freedom_plain - (len(seeds) - 1)
    if freedom < LEAST_RUNS or rest / freedom > WORTH * (plain / freedom_plain) or not _is_clear(plain, rest, len(seeds) - 1, freedom):
        return None
    return Paired(effects, math.sqrt(rest / freedom), freedom)


def _shared(groups: Sequence[Sequence[Pair]]) -> list[dict[int, float]]:
    """The newest groups, cut down to the seeds that enough of them share; one reading a seed, the last."""
    newest = [dict(group) for group in groups[-MOST_RUNS:]]
    uses = Counter(seed for group in newest for seed in group)
    common = sorted((seed for seed in uses if uses[seed] >= LEAST_RUNS), key=lambda seed: (-uses[seed], seed))[:MOST_SEEDS]
    cut = [{seed: group[seed] for seed in group if seed in common} for group in newest]
    return [group for group in cut if len(group) > 1]


def _centred(group: dict[int, float]) -> dict[int, float]:
    mean = math.fsum(group.values()) / len(group)
    return {seed: reading - mean for seed, reading in group.items()}


def _rest(row: dict[int, float], effects: dict[int, float]) -> float:
    left = _centred({seed: d - effects[seed] for seed, d in row.items()})
    return math.fsum(d * d for d in left.values())


def _solve(rows: Sequence[dict[int, float]], seeds: list[int]) -> list[float] | None:
    """Least squares for the effects with the runs' means taken out: a small symmetric system, made definite by asking for sum zero.

    None where the runs do not tie all seeds together.
    """
    at, size = {seed: i for i, seed in enumerate(seeds)}, len(seeds)
    if not _is_tied(rows, seeds):
        return None
    system = [[1.0] * size + [0.0] for _ in seeds]
    for row in rows:
        for seed, d in row.items():
            line = system[at[seed]]
            line[at[seed]] += 1.0
            line[size] += d
            for other in row:
                line[at[other]] -= 1.0 / len(row)
    for i in range(size):
        for k in range(i + 1, size):
            share = system[k][i] / system[i][i]
            system[k] = [a - share * b for a, b in zip(system[k], system[i])]
    found = [0.0] * size
    for i in reversed(range(size)):
        found[i] = (system[i][size] - math.fsum(system[i][k] * found[k] for k in range(i + 1, size))) / system[i][i]
    return found


def _is_tied(rows: Sequence[dict[int, float]], seeds: list[int]) -> bool:
    beside: defaultdict[int, set[int]] = defaultdict(set)
    for row in rows:
        for seed in row:
            beside[seed].update(row)
    reached, todo = {seeds[0]}, [seeds[0]]
    while todo:
        new = beside[todo.pop()] - reached
        reached |= new
        todo += new
    return len(reached) == len(seeds)


def _is_clear(plain: float, rest: float, freedom_seeds: int, freedom_rest: int) -> bool:
    """F test of the seeds, by its cube root's normal approximation (Paulson)."""
    if rest <= 0:
        return True
    root = ((plain - rest) / freedom_seeds / (rest / freedom_rest)) ** (1 / 3) if plain > rest else 0.0
    a, b = 2 / (9 * freedom_seeds), 2 / (9 * freedom_rest)
    return (1 - b) * root - (1 - a) > CLEAR * math.sqrt(b * root * root + a)
