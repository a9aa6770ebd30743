"""What another policy would have earned, from the chances that were recorded. It reruns nothing and trusts no chance of zero."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

import msgspec

if TYPE_CHECKING:
    from evogit.domain.problem import Problem
    from evogit.domain.run import Again, Run
    from evogit.search.memory import Memory
    from evogit.search.portfolio import Record

Chances = Callable[["Record"], Mapping[str, float]]


class Chooser(Protocol):
    """As much of a policy as is needed here."""

    def chances(self, memory: Memory, emitters: Sequence[str]) -> Mapping[str, float]: ...


class Estimate(msgspec.Struct, frozen=True, kw_only=True):
    """Mean credit per run under another policy, with intervals of 95 %; `over` is what was earned less that."""

    mean: float
    low: float
    high: float
    actual: float
    over: float
    over_low: float
    over_high: float
    runs: int
    effective: float  # runs that the weights are worth: few of them, and the estimate is a guess


def chosen(records: Sequence[Record]) -> list[Record]:
    """The runs that a policy chose, with a chance that was recorded."""
    return [r for r in records if r.policy not in {"", "ideas", "mending"} and r.chance > 0]


def what_if(records: Sequence[Record], chances: Chances) -> Estimate | None:
    """Self-normalised inverse propensity (Swaminathan and Joachims 2015) over runs that a policy chose. O(records).

    None without two such runs, or where the other policy would never have made one of the choices that were made.
    """
    judged = chosen(records)
    if len(judged) < 2:
        return None
    weights = [max(0.0, chances(r).get(r.emitter, 0.0)) / r.chance for r in judged]
    earned = [r.credit.total / r.cost for r in judged]
    total = math.fsum(weights)
    if total <= 0:
        return None
    n, mean, actual = len(judged), math.fsum(w * e for w, e in zip(weights, earned)) / total, math.fsum(earned) / len(judged)
    half = 1.96 * math.sqrt(math.fsum((w * (e - mean)) ** 2 for w, e in zip(weights, earned))) / total
    # both means are of the same runs, so their difference varies less than either
    influence = math.fsum(((e - actual) / n - w * (e - mean) / total) ** 2 for w, e in zip(weights, earned))
    margin, over = 1.96 * math.sqrt(influence), actual - mean
    return Estimate(
        mean=mean,
        low=mean - half,
        high=mean + half,
        actual=actual,
        over=over,
        over_low=over - margin,
        over_high=over + margin,
        runs=n,
        effective=total**2 / math.fsum(w * w for w in weights),
    )


def uniform_over(emitters: Iterable[str]) -> Chances:
    """Every one of these emitters alike, whatever is known."""
    names = list(dict.fromkeys(emitters))
    same = {name: 1 / len(names) for name in names}
    return lambda record: same


def replayed(problem: Problem, lessons: Iterable[Run | Again], policy: Chooser, emitters: Sequence[str]) -> tuple[list[Record], Chances]:
    """All records of a campaign, and what a policy would have said before each run, from the runs decided until then.

    Cost: one fold of the history and one question a run. Where several candidates were in the air, it knew a little more
    than the policy that really chose did.
    """
    from evogit.domain.run import Run
    from evogit.search.memory import Memory

    memory, said, found = Memory(problem), {}, {}
    for lesson in lessons:
        if isinstance(lesson, Run):
            said[lesson.commit] = policy.chances(memory, memory.portfolio.awake(emitters))
        memory.take(lesson)
        commit = lesson.commit if isinstance(lesson, Run) else lesson.of
        if (record := memory.portfolio.record_of(commit)) is not None:
            found[commit] = record
    return list(found.values()), lambda record: said.get(record.commit, {})
