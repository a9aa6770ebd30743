"""How much the primary metric moves between seeds when nothing else changes, and whether it moves at all. It decides nothing.

It believes no single run: one that is far noisier than its like is left out, and so is one that ignored its seeds among others
that did not. It refuses to learn which seed is lucky from readings that were bought because earlier ones looked good.
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Iterable, Mapping
from statistics import median

from evogit.domain.belief import Ruler
from evogit.domain.trial import TrialLine
from evogit.search.pairing import seed_effects

WINDOW = 512  # newest runs that speak: a ruler may change over a long campaign
FEW, MANY = 3, 8  # groups: from FEW on a group can be called far off, from MANY on it is done by the book
LENIENT = 10.0  # with few groups their middle is uncertain itself: only the absurd is left out
LIKELY = 3.0  # standard deviations (of a chi-square's cube root) that a group's variance may lie above the middle
ENOUGH, FAR_OUT = 5, 7.5  # readings of one run, and median deviations (five standard deviations, were it normal) from its median
MOST_INFLATION = 2.0
ALONE = 4  # degrees of freedom from which readings that no luck chose speak alone

Pair = tuple[int, float]  # seed, reading


class Spread:
    """Pooled standard deviation between seeds, learnt run by run. O(log window) per run; O(window) to ask after a lesson, else O(1).

    Pooled variance: squared deviations from each run's own mean over the sum of (n - 1), so that runs of different quality do not
    widen it. Of runs with two or more readings the newest `WINDOW` speak. The same number again under the same seed is no new reading.

    A contender's first reading is why the others were bought: luck chose it, and the wilder it was the likelier. It is left out as
    soon as the other readings have `ALONE` degrees of freedom.

    Left out too: groups whose variance is above what one in a thousand shows (chi-square about the groups' median; ten times that while
    there are fewer than `MANY` groups, none below `FEW`); groups without any spread while most others have one.
    """

    def __init__(self) -> None:
        self._readings: dict[str, tuple[Pair, ...]] = {}
        self._fair: dict[str, tuple[Pair, ...]] = {}  # of these, the ones that were not bought because earlier ones looked good
        self._later: dict[str, tuple[Pair, ...]] = {}  # all but the ones that others were bought for
        self._order: dict[str, int] = {}
        self._window: list[tuple[int, str]] = []  # runs with two readings, by the order in which they were first learnt
        self._known: dict[str, tuple[tuple[float, int], tuple[float, int]]] = {}  # variances of the window's runs, until they change
        self._fitted: tuple[float, int, float, dict[int, float]] | None = None

    def learn(self, run: str, readings: Mapping[int, float], *, screened: bool = True) -> None:
        """Take in readings of one run by seed, metric's unit; may be called again for the same run, together they are one group.

        A reading that is no finite number says nothing of noise and is left out.

        screened: each of them but the last was looked at before the next one was bought. Such readings tell how far seeds move the
        metric, but not which seed is lucky: the first one of a contender always looks good.
        """
        before = self._readings.get(run, ())
        new = tuple(pair for pair in readings.items() if pair not in before and math.isfinite(pair[1]))
        self._order.setdefault(run, len(self._order))
        whole = self._readings[run] = before + new
        self._known.pop(run, None)
        self._later[run] = self._later.get(run, ()) + (new[1:] if screened and not before else new)
        if not screened:
            self._fair[run] = self._fair.get(run, ()) + new
        if len(before) < 2 <= len(whole):
            bisect.insort(self._window, (self._order[run], run))
            del self._window[:-WINDOW]
        if new and len(whole) > 1:
            self._fitted = None

    def readings(self, run: str) -> tuple[Pair, ...]:
        """(seed, reading) of one run, in the order in which they were learnt; () if it has none."""
        return self._readings.get(run, ())

    # asking ----------------------------------------------------------------------------------------------------------

    @property
    def std(self) -> float:
        """One standard deviation in the metric's unit; 0.0 while unknown or if seeds change nothing."""
        return self._fit()[0]

    @property
    def freedom(self) -> int:
        """Degrees of freedom behind `std`."""
        return self._fit()[1]

    @property
    def sigma(self) -> float:
        """A cautious standard deviation of one reading, for decisions: wider while few readings are behind it, and without what seeds add.

        std * sqrt(1 + 1 / f) with f degrees of freedom: half way to the standard deviation of Student's t, to first order. (All the way,
        clear gains left after one reading in campaigns whose baseline had three: a tenth of the true gain, for no fewer false keeps.)
        """
        return self._fit()[2]

    @property
    def seed_effects(self) -> dict[int, float]:
        """What each seed adds to a reading, where taking it out was measured to help; else {}."""
        return dict(self._fit()[3])

    @property
    def is_known(self) -> bool:
        """True once any run was measured under two seeds."""
        return bool(self._window)

    @property
    def ruler(self) -> Ruler:
        """NOISY with any spread; EXACT where two degrees of freedom or more show none at all; UNKNOWN before that.

        One pair of equal readings is not enough for EXACT: accuracies over a hundred examples are equal by chance.
        """
        if self.sigma > 0:
            return Ruler.NOISY
        return Ruler.EXACT if self._fit()[1] >= 2 else Ruler.UNKNOWN

    # fitting ---------------------------------------------------------------------------------------------------------

    def _fit(self) -> tuple[float, int, float, dict[int, float]]:
        if self._fitted is None:
            self._fitted = self._measure()
        return self._fitted

    def _measure(self) -> tuple[float, int, float, dict[int, float]]:
        kept = trusted(self._groups(1))
        variance, freedom = pooled(kept.values())
        if freedom < ALONE or not variance:
            kept = trusted(self._groups(0))
            variance, freedom = pooled(kept.values())
        std = math.sqrt(variance)
        fair = [self._fair[run] for run in kept if len(self._fair.get(run, ())) > 1]
        paired = seed_effects(fair)
        if paired is None or not std:
            return std, freedom, std * inflation(freedom), {}
        return std, freedom, min(std, paired.std) * inflation(paired.freedom), paired.effects

    def _groups(self, which: int) -> dict[str, tuple[float, int]]:
        """Variance and freedom of the runs in the window: of all their readings (0), or without what others were bought for (1)."""
        found = {}
        for _, run in self._window:
            if run not in self._known:
                self._known[run] = _variance(self._readings[run]), _variance(self._later[run])
            if self._known[run][which][1] > 0:
                found[run] = self._known[run][which]
        return found


def trusted(groups: Mapping[str, tuple[float, int]]) -> dict[str, tuple[float, int]]:
    """The groups that speak, of (variance, degrees of freedom) by run: without the absurdly noisy, and without those that ignored seeds."""
    finite = {run: group for run, group in groups.items() if math.isfinite(group[0])}
    moving = {run: group for run, group in finite.items() if group[0] > 0}
    if 2 * len(moving) <= len(finite):
        return finite
    if len(moving) < FEW:
        return moving
    middle = median(variance / _quantile(freedom, 0.0) for variance, freedom in moving.values())
    patience = 1.0 if len(moving) >= MANY else LENIENT
    return {run: (s2, f) for run, (s2, f) in moving.items() if s2 <= patience * _quantile(f, LIKELY) * middle}


def pooled(groups: Iterable[tuple[float, int]]) -> tuple[float, int]:
    """Variance and degrees of freedom of some groups together; (0.0, 0) of none."""
    groups = list(groups)
    freedom = sum(f for _, f in groups)
    return (math.fsum(s2 * (f / freedom) for s2, f in groups), freedom) if freedom else (0.0, 0)


def inflation(freedom: int) -> float:
    """By how much a standard deviation from so few degrees of freedom is widened, in [1, 2]."""
    return min(MOST_INFLATION, math.sqrt(1 + 1 / freedom)) if freedom else MOST_INFLATION


def _quantile(freedom: int, z: float) -> float:
    """Quantile of chi-square over its degrees of freedom, at z standard deviations (Wilson and Hilferty)."""
    step = 2 / (9 * freedom)
    return (1 - step + z * math.sqrt(step)) ** 3


def _variance(pairs: tuple[Pair, ...]) -> tuple[float, int]:
    """Unbiased variance of some readings and its degrees of freedom, (0.0, 0) of fewer than two; infinite where it leaves the range of floats.

    Of `ENOUGH` readings or more, those far out are left out: the cut takes one normal reading in hundreds, and most wild ones.
    """
    readings = [reading for _, reading in pairs]
    if len(readings) >= ENOUGH:
        middle = median(readings)
        usual = median(abs(r - middle) for r in readings)
        readings = [r for r in readings if abs(r - middle) <= FAR_OUT * usual] if usual else readings
    freedom = max(0, len(readings) - 1)
    if not freedom or min(readings) == max(readings):  # three times 0.1 have a mean that is not 0.1
        return 0.0, freedom
    try:
        mean = math.fsum(readings) / len(readings)
        return math.fsum((r - mean) * (r - mean) for r in readings) / freedom, freedom
    except OverflowError:
        return math.inf, freedom


def readings_of(lines: Iterable[TrialLine], metric: str) -> tuple[float, ...]:
    """The readings of a metric among some trial lines, in their order."""
    return tuple(line.metrics[metric] for line in lines if metric in line.metrics)
