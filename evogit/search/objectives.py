"""`[decide] objective` in a verdict: what the metrics beside the primary one add to it, and how that is told. Pure.

The primary metric is judged under its noise, and whether it is better or no worse is said by `stages.decide`; the others are compared
bare, by their means: sizes and times hardly move with a seed. Constraints are none of its business.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

import msgspec

from evogit.domain.belief import Ruler, Standing
from evogit.domain.metric import Metric
from evogit.domain.problem import Problem
from evogit.search import scoring
from evogit.search.beliefs import Judged, judge
from evogit.search.mixture import FAR
from evogit.search.scoring import Means

STEP = 0.05  # relative change that counts as one step of a metric without a `min_delta`


class Beside(NamedTuple):
    """The other metrics of a candidate against the incumbent's."""

    objective: str  # in force; "primary" as well where a metric that it needs has no number
    worth: float = 0.0  # weighted: what they are worth, primary metric's unit, positive is better
    tips: int = 0  # lexicographic, pareto: 1 if they speak for a candidate whose primary metric is no worse, -1 against it, 0 neither
    size: float = 0.0  # of the greatest gain where they speak for it, in `min_delta`s, or in steps of `STEP` without one
    better: tuple[str, ...] = ()  # in words: "params better by 900"
    worse: tuple[str, ...] = ()
    missing: str = ""  # in words, "" if nothing is


class Primary(NamedTuple):
    """The primary metric of a candidate against the incumbent's, under the rule in force."""

    is_better: bool
    is_no_worse: bool
    why: str
    doubt: str = ""  # why it is not said to be no worse where it does not look worse, "" if it does


def beside(problem: Problem, mine: Means, theirs: Means) -> Beside:
    """What the other metrics say of `mine` against `theirs`. Where one has no number, the primary metric is judged alone.

    lexicographic: the first that differs by more than its `min_delta`, in the order of the contract; those behind it do not matter.
    pareto: for it if one is better and none is worse, by more than `min_delta` each; against it if any is worse.
    """
    kind = scoring.objective(problem)
    better, worse, size, worth = [], [], 0.0, 0.0
    for metric in scoring.beside(problem):
        gained = scoring.gain(metric, mine, theirs)
        valued = scoring.worth_of(problem, metric, gained) if kind == "weighted" else gained
        if gained is None or valued is None:
            return Beside("primary", missing=_missing(problem, metric, mine))
        if kind == "weighted":
            worth += valued
            better.append(f"{metric.name} worth {valued:.4g}")
        elif abs(gained) > metric.min_delta:
            (better if gained > 0 else worse).append(f"{metric.name} {change(gained)}")
            size = max(size, _size(metric, gained, theirs))
            if kind == "lexicographic":
                break
    if not math.isfinite(worth):
        return Beside("primary", missing=f"what the others are worth is no finite number, so {problem.primary.name} was judged alone")
    tips = 0 if kind == "weighted" else -1 if worse else 1 if better else 0
    return Beside(kind, worth, tips, size if tips > 0 else 0.0, tuple(better), tuple(worse))


def believed(metric: Metric, readings: Mapping[int, float], standing: Standing, margin: float, worth: float) -> Judged:
    """`beliefs.judge` of gain plus `worth`: P(gain + worth > `min_delta`), P(gain + worth < -margin) and the believed sum.

    worth: what is known for certain, metric's unit, so it moves the bounds of the posterior and leaves its shape alone. Where there is
    no noise, or the numbers are beyond all noise, the sum is compared plainly. Costs at most three judgements.
    """
    alone = judge(metric, readings, standing, margin)
    if not worth:
        return alone
    read = metric.gain(
        math.fsum(readings.values()) / len(readings), standing.incumbent.mean if standing.incumbent else standing.incumbent_mean or 0.0
    )
    if standing.ruler is Ruler.NOISY and max(abs(read), abs(worth)) < 0.5 * FAR * standing.sigma:
        total = alone.belief.gain_over_incumbent + worth
        p_better = _beyond(metric, readings, standing, metric.min_delta - worth)
        p_loss = _short(metric, readings, standing, margin + worth)
    else:
        total = read + worth
        p_better, p_loss = float(total > metric.min_delta), float(total < -margin)
    belief = msgspec.structs.replace(alone.belief, p_better=p_better, gain_over_incumbent=total)
    return alone._replace(belief=belief, p_loss=p_loss)


def tipped(beside: Beside, *, is_better: bool, is_no_worse: bool) -> bool:
    """True if the objective wants the candidate, given what is said of its primary metric (of the weighted sum, where it is one)."""
    if beside.objective == "pareto":
        return beside.tips >= 0 and is_no_worse and (is_better or beside.tips > 0)
    return is_better or (is_no_worse and beside.tips > 0)


def told(problem: Problem, beside: Beside, primary: Primary) -> str:
    """Why the objective wants the candidate, or not, in one line; what is missing is not in it."""
    if beside.objective == "lexicographic":
        return _told_in_order(problem, beside, primary)
    if beside.objective == "pareto":
        return _told_of_a_trade(beside, primary)
    return primary.why


def _told_in_order(problem: Problem, beside: Beside, primary: Primary) -> str:
    why, others = primary.why, ", ".join(beside.better + beside.worse)
    if primary.is_better or not beside.tips:
        return why
    if primary.is_no_worse:
        return f"{why}; as good, {'and' if beside.tips > 0 else 'but'} {others}"
    if beside.tips < 0 or (primary.doubt and primary.doubt in why):
        return why
    return f"{why}; {others}, but {primary.doubt or f'{problem.primary.name} comes first'}"


def _told_of_a_trade(beside: Beside, primary: Primary) -> str:
    others = ", ".join(beside.better + beside.worse)
    said = f"{primary.why}; {others}" if others else primary.why
    if beside.tips < 0:
        if beside.better or primary.is_better:
            return f"{said}: a trade of one metric for another"
        return f"{primary.why}; as good, but {others}" if primary.is_no_worse else said
    if primary.is_no_worse:
        return f"{primary.why}; as good, and {others}" if others and not primary.is_better else said
    if primary.doubt:
        return said if primary.doubt in primary.why or not (others or primary.is_better) else f"{said}, but {primary.doubt}"
    return f"{said}: a trade of one metric for another" if others else said


def change(gain: float) -> str:
    """A gain in words, in the metric's unit."""
    return f"better by {gain:.4g}" if gain > 0 else f"worse by {-gain:.4g}" if gain < 0 else "unchanged"


def _beyond(metric: Metric, readings: Mapping[int, float], standing: Standing, least: float) -> float:
    """P(gain over the incumbent > least), `least` of either sign: a judgement takes its bounds as gains or as losses, never below zero."""
    if least < 0:
        return 1 - judge(metric, readings, standing, -least).p_loss
    return judge(msgspec.structs.replace(metric, min_delta=least), readings, standing).belief.p_better


def _short(metric: Metric, readings: Mapping[int, float], standing: Standing, margin: float) -> float:
    """P(gain over the incumbent < -margin), `margin` of either sign."""
    if margin < 0:
        return 1 - _beyond(metric, readings, standing, -margin)
    return judge(metric, readings, standing, margin).p_loss


def _size(metric: Metric, gained: float, theirs: Means) -> float:
    unit = metric.min_delta or STEP * abs(theirs[metric.name])
    return gained / unit if unit else math.inf


def _missing(problem: Problem, metric: Metric, mine: Means) -> str:
    here = math.isfinite(mine.get(metric.name, math.nan))
    who = f"the incumbent has no {metric.name}" if here else f"{metric.name} was not reported"
    return f"{who}, so {problem.primary.name} was judged alone"
