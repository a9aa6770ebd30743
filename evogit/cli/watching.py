"""`--watch`: the same page again whenever something changed, until the loop that was seen ends, or Ctrl-C.

It looks at refs and locks alone (1 ms), and reads the books when those moved. On a terminal it draws over what it drew before.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import click

from evogit.cli.page import cells

if TYPE_CHECKING:
    from evogit.cli.page import Page
    from evogit.domain.report import Status
    from evogit.lab import Lab

INTERRUPTED = 130


def changes(lab: Lab, interval: float, sleep: Callable[[float], None] = time.sleep) -> Iterator[tuple[Status, bool]]:
    """The status at each look, and whether it is another one than before; ends once a loop that ran does no more."""
    seen: tuple[object, ...] = ()
    was_running = False
    while True:
        now = lab.pulse()
        is_new = now != seen
        if is_new:
            lab.refresh()
            status, seen = lab.status(), now
        yield status, is_new
        if was_running and not status.loop_pid:
            return
        was_running = was_running or bool(status.loop_pid)
        sleep(interval)


def repeat(lab: Lab, interval: float, show: Callable[[Status], None], between: str) -> int:
    """A block a change, `between` before each but the first. Returns the exit code."""
    is_first = True
    try:
        for status, is_new in changes(lab, interval):
            if is_new:
                click.echo("" if is_first else between, nl=False)
                show(status)
                is_first = False
    except KeyboardInterrupt:
        return INTERRUPTED
    return 0


def redraw(lab: Lab, interval: float, lines: Callable[[Status, Page], list[str]], page_now: Callable[[], Page]) -> int:
    """The page in place: as much of it as the terminal holds, the time of the last change below. Returns the exit code."""
    drawn, changed = 0, ""
    try:
        for status, is_new in changes(lab, interval):
            page = page_now()  # the terminal may have another size by now
            changed = time.strftime("%H:%M:%S") if is_new else changed
            foot = f"last change {changed}; Ctrl-C ends this, not the loop" if status.loop_pid else f"last change {changed}; no loop runs"
            text, drawn_now = _fitting(lines(status, page), ["", page.paint(foot, "quiet")], page)
            if is_new or drawn_now != drawn:
                click.echo((f"\x1b[{drawn}F\x1b[J" if drawn else "") + text, color=True)
                drawn = drawn_now
    except KeyboardInterrupt:
        click.echo()
        return INTERRUPTED
    return 0


def _fitting(lines: list[str], foot: list[str], page: Page) -> tuple[str, int]:
    """Lines joined, those left out that the terminal has no row for, and how many rows they take."""
    room = max(page.height - 1 - len(foot), 1)
    kept, used = [], 0
    for line in lines:
        rows = max(1, -(-cells(click.unstyle(line)) // (page.width or 80)))
        if used + rows > room:
            kept[-1:] = [page.letter("…", "...")]
            break
        kept.append(line)
        used += rows
    return "\n".join([*kept, *foot]), used + len(foot)
