"""Several metrics as one judgement: which constraint a run breaks, and how much better one is than another. Pure.

It knows no noise and gives no verdict: `search.objectives` sets what is said here beside what is believed, `stages.decide` decides.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from functools import lru_cache

from evogit.domain import constraint
from evogit.domain.constraint import Constraint
from evogit.domain.metric import Metric
from evogit.domain.problem import OBJECTIVES, Problem
from evogit.errors import ProblemError

Means = Mapping[str, float]  # metric -> mean over seeds, the metric's unit; a metric that was not reported is left out


def objective(problem: Problem) -> str:
    """The policy in force: `[decide] objective`, "pareto" under the rule of that name, else "primary". Raises ProblemError for one that does not exist."""
    found = "pareto" if problem.decide.rule == "pareto" else problem.decide.objective or OBJECTIVES[0]
    if found not in OBJECTIVES:
        raise ProblemError("[decide] objective", f"{found[:80]!a} does not exist", fix=f"one of {', '.join(OBJECTIVES)}")
    return found


@lru_cache(maxsize=64)
def _parsed(texts: tuple[str, ...]) -> tuple[Constraint, ...]:
    return tuple(constraint.parse(text) for text in texts)


def feasible(problem: Problem, means: Means) -> str:
    """ "" if every constraint holds, else the first that does not, in words: `params is 120000, and must be <= 100k`."""
    return next(_broken(problem, means), ("", ""))[1]


def is_settled(problem: Problem, mine: Means, theirs: Means) -> bool:
    """True if constraints tell a candidate from the incumbent whatever further seeds say of the primary metric.

    Of the other metrics, what was read so far is taken as final: sizes and times hardly move with a seed.
    """
    primary = problem.primary.name
    broken, held_against = [metric for metric, _ in _broken(problem, mine)], any(_broken(problem, theirs))
    if broken:
        return not held_against and any(metric != primary for metric in broken)
    return held_against and all(limit.metric != primary for limit in _parsed(problem.decide.constraints))


def _broken(problem: Problem, means: Means) -> Iterator[tuple[str, str]]:
    """Metric and words of every constraint that does not hold."""
    for limit in _parsed(problem.decide.constraints):
        value = means.get(limit.metric)
        wanted = limit.text.partition(limit.sign)[2].strip()
        if value is None or math.isnan(value):
            yield limit.metric, f"{limit.metric} was not reported, and must be {limit.sign} {wanted}"
        elif not limit.holds(value):
            yield limit.metric, f"{limit.metric} is {value:.6g}, and must be {limit.sign} {wanted}"


def beside(problem: Problem) -> tuple[Metric, ...]:
    """The metrics that the objective looks at beside the primary one, in the order of the contract.

    weighted: those with a weight. lexicographic, pareto: those that span the frontier.
    """
    kind, primary = objective(problem), problem.primary.name
    if kind == "primary":
        return ()
    if kind == "weighted":
        return tuple(m for m in problem.metrics if m.name != primary and problem.decide.weights.get(m.name))
    return tuple(m for m in problem.objectives if m.name != primary)


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

    A decision under noise adds it to the believed gain of the primary metric. None if a weighted metric has no number, or the sum is none.
    """
    if objective(problem) != "weighted":
        return 0.0
    total = 0.0
    for metric in beside(problem):
        worth = worth_of(problem, metric, gain(metric, mine, theirs))
        if worth is None:
            return None
        total += worth
    return total if math.isfinite(total) else None


def worth_of(problem: Problem, metric: Metric, gained: float | None) -> float | None:
    """What a gain of a weighted metric is worth, in the primary metric's unit; None if there is no such number."""
    if gained is None:
        return None
    worth = problem.decide.weights[metric.name] * gained / problem.decide.weights.get(problem.primary.name, 1.0)
    return worth if math.isfinite(worth) else None


def gain(metric: Metric, mine: Means, theirs: Means) -> float | None:
    """How much better `mine` is, in the metric's unit; positive is better, None where either has no finite number."""
    a, b = mine.get(metric.name), theirs.get(metric.name)
    if a is None or b is None or not (math.isfinite(a) and math.isfinite(b)):
        return None
    return metric.gain(a, b)


def _primary(problem: Problem, mine: Means, theirs: Means) -> float | None:
    return gain(problem.primary, mine, theirs)


def _weighted(problem: Problem, mine: Means, theirs: Means) -> float | None:
    own, side = _primary(problem, mine, theirs), side_gain(problem, mine, theirs)
    return None if own is None or side is None else own + side


def _lexicographic(problem: Problem, mine: Means, theirs: Means) -> float | None:
    for metric in (problem.primary, *beside(problem)):
        gained = gain(metric, mine, theirs)
        if gained is None:
            return None
        if abs(gained) > metric.min_delta:
            return gained
    return 0.0


def _pareto(problem: Problem, mine: Means, theirs: Means) -> float | None:
    known = []
    for metric in (problem.primary, *beside(problem)):
        gained = gain(metric, mine, theirs)
        if gained is None:
            return None
        known.append((gained > metric.min_delta) - (gained < -metric.min_delta))
    if 1 in known and -1 in known:
        return None
    return sum(known) / len(known)


_POLICIES = {"primary": _primary, "weighted": _weighted, "lexicographic": _lexicographic, "pareto": _pareto}
