"""Events as they happen: on a terminal one line a decided run above a panel of what is running, in a pipe a line an event.

It draws and keeps time; it never decides when a loop ends.
"""

from __future__ import annotations

import io
import os
import shutil
import sys
import threading
import time
from collections.abc import Callable
from typing import Protocol

import click

from evogit import narrating, present
from evogit.cli.page import Page
from evogit.cli.panel import Panel
from evogit.domain import event as events
from evogit.domain.metric import Metric
from evogit.domain.report import Glance

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
    """A coloured line a decided run on stdout; below it on stderr, the panel of what runs now."""

    def __init__(
        self,
        page: Page,
        talk: Page,
        metric: Metric,
        glance: Callable[[], Glance | None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._page, self._talk, self._metric = page, talk, metric
        self._panel = Panel(talk, metric, glance, clock)
        self._rows = 0  # of the panel as it stands on the terminal
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._ticker = threading.Thread(target=self._tick, name="evogit-live-line", daemon=True)
        self._digits: int | None = None
        if talk.terminal:
            self._ticker.start()

    def tell(self, event: events.Event) -> None:
        with self._lock:
            self._panel.take(event)
            line = self._decided(event) if isinstance(event, events.Decided) else self._said(event)
            self._wipe()
            if line:
                self._page.echo(line)
            self._draw()

    def note(self, text: str) -> None:
        say(f"{self._cleared() if self._talk.terminal else ''}{text}")
        self._rows = 0

    def close(self) -> None:
        self._ended.set()
        if self._ticker.is_alive():
            self._ticker.join()
        self._panel.clear()
        self._wipe()

    def _tick(self) -> None:
        while not self._ended.wait(TICK_S):
            with self._lock:
                self._wipe()
                self._draw()

    def _cleared(self) -> str:
        """What takes the panel off the terminal."""
        return CLEAR + "\x1b[1A\x1b[2K" * (self._rows - 1)

    def _wipe(self) -> None:
        if self._talk.terminal:
            click.echo(self._cleared(), nl=False, err=True, color=True)
            self._rows = 0

    def _draw(self) -> None:
        if not self._talk.terminal or self._ended.is_set():
            return
        size = shutil.get_terminal_size((self._talk.width or 80, self._talk.height))  # it may have been resized since the last time
        rows = self._panel.rows(max(size.columns, 40) - 1, size.lines)
        if rows:
            click.echo("\n".join(self._talk.paint(row, "quiet") for row in rows), nl=False, err=True, color=self._talk.colour)
            self._rows = len(rows)

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
