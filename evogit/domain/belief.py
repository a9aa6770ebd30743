"""What is believed of a run's true primary metric, and what a candidate is held against. Numbers without judgement."""

from __future__ import annotations

from enum import Enum

import msgspec


class Ruler(str, Enum):
    """What is known of the noise between seeds."""

    UNKNOWN = "unknown"  # nothing was measured under two seeds yet
    EXACT = "exact"  # seeds change nothing: numbers are compared plainly
    NOISY = "noisy"


class Belief(msgspec.Struct, frozen=True, kw_only=True):
    """Posterior of one run. Gains are in the primary metric's unit, positive is better; the metric itself is as it was measured.

    `parent` speaks of the first parent, `incumbent` of the incumbent at the time of the decision.
    """

    mean: float
    variance: float  # of the mean above, >= 0
    gain: float = 0.0  # posterior mean of the gain over the parent: shrunk, so smaller than what was read
    gain_variance: float = 0.0
    p_harm: float = 0.0  # the three parts of the prior, given the readings; they sum to 1
    p_null: float = 1.0
    p_gain: float = 0.0  # over the parent, by more than `min_delta`
    p_better: float = 0.0  # over the incumbent, by more than `min_delta`
    gain_over_incumbent: float = 0.0  # posterior mean


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """Against what a candidate is judged: made by memory, so that the decision itself is a pure function.

    Metric values are as measured; `seed_effects` is what a seed adds to a reading, subtracted from it where pairing was measured to help.
    """

    ruler: Ruler = Ruler.UNKNOWN
    sigma: float = 0.0  # one standard deviation of one reading, metric's unit, after seed effects were taken out
    seed_effects: dict[int, float] = {}
    parts: tuple[float, float, float] = (0.6, 0.3, 0.1)  # weights of harm, null, gain; they sum to 1
    scales: tuple[float, float] = (0.0, 0.0)  # mean sizes of a real harm and of a real gain, metric's unit, > 0 where the ruler is NOISY
    parent: Belief | None = None  # None for a baseline
    incumbent: Belief | None = None
    is_child: bool = False  # the incumbent is the parent: the change itself is what is judged
    incumbent_mean: float | None = None  # plain mean of its select readings; None before a baseline has a number
    incumbent_readings: int = 0
    certified: float | None = None  # gain that the incumbent was certified with, over its certified ancestor; None: it is not certified
    incumbent_means: dict[str, float] = {}  # metric -> plain mean of its select readings; what it did not report is left out


class Credit(msgspec.Struct, frozen=True, kw_only=True):
    """What one run earned its emitter, in parts, each in [0, 1]."""

    fitness: float = 0.0  # probability of a true gain times the rank of the shrunk gain
    novelty: float = 0.0  # distance to what was tried; valid runs only
    information: float = 0.0  # share of the variance it removed from something that decides
    surprise: float = 0.0  # score of the registered forecast
    total: float = 0.0  # weighted
