"""What the numbers say of a change, of its hypothesis and of its forecast. It gives no advice and no verdict of record."""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec

from evogit.domain.belief import Ruler
from evogit.domain.plan import Forecast
from evogit.domain.review import Conclusion, ReviewBrief

SURE = 0.9  # probability from which a hypothesis is supported, or refuted
HARMLESS = 0.2  # probability of harm up to which a simplification is said to cost nothing
CLEAR = 2.0  # standard deviations beyond which a difference is a clear one
_LINES_HALF = 20  # changed lines that make a complexity of one half


class Judgement(msgspec.Struct, frozen=True, kw_only=True):
    """Child against parent. Gains are in the primary metric's unit, positive is better."""

    child: float  # mean over seeds
    parent: float
    seeds: int
    gain: float  # as it was read
    sd: float  # one standard deviation of that gain, 0.0 while no noise is known
    ruler: Ruler
    p_gain: float | None = None  # of a gain above `min_delta`; None while no noise is known
    p_harm: float | None = None

    @property
    def z(self) -> float:
        """Size of the gain in standard deviations; without a known noise no difference is a large one. Infinite where seeds change nothing."""
        if self.ruler is Ruler.EXACT:
            return math.inf if self.gain else 0.0
        return abs(self.gain) / self.sd if self.sd else 0.0

    @property
    def is_clear(self) -> bool:
        """True if the difference is larger than noise explains."""
        return self.z > CLEAR


def judge(brief: ReviewBrief) -> Judgement | None:
    """The comparison, or None where either run has no number. The brief's belief counts where it has one."""
    mine, theirs = brief.child.get(brief.primary.name, ()), brief.parent.get(brief.primary.name, ())
    if not mine or not theirs:
        return None
    child, parent = mean(mine), mean(theirs)
    gain = brief.primary.gain(child, parent)
    ruler = Ruler.NOISY if brief.spread > 0 else brief.ruler
    sd = brief.spread * math.sqrt(1 / len(mine) + 1 / len(theirs)) if ruler is Ruler.NOISY else 0.0
    p_gain: float | None = None
    p_harm: float | None = None
    if ruler is Ruler.EXACT:
        p_gain, p_harm = float(gain > brief.primary.min_delta), float(gain < -brief.primary.min_delta)
    elif brief.belief is not None and sd:
        p_gain, p_harm = brief.belief.p_gain, brief.belief.p_harm
    elif sd:
        p_gain, p_harm = _above((gain - brief.primary.min_delta) / sd), _above(-gain / sd)
    return Judgement(child=child, parent=parent, seeds=len(mine), gain=gain, sd=sd, ruler=ruler, p_gain=p_gain, p_harm=p_harm)


def mean(readings: Sequence[float]) -> float:
    """The mean of at least one reading; finite for finite readings, however large."""
    return sum(value / len(readings) for value in readings)


def hypothesis(brief: ReviewBrief) -> str:
    """What was tested: in the words of whoever made the change, or in ours where they gave none."""
    if brief.hypothesis.strip():
        return brief.hypothesis.strip()
    what = brief.summary or "the change"
    return f"{what!r} costs nothing" if is_simplification(brief) else f"{what!r} makes {brief.primary.name} better"


def is_simplification(brief: ReviewBrief) -> bool:
    """True if it set out to lose nothing rather than to gain."""
    return brief.change == "simplification" or brief.emitter == "simplifier"


def conclude(brief: ReviewBrief, found: Judgement) -> tuple[Conclusion, str]:
    """The word on the hypothesis, and its grounds."""
    if found.p_gain is None or found.p_harm is None:
        return Conclusion.UNDECIDED, f"The noise between seeds is not known, and {_seeds(found)} cannot tell it from a gain."
    size = f"{_signed(found)} over {_seeds(found)}"
    if is_simplification(brief):
        grounds = f"The probability that it does harm is {found.p_harm:.2f} ({size})."
        if found.p_harm >= SURE:
            return Conclusion.REFUTED, grounds
        return (Conclusion.SUPPORTED if found.p_harm <= HARMLESS else Conclusion.UNDECIDED), grounds
    grounds = f"The probability of a gain over the parent is {found.p_gain:.2f} ({size})."
    if found.p_gain >= SURE:
        return Conclusion.SUPPORTED, grounds
    return (Conclusion.REFUTED if found.p_gain <= 1 - SURE else Conclusion.UNDECIDED), grounds


def forecast_in_words(forecast: Forecast | None, value: float) -> str:
    """The prediction beside the outcome: how far off, and the continuous ranked probability score (metric's unit, 0 is perfect)."""
    if forecast is None:
        return ""
    off = (value - forecast.mean) / forecast.spread
    size = abs(off)
    word = "as foretold" if size <= 1 else "a surprise" if size > CLEAR else "somewhat off"
    score = crps(forecast, value)
    return f"Forecast {forecast.mean:.4g} ± {forecast.spread:.2g}, off by {off:+.1f} sd: {word} (score {score:.2g}, 0 is perfect)."


def crps(forecast: Forecast, value: float) -> float:
    """Continuous ranked probability score of a normal forecast, metric's unit, >= 0, less is better (Gneiting and Raftery 2007, eq. 21).

    It is proper: whoever says what he believes does best, so that neither a wide nor a narrow forecast is worth pretending.
    """
    z = (value - forecast.mean) / forecast.spread
    density = math.exp(-0.5 * min(z * z, 1400.0)) / math.sqrt(2 * math.pi)
    return forecast.spread * (z * math.erf(z / math.sqrt(2)) + 2 * density - 1 / math.sqrt(math.pi))


def scores(brief: ReviewBrief, found: Judgement | None) -> dict[str, float]:
    """The numbers of a review, each in [0, 1]; one that nobody knows is left out.

    fitness, novelty, information, surprise: memory's credit (fitness alone, the probability of a gain, where there is none).
    complexity: changed lines n as n / (n + 20). memory_cost: share of the memory limit, else peak / (peak + parent's peak).
    """
    said: dict[str, float] = {}
    if brief.credit is not None:
        said = {name: getattr(brief.credit, name) for name in ("fitness", "novelty", "information", "surprise")}
    elif found is not None and found.p_gain is not None:
        said["fitness"] = found.p_gain
    changed = sum(brief.lines)
    if changed or brief.parent:
        said["complexity"] = changed / (changed + _LINES_HALF)
    if brief.peak_rss_mib and (brief.memory_mib or brief.parent_peak_rss_mib):
        said["memory_cost"] = brief.peak_rss_mib / (brief.memory_mib or brief.peak_rss_mib + brief.parent_peak_rss_mib)
    return {name: round(min(1.0, max(0.0, value)), 4) for name, value in said.items() if math.isfinite(value)}


def _above(z: float) -> float:
    return 0.5 * math.erfc(-z / math.sqrt(2))


def _seeds(found: Judgement) -> str:
    return f"{found.seeds} seed{'s' * (found.seeds != 1)}"


def _signed(found: Judgement) -> str:
    return f"{found.gain:+.4g}" + (f" ± {found.sd:.2g}" if found.sd else "")
