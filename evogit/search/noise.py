"""How much the primary metric moves between seeds when nothing else changes, and whether it moves at all. It decides nothing.

It believes no single run: one that is far noisier than its like is left out, and so is one that ignored its seeds among others
that did not. It refuses to learn which seed is lucky from readings that were bought because earlier ones looked good.
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Iterable, Mapping

from evogit.domain.belief import Ruler
from evogit.domain.trial import TrialLine
from evogit.search.groups import Groups
from evogit.search.pairing import seed_effects

WINDOW = 512  # newest runs that speak: a ruler may change over a long campaign
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
    there are fewer than `groups.MANY` of them, none below `groups.FEW`); groups without any spread while most others have one.
    """

    def __init__(self) -> None:
        self._readings: dict[str, tuple[Pair, ...]] = {}
        self._fair: dict[str, tuple[Pair, ...]] = {}  # of these, the ones that were not bought because earlier ones looked good
        self._later: dict[str, tuple[Pair, ...]] = {}  # all but the ones that others were bought for
        self._order: dict[str, int] = {}
        self._window: list[tuple[int, str]] = []  # runs with two readings, by the order in which they were first learnt
        self._whole, self._unchosen = Groups(), Groups()  # the window's runs: by all their readings, and by `_later` alone
        self._paired: set[str] = set()  # runs with two readings or more in `_fair`
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
        self._later[run] = self._later.get(run, ()) + (new[1:] if screened and not before else new)
        if not screened:
            self._fair[run] = self._fair.get(run, ()) + new
            if len(self._fair[run]) > 1:
                self._paired.add(run)
        if new and len(whole) > 1:
            self._take_in(run, is_first=len(before) < 2)
            self._fitted = None

    def _take_in(self, run: str, *, is_first: bool) -> None:
        """Readings of a run that has two or more, into the window; not of one that has left it."""
        place = self._order[run], run
        if is_first:
            bisect.insort(self._window, place)
        for _, old in self._window[:-WINDOW]:
            self._whole.drop(old)
            self._unchosen.drop(old)
            self._paired.discard(old)
        del self._window[:-WINDOW]
        if place >= self._window[0]:
            self._whole.put(run, [reading for _, reading in self._readings[run]])
            self._unchosen.put(run, [reading for _, reading in self._later[run]])

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
        groups = self._unchosen
        variance, freedom = groups.pooled()
        if freedom < ALONE or not variance:
            groups = self._whole
            variance, freedom = groups.pooled()
        std = math.sqrt(variance)
        fair = [self._fair[run] for run in sorted(self._paired, key=self._order.__getitem__) if groups.speaks(run)]
        paired = seed_effects(fair)
        if paired is None or not std:
            return std, freedom, std * inflation(freedom), {}
        return std, freedom, min(std, paired.std) * inflation(paired.freedom), paired.effects


def inflation(freedom: int) -> float:
    """By how much a standard deviation from so few degrees of freedom is widened, in [1, 2]."""
    return min(MOST_INFLATION, math.sqrt(1 + 1 / freedom)) if freedom else MOST_INFLATION


def readings_of(lines: Iterable[TrialLine], metric: str) -> tuple[float, ...]:
    """The readings of a metric among some trial lines, in their order."""
    return tuple(line.metrics[metric] for line in lines if metric in line.metrics)
