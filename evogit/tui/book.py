"""Runs as a screen needs them: values in columns, what each gained, what can be searched. It grows with the campaign, O(1) a run.

It knows no widget and no lab; what is better it asks of the metric. One thread fills it, another shows it, never both at once.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import msgspec

from evogit.domain.metric import Metric
from evogit.domain.run import Run
from evogit.present import clean, noise_floor, places, std
from evogit.tui.letters import verdict_of

USUAL = 400  # newest runs that decide how many places numbers have


class Gain(msgspec.Struct, frozen=True):
    """A difference to another run, in the metric's unit, and whether it means anything."""

    delta: float
    is_noise: bool  # chance alone may make it
    is_better: bool


class Book:
    """A campaign's runs in the order of decisions."""

    def __init__(self, campaign: str, problem: str, metrics: Sequence[Metric], *, spread: float = 0.0, is_whole: bool = True) -> None:
        self.campaign, self.problem, self.metrics, self.spread = campaign, problem, tuple(metrics), spread
        self.is_whole = is_whole  # False: runs below the first one are still being read
        self.runs: list[Run] = []
        self.at: dict[str, int] = {}  # commit -> its place in `runs`
        self.children: dict[str, list[int]] = {}  # commit -> places of those that descend from it
        self.kinds: list[str] = []  # what each is shown as by its verdict alone
        self.said: list[str] = []  # what can be searched, one line a run, without capitals
        self.front: frozenset[str] = frozenset()
        self.incumbent = ""
        self.marked: frozenset[str] = frozenset()  # runs to be picked
        self.numbers: list[int] = []  # of each place, the greatest run number until there: where numbers stand among the runs
        self.is_paid = False  # any of them cost something
        self._values: dict[str, list[float | None]] = {}
        self._digits: dict[str, tuple[int, int]] = {}

    def __len__(self) -> int:
        return len(self.runs)

    @property
    def metric(self) -> Metric:
        """The primary one."""
        return self.metrics[0]

    def extend(self, runs: Iterable[Run]) -> None:
        """Take in runs that were decided since, in order. 10 us each."""
        for run in runs:
            place = len(self.runs)
            self.at[run.commit] = place
            for parent in run.parents:
                self.children.setdefault(parent, []).append(place)
            self.runs.append(run)
            self.kinds.append(verdict_of(run))
            self.said.append(_said(run))
            number = int(run.label) if run.label.isdecimal() else 0  # runs of other clones count on their own
            self.numbers.append(max(number, self.numbers[-1] if self.numbers else 0))
            self.incumbent = run.incumbent or self.incumbent
            self.is_paid = self.is_paid or run.cost_usd > 0 or run.unpriced > 0
            for name, values in self._values.items():
                values.append(_value(run, name))

    def run(self, commit: str) -> Run | None:
        """The run of a full hash, None if it is not here."""
        place = self.at.get(commit)
        return None if place is None else self.runs[place]

    def labelled(self, label: str) -> Run | None:
        """The newest run of that label, None if it is not here. O(runs)."""
        return next((run for run in reversed(self.runs) if run.label == label), None)

    def values(self, name: str) -> list[float | None]:
        """Means of a metric, one a run, None without a number. O(runs) the first time."""
        if name not in self._values:
            self._values[name] = [_value(run, name) for run in self.runs]
        return self._values[name]

    def digits(self, name: str) -> int:
        """Places that suit a metric's column; counted anew as the book grows."""
        count, found = self._digits.get(name, (0, 3))
        if len(self.runs) > 1.25 * count:
            recent = self.runs[-USUAL:]
            values = [v for v in self.values(name)[-USUAL:] if v is not None]
            whole = all(float(v).is_integer() for r in recent for v in r.readings.get(name, ()))
            found = places(values, [] if whole else [s for r in recent if (s := std(r.readings.get(name, ()))) > 0])
            self._digits[name] = (len(self.runs), found)
        return found

    def noise(self, run: Run, name: str) -> tuple[float, bool]:
        """One standard deviation of a run's readings, and True if it is its own; else the campaign's, as far as that is known."""
        own = std(run.readings.get(name, ()))
        if own > 0 or name != self.metric.name:
            return own, own > 0
        return self.spread, False

    def gain(self, run: Run, other: Run | None) -> Gain | None:
        """What a run's primary metric gained over another one's; None where they are not compared."""
        name = self.metric.name
        mine, theirs = _value(run, name), _value(other, name) if other is not None else None
        if other is None or other.epoch != run.epoch or mine is None or theirs is None:
            return None
        floor = noise_floor(self.spread, len(run.readings.get(name, ())), len(other.readings.get(name, ())))
        return Gain(mine - theirs, abs(mine - theirs) <= floor, self.metric.better(mine, theirs))

    def over_parent(self, run: Run) -> Gain | None:
        """The same against its first parent."""
        return self.gain(run, self.run(run.parents[0])) if run.parents else None

    def kind(self, run: Run) -> str:
        """What it is shown as."""
        if run.commit == self.incumbent:
            return "incumbent"
        return "front" if run.commit in self.front else verdict_of(run)

    def standing_out(self) -> dict[int, str]:
        """Places of the incumbent and of the frontier."""
        found = {at: "front" for commit in self.front if (at := self.at.get(commit)) is not None}
        if self.incumbent in self.at:
            found[self.at[self.incumbent]] = "incumbent"
        return found

    def best_so_far(self, name: str) -> list[tuple[int, float]]:
        """(place, mean) of the incumbent, each time it was another one. What people judged later shows as it is now. O(runs)."""
        found: list[tuple[int, float]] = []
        before = ""
        for place, run in enumerate(self.runs):
            if run.incumbent and run.incumbent != before:
                before = run.incumbent
                best = self.run(before)
                value = _value(best, name) if best is not None else None
                if value is not None:
                    found.append((place, value))
        return found

    def share_over_time(self, bins: int) -> dict[str, list[float]]:
        """Emitter -> its share of the runs in each of `bins` equal stretches of the campaign. O(runs)."""
        counts: dict[str, list[float]] = {}
        width = max(1, len(self.runs)) / bins
        sizes = [0] * bins
        for place, run in enumerate(self.runs):
            at = min(int(place / width), bins - 1)
            sizes[at] += 1
            counts.setdefault(run.emitter, [0.0] * bins)[at] += 1
        return {name: [c / s if s else 0.0 for c, s in zip(row, sizes)] for name, row in counts.items()}

    def usual_s(self, count: int = 32) -> float:
        """Median seconds of a trial among the newest runs that were measured, 0.0 if none was."""
        found = sorted(t.seconds for run in self.runs[-count:] for t in run.trials if t.seconds > 0)
        return found[len(found) // 2] if found else 0.0


def _value(run: Run, name: str) -> float | None:
    mean = run.mean(name)
    return mean if mean is not None and math.isfinite(mean) else None


def _said(run: Run) -> str:
    parts = (run.label, run.verdict.value, "certified" if run.certified else "", "near miss" if run.near_miss else "")
    words = (run.emitter, run.agent, run.change, run.niche, run.summary, run.hypothesis, run.reason, run.crash, run.judged)
    return clean(" ".join((*parts, *words))).casefold()
