"""What one run earned its emitter, in four parts, each in [0, 1] and each recorded. It keeps nothing and compares no emitters.

Fitness is most of it. Nothing here can be farmed: a crash earns nothing, what was tried before is hardly new, and a forecast
is scored by a proper rule against a reference that does not depend on it.
"""

from __future__ import annotations

import math
from functools import lru_cache
from statistics import NormalDist

from evogit.domain.belief import Credit
from evogit.domain.plan import Forecast
from evogit.search.lesson import Lesson

WEIGHTS = (0.7, 0.1, 0.1, 0.1)  # fitness, novelty, information, surprise
POINTS = 24  # of the quadrature over the reference forecast: the score is proper with any number of them
FIRST_CRASH = Credit(information=1.0, total=WEIGHTS[2])  # what a crash of a kind never seen before earns the emitter that looks for it
NOTHING = Credit()


def credit(lesson: Lesson, *, rank: float, novelty: float, information: float, surprise: float) -> Credit:
    """Credit of a measured run; a run without a belief earns nothing.

    rank: of its shrunk gain among recent ones, 0 to 1. novelty, information: 0 to 1. surprise: mean `skill` of its emitter's
    recent forecasts; what is below 0 earns nothing.
    """
    if lesson.belief is None:
        return NOTHING
    return total_of(
        fitness=_share(lesson.belief.p_better * rank),
        novelty=_share(novelty),
        information=_share(information),
        surprise=_share(surprise),
    )


def total_of(*, fitness: float, novelty: float, information: float, surprise: float) -> Credit:
    """The parts with their weighted sum."""
    parts = (fitness, novelty, information, surprise)
    total = math.fsum(weight * part for weight, part in zip(WEIGHTS, parts))
    return Credit(fitness=fitness, novelty=novelty, information=information, surprise=surprise, total=total)


def skill(forecast: Forecast | None, reference: Forecast | None, reading: float | None) -> float:
    """How much better than the reference a forecast foretold the reading: 0 for as good, 1 at best, -2 at worst.

    The continuous ranked probability score, weighted by the reference's density (Gneiting and Ranjan 2011): proper, without
    a unit, and bounded without clipping. Clip means of it, never one score: that would pay for gambling. 0.0 without a
    forecast or a reference.
    """
    if forecast is None or reference is None or reading is None or reference.spread <= 0 or forecast.spread <= 0:
        return 0.0
    place = (reading - reference.mean) / reference.spread
    shift, width = (forecast.mean - reference.mean) / reference.spread, forecast.spread / reference.spread
    if not (math.isfinite(place) and math.isfinite(shift) and math.isfinite(width)):
        return 0.0
    better = 0.0
    for level, at in _quantiles():
        truth = 1.0 if place <= at else 0.0
        said = 0.5 * math.erfc((shift - at) / (width * math.sqrt(2))) if width else float(shift <= at)
        better += (level - truth) ** 2 - (said - truth) ** 2
    return 3 * better / POINTS


@lru_cache(maxsize=1)
def _quantiles() -> tuple[tuple[float, float], ...]:
    """(level, standard normal quantile) at the midpoints of equal shares."""
    levels = [(n + 0.5) / POINTS for n in range(POINTS)]
    return tuple((level, NormalDist().inv_cdf(level)) for level in levels)


def _share(value: float) -> float:
    """Into [0, 1]; NaN is 0."""
    return 0.0 if math.isnan(value) else min(1.0, max(0.0, value))
