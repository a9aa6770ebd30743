"""Several metrics as one judgement: which constraint a run breaks, and how much better one is than another. Pure.

It knows no noise and gives no verdict: `stages.decide` weighs what is said here against what is believed.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import lru_cache

from evogit.domain import constraint
from evogit.domain.constraint import Constraint
from evogit.domain.problem import Problem

Means = Mapping[str, float]  # metric -> mean over seeds, the metric's unit; a metric that was not reported is left out


def objective(problem: Problem) -> str:
    """The policy in force: `[decide] objective`, or "primary"."""
    return problem.decide.objective or "primary"


@lru_cache(maxsize=64)
def _parsed(texts: tuple[str, ...]) -> tuple[Constraint, ...]:
    return tuple(constraint.parse(text) for text in texts)


def feasible(problem: Problem, means: Means) -> str:
    """ "" if every constraint holds, else the first that does not, in words: `params is 120000, and must be <= 100k`."""
    for limit in _parsed(problem.decide.constraints):
        value = means.get(limit.metric)
        wanted = limit.text.partition(limit.sign)[2].strip()
        if value is None or math.isnan(value):
            return f"{limit.metric} was not reported, and must be {limit.sign} {wanted}"
        if not limit.holds(value):
            return f"{limit.metric} is {value:.6g}, and must be {limit.sign} {wanted}"
    return ""


def better(problem: Problem, mine: Means, theirs: Means) -> float | None:
    """How much better `mine` is than `theirs`; positive is better, None where it cannot be said.

    primary, weighted: in the primary metric's unit, so that `min_delta` and the noise between seeds apply to it.
    lexicographic: in the unit of the first metric, in the order of the contract, that differs by more than its `min_delta`.
    pareto: share of the objectives that are better if none is worse, minus the share that are worse if none is better; None if
    some are better and some are worse. Constraints are not looked at: ask `feasible` first.
    """
    return _POLICIES[objective(problem)](problem, mine, theirs)


def side_gain(problem: Problem, mine: Means, theirs: Means) -> float | None:
    """What the metrics beside the primary one are worth, in the primary metric's unit; 0.0 unless the objective is weighted.

    A decision under noise adds it to the believed gain of the primary metric. None if a weighted metric has no number.
    """
    if objective(problem) != "weighted":
        return 0.0
    primary = problem.primary.name
    worth = _weights(problem)
    gains = {name: _gain(problem, name, mine, theirs) for name in worth if name != primary}
    if any(gain is None for gain in gains.values()):
        return None
    return math.fsum(worth[name] * gain for name, gain in gains.items() if gain is not None) / worth[primary]


def _weights(problem: Problem) -> dict[str, float]:
    return {problem.primary.name: 1.0, **problem.decide.weights}


def _gain(problem: Problem, name: str, mine: Means, theirs: Means) -> float | None:
    metric, a, b = problem.metric(name), mine.get(name), theirs.get(name)
    if metric is None or a is None or b is None or not (math.isfinite(a) and math.isfinite(b)):
        return None
    return metric.gain(a, b)


def _primary(problem: Problem, mine: Means, theirs: Means) -> float | None:
    return _gain(problem, problem.primary.name, mine, theirs)


def _weighted(problem: Problem, mine: Means, theirs: Means) -> float | None:
    gain, beside = _primary(problem, mine, theirs), side_gain(problem, mine, theirs)
    return None if gain is None or beside is None else gain + beside


def _lexicographic(problem: Problem, mine: Means, theirs: Means) -> float | None:
    for metric in problem.objectives:
        gain = _gain(problem, metric.name, mine, theirs)
        if gain is None:
            return None
        if abs(gain) > metric.min_delta:
            return gain
    return 0.0


def _pareto(problem: Problem, mine: Means, theirs: Means) -> float | None:
    known = []
    for metric in problem.objectives:
        gain = _gain(problem, metric.name, mine, theirs)
        if gain is None:
            return None
        known.append((gain > metric.min_delta) - (gain < -metric.min_delta))
    if 1 in known and -1 in known:
        return None
    return sum(known) / len(known)


_POLICIES = {"primary": _primary, "weighted": _weighted, "lexicographic": _lexicographic, "pareto": _pareto}
