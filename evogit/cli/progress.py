"""Events as they happen: on a terminal one line a decided run above a live line of what is running, in a pipe a line an event.

It draws and keeps time; it never decides when a loop ends.
"""

from __future__ import annotations

import io
import os
import sys
import threading
import time
from collections.abc import Callable
from typing import Protocol

import click

from evogit import narrating, present
from evogit.cli.page import Page, cells
from evogit.domain import event as events
from evogit.domain.metric import Metric
from evogit.models import pulse

TICK_S = 1.0
CLEAR = "\r\x1b[2K"
SPOKEN = (events.CampaignOpened, events.Recovered, events.Adopted, events.Replicated, events.Controlled, events.Warned, events.Stopped)


class Progress(Protocol):
    """Where events go."""

    def tell(self, event: events.Event) -> None:
        """Show one event. Raises BrokenPipeError when nobody reads any more."""

    def note(self, text: str) -> None:
        """Say something of our own, on stderr; a signal handler may call it."""

    def close(self) -> None:
        """Leave the terminal as a shell expects it. Repeatable."""


def say(text: str) -> None:
    """A line on stderr, past Python's buffers: a signal handler that writes into a buffer being written raises RuntimeError."""
    try:
        descriptor = sys.stderr.fileno()
    except io.UnsupportedOperation:  # stderr is no file, as in a test
        click.echo(text, err=True)
        return
    os.write(descriptor, f"{text}\n".encode())


class Plain:
    """A line an event on stdout, plain or JSON."""

    def __init__(self, line: Callable[[events.Event], str]) -> None:
        self._line = line

    def tell(self, event: events.Event) -> None:
        click.echo(self._line(event))

    def note(self, text: str) -> None:
        say(text)

    def close(self) -> None:
        """Nothing to leave."""


class Live:
    """A coloured line a decided run on stdout; on stderr, the last line, what runs now and for how long."""

    def __init__(self, page: Page, talk: Page, metric: Metric, clock: Callable[[], float] = time.monotonic) -> None:
        self._page, self._talk, self._metric, self._clock = page, talk, metric, clock
        self._running: dict[str, tuple[str, float]] = {}  # run -> what it does, since when
        self._emitters: dict[str, str] = {}
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._ticker = threading.Thread(target=self._tick, name="evogit-live-line", daemon=True)
        self._digits: int | None = None
        if talk.terminal:
            self._ticker.start()

    def tell(self, event: events.Event) -> None:
        with self._lock:
            line = self._take(event)
            self._wipe()
            if line:
                self._page.echo(line)
            self._draw()

    def note(self, text: str) -> None:
        say(f"{CLEAR if self._talk.terminal else ''}{text}")

    def close(self) -> None:
        self._ended.set()
        if self._ticker.is_alive():
            self._ticker.join()
        self._running.clear()
        self._wipe()

    def _tick(self) -> None:
        while not self._ended.wait(TICK_S):
            with self._lock:
                self._wipe()
                self._draw()

    def _wipe(self) -> None:
        if self._talk.terminal:
            click.echo(CLEAR, nl=False, err=True, color=True)

    def _draw(self) -> None:
        if not self._talk.terminal or not self._running or self._ended.is_set():
            return
        now = self._clock()
        room = (self._talk.width or 80) - 1
        told = [self._joined([show(run, what, now - since) for run, (what, since) in self._running.items()]) for show in (_long, _short)]
        line = self._talk.fit(next((text for text in told if cells(text) <= room), told[-1]), room)
        click.echo(self._talk.paint(line, "quiet"), nl=False, err=True, color=self._talk.colour)

    def _joined(self, parts: list[str]) -> str:
        beat = pulse.so_far()
        return f"{self._talk.letter('…', '...')} " + self._talk.letter(" · ", " | ").join([*parts, *([beat] if beat else [])])

    def _does(self, run: str, what: str, *, anew: bool = False) -> None:
        since = self._clock() if anew or run not in self._running else self._running[run][1]
        self._running[run] = (what, since)

    def _take(self, event: events.Event) -> str:
        """Remember what an event says of running work; the line to print for it, "" for none."""
        if isinstance(event, events.Planned):
            self._emitters[event.run] = _named(event)
            self._does(event.run, f"{_named(event)}{'' if event.of else ' proposes'}", anew=True)
        elif isinstance(event, events.Recovered):
            self._emitters[event.run] = _named(event)
            self._does(event.run, f"{_named(event)} goes on", anew=True)
        elif isinstance(event, events.Proposed):
            self._does(event.run, f"{self._emitters.get(event.run, 'run')}: {present.clean(event.summary)}")
        elif isinstance(event, events.TrialStarted):
            what = self._emitters.get(event.run, "run")
            self._does(event.run, f"{what}: {event.step}, seed {event.seed}", anew=True)
        elif isinstance(event, events.Decided):
            self._forget(event.run)
            return self._decided(event)
        elif isinstance(event, events.Replicated):
            self._forget(event.reading)
        elif isinstance(event, events.Stopped):
            self._running.clear()
        return self._said(event)

    def _forget(self, run: str) -> None:
        self._running.pop(run, None)
        self._emitters.pop(run, None)

    def _said(self, event: events.Event) -> str:
        """What is said of an event in words, folded to the page; "" for one that the live line alone shows."""
        if not isinstance(event, SPOKEN):
            return ""
        page = self._page
        first, *more = page.fold(narrating.event_line(event), hang=2)
        if isinstance(event, events.Warned):
            first = page.paint("warning:", "warning") + first.removeprefix("warning:")
        return "\n".join([page.paint(first, "title" if isinstance(event, events.CampaignOpened) else ""), *more])

    def _decided(self, event: events.Decided) -> str:
        page, value = self._page, event.value
        if self._digits is None and value is not None:
            self._digits = present.places([value])
        change = None if event.gain is None else self._metric.gain(event.gain, 0.0)
        trend = "" if not event.gain else "good" if event.gain > 0 else "worse"
        words = event.summary if value is not None else f"{event.summary}: {event.reason}" if event.reason else event.summary
        head = [
            (f"{page.glyph(event.verdict)} {event.run:>3}", event.verdict),
            (f"{event.verdict:<7}", event.verdict),
            (f"{present.number(value, self._digits):>9}", ""),
            (f"{present.delta(change, self._digits):>9}" if value is not None else " " * 9, trend),
            (f"{event.emitter:<20}", "name"),
        ]
        used = sum(len(text) + 2 for text, _ in head)
        clean = present.clean(words)
        tail = page.fit(clean, max(page.width - used, 12)) if page.width else clean
        return "  ".join([*(page.paint(text, style) for text, style in head), tail])


def _named(event: events.Planned | events.Recovered) -> str:
    """Who is at work; of a reading also which run is read once more."""
    return f"{event.emitter} of {event.of}" if event.of else event.emitter or "run"


def _long(run: str, what: str, seconds: float) -> str:
    return f"{run} {what}, {int(seconds)} s" if seconds < 60 else f"{run} {what}, {present.duration(seconds)}"


def _short(run: str, what: str, seconds: float) -> str:
    """The same where many run: "3 simplifier: train, seed 1, 1 min 05 s" as "3 train 1:05"."""
    step = what.rpartition(": ")[2].partition(", seed ")[0] if ", seed " in what else what.partition(":")[0]
    return f"{run} {step} {int(seconds) // 60}:{int(seconds) % 60:02d}"
