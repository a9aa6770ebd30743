"""What one change did, given noisy readings of a child of an uncertain parent: harm, nothing or gain. Closed form, no sampling.

The change's prior has three parts: an exponential tail of harm, a point at zero, an exponential tail of gain. A reading is normal
about the child's true metric, and now and then far wider (a throttled GPU, a lucky split), so that one wild number moves little.
It knows nothing of runs and metrics: everything is a gain over the parent's mean, positive is better.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import product
from operator import mul
from statistics import median
from typing import NamedTuple

WILD, WIDER = 0.05, 5.0  # how often a reading is wild, and how many times wider it is then
MOST_EXPANDED = 6  # readings whose 2**n explanations are all weighed; above it the far ones are taken as wild
FAR = 1e8  # in widths of everything that is uncertain: beyond it only the side counts, and floats stay finite
NULL, HARM, GAIN = range(3)  # the order in which `_parts` has them
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
    """One part under one explanation."""

    weight: float  # log
    mean: float  # of the change
    variance: float
    p_gain: float  # of one that counts
    p_loss: float
    child: float  # mean of the child
    child_variance: float


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
    harm, null, gain = (math.log(part) if part > 0 else -math.inf for part in parts)
    shares: list[Share] = []
    for seen in explanations(gains, sigma):
        total = parent_variance + seen.variance
        pull = parent_variance / total  # of the readings on the parent's own value
        left = parent_variance * (seen.variance / total)
        width = math.sqrt(total)
        weight = seen.weight - math.log(width / sigma)
        for own, mean, variance, p_gain, p_loss in _parts(seen.at, width, (harm, null, gain), scales, min_delta, margin):
            child = pull * seen.at + (1 - pull) * mean
            shares.append(Share(own + weight, mean, variance, p_gain, p_loss, child, left + (1 - pull) ** 2 * variance))
    return _summed(shares)


def _summed(shares: list[Share]) -> Posterior:
    """Of shares in the order of `_parts`, three an explanation. Sums are exact, so their order does not matter."""
    logs, means, variances, p_gains, p_losses, children, child_variances = zip(*shares)
    top = max(logs)
    weights = [math.exp(log - top) for log in logs]
    total = math.fsum(weights)
    weights = [w / total for w in weights]
    harm, null, gain = (weights[n::3] for n in (HARM, NULL, GAIN))
    parts = math.fsum(harm), math.fsum(null), math.fsum(gain)
    mean, variance = _moments(weights, children, child_variances)
    change, change_variance = _moments(weights, means, variances)
    return Posterior(
        mean=mean,
        variance=variance,
        gain=change,
        gain_variance=change_variance,
        parts=parts,
        p_gain=min(1.0, math.fsum(map(mul, weights, p_gains))),
        p_loss=min(1.0, math.fsum(map(mul, weights, p_losses))),
        sizes=(
            math.fsum(map(mul, harm, map(abs, means[HARM::3]))) / max(parts[0], 1e-300),
            math.fsum(map(mul, gain, map(abs, means[GAIN::3]))) / max(parts[2], 1e-300),
        ),
    )


def _moments(weights: Sequence[float], means: Sequence[float], variances: Sequence[float]) -> tuple[float, float]:
    mean = math.fsum(map(mul, weights, means))
    return mean, math.fsum([w * (v + (m - mean) * (m - mean)) for w, m, v in zip(weights, means, variances)])


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


def _explained(gains: Sequence[float], sigma: float, wild: tuple[bool, ...]) -> Gaussian:
    precisions, total, prior, width = _weighed(wild)
    at = math.fsum(map(mul, precisions, gains)) / total
    misfit = math.fsum([p * ((gain - at) / sigma) ** 2 for p, gain in zip(precisions, gains)])
    return Gaussian(at, sigma * sigma / total, prior + width - 0.5 * misfit)


@lru_cache(maxsize=256)
def _weighed(wild: tuple[bool, ...]) -> tuple[tuple[float, ...], float, float, float]:
    """What does not depend on the readings: precisions in units of 1 / sigma**2, their sum, logs of the prior and of the width."""
    precisions = tuple(1 / (WIDER * WIDER) if w else 1.0 for w in wild)
    total = math.fsum(precisions)
    prior = math.fsum(math.log(WILD) if w else math.log1p(-WILD) for w in wild)
    return precisions, total, prior, 0.5 * math.fsum(map(math.log, precisions)) - 0.5 * math.log(total)


def _parts(
    d: float, t: float, logs: tuple[float, float, float], scales: tuple[float, float], min_delta: float, margin: float
) -> tuple[tuple[float, float, float, float, float], ...]:
    """Null, harm and gain for one normal look at the change, `d` with standard deviation `t`: the first five fields of a `Share` each.

    logs: of the weights of harm, null and gain. Weights are densities of d / t, so they have no unit.
    """
    harm, null, gain = logs
    harmed, loss, loss_variance, p_loss = tail(-d / t, scales[0] / t, margin / t)
    gained, won, won_variance, p_gain = tail(d / t, scales[1] / t, min_delta / t)
    return (
        (null - 0.5 * (d / t) ** 2 - LOG_ROOT_2PI, 0.0, 0.0, 0.0, 0.0),
        (harm + harmed, -loss * t, loss_variance * t * t, 0.0, p_loss),
        (gain + gained, won * t, won_variance * t * t, p_gain, 0.0),
    )


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
