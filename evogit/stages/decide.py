"""Measurement + standing -> Verdict. A pure function of its arguments: replaying it after a crash gives the same word.

It gates what the search builds on; it claims nothing. Claims are certified, on other seeds.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from evogit.domain.belief import Ruler, Standing
from evogit.domain.metric import Metric
from evogit.domain.problem import RULES, Problem
from evogit.domain.trial import Measurement
from evogit.domain.verdict import Complexity, Decision, Verdict
from evogit.errors import ProblemError
from evogit.search import scoring
from evogit.search.beliefs import Judged, ignores_seeds, judge

ACCEPT = 0.75  # greatest probability of no gain that a keep may have
SURE = 0.2  # doubt below which a keep needs no further reading; simulated, it halves false keeps at hardly any price in true gain
DROP = 0.05  # above accept by this much, one more reading is not worth its price
MOST_SEEDS = 3  # that one candidate buys under "posterior", however many the budget has
NEAR = 0.2  # least probability of being better that makes a discard a near miss
UNLIKE = 0.2  # greatest probability of a loss beyond the margin at which two are equal
LIGHTER = {"params": 0.05, "seconds": 0.25}  # relative change that counts as less; clocks are noisier than counts
HEAVIER = {"params": 0.05, "seconds": 0.50}  # and as more: a machine that was busy for one trial is no fault of the candidate
FREE_LINES = 20  # that may be added for any gain, and again for each sigma of gain


def decide(
    problem: Problem, measurement: Measurement, standing: Standing, *, complexity: Complexity | None = None, rejected: str = ""
) -> Decision:
    """The verdict on a candidate, in words. Raises ProblemError for a rule that does not exist. O(readings).

    posterior: kept if P(no gain over the incumbent by more than `min_delta`) <= accept and the believed gain is above it. greedy: if the mean beats the incumbent's.
    confirm: if each of two readings does. Without any known noise all compare plainly. Without an incumbent, any number is kept.

    Simplicity, where noise is known or absent: kept as well if P(loss > max(min_delta, sigma / sqrt 2)) <= UNLIKE and it is lighter in
    lines, parameters or seconds and heavier in none; not kept if it adds more than FREE_LINES lines per sigma of believed gain.
    """
    if rejected:
        return Decision(verdict=Verdict.REJECT, reason=rejected)
    if measurement.crash is not None:
        return Decision(verdict=Verdict.CRASH, reason=f"{measurement.crash.kind}: {measurement.crash.message}")
    metric, readings = problem.primary, _by_seed(problem.primary, measurement)
    if not readings:
        return Decision(verdict=Verdict.CRASH, reason=f"no-metric: {metric.name} was never reported")
    if not all(math.isfinite(reading) for reading in readings.values()):
        return Decision(verdict=Verdict.DISCARD, reason=f"{metric.name} is no finite number")
    if standing.incumbent_mean is None:
        return Decision(verdict=Verdict.KEEP, reason="baseline")
    if not math.isfinite(standing.incumbent_mean):
        return Decision(verdict=Verdict.KEEP, reason=f"{metric.name} is a number, the incumbent's is none")
    if broken := scoring.feasible(problem, {name: measurement.mean(name) for name in measurement.values}):
        return Decision(verdict=Verdict.DISCARD, reason=broken, gain=metric.gain(_mean(readings), standing.incumbent_mean))
    return _weighed(problem, readings, standing, complexity)


def wants_more_seeds(problem: Problem, by_seed: Mapping[int, float], standing: Standing, complexity: Complexity | None = None) -> bool:
    """True while another seed could still change the verdict; a clear loser leaves after its first one. Raises ProblemError as above."""
    rule, metric, bought = _rule(problem), problem.primary, len(by_seed)
    if bought >= len(problem.budget.seeds):
        return False
    if not by_seed or standing.incumbent_mean is None:
        return True
    if not all(math.isfinite(reading) for reading in by_seed.values()):
        return False
    if rule == "greedy":
        return False
    if rule == "confirm":
        return bought < 2 and _all_beat(metric, by_seed, standing)
    gain = metric.gain(_mean(by_seed), standing.incumbent_mean)
    if standing.ruler is Ruler.UNKNOWN:
        return gain >= 0
    if standing.ruler is Ruler.EXACT:
        # A contender may have brought noise into a problem that had none: one more reading shows it.
        return bought < 2 and gain > metric.min_delta
    if bought >= MOST_SEEDS:
        return False
    judged = judge(metric, by_seed, standing, _margin(metric, standing))
    doubt = 1 - judged.belief.p_better
    if min(SURE, _accept(problem)) < doubt < _accept(problem) + DROP:
        return True
    if doubt > _accept(problem) and 1 - _if_repeated(problem, by_seed, standing).belief.p_better <= _accept(problem):
        return True
    return doubt > _accept(problem) and problem.decide.simplicity and _lighter(complexity) != "" and UNLIKE < judged.p_loss < 0.5


def _if_repeated(problem: Problem, by_seed: Mapping[int, float], standing: Standing) -> Judged:
    """What would be believed if every seed that may still be bought said what was read so far, give or take a trifle.

    The trifle tells them from a candidate that ignores its seeds.
    """
    left = [seed for seed in problem.budget.seeds if seed not in by_seed][: MOST_SEEDS - len(by_seed)]
    mean = _mean(by_seed)
    repeated = {seed: mean + standing.sigma * 1e-6 * (n + 1) for n, seed in enumerate(left)}
    return judge(problem.primary, {**by_seed, **repeated}, standing, _margin(problem.primary, standing))


# the verdict ---------------------------------------------------------------------------------------------------------


def _weighed(problem: Problem, readings: Mapping[int, float], standing: Standing, complexity: Complexity | None) -> Decision:
    metric, rule = problem.primary, _rule(problem)
    gain = metric.gain(_mean(readings), standing.incumbent_mean or 0.0)
    judged = judge(metric, readings, standing, _margin(metric, standing))
    is_noisy = standing.ruler is Ruler.NOISY
    keeps, why = _kept(problem, rule, readings, standing, judged, gain)
    if problem.decide.simplicity and complexity is not None and standing.ruler is not Ruler.UNKNOWN:
        if not keeps and judged.p_loss <= UNLIKE and _lighter(complexity):
            keeps, why = True, f"as good and simpler: {_lighter(complexity)} ({metric.name} {_change(gain)})"
        elif keeps and complexity.lines > (allowed := _deserved(metric, standing, judged)):
            keeps, why = False, f"{why}, but {complexity.lines} lines more: a gain this small deserves {allowed}"
    if is_noisy and ignores_seeds(readings):
        why += f"; the same number under {len(readings)} seeds counts as one reading"
    near = judged.belief.p_better >= NEAR if is_noisy else gain >= 0
    return Decision(
        verdict=Verdict.KEEP if keeps else Verdict.DISCARD,
        reason=why,
        near_miss=near and not keeps,
        p_gain=judged.belief.p_better if is_noisy else None,
        gain=gain,
    )


def _kept(problem: Problem, rule: str, readings: Mapping[int, float], standing: Standing, judged: Judged, gain: float) -> tuple[bool, str]:
    metric = problem.primary
    if rule == "greedy":
        return _plainly(metric, gain)
    if rule == "confirm":
        needed = min(2, len(problem.budget.seeds))
        if _all_beat(metric, readings, standing) and len(readings) >= needed:
            return True, f"{metric.name} better by {gain:.4g}" + (", confirmed" if len(readings) > 1 else "")
        return False, _plainly(metric, gain)[1] if gain <= metric.min_delta else f"{metric.name} better by {gain:.4g}, but not confirmed"
    if standing.ruler is Ruler.NOISY:
        chance = f"{judged.belief.p_better:.0%} sure of a gain"
        # Beside the chance, the gain that is believed: beside an incumbent of one lucky reading, a coin's chance is soon had.
        is_gain = judged.belief.gain_over_incumbent > metric.min_delta
        return is_gain and 1 - judged.belief.p_better <= _accept(problem), f"{metric.name} {_change(gain)}, {chance}"
    if standing.ruler is Ruler.UNKNOWN and gain > metric.min_delta and len(readings) < standing.incumbent_readings:
        return False, "fewer seeds than the incumbent"
    return _plainly(metric, gain)


def _plainly(metric: Metric, gain: float) -> tuple[bool, str]:
    if gain > metric.min_delta:
        return True, f"{metric.name} better by {gain:.4g}"
    if gain > 0:
        return False, f"{metric.name} better by {gain:.4g}, not more than min_delta {metric.min_delta:g}"
    return False, f"{metric.name} {_change(gain)}"


def _change(gain: float) -> str:
    return f"better by {gain:.4g}" if gain > 0 else f"worse by {-gain:.4g}" if gain < 0 else "unchanged"


def _all_beat(metric: Metric, readings: Mapping[int, float], standing: Standing) -> bool:
    return all(metric.gain(reading, standing.incumbent_mean or 0.0) > metric.min_delta for reading in readings.values())


# simplicity ----------------------------------------------------------------------------------------------------------


def _margin(metric: Metric, standing: Standing) -> float:
    return max(metric.min_delta, standing.sigma * math.sqrt(0.5)) if standing.ruler is Ruler.NOISY else metric.min_delta


def _lighter(complexity: Complexity | None) -> str:
    """In what a candidate is lighter, in words; "" if in nothing, or if it is heavier in something."""
    if complexity is None:
        return ""
    said = [f"{-complexity.lines} lines less"] if complexity.lines < 0 else []
    relative = {"params": complexity.params, "seconds": complexity.seconds}
    changes = {name: change for name, change in relative.items() if change is not None and math.isfinite(change)}
    if complexity.lines > 0 or any(change >= HEAVIER[name] for name, change in changes.items()):
        return ""
    return ", ".join(said + [f"{-change:.0%} {name} less" for name, change in changes.items() if change <= -LIGHTER[name]])


def _deserved(metric: Metric, standing: Standing, judged: Judged) -> float:
    """Lines that a gain may add: FREE_LINES, times its size in sigmas (in `min_delta`s where there is no noise) if that is above one."""
    unit = standing.sigma if standing.ruler is Ruler.NOISY else metric.min_delta
    if not unit:
        return math.inf
    return math.floor(FREE_LINES * max(1.0, judged.belief.gain_over_incumbent / unit))


# readings ------------------------------------------------------------------------------------------------------------


def _by_seed(metric: Metric, measurement: Measurement) -> dict[int, float]:
    found = {line.seed: line.metrics[metric.name] for line in measurement.trials if metric.name in line.metrics}
    return found or dict(enumerate(measurement.values.get(metric.name, ())))


def _mean(readings: Mapping[int, float]) -> float:
    return sum(readings.values()) / len(readings)


def _rule(problem: Problem) -> str:
    rule = problem.decide.rule or RULES[0]
    if rule not in RULES:
        raise ProblemError("[decide] rule", f"{rule[:80]!a} does not exist", fix=f"one of {', '.join(RULES)}")
    return rule


def _accept(problem: Problem) -> float:
    accept = problem.decide.accept
    return accept if 0 < accept < 1 else ACCEPT
