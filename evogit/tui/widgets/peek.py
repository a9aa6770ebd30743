"""A run in a corner: what it changed, why, and what came of it. For those who walk through a table."""

from __future__ import annotations

from textual.strip import Strip

from evogit.domain.run import Run
from evogit.present import clean, number, short
from evogit.tui import cells
from evogit.tui.book import Book
from evogit.tui.letters import Line
from evogit.tui.widgets.inked import Inked
from evogit.tui.widgets.paper import folded


class Peek(Inked):
    """The run that is selected, as much as fits."""

    def __init__(self, **more: object) -> None:
        super().__init__(**more)
        self._book: Book | None = None
        self._run: Run | None = None
        self._lines: list[Line] = []
        self._width = -1

    def show(self, book: Book | None, run: Run | None) -> None:
        """Another run, or none."""
        self._book, self._run, self._width = book, run, -1
        self.refresh()

    def render_line(self, y: int) -> Strip:
        width = self.size.width
        if self._width != width:
            self._lines, self._width = self._written(width), width
        return self.strip(self._lines[y] if y < len(self._lines) else [], width)

    def _written(self, width: int) -> list[Line]:
        book, run, letters = self._book, self._run, self.letters
        if book is None or run is None:
            return []
        kind = book.kind(run)
        head: Line = [(f"{letters[kind]} run {run.label}", kind), (f"  {short(run.commit)}", "quiet")]
        lines = [head, *folded([(letters.plain(clean(run.summary)), "title")], width), []]
        if run.hypothesis:
            lines += [*folded([(letters.plain(clean(run.hypothesis)), "")], width)[:5], []]
        lines += [*self._numbers(book, run), []]
        lines += folded([*cells.standing(book, run), (f": {letters.plain(clean(run.crash or run.reason))}", "quiet")], width)[:4]
        return lines

    def _numbers(self, book: Book, run: Run) -> list[Line]:
        letters = self.letters
        parents = [p for parent in run.parents if (p := book.run(parent)) is not None]
        lines: list[Line] = []
        for metric in book.metrics:
            if run.mean(metric.name) is not None:
                lines.append([(f"{metric.name[:14]:<15}", "quiet"), *cells.value(book, run, metric.name, letters)])
        gain = cells.gain(book.over_parent(run), book.digits(book.metric.name), letters)
        if gain[0][0]:
            lines.append([(f"{'vs parent':<15}", "quiet"), *gain])
        if run.forecast:
            digits = book.digits(book.metric.name)
            said = f"{number(run.forecast.mean, digits)} {letters['plus-minus']} {number(run.forecast.spread, digits)}"
            lines.append([(f"{'forecast':<15}", "quiet"), (said, "")])
        if parents:
            lines.append([(f"{'from':<15}", "quiet"), (" and ".join(p.label for p in parents), "name")])
        lines.append([(f"{'by':<15}", "quiet"), (run.emitter, "name"), (f" / {run.agent}", "quiet")])
        return lines
