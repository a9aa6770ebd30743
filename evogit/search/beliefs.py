"""What is believed of each run's true primary metric, along its lineage: a lucky parent shrinks, and so does what is built on it.

`judged` says what some readings mean under a standing; `Beliefs` keeps what was said and learns from it how often changes harm,
do nothing or help. It refuses to invent noise: where none was measured, numbers are compared plainly and nothing is shrunk.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

import msgspec

from evogit.domain.belief import Belief, Ruler, Standing
from evogit.domain.metric import Direction, Metric
from evogit.domain.problem import Problem
from evogit.domain.run import Run
from evogit.search import mixture
from evogit.search.noise import Spread

PRIOR = (3.0, 1.5, 0.5)  # pseudo-counts of harm, null, gain: what most changes to tuned code do
FORGET = 0.995  # of all counts at each run: what paid two hundred runs ago is hearsay
FLOOR = 0.02  # least weight of a part: a long drought must not make a gain unbelievable
SCALE, SCALE_COUNT = 2.0, 4.0  # mean size of real harms, and of real gains, in sigmas, and the pseudo-count behind each
SMALLEST, LARGEST = 0.5, 4.0  # bounds of that mean, in sigmas; one change counts for no more than twice the largest


class Judged(NamedTuple):
    """A belief, with what only those who judge or learn from it need."""

    belief: Belief
    parts: tuple[float, float, float]  # responsibilities of the prior's parts, `min_delta` left aside
    sizes: tuple[float, float]  # mean size of the change given that it harms, and given that it helps, metric's unit
    p_loss: float  # P(worse than the incumbent by more than the margin)


class Beliefs:
    """The beliefs of one epoch. O(2**min(readings, 6)) per run, O(1) to ask."""

    def __init__(self, problem: Problem, spread: Spread) -> None:
        self._metric, self._spread = problem.primary, spread
        self._of: dict[str, Belief] = {}
        self._plain: dict[str, int] = {}  # runs believed before any noise was known -> how many readings they have
        self._counts = PRIOR
        self._sizes = [(SCALE * SCALE_COUNT, SCALE_COUNT)] * 2  # of harms and of gains: sum, count

    def of(self, commit: str) -> Belief | None:
        """What is believed of a run now; None where it has no number."""
        belief, readings, sigma = self._of.get(commit), self._plain.get(commit), self._spread.sigma
        if belief is None or readings is None or not sigma:
            return belief
        return msgspec.structs.replace(belief, variance=sigma * sigma / readings)

    @property
    def parts(self) -> tuple[float, float, float]:
        """Weights of harm, null and gain as this campaign taught them, each at least `FLOOR`; they sum to 1."""
        total = math.fsum(self._counts)
        harm, null, gain = (max(FLOOR, count / total) for count in self._counts)
        return harm / (harm + null + gain), null / (harm + null + gain), gain / (harm + null + gain)

    @property
    def scales(self) -> tuple[float, float]:
        """Mean sizes of a real harm and of a real gain, metric's unit; 0.0 while no noise is known.

        Apart, since a campaign's harms are divergences and its gains are crumbs.
        """
        harm, gain = (min(LARGEST, max(SMALLEST, total / count)) * self._spread.sigma for total, count in self._sizes)
        return harm, gain

    def standing(self, parent: Run | None, incumbent: Run | None) -> Standing:
        """What a child of `parent` is judged against now."""
        return Standing(
            ruler=self._spread.ruler,
            sigma=self._spread.sigma,
            seed_effects=self._spread.seed_effects,
            parts=self.parts,
            scales=self.scales,
            parent=self.of(parent.commit) if parent else None,
            incumbent=self.of(incumbent.commit) if incumbent else None,
            is_child=bool(parent and incumbent and parent.commit == incumbent.commit),
            incumbent_mean=incumbent.mean(self._metric.name) if incumbent else None,
            incumbent_readings=len(incumbent.readings.get(self._metric.name, ())) if incumbent else 0,
            incumbent_means=incumbent.means if incumbent else {},
        )

    def learn(self, run: Run, parent: Run | None, incumbent: Run | None) -> Belief | None:
        """Take in a decided run, with the incumbent before it; None where it has no number."""
        readings = self._readings(run)
        if not readings:
            return None
        standing = self.standing(parent, incumbent)
        judged = judge(self._metric, readings, standing)
        self._of[run.commit] = judged.belief
        if standing.ruler is not Ruler.NOISY:
            self._plain[run.commit] = len(readings)
        elif standing.parent is not None:
            self._learn_prior(judged, standing.sigma)
        return judged.belief

    def learn_again(self, run: Run, readings: Mapping[int, float]) -> None:
        """Take in later readings of a run: mean and variance follow them, what was said of its gain moves along.

        The probabilities stay as they were when it was decided.
        """
        before, known = self._of.get(run.commit), self._readings(run)
        fresh = {seed: value for seed, value in readings.items() if math.isfinite(value) and known.get(seed) != value}
        if before is None or not fresh:
            return
        plain, sigma = self._plain.get(run.commit), self._spread.sigma
        if plain is not None:
            mean, variance = (before.mean * plain + math.fsum(fresh.values())) / (plain + len(fresh)), 0.0
            self._plain[run.commit] = plain + len(fresh)
        else:
            mean, variance = before.mean, before.variance
            for value in corrected(fresh, self._spread.seed_effects).values():
                mean, variance = mixture.refreshed(mean, variance, value, sigma)
        shift = self._metric.gain(mean, before.mean)
        self._of[run.commit] = msgspec.structs.replace(
            before,
            mean=mean,
            variance=variance,
            gain=before.gain + shift * _share(before),
            gain_over_incumbent=before.gain_over_incumbent + shift,
        )

    def _learn_prior(self, judged: Judged, sigma: float) -> None:
        harm, null, gain = (FORGET * count + part for count, part in zip(self._counts, judged.parts))
        self._counts = (harm, null, gain)
        self._sizes = [
            (FORGET * total + part * min(2 * LARGEST, size / sigma), FORGET * count + part)
            for (total, count), part, size in zip(self._sizes, judged.parts[::2], judged.sizes)
        ]

    def _readings(self, run: Run) -> dict[int, float]:
        name = self._metric.name
        found = {seed: metrics[name] for seed, metrics in run.by_seed.items() if name in metrics}
        found = found or dict(enumerate(run.readings.get(name, ())))
        return {seed: value for seed, value in found.items() if math.isfinite(value)}


def judge(metric: Metric, readings: Mapping[int, float], standing: Standing, margin: float = 0.0) -> Judged:
    """What readings by seed mean under a standing. readings: at least one, all finite. margin: metric's unit, >= 0, for `p_loss`."""
    if standing.ruler is not Ruler.NOISY:
        return _compared(metric, readings, standing, margin)
    values = effective(readings, standing)
    if standing.parent is None:
        mean, variance = mixture.located(values, standing.sigma)
        belief = Belief(mean=mean, variance=variance)
        return Judged(_over_incumbent(metric, belief, standing), (0.0, 1.0, 0.0), (0.0, 0.0), _p_loss(metric, belief, standing, margin))
    parent = standing.parent
    found = mixture.posterior(
        [metric.gain(value, parent.mean) for value in values],
        standing.sigma,
        parent_variance=parent.variance,
        parts=standing.parts,
        scales=standing.scales,
        min_delta=metric.min_delta,
        margin=margin,
    )
    belief = Belief(
        mean=parent.mean + found.mean * (-1 if metric.direction is Direction.MINIMIZE else 1),
        variance=found.variance,
        gain=found.gain,
        gain_variance=found.gain_variance,
        p_harm=found.parts[0],
        p_null=max(0.0, 1 - found.parts[0] - found.p_gain),
        p_gain=found.p_gain,
    )
    if standing.is_child:
        belief = msgspec.structs.replace(belief, p_better=found.p_gain, gain_over_incumbent=found.gain)
        return Judged(belief, found.parts, found.sizes, found.p_loss)
    return Judged(_over_incumbent(metric, belief, standing), found.parts, found.sizes, _p_loss(metric, belief, standing, margin))


def effective(readings: Mapping[int, float], standing: Standing) -> tuple[float, ...]:
    """Readings that count, seed effects taken out: a candidate that gives one number under every seed was read once."""
    if ignores_seeds(readings):
        return tuple(readings.values())[:1]
    return tuple(corrected(readings, standing.seed_effects).values())


def ignores_seeds(readings: Mapping[int, float]) -> bool:
    """True if two or more seeds gave exactly the same number."""
    return len(readings) > 1 and len(set(readings.values())) == 1


def corrected(readings: Mapping[int, float], effects: Mapping[int, float]) -> dict[int, float]:
    """Readings without what their seed adds; a seed of unknown effect stays as it is."""
    return {seed: value - effects.get(seed, 0.0) for seed, value in readings.items()}


def _compared(metric: Metric, readings: Mapping[int, float], standing: Standing, margin: float) -> Judged:
    mean = math.fsum(readings.values()) / len(readings)
    gain, belief = 0.0, Belief(mean=mean, variance=0.0)
    if standing.parent is not None:
        gain = metric.gain(mean, standing.parent.mean)
        parts = (float(gain < 0), float(0 <= gain <= metric.min_delta), float(gain > metric.min_delta))
        belief = Belief(mean=mean, variance=0.0, gain=gain, p_harm=parts[0], p_null=parts[1], p_gain=parts[2])
    belief = _over_incumbent(metric, belief, standing)
    return Judged(belief, (belief.p_harm, belief.p_null, belief.p_gain), (abs(gain), abs(gain)), _p_loss(metric, belief, standing, margin))


def _over_incumbent(metric: Metric, belief: Belief, standing: Standing) -> Belief:
    """The belief beside the incumbent's: both normal, as if neither knew of the other."""
    if standing.incumbent is None:
        return msgspec.structs.replace(belief, p_better=1.0)
    gain = metric.gain(belief.mean, standing.incumbent.mean)
    width = math.sqrt(belief.variance + standing.incumbent.variance)
    better = mixture.below((gain - metric.min_delta) / width) if width else float(gain > metric.min_delta)
    return msgspec.structs.replace(belief, p_better=better, gain_over_incumbent=gain)


def _p_loss(metric: Metric, belief: Belief, standing: Standing, margin: float) -> float:
    if standing.incumbent is None:
        return 0.0
    loss = -metric.gain(belief.mean, standing.incumbent.mean)
    width = math.sqrt(belief.variance + standing.incumbent.variance)
    return mixture.below((loss - margin) / width) if width else float(loss > margin)


def _share(belief: Belief) -> float:
    """How much of a shift of a run's value is its own change, the rest being its parent's."""
    return min(1.0, belief.gain_variance / belief.variance) if belief.variance else 1.0
