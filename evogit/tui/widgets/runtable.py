"""The table of runs: every verdict with its number, the number's noise, and what it gained. Sorted and filtered by its view."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from rich.cells import cell_len
from textual.message import Message

from evogit.domain.run import Run
from evogit.present import clean, duration
from evogit.tui import cells
from evogit.tui.book import Book
from evogit.tui.letters import Line
from evogit.tui.view import View, fits, order
from evogit.tui.widgets.grid import Column, Grid

SAMPLE = 64  # newest runs by which a column of numbers is made wide enough
FRESH_S = 3.0  # how long a run that has just landed stands out
SIGNS = {"verdict": 11, "gain": 9, "emitter": 9, "agent": 8, "cost": 8, "took": 7, "age": 4}


class RunTable(Grid):
    """Runs of a book. Without a book it is empty."""

    class Selected(Message):
        """Another run is under the cursor."""

        def __init__(self, commit: str) -> None:
            super().__init__()
            self.commit = commit

        def can_replace(self, message: Message) -> bool:
            return isinstance(message, RunTable.Selected)

    class Opened(Selected):
        """A run is to be shown whole."""

        def can_replace(self, message: Message) -> bool:
            return False

    def __init__(self, *, clock: Callable[[], float] = time.time, **more: object) -> None:
        super().__init__(**more)
        self._book: Book | None = None
        self.view = View()
        self.shown: list[int] = []
        self._clock = clock
        self._fresh: dict[str, float] = {}

    # what is shown ------------------------------------------------------------------------------------------------------

    def show(self, book: Book | None, view: View | None = None) -> None:
        """Another book, or the same one in another order. The run under the cursor stays there, if it is still shown."""
        kept, is_first = self.commit, self._book is None
        self._book, self.view = book, view or self.view
        self.shown = order(book, self.view) if book is not None else []
        self.renew()
        if is_first or not self.select(kept):
            self.action_go(0)
            self._tell()

    def grow(self, runs: Sequence[Run]) -> None:
        """Runs landed, and the book has them. Who looks at the top sees them come; who has scrolled away keeps their place."""
        if self._book is None:
            return
        kept, at_top = self.commit, self.cursor == 0
        until = self._clock() + FRESH_S
        self._fresh.update({run.commit: until for run in runs})
        if self.view.sort == "run" and not self.view.is_reversed:
            new = [self._book.at[r.commit] for r in runs if fits(self._book, self._book.at[r.commit], self.view)]
            self.shown = [*reversed(new), *self.shown]
            below = len(new)
        else:
            before, self.shown, below = self.shown, order(self._book, self.view), 0
            below = len(self.shown) - len(before)
        top = round(self.scroll_offset.y)
        self.renew()
        if at_top and self.view.sort == "run":
            self.action_go(0)
            self._tell()
        elif kept:
            self.select(kept)
            if top and self.view.sort == "run" and not self.view.is_reversed:
                self.scroll_to(y=top + below, animate=False)
        self.set_timer(FRESH_S + 0.1, self._settle)

    def _settle(self) -> None:
        now = self._clock()
        self._fresh = {commit: until for commit, until in self._fresh.items() if until > now}
        self._strips.clear()
        self.refresh()

    @property
    def commit(self) -> str:
        """The run under the cursor, "" if there is none."""
        if self._book is None or not 0 <= self.cursor < len(self.shown):
            return ""
        return self._book.runs[self.shown[self.cursor]].commit

    def select(self, commit: str) -> bool:
        """Put the cursor on a run; False if it is not shown."""
        place = self._book.at.get(commit) if self._book is not None else None
        if place is None:
            return False
        try:
            row = self.shown.index(place)
        except ValueError:
            return False
        if row != self.cursor:
            self.cursor = row
        self.show_cursor()
        self.call_after_refresh(self.show_cursor)  # a screen that has just come to the front has no size yet
        return True

    def _tell(self) -> None:
        if self.commit:
            self.post_message(self.Selected(self.commit))

    def on_grid_moved(self, event: Grid.Moved) -> None:
        event.stop()
        self._tell()

    def on_grid_chosen(self, event: Grid.Chosen) -> None:
        event.stop()
        if self.commit:
            self.post_message(self.Opened(self.commit))

    # rows -------------------------------------------------------------------------------------------------------------

    def count(self) -> int:
        return len(self.shown)

    def nothing(self) -> str:
        return "no run is like that" if self._book is not None and len(self._book) else "no run is decided yet"

    def columns(self) -> Sequence[Column]:
        book = self._book
        if book is None:
            return [Column("run", "run", 6, right=True), Column("summary", "summary", 20, share=True)]
        first, others = book.metrics[0], book.metrics[1:]
        return [
            Column("run", "run", 6, right=True),
            Column("verdict", "verdict", SIGNS["verdict"]),
            Column(first.name, _titled(book, first.name), self._wide(first.name)),
            Column("gain", "vs parent", max(SIGNS["gain"], self._wide_gain())),
            *(
                Column(m.name, _titled(book, m.name), max(self._wide(m.name), min(len(m.name), 12)), right=True, rank=6 + i)
                for i, m in enumerate(others)
            ),
            Column("emitter", "emitter", 9 if self.size.width < 100 else 14 if self.size.width < 150 else 20, rank=3),
            Column("agent", "agent", SIGNS["agent"], rank=4),
            Column("took", "took", SIGNS["took"], right=True, rank=9),
            *([Column("cost", "cost", SIGNS["cost"], right=True, rank=5)] if book.is_paid else []),
            Column("age", "age", SIGNS["age"], right=True, rank=2),
            Column("summary", "summary", 13, share=True),
        ]

    def title(self, column: Column) -> str:
        if column.key != self.view.sort:
            return column.title
        letters = self.letters
        arrow = letters["above" if self.view.is_reversed else "below"]
        gap = " " if not letters.unicode and len(column.title) + 2 <= column.width else ""  # a v would read as the word's last letter
        return f"{column.title}{gap}{arrow}"

    def _wide(self, name: str) -> int:
        return max([6, *(cell_len("".join(t for t, _ in cells.value(self._book, run, name, self.letters))) for run in self._sample())])

    def _wide_gain(self) -> int:
        digits = self._book.digits(self._book.metric.name)
        gains = (cells.gain(self._book.over_parent(run), digits, self.letters) for run in self._sample())
        return max([0, *(cell_len(line[0][0]) for line in gains)])

    def _sample(self) -> Sequence[Run]:
        return self._book.runs[-SAMPLE:]

    def row_ink(self, row: int) -> str:
        return "fresh" if self._fresh and self._book.runs[self.shown[row]].commit in self._fresh else ""

    def cell(self, row: int, key: str) -> Line:
        book, letters = self._book, self.letters
        run = book.runs[self.shown[row]]
        if key == "run":
            return [*cells.place(book, run, letters), (run.label.rjust(5), "title")]
        if key == "verdict":
            return cells.verdict(run, letters)
        if key == "gain":
            return cells.gain(book.over_parent(run), book.digits(book.metric.name), letters)
        if key == "summary":
            return cells.summary(run, letters)
        if key == "cost":
            return cells.cost(run, letters)
        if key in ("emitter", "agent"):
            return [(letters.plain(clean(getattr(run, key))), "name" if key == "emitter" else "quiet")]
        if key == "took":
            return [(duration(run.seconds).replace(" min ", "m").replace(" ", "") if run.seconds else "", "quiet")]
        if key == "age":
            return [(cells.since(run.started, self._clock()), "quiet")]
        return cells.value(book, run, key, letters)


def _titled(book: Book, name: str) -> str:
    return name if len(name) <= 14 else name[:13] + "~"
