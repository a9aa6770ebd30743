"""Measurement + noise -> Verdict. A pure function of its arguments: replaying it after a crash gives the same word."""

from __future__ import annotations

from evogit.domain.problem import Problem
from evogit.domain.run import Run
from evogit.domain.trial import Measurement
from evogit.domain.verdict import Decision, Verdict


def decide(problem: Problem, measurement: Measurement, incumbent: Run | None, spread: float, *, rejected: str = "") -> Decision:
    """Keep if the mean over seeds beats the incumbent's by more than `min_delta`.

    spread: one standard deviation between seeds, primary metric's unit, 0 while unknown; it marks near misses only.
    incumbent: None for a baseline, which is kept if it has a number.
    """
    if rejected:
        return Decision(verdict=Verdict.REJECT, reason=rejected)
    if measurement.crash is not None:
        return Decision(verdict=Verdict.CRASH, reason=f"{measurement.crash.kind}: {measurement.crash.message}")
    metric = problem.primary
    mine = measurement.mean(metric.name)
    if mine is None:
        return Decision(verdict=Verdict.CRASH, reason=f"no-metric: {metric.name} was never reported")
    theirs = incumbent.mean(metric.name) if incumbent is not None else None
    if theirs is None:
        return Decision(verdict=Verdict.KEEP, reason="baseline")
    gain = metric.gain(mine, theirs)
    if len(measurement.values[metric.name]) < len(incumbent.readings[metric.name]) and gain > metric.min_delta:
        return Decision(verdict=Verdict.DISCARD, reason="fewer seeds than the incumbent", near_miss=True, gain=gain)
    if gain > metric.min_delta:
        return Decision(verdict=Verdict.KEEP, reason=f"{metric.name} better by {gain:.4g}", gain=gain)
    return Decision(verdict=Verdict.DISCARD, reason=_why_not(metric.name, gain, metric.min_delta), near_miss=-gain <= 2 * spread, gain=gain)


def _why_not(name: str, gain: float, min_delta: float) -> str:
    if gain > 0:
        return f"{name} better by {gain:.4g}, not more than min_delta {min_delta:g}"
    return f"{name} worse by {-gain:.4g}" if gain < 0 else f"{name} unchanged"


def wants_more_seeds(problem: Problem, readings: tuple[float, ...], incumbent: Run | None, spread: float) -> bool:
    """True while another seed could still change the verdict; a clear loser leaves after its first one.

    Clear: worse than the incumbent by more than twice the spread between seeds, or at all while no spread is known.
    """
    if len(readings) >= len(problem.budget.seeds):
        return False
    metric = problem.primary
    theirs = incumbent.mean(metric.name) if incumbent is not None else None
    if theirs is None or not readings:
        return True
    loss = -metric.gain(sum(readings) / len(readings), theirs)
    return loss <= 2 * spread
