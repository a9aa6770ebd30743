"""Measurement + standing -> Verdict. A pure function of its arguments: replaying it after a crash gives the same word.

It gates what the search builds on; it claims nothing. Claims are certified, on other seeds.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

import msgspec

from evogit.domain.belief import Ruler, Standing
from evogit.domain.metric import Metric
from evogit.domain.problem import RULES, Problem
from evogit.domain.trial import Measurement
from evogit.domain.verdict import Complexity, Decision, Verdict
from evogit.errors import ProblemError
from evogit.search import objectives, scoring
from evogit.search.beliefs import Judged, ignores_seeds
from evogit.search.objectives import Beside, Primary, change
from evogit.search.scoring import Means

ACCEPT = 0.75  # greatest probability of no gain that a keep may have
SURE = 0.2  # doubt below which a keep needs no further reading; simulated, it halves false keeps at hardly any price in true gain
DROP = 0.05  # above accept by this much, one more reading is not worth its price
MOST_SEEDS = 3  # that one candidate buys under "posterior", however many the budget has
NEAR = 0.2  # least probability of being better that makes a discard a near miss
TWICE = 2  # readings without which "posterior" keeps nothing under noise, where the budget has as many: one may be wild, or lucky
FABULOUS = 5.0  # sigmas of believed gain from which it wants MOST_SEEDS: two wild readings alike are rarer, and are what one finds there
UNLIKE = 0.2  # greatest probability of a loss beyond the margin at which two are equal
LIKELY = 0.5  # probability of such a loss from which another reading is not hoped for
DOUBTED = 0.05  # the same for a certified incumbent: what a certificate was held against, `evidence.ALPHA`
HELD = 0.5  # share of a certified gain that a simpler run has to hold
LIGHTER = {"params": 0.05, "seconds": 0.25}  # relative change that counts as less; clocks are noisier than counts
HEAVIER = {"params": 0.05, "seconds": 0.50}  # and as more: a machine that was busy for one trial is no fault of the candidate
FREE_LINES = 20  # that may be added for any gain, and again for each sigma of gain


def decide(
    problem: Problem, measurement: Measurement, standing: Standing, *, complexity: Complexity | None = None, rejected: str = ""
) -> Decision:
    """The verdict on a candidate, in words. Raises ProblemError for a rule or an objective that does not exist. O(readings).

    posterior: kept if P(no gain over the incumbent by more than `min_delta`) <= accept and the believed gain is above it, by TWICE readings. greedy: if the mean beats the incumbent's.
    confirm: if each of two readings does. Without any known noise all compare plainly. Without an incumbent, any number is kept.

    Simplicity, where noise is known or absent: kept as well if P(loss > max(min_delta, sigma / sqrt 2)) <= UNLIKE after TWICE readings
    and it is lighter in lines, parameters or seconds and heavier in none; not kept if it adds more than FREE_LINES lines per sigma of
    believed gain. Where the incumbent is certified, P(loss > HELD of its certified gain, or what is said above if that is less)
    has to be at most DOUBTED: a test on fresh seeds is not undone by two readings that look alike.

    The objective says what is compared: weighted, gain plus what the other metrics are worth; lexicographic, the others where the
    primary metric is no worse; pareto, kept if no worse in anything and better in something. Whoever lacks a metric is judged on the
    primary one. Constraints go before all of it: within them beats outside them, two that are outside are judged as usual (Deb 2000, An
    efficient constraint handling method for genetic algorithms, section 3; he compares such two by how far outside they are).
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
    broken = scoring.feasible(problem, measurement.means)
    if standing.incumbent_mean is None:
        return Decision(verdict=Verdict.KEEP, reason=f"baseline; {broken}" if broken else "baseline")
    if not math.isfinite(standing.incumbent_mean):
        return Decision(verdict=Verdict.KEEP, reason=f"{metric.name} is a number, the incumbent's is none")
    theirs = scoring.feasible(problem, standing.incumbent_means) if standing.incumbent_means else ""
    if broken and not theirs:
        return Decision(verdict=Verdict.DISCARD, reason=broken, gain=metric.gain(_mean(readings), standing.incumbent_mean))
    said = _weighed(_case(problem, readings, measurement.means, standing), complexity)
    if theirs and not broken:
        why = f"within its constraints, where the incumbent is not: {theirs} ({metric.name} {change(said.gain or 0.0)})"
        return msgspec.structs.replace(said, verdict=Verdict.KEEP, reason=why, near_miss=False)
    return msgspec.structs.replace(said, reason=f"{said.reason}; outside its constraints, as the incumbent: {broken}") if broken else said


def wants_more_seeds(
    problem: Problem, by_seed: Mapping[int, float], standing: Standing, complexity: Complexity | None = None, means: Means | None = None
) -> bool:
    """True while another seed could still change the verdict; a clear loser leaves after its first one. Raises ProblemError as above.

    by_seed: readings of the primary metric. means: of every metric so far; without them the primary one is judged alone. The others
    are taken as final, so whoever is out by them buys nothing.
    """
    rule, bought = _rule(problem), len(by_seed)
    if bought >= len(problem.budget.seeds):
        return False
    if not by_seed or standing.incumbent_mean is None:
        return True
    if not all(math.isfinite(reading) for reading in by_seed.values()):
        return False
    if rule == "greedy" or (means and standing.incumbent_means and scoring.is_settled(problem, means, standing.incumbent_means)):
        return False
    case = _case(problem, by_seed, means or {}, standing)
    beside, least = case.beside, problem.primary.min_delta
    if beside.objective == "pareto" and beside.tips < 0:
        return False
    if rule == "confirm":
        may_hold = _all_beat(case) or (case.judged.p_loss < LIKELY if standing.ruler is Ruler.NOISY else _all_hold(case))
        return bought < 2 and objectives.tipped(beside, is_better=_all_beat(case), is_no_worse=may_hold)
    if standing.ruler is Ruler.UNKNOWN:
        return case.total >= (-least if beside.tips > 0 else 0.0)
    if standing.ruler is Ruler.EXACT:
        # A contender may have brought noise into a problem that had none: one more reading shows it.
        return bought < 2 and objectives.tipped(beside, is_better=case.total > least, is_no_worse=_gain_holds(case, case.total))
    return bought < MOST_SEEDS and _may_turn(case, complexity)


def _may_turn(case: _Case, complexity: Complexity | None) -> bool:
    """True while a further reading may turn what is believed under noise."""
    accept, judged = _accept(case.problem), case.judged
    doubt = 1 - judged.belief.p_better
    if min(SURE, accept) < doubt < accept + DROP or (doubt <= accept and not _is_read_enough(case)):
        return True
    if doubt > accept and 1 - _if_repeated(case).belief.p_better <= accept:
        return True
    is_simpler = case.beside.tips == 0 and case.problem.decide.simplicity and _lighter(complexity) != ""
    p_loss, most = _loss(case) if is_simpler else (judged.p_loss, UNLIKE)
    is_open = most < p_loss < LIKELY or (is_simpler and p_loss <= most and not _is_read_enough(case))
    return doubt > accept and (is_simpler or case.beside.tips > 0) and is_open


def _if_repeated(case: _Case) -> Judged:
    """What would be believed if every seed that may still be bought said what was read so far, give or take a trifle.

    The trifle tells them from a candidate that ignores its seeds.
    """
    left = [seed for seed in case.problem.budget.seeds if seed not in case.readings][: MOST_SEEDS - len(case.readings)]
    mean, metric, standing = _mean(case.readings), case.problem.primary, case.standing
    repeated = {seed: mean + standing.sigma * 1e-6 * (n + 1) for n, seed in enumerate(left)}
    return objectives.believed(metric, {**case.readings, **repeated}, standing, _margin(metric, standing), case.beside.worth)


# the verdict ---------------------------------------------------------------------------------------------------------


class _Case(NamedTuple):
    """A candidate beside the incumbent, as the verdict and the wish for another seed both see it."""

    problem: Problem
    rule: str
    readings: Mapping[int, float]
    standing: Standing
    beside: Beside
    judged: Judged  # what is believed of `total`
    gain: float  # of the primary metric, as read, its unit
    total: float  # the same, with what the other metrics are worth

    @property
    def subject(self) -> str:
        """How a reason begins: what is better, worse or unchanged."""
        name = self.problem.primary.name
        return f"{name} {change(self.gain)}, {', '.join(self.beside.better)}: " if self.beside.objective == "weighted" else f"{name} "


def _case(problem: Problem, readings: Mapping[int, float], means: Means, standing: Standing) -> _Case:
    metric, beside = problem.primary, objectives.beside(problem, means, standing.incumbent_means)
    gain = metric.gain(_mean(readings), standing.incumbent_mean or 0.0)
    judged = objectives.believed(metric, readings, standing, _margin(metric, standing), beside.worth)
    return _Case(problem, _rule(problem), readings, standing, beside, judged, gain, gain + beside.worth)


def _weighed(case: _Case, complexity: Complexity | None) -> Decision:
    judged, standing, beside = case.judged, case.standing, case.beside
    is_noisy = standing.ruler is Ruler.NOISY
    primary = _primary(case)
    keeps = objectives.tipped(beside, is_better=primary.is_better, is_no_worse=primary.is_no_worse)
    why = objectives.told(case.problem, beside, primary)
    if case.problem.decide.simplicity and complexity is not None and standing.ruler is not Ruler.UNKNOWN:
        if not keeps and beside.tips >= 0 and judged.p_loss <= UNLIKE and _is_read_enough(case) and _lighter(complexity):
            keeps, why = _simpler(case, _lighter(complexity))
        elif keeps and complexity.lines > (allowed := _deserved(case)):
            keeps, why = False, f"{why}, but {complexity.lines} lines more: a gain this small deserves {allowed}"
    if beside.missing:
        why += f"; {beside.missing}"
    if is_noisy and ignores_seeds(case.readings):
        why += f"; the same number under {len(case.readings)} seeds counts as one reading"
    near = judged.belief.p_better >= NEAR if is_noisy else case.total >= 0
    return Decision(
        verdict=Verdict.KEEP if keeps else Verdict.DISCARD,
        reason=why,
        near_miss=near and not keeps and not (beside.objective == "pareto" and beside.tips < 0),
        p_gain=judged.belief.p_better if is_noisy else None,
        gain=case.gain,
    )


def _primary(case: _Case) -> Primary:
    is_better, why = _better(case)
    if is_better and case.rule != "posterior":
        return Primary(is_better=True, is_no_worse=True, why=why)
    is_no_worse, doubt = _no_worse(case)
    return Primary(is_better, is_no_worse, why, doubt)


def _better(case: _Case) -> tuple[bool, str]:
    least, readings, standing, total = case.problem.primary.min_delta, case.readings, case.standing, case.total
    if case.rule == "greedy":
        return _plainly(case)
    if case.rule == "confirm":
        if _all_beat(case) and _are_enough(case):
            return True, f"{case.subject}better by {total:.4g}" + (", confirmed" if len(readings) > 1 else "")
        return False, _plainly(case)[1] if total <= least else f"{case.subject}better by {total:.4g}, but not confirmed"
    if standing.ruler is Ruler.NOISY:
        belief = case.judged.belief
        # Beside the chance, the gain that is believed: beside an incumbent of one lucky reading, a coin's chance is soon had.
        is_gain = belief.gain_over_incumbent > least
        is_sure = 1 - belief.p_better <= _accept(case.problem)
        why = f"{case.subject}{change(total)}, {belief.p_better:.0%} sure of a gain"
        if total <= 0 < belief.gain_over_incumbent:  # the incumbent's own readings are believed to flatter it
            why = f"{case.subject}{change(total)} as read, but believed better by {belief.gain_over_incumbent:.4g}"
            why += f" ({belief.p_better:.0%} sure of a gain): the incumbent's number is held to be lucky"
        return is_gain and is_sure and _is_read_enough(case), why
    if total > least and not _are_enough(case):
        return False, "fewer seeds than the incumbent"
    return _plainly(case)


def _no_worse(case: _Case) -> tuple[bool, str]:
    """Whether it counts as no worse, and why not where it does not look worse. Under noise it is a test of equivalence."""
    is_noisy, is_confirm = case.standing.ruler is Ruler.NOISY, case.rule == "confirm"
    holds = case.judged.p_loss <= UNLIKE if is_noisy else _all_hold(case) if is_confirm else _gain_holds(case, case.total)
    if not holds:
        return False, f"{case.problem.primary.name} may be worse" if is_noisy and case.judged.p_loss < LIKELY else ""
    return _are_enough(case), "not confirmed" if is_confirm else "fewer seeds than the incumbent"


def _plainly(case: _Case) -> tuple[bool, str]:
    least, total = case.problem.primary.min_delta, case.total
    if total > least:
        return True, f"{case.subject}better by {total:.4g}"
    if total > 0:
        return False, f"{case.subject}better by {total:.4g}, not more than min_delta {least:g}"
    return False, f"{case.subject}{change(total)}"


def _are_enough(case: _Case) -> bool:
    """True if it was read as often as a plain comparison asks."""
    if case.rule == "confirm":
        return len(case.readings) >= min(2, len(case.problem.budget.seeds))
    return case.rule == "greedy" or case.standing.ruler is not Ruler.UNKNOWN or len(case.readings) >= case.standing.incumbent_readings


def _all_beat(case: _Case) -> bool:
    return all(gain > case.problem.primary.min_delta for gain in _gains(case))


def _all_hold(case: _Case) -> bool:
    return all(_gain_holds(case, gain) for gain in _gains(case))


def _gain_holds(case: _Case, gain: float) -> bool:
    return gain >= -case.problem.primary.min_delta


def _gains(case: _Case) -> list[float]:
    """Of every reading over the incumbent's mean, with what the other metrics are worth."""
    metric, theirs = case.problem.primary, case.standing.incumbent_mean or 0.0
    return [metric.gain(reading, theirs) + case.beside.worth for reading in case.readings.values()]


# simplicity ----------------------------------------------------------------------------------------------------------


def _margin(metric: Metric, standing: Standing) -> float:
    return max(metric.min_delta, standing.sigma * math.sqrt(0.5)) if standing.ruler is Ruler.NOISY else metric.min_delta


def _simpler(case: _Case, lighter: str) -> tuple[bool, str]:
    """Whether a lighter candidate that is hardly worse is kept for it, and why."""
    said = f"as good and simpler: {lighter} ({case.subject}{change(case.total)})"
    (p_loss, most), is_certified = _loss(case), case.standing.certified is not None
    if p_loss > most:
        return (
            False,
            f"{said}, but the incumbent is certified: {p_loss:.0%} chance that too much of its gain is lost, {most:.0%} is allowed",
        )
    return True, f"{said}, and the certified gain is held" if is_certified else said


def _loss(case: _Case) -> tuple[float, float]:
    """P(a simpler candidate lost more than it may), and the greatest such probability that it is kept with."""
    certified, margin = case.standing.certified, _margin(case.problem.primary, case.standing)
    if certified is None:
        return case.judged.p_loss, UNLIKE
    margin = min(margin, HELD * max(certified, 0.0))
    judged = objectives.believed(case.problem.primary, case.readings, case.standing, margin, case.beside.worth)
    return judged.p_loss, DOUBTED


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


def _is_read_enough(case: _Case) -> bool:
    """Read as often as a keep has to be."""
    needed = TWICE if case.rule == "posterior" and case.standing.ruler is Ruler.NOISY else 1
    if needed > 1 and case.judged.belief.gain_over_incumbent - case.beside.worth > FABULOUS * case.standing.sigma:
        needed = MOST_SEEDS
    return len(case.readings) >= min(needed, len(case.problem.budget.seeds))


def _deserved(case: _Case) -> float:
    """Lines that a gain may add: FREE_LINES, times its size in sigmas (in `min_delta`s where there is no noise) if that is above one.

    A gain of another metric that the objective counts may add as many, by its own size.
    """
    metric, standing = case.problem.primary, case.standing
    unit = standing.sigma if standing.ruler is Ruler.NOISY else metric.min_delta
    own = case.judged.belief.gain_over_incumbent / unit if unit else math.inf
    lines = FREE_LINES * max(1.0, own, case.beside.size)
    return math.floor(lines) if math.isfinite(lines) else math.inf


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
    return "posterior" if rule == "pareto" else rule  # its objective is `scoring.objective`'s to say


def _accept(problem: Problem) -> float:
    accept = problem.decide.accept
    return accept if 0 < accept < 1 else ACCEPT
