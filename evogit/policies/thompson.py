"""Discounted Thompson sampling: each emitter as often as it is likely to be the best. The likelihoods are integrated, not drawn."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from statistics import NormalDist

from evogit.policies.floors import floored
from evogit.search.memory import Memory

WINDOW = 200  # runs looked at; beyond them a discount has left nothing
DISCOUNT = 0.985  # weight of a run beside the one after it: half of it is forgotten after 46
HASTE = 0.3  # of the posteriors' width: campaigns are short, see `benchmarks/learning.py`
POINTS = 32  # quantiles that the likelihoods are integrated at


class Thompson:
    """Normal posteriors of credit per cost, all from one prior: the mean of them all, as sure as one run."""

    name = "thompson"

    def chances(self, memory: Memory, emitters: Sequence[str]) -> dict[str, float]:
        """Probabilities that each is the best; O(WINDOW + POINTS * emitters)."""
        posteriors = self.posteriors(memory, emitters)
        return floored(memory, emitters, best_of(posteriors) if posteriors else {})

    def parent(self, memory: Memory, rng: random.Random) -> None:
        """Parents are the emitters' own choice."""

    def posteriors(self, memory: Memory, emitters: Sequence[str]) -> dict[str, tuple[float, float]]:
        """(mean, standard deviation) of each; {} while credits do not differ."""
        cost, earned = dict.fromkeys(emitters, 0.0), dict.fromkeys(emitters, 0.0)
        weight, total, first, second = 1.0, 0.0, 0.0, 0.0
        for record in memory.portfolio.newest(WINDOW):
            if record.emitter in cost:
                got = record.credit.total
                cost[record.emitter] += weight * record.cost
                earned[record.emitter] += weight * got
                total, first, second = total + weight, first + weight * got, second + weight * got * got
            weight *= DISCOUNT
        mean = first / total if total else 0.0
        spread = math.sqrt(max(0.0, second / total - mean * mean)) if total else 0.0
        if spread <= 1e-9:
            return {}
        return {e: ((mean + earned[e]) / (1 + cost[e]), HASTE * spread / math.sqrt(1 + cost[e])) for e in emitters}


def best_of(posteriors: dict[str, tuple[float, float]]) -> dict[str, float]:
    """Probability that each of some independent normals is the largest, at the midpoints of its own quantiles. Deviations are > 0."""
    places = [NormalDist().inv_cdf((n + 0.5) / POINTS) for n in range(POINTS)]
    found = {}
    for emitter, (mean, spread) in posteriors.items():
        others = [theirs for name, theirs in posteriors.items() if name != emitter]
        found[emitter] = math.fsum(math.prod(_below(mean + spread * z, *theirs) for theirs in others) for z in places) / POINTS
    return found


def _below(value: float, mean: float, spread: float) -> float:
    return 0.5 * math.erfc((mean - value) / (spread * math.sqrt(2)))
