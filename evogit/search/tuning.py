"""Which constant of a run to move, which way and how far, from what moving it did before. Pure; it edits nothing.

The outcome is taken for a parabola over each constant's own scale (log, log odds for shares), fitted to the measured moves
by Bayesian regression, and one draw from its posterior is followed to its top. So steps grow while one direction pays and
shrink where they overshot; constants that nobody knows are tried because their draws are wide. It proposes no value that
was measured, and no structure.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterable

import msgspec

from evogit.domain.change import MoveValue
from evogit.domain.plan import Aim
from evogit.domain.run import Run
from evogit.domain.verdict import Verdict
from evogit.search import genes, worth
from evogit.search.families import START
from evogit.search.genes import Gene
from evogit.search.memory import Memory
from evogit.search.topics import MOST_MOVES

MOST_AIMS = 5
ANCESTORS = 48  # of the parent, beside the recent runs: their moves led here
LEAST, REACH, FAR_REACH = 0.25, 1.5, 3.0  # of a step, in doublings; the last on a plateau
CURVATURE = (0.4, 0.5)  # prior mean and deviation of the parabola's curvature, in units of the usual gain
NUDGES = (1.0, 1.3, 0.75, 1.7, 0.5, -0.5, -1.0)  # of a step that leads to a measured value
# How much more a constant of this role usually matters.
IMPORTANCE = {"lr": 1.6, "width": 1.3, "batch": 1.2, "depth": 1.2, "dropout": 1.2, "momentum": 1.1, "decay": 1.1, "schedule": 1.1}


class Moved(msgspec.Struct, frozen=True, kw_only=True):
    """One measured move of one constant. A crash counts as a loss that is not known well."""

    old: MoveValue
    new: MoveValue
    gain: float  # primary metric's unit, positive is better
    variance: float


class Tuned(msgspec.Struct, frozen=True, kw_only=True):
    """Aims, best first, and what the first is expected to gain."""

    aims: tuple[Aim, ...] = ()
    gain: float = 0.0  # primary metric's unit, posterior mean
    spread: float = 0.0  # one standard deviation of it


class _Wish(msgspec.Struct, frozen=True):
    drawn: float  # gain of the draw, discounted where crashes and dead ends are known
    aim: Aim
    gain: float
    spread: float


def tune(memory: Memory, parent: Run, rng: random.Random, *, far: bool = False, only: Callable[[Gene], bool] = lambda gene: True) -> Tuned:
    """What to set in `parent`: up to five aims. Empty where it has no numbers to move, or memory has no library.

    far: allow steps of up to a factor of 8 instead of 3. only: the genes that may be moved. Reads the parent's sources;
    O(recent runs + genes).
    """
    texts = sorted(memory.sources(parent.commit).items())
    found = [g for path, text in texts if path.endswith(".py") for g in genes.find(text, path) if only(g)]
    known, scale = evidence(memory, parent), worth.scale(memory, parent)
    reach = FAR_REACH if far else REACH
    wishes = [w for gene in found if (w := _wish(memory, gene, known.get(_key(gene), ()), scale, reach, rng)) is not None]
    wishes.sort(key=lambda w: -w.drawn)
    if not wishes:
        return Tuned()
    return Tuned(aims=tuple(w.aim for w in wishes[:MOST_AIMS]), gain=wishes[0].gain, spread=wishes[0].spread)


def evidence(memory: Memory, parent: Run) -> dict[str, list[Moved]]:
    """Measured moves by gene (`path:name`): of the recent runs and of the parent's line. Runs that moved many genes tell nothing."""
    scale = worth.scale(memory, parent)
    found: dict[str, list[Moved]] = {}
    runs = {r.commit: r for r in (*line(memory, parent), *memory.recent)}
    for run in runs.values():
        count = len(run.moves)
        if not 0 < count <= MOST_MOVES:
            continue
        outcome = worth.measured(memory, run)
        if outcome is None and run.verdict is not Verdict.CRASH:
            continue
        gain, variance = outcome or (-2 * scale, (2 * scale) ** 2)
        for move in run.moves:
            seen = Moved(old=move.old, new=move.new, gain=gain / count, variance=variance + ((count - 1) * scale) ** 2)
            found.setdefault(move.gene, []).append(seen)
    return found


def line(memory: Memory, run: Run, most: int = ANCESTORS) -> list[Run]:
    """The run and its first parents, newest first."""
    found: list[Run] = []
    at: Run | None = run
    while at is not None and len(found) < most:
        found.append(at)
        at = memory.parent_of(at)
    return found


def reversed_step(gene: Gene, old: MoveValue, new: MoveValue, factor: float = 1.0) -> bool | int | float | None:
    """The gene's value, stepped against the move from `old` to `new`, on its own scale; None where that means nothing."""
    if isinstance(gene.value, bool):
        return old if isinstance(old, bool) and old != gene.value else None
    a, b, now = place(gene, old), place(gene, new), place(gene, gene.value)
    if a is None or b is None or now is None or a == b:
        return None
    value = back(gene, now - factor * (b - a))
    return None if value == gene.value else value


def place(gene: Gene, value: MoveValue) -> float | None:
    """Where a value lies on the gene's own scale, one unit a doubling (of the odds, for shares); None off the scale."""
    if isinstance(value, (bool, str, tuple)) or not math.isfinite(value) or value == 0:
        return None
    if isinstance(gene.value, (int, float)) and (value > 0) != (gene.value >= 0):
        return None
    if gene.kind == "ratio":
        return math.log2(value / (1 - value)) if 0 < value < 1 else None
    return math.log2(abs(value))


def back(gene: Gene, place_: float) -> int | float:
    """The value at a place on the gene's scale, as a person would write it."""
    if gene.kind == "ratio":
        share = 1 / (1 + 2.0**-place_)
        rest = float(f"{1 - share:.1e}")
        return round(1 - rest, 6) if share >= 0.8 else float(f"{share:.1e}")
    value = 2.0 ** min(max(place_, -60.0), 60.0)
    if isinstance(gene.value, int):
        unit = next((u for u in (8, 4, 2) if gene.kind == "size" and gene.value % u == 0 and value >= 2 * u), 1)
        return max(1, round(value / unit) * unit)
    return math.copysign(float(f"{value:.1e}"), gene.value)


def _key(gene: Gene) -> str:
    return f"{gene.path}:{gene.name}"


def _wish(memory: Memory, gene: Gene, known: Iterable[Moved], scale: float, reach: float, rng: random.Random) -> _Wish | None:
    """One draw of what this gene could give; None for what is no number or switch, or has no unmeasured value near."""
    measured = {v for m in known for v in (m.old, m.new)} | {gene.value}
    if gene.kind == "bool" or gene.value == 0:
        return _switch(memory, gene, measured, scale, rng)
    at = place(gene, gene.value)
    if at is None:
        return None
    slope, bend, cov = _fit(memory, gene, [(place(gene, m.old), place(gene, m.new), m) for m in known], at, scale)
    b, a = _draw(slope, bend, cov, rng)
    least = 0.1 * scale
    step = b / (2 * max(a, least))
    limit = min(reach, 1.0) if gene.family in {"steps", "depth"} else reach
    step = math.copysign(min(max(abs(step), LEAST), limit), step)
    for nudge in NUDGES:
        value = back(gene, at + nudge * step)
        if value not in measured and type(value) is type(gene.value):
            u = place(gene, value) - at
            drawn = b * u - max(a, least) * u * u
            mean, variance = slope * u - bend * u * u, cov[0] * u * u - 2 * cov[1] * u**3 + cov[2] * u**4
            return _Wish(_discounted(memory, gene, u, drawn), Aim(gene=_key(gene), value=value), mean, math.sqrt(max(variance, 0.0)))
    return None


def _switch(memory: Memory, gene: Gene, measured: set[MoveValue], scale: float, rng: random.Random) -> _Wish | None:
    """A boolean turned, or a setting that is 0 given its usual start: once, since its other value is measured then."""
    value = (not gene.value) if isinstance(gene.value, bool) else START.get(gene.family) if isinstance(gene.value, float) else None
    if value is None or any(type(v) is type(value) and v == value for v in measured):
        return None
    drawn = _discounted(memory, gene, 1.0 if value else -1.0, rng.gauss(0.0, scale))
    return _Wish(drawn, Aim(gene=_key(gene), value=value), 0.0, scale)


Covariance = tuple[float, float, float]  # of slope, of both, of curvature


def _fit(memory: Memory, gene: Gene, moves: list, at: float, scale: float) -> tuple[float, float, Covariance]:
    """Posterior of gain = slope * u - curvature * u * u, u counted in doublings from where the gene is now. O(moves)."""
    mean_a, std_a = (c * scale for c in CURVATURE)
    std_b = scale * IMPORTANCE.get(gene.family, 1.0)
    usable = [(old - at, new - at, m) for old, new, m in moves if old is not None and new is not None and old != new]
    mean_b = 0.0 if usable else worth.tendency(memory, gene.family)
    p11, p12, p22 = 1 / std_b**2, 0.0, 1 / std_a**2
    r1, r2 = mean_b * p11, mean_a * p22
    for old, new, m in usable:
        x1, x2 = new - old, -(new * new - old * old)
        # What was measured far from here is true of there: a parabola is a picture of the neighbourhood.
        weight = 1 / (m.variance + (0.3 * scale * max(abs(old), abs(new))) ** 2)
        p11, p12, p22 = p11 + weight * x1 * x1, p12 + weight * x1 * x2, p22 + weight * x2 * x2
        r1, r2 = r1 + weight * x1 * m.gain, r2 + weight * x2 * m.gain
    determinant = p11 * p22 - p12 * p12
    cov = (p22 / determinant, -p12 / determinant, p11 / determinant)
    return cov[0] * r1 + cov[1] * r2, cov[1] * r1 + cov[2] * r2, cov


def _draw(slope: float, bend: float, cov: Covariance, rng: random.Random) -> tuple[float, float]:
    first, second = rng.gauss(0.0, 1.0), rng.gauss(0.0, 1.0)
    root = math.sqrt(max(cov[0], 1e-300))
    along = cov[1] / root
    return slope + root * first, bend + along * first + math.sqrt(max(cov[2] - along * along, 0.0)) * second


def _discounted(memory: Memory, gene: Gene, way: float, gain: float) -> float:
    """The gain, less where this way crashed or is a dead end."""
    sign = "+" if way > 0 else "-"
    keys = (f"gene:{_key(gene)}{sign}", *((f"role:{gene.family}{sign}",) if gene.family else ()))
    return gain * worth.prospect(memory, keys) if gain > 0 else gain
