"""The live panel below a loop's lines: a row for each run in the air, and one for the night: verdicts, best, spend, time.

It keeps count of what events say and words it; it writes nothing, and it knows the lab through one question, `glance`.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable

from evogit import present
from evogit.cli.page import Page, cells
from evogit.domain import event as events
from evogit.domain.metric import Metric
from evogit.domain.report import Glance
from evogit.models import pulse

VERDICTS = ("keep", "discard", "crash", "reject")
LEAST_ROWS = 10  # a terminal with fewer gets one row for everything
SHARE = 3  # of the terminal's rows, at most one in so many


class _Doing:
    """What one run in the air does, and since when."""

    def __init__(self, who: str, what: str, stage: str, since: float) -> None:
        self.who, self.what, self.stage, self.since = who, what, stage, since


class Panel:
    """Of one loop. `take` each event, ask `rows` whenever it is drawn."""

    def __init__(
        self, talk: Page, metric: Metric, glance: Callable[[], Glance | None], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._talk, self._metric, self._glance, self._clock = talk, metric, glance, clock
        self._air: dict[str, _Doing] = {}
        self._took: dict[str, tuple[float, int]] = {}  # stage -> seconds in all, how often: what is to be expected of the next one
        self._verdicts: Counter[str] = Counter()
        self._began = clock()
        self._paused_by = ""

    def take(self, event: events.Event) -> None:
        """Remember what an event says of work that goes on."""
        if isinstance(event, (events.Planned, events.Recovered)):
            who = f"{event.emitter} of {event.of}" if event.of else event.emitter or "run"
            verb = "goes on" if isinstance(event, events.Recovered) else "" if event.of else "proposes"
            self._air[event.run] = _Doing(who, f"{who} {verb}".rstrip(), verb, self._clock())
        elif isinstance(event, events.Proposed):
            self._turn(event.run, f": {present.clean(event.summary)}", "")
        elif isinstance(event, events.TrialStarted):
            self._turn(event.run, f": {event.step}, seed {event.seed}", event.step)
        elif isinstance(event, events.TrialEnded):
            self._count(event.run)
        elif isinstance(event, events.Decided):
            self._verdicts[event.verdict] += 1
            self._end(event.run)
        elif isinstance(event, events.Replicated):
            self._end(event.reading)
        elif isinstance(event, events.Controlled) and event.is_done and event.kind in ("pause", "resume"):
            self._paused_by = event.by if event.kind == "pause" else ""
        elif isinstance(event, events.Stopped):
            self._air.clear()

    def clear(self) -> None:
        """Nothing goes on any more."""
        self._air.clear()

    def _turn(self, run: str, what: str, stage: str) -> None:
        """A run goes on to something else. A proposal's clock runs until its first trial begins."""
        before = self._air.get(run)
        who = before.who if before else "run"
        if stage:
            self._count(run)
        since = self._clock() if stage or before is None else before.since
        self._air[run] = _Doing(who, f"{who}{what}", stage or (before.stage if before else ""), since)

    def _count(self, run: str) -> None:
        """What it did is done: so long it took."""
        doing = self._air.get(run)
        if doing is not None and doing.stage not in ("", "goes on"):
            seconds, times = self._took.get(doing.stage, (0.0, 0))
            self._took[doing.stage] = (seconds + self._clock() - doing.since, times + 1)
            doing.stage = ""

    def _end(self, run: str) -> None:
        self._count(run)
        self._air.pop(run, None)

    # drawing ---------------------------------------------------------------------------------------------------------

    def rows(self, width: int, height: int) -> list[str]:
        """What stands below now, without colour: none where nothing is in the air and nothing waits. No row is wider than `width`."""
        if not self._air and not self._paused_by:
            return []
        now = self._clock()
        beat = pulse.so_far()
        flying = [self._long(run, doing, now) for run, doing in self._air.items()] + ([beat] if beat else [])
        mark, dot = f"{self._talk.letter('…', '...')} ", self._talk.letter(" · ", " | ")
        if height < LEAST_ROWS:
            told = [
                mark + dot.join(flying),
                mark + dot.join([*(_short(r, d, now) for r, d in self._air.items()), *([beat] if beat else [])]),
            ]
            return [self._talk.fit(next((text for text in told if cells(text) <= width), told[-1]), width)]
        most = max(1, height // SHARE - 1)
        if len(flying) > most:
            rest = [_short(run, doing, now) for run, doing in list(self._air.items())[most - 1 :]]
            flying = [*flying[: most - 1], dot.join(rest)]
        nights = [self._night(dot, now, is_long=is_long) for is_long in (True, False)]
        night = next((text for text in nights if cells(text) <= width), nights[-1])
        return [self._talk.fit(text, width) for text in (*(mark + row for row in flying), night)]

    def _long(self, run: str, doing: _Doing, now: float) -> str:
        return f"{run} {doing.what}, {_seconds(now - doing.since)}{self._expected(doing)}"

    def _expected(self, doing: _Doing) -> str:
        seconds, times = self._took.get(doing.stage, (0.0, 0))
        return f" of about {_seconds(seconds / times)}" if times and seconds / times >= 1 else ""

    def _night(self, dot: str, now: float, *, is_long: bool) -> str:
        """The row of the whole; the short one leaves counts of verdicts and the metric's name out."""
        seen = self._glance()
        parts = [f"paused by {self._paused_by}"] if self._paused_by else []
        if seen is not None and seen.slots > 1:
            parts.append(f"{len(self._air)} of {seen.slots} slots")
        counts = [f"{self._talk.glyph(verdict)} {self._verdicts[verdict]}" for verdict in VERDICTS if self._verdicts[verdict]]
        parts.append(f"{sum(self._verdicts.values())} decided" + (f" ({' '.join(counts)})" if counts and is_long else ""))
        if seen is not None and seen.best is not None and (value := seen.best.mean(self._metric.name)) is not None:
            parts.append(f"best {f'{self._metric.name} ' if is_long else ''}{present.number(value)} (run {seen.best.label})")
        if seen is not None and (seen.cap_usd or seen.spent_usd):
            parts.append(f"${seen.spent_usd:.2f}" + (f" of ${seen.cap_usd:.2f}" if seen.cap_usd else ""))
        return "  " + dot.join([*parts, _seconds(now - self._began)])


def _seconds(seconds: float) -> str:
    return f"{int(seconds)} s" if seconds < 60 else present.duration(seconds)


def _short(run: str, doing: _Doing, now: float) -> str:
    """The same where many run: "3 train 1:05"."""
    rest = doing.what.removeprefix(doing.who)
    step = rest.removeprefix(": ").partition(", seed ")[0] if ", seed " in rest else doing.who
    seconds = int(now - doing.since)
    return f"{run} {step} {seconds // 60}:{seconds % 60:02d}"
