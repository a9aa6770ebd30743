"""What one change did, given noisy readings of a child of an uncertain parent: harm, nothing or gain. Closed form, no sampling.

The change's prior has three parts: an exponential tail of harm, a point at zero, an exponential tail of gain. A reading is normal
about the child's true metric, and now and then far wider (a throttled GPU, a lucky split), so that one wild number moves little.
It knows nothing of runs and metrics: everything is a gain over the parent's mean, positive is better.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import product
from statistics import median
from typing import NamedTuple

WILD, WIDER = 0.05, 5.0  # how often a reading is wild, and how many times wider it is then
MOST_EXPANDED = 6  # readings whose 2**n explanations are all weighed; above it the far ones are taken as wild
FAR = 1e8  # in widths of everything that is uncertain: beyond it only the side counts, and floats stay finite
ROOT2, LOG_ROOT_2PI = math.sqrt(2.0), 0.5 * math.log(2 * math.pi)


class Posterior(NamedTuple):
    """Of the child and of its change, relative to the parent's posterior mean, in the metric's unit; positive is better."""

    mean: float  # of the child's true value
    variance: float
    gain: float  # of the change
    gain_variance: float
    parts: tuple[float, float, float]  # responsibilities of harm, null, gain; they sum to 1
    p_gain: float  # change > min_delta
    p_loss: float  # change < -margin
    sizes: tuple[float, float]  # mean |change| given that it harms, and given that it helps


class Gaussian(NamedTuple):
    """One explanation of the readings: their combined value, its variance, the log of its weight."""

    at: float
    variance: float
    weight: float


class Share(NamedTuple):
    """One part under one explanation: log weight, mean and variance of the change, probabilities of a gain and a loss that count."""

    part: int
    weight: float
    mean: float
    variance: float
    p_gain: float
    p_loss: float


def posterior(
    gains: Sequence[float],
    sigma: float,
    *,
    parent_variance: float,
    parts: tuple[float, float, float],
    scales: tuple[float, float],
    min_delta: float = 0.0,
    margin: float = 0.0,
) -> Posterior:
    """Posterior of a change. gains: readings as gains over the parent's mean, at least one. O(2**min(n, 6)).

    sigma: of one reading, > 0. scales: mean sizes of a harm and of a gain, > 0 each; a diverging run must not make gains large.
    """
    far = FAR * (sigma + math.sqrt(parent_variance) + max(scales))
    gains = [max(-far, min(far, gain)) for gain in gains]
    shares: list[tuple[Share, float, float]] = []  # with mean and variance of the child
    for seen in explanations(gains, sigma):
        total = parent_variance + seen.variance
        pull = parent_variance / total  # of the readings on the parent's own value
        left = parent_variance * (seen.variance / total)
        weight = seen.weight - math.log(math.sqrt(total) / sigma)
        for share in _parts(seen.at, math.sqrt(total), parts, scales, min_delta, margin):
            child = pull * seen.at + (1 - pull) * share.mean
            shares.append((share._replace(weight=share.weight + weight), child, left + (1 - pull) ** 2 * share.variance))
    return _summed(shares)


def _summed(shares: list[tuple[Share, float, float]]) -> Posterior:
    top = max(share.weight for share, _, _ in shares)
    weights = [math.exp(share.weight - top) for share, _, _ in shares]
    total = math.fsum(weights)
    weights = [w / total for w in weights]
    parts = [math.fsum(w for w, (share, _, _) in zip(weights, shares) if share.part == n) for n in range(3)]
    mean, variance = _moments(weights, [c for _, c, _ in shares], [v for _, _, v in shares])
    gain, gain_variance = _moments(weights, [s.mean for s, _, _ in shares], [s.variance for s, _, _ in shares])
    sizes = [math.fsum(w * abs(s.mean) for w, (s, _, _) in zip(weights, shares) if s.part == n) / max(parts[n], 1e-300) for n in (0, 2)]
    return Posterior(
        mean=mean,
        variance=variance,
        gain=gain,
        gain_variance=gain_variance,
        parts=(parts[0], parts[1], parts[2]),
        p_gain=min(1.0, math.fsum(w * share.p_gain for w, (share, _, _) in zip(weights, shares))),
        p_loss=min(1.0, math.fsum(w * share.p_loss for w, (share, _, _) in zip(weights, shares))),
        sizes=(sizes[0], sizes[1]),
    )


def _moments(weights: Sequence[float], means: Sequence[float], variances: Sequence[float]) -> tuple[float, float]:
    mean = math.fsum(w * m for w, m in zip(weights, means))
    return mean, math.fsum(w * (v + (m - mean) * (m - mean)) for w, m, v in zip(weights, means, variances))


def explanations(gains: Sequence[float], sigma: float) -> Iterator[Gaussian]:
    """Ways to read the readings: which of them are wild."""
    if len(gains) > MOST_EXPANDED:
        middle = median(gains)
        choices = [tuple(abs(gain - middle) > 3 * sigma for gain in gains)]
    else:
        choices = list(product((False, True), repeat=len(gains)))
    return (_explained(gains, sigma, choice) for choice in choices)


def located(values: Sequence[float], sigma: float) -> tuple[float, float]:
    """Mean and variance of what some readings are about, nothing else being known; a wild one among three or more moves them little.

    values: at least one, finite. sigma: of one reading, > 0. O(2**min(n, 6)).
    """
    if len(values) < 3:  # nobody can tell which of two is wild
        return math.fsum(values) / len(values), sigma * sigma / len(values)
    middle = median(values)
    far = FAR * sigma
    seen = list(explanations([max(-far, min(far, value - middle)) for value in values], sigma))
    top = max(one.weight for one in seen)
    weights = [math.exp(one.weight - top) for one in seen]
    total = math.fsum(weights)
    shift, variance = _moments([w / total for w in weights], [one.at for one in seen], [one.variance for one in seen])
    return middle + shift, variance


def _explained(gains: Sequence[float], sigma: float, wild: Sequence[bool]) -> Gaussian:
    precisions = [1 / (WIDER * WIDER) if w else 1.0 for w in wild]  # in units of 1 / sigma**2
    total = math.fsum(precisions)
    at = math.fsum(p * gain for p, gain in zip(precisions, gains)) / total
    misfit = math.fsum(p * ((gain - at) / sigma) ** 2 for p, gain in zip(precisions, gains))
    prior = math.fsum(math.log(WILD) if w else math.log1p(-WILD) for w in wild)
    width = 0.5 * math.fsum(math.log(p) for p in precisions) - 0.5 * math.log(total)
    return Gaussian(at, sigma * sigma / total, prior + width - 0.5 * misfit)


def _parts(
    d: float, t: float, parts: tuple[float, float, float], scales: tuple[float, float], min_delta: float, margin: float
) -> Iterator[Share]:
    """The three parts for one normal look at the change: `d` with standard deviation `t`. Weights are densities of d / t, so they have no unit."""
    harm, null, gain = (math.log(part) if part > 0 else -math.inf for part in parts)
    yield Share(1, null - 0.5 * (d / t) ** 2 - LOG_ROOT_2PI, 0.0, 0.0, 0.0, 0.0)
    for part, weight, side, limit, scale in ((0, harm, -1.0, margin, scales[0]), (2, gain, 1.0, min_delta, scales[1])):
        log_evidence, mean, variance, beyond = tail(side * d / t, scale / t, limit / t)
        p_gain, p_loss = (beyond, 0.0) if part == 2 else (0.0, beyond)
        yield Share(part, weight + log_evidence, side * mean * t, variance * t * t, p_gain, p_loss)


def tail(d: float, scale: float, limit: float) -> tuple[float, float, float, float]:
    """An exponential tail of mean `scale` seen at `d` with standard deviation 1: log evidence, mean, variance, P(beyond `limit`).

    The posterior is a normal about d - 1 / scale cut at zero.
    """
    z = d - 1 / scale
    if z > 0:
        log_evidence = 0.5 / scale / scale - d / scale + log_below(z) - math.log(scale)
    else:
        log_evidence = -0.5 * d * d - LOG_ROOT_2PI + math.log(mills(z)) - math.log(scale)
    if z < -25:
        a = 1 / (z * z)
        mean, variance = -(1 - 2 * a + 10 * a * a) / z, a * (1 - 6 * a + 50 * a * a)
    else:
        rate = 1 / mills(z) if z < 25 else 0.0
        mean, variance = z + rate, max(0.0, 1 - rate * (rate + z))
    return log_evidence, mean, variance, _beyond(z, limit)


def _beyond(z: float, limit: float) -> float:
    """P(x > limit) of a unit normal about z cut at zero."""
    if limit <= 0:
        return 1.0
    if z - limit > -25:
        return min(1.0, math.exp(log_below(z - limit) - log_below(z)))
    if z > -25:
        return math.exp(max(-745.0, log_below(z - limit) - log_below(z)))
    return min(1.0, math.exp(max(-745.0, limit * (z - 0.5 * limit))) * mills(z - limit) / mills(z))


def mills(z: float) -> float:
    """Normal distribution function over density, > 0: how much probability lies below z per density at z. For z below 25."""
    if z > -25:
        return 0.5 * math.erfc(-z / ROOT2) * math.exp(0.5 * z * z + LOG_ROOT_2PI)
    a = 1 / (z * z)
    return -(1 - a + 3 * a * a - 15 * a * a * a) / z


def log_below(z: float) -> float:
    """Log of the normal distribution function, finite for every finite z up to 1e150."""
    if z > 5:
        return math.log1p(-0.5 * math.erfc(z / ROOT2))
    if z > -25:
        return math.log(0.5 * math.erfc(-z / ROOT2))
    return -0.5 * z * z - LOG_ROOT_2PI + math.log(mills(z))


def below(z: float) -> float:
    """Normal distribution function."""
    return 0.5 * math.erfc(-z / ROOT2)


def refreshed(mean: float, variance: float, reading: float, sigma: float) -> tuple[float, float]:
    """Mean and variance after one more reading; a wild one moves them little."""
    width = sigma + math.sqrt(variance)
    step = max(-FAR * width, min(FAR * width, reading - mean))
    weighed = []
    for prior, noise in ((1 - WILD, sigma * sigma), (WILD, (WIDER * sigma) ** 2)):
        total = variance + noise
        weighed.append((math.log(prior) - 0.5 * math.log(total / (width * width)) - 0.5 * step * (step / total), variance / total))
    top = max(weight for weight, _ in weighed)
    weights = [math.exp(weight - top) for weight, _ in weighed]
    weights = [w / math.fsum(weights) for w in weights]
    shift, left = _moments(weights, [pull * step for _, pull in weighed], [variance * (1 - pull) for _, pull in weighed])
    return mean + shift, left
