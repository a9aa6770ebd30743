"""The two lines on top of every screen: where one is, what campaign it is and whether it runs; what came of it so far."""

from __future__ import annotations

from rich.cells import cell_len
from rich.segment import Segment
from rich.style import Style
from textual.strip import Strip

from evogit.domain.report import Status
from evogit.present import clean, dollars, number, plural, std
from evogit.tui.book import Book
from evogit.tui.letters import Line
from evogit.tui.widgets.inked import Inked

TABS = (
    ("1", "Frontier", "frontier"),
    ("2", "Lineage", "lineage"),
    ("3", "Run", "run"),
    ("4", "Portfolio", "portfolio"),
    ("5", "Live", "live"),
)


class TopBar(Inked):
    """Tabs and state. A click on a tab goes there."""

    ALLOW_SELECT = False

    def __init__(self, here: str, **more: object) -> None:
        super().__init__(**more)
        self._here = here
        self._book: Book | None = None
        self._status: Status | None = None
        self._trouble = ""
        self._paused = False

    def show(self, book: Book | None, status: Status | None, trouble: str, *, is_paused: bool = False) -> None:
        """What is true now. trouble: why what is shown may be old, "" if it is not."""
        self._book, self._status, self._trouble, self._paused = book, status, trouble, is_paused
        self.refresh()

    def render_line(self, y: int) -> Strip:
        width = self.size.width
        return self._tabs(width) if y == 0 else self.strip(self._counts(width), width, "tab")

    def _tabs(self, width: int) -> Strip:
        segments = [Segment(" evogit ", self.ink("brand", "tab")), Segment(" ", self.ink("", "tab"))]
        left = 9
        for key, name, mode in TABS:
            meta = Style(meta={"@click": f"app.go('{mode}')"})
            is_here = mode == self._here
            text = f" {key} {name} "
            segments.append(Segment(text, self.ink("here" if is_here else "tab", "tab") + meta))
            left += len(text)
        line = self._state()
        size = sum(cell_len(text) for text, _ in line)
        room = max(0, width - left - 1)
        if size > room:
            line, size = line[1:], sum(cell_len(text) for text, _ in line[1:])
        tail = self.strip([(" " * max(0, room - size), ""), *line, (" ", "")], room + 1, "tab")
        return Strip([*segments, *tail], width).crop(0, width)

    def _state(self) -> Line:
        """Campaign and loop."""
        book, status, letters = self._book, self._status, self.letters
        if book is None:
            return [("", "")]
        line: Line = [(f"{letters.plain(clean(book.problem))} {letters['dot']} ", "quiet"), (letters.plain(clean(book.campaign)), "title")]
        if status is None:
            return line
        if self._paused:
            return [*line, (f"  {letters['pause']} paused", "warning")]
        if status.loop_pid:
            return [*line, (f"  {letters['run']} running", "busy")]
        return [*line, (f"  {letters['stop']} no loop", "quiet")]

    def _counts(self, width: int) -> Line:
        if self._trouble:
            return [(f" ! {self.letters.plain(clean(self._trouble))}", "warning")]
        book = self._book
        if book is None:
            return [(f" {self.letters['wait']} reading the campaign", "quiet")]
        if not book.is_whole:
            return [(f" {self.letters['wait']} the newest {plural(len(book), 'run')}; reading the others", "quiet")]
        parts = [self._verdicts(is_short=width < 110), self._best(), self._spent(), self._warned()]
        line: Line = [(" ", "")]
        for part in filter(None, parts):
            if sum(cell_len(t) for t, _ in [*line, *part]) + 3 > width:
                continue
            line += [("   ", "")] if len(line) > 1 else []
            line += part
        return line

    def _verdicts(self, *, is_short: bool) -> Line:
        status, letters = self._status, self.letters
        if status is None:
            return [(plural(len(self._book), "run"), "title")]  # type: ignore[arg-type]
        line: Line = []
        for verdict in ("keep", "discard", "crash", "reject"):
            count = status.verdicts.get(verdict, 0) - status.baselines * (verdict == "keep")
            word = "" if is_short else f" {verdict}"
            line += [(f"{letters[verdict]} {count}{word}", verdict if count else "quiet"), ("  ", "")]
        return line[:-1]

    def _best(self) -> Line:
        status, book, letters = self._status, self._book, self.letters
        best = status.incumbent if status is not None else None
        if best is None or book is None:
            return []
        name = book.metric.name
        mean, base = best.mean(name), status.baseline.mean(name) if status.baseline else None  # type: ignore[union-attr]
        spread = std(best.readings.get(name, ()))
        line: Line = [(f"{letters['incumbent']} ", "incumbent"), (number(mean, book.digits(name)), "title")]
        line.append((f" {letters['plus-minus']}{number(spread, book.digits(name))}" if spread else "", "quiet"))
        line.append((f" run {best.label}", ""))
        if mean is not None and base and mean != base:
            line.append((f" ({(mean - base) / abs(base):+.0%})", "good" if book.metric.better(mean, base) else "worse"))
        return line

    def _spent(self) -> Line:
        status = self._status
        if status is None or not (status.known_usd or status.max_cost or status.spent.unpriced):
            return []
        if status.max_cost:
            return [(f"{dollars(status.loop_usd)} of {dollars(status.max_cost)}", "quiet")]
        return [(dollars(status.known_usd), "quiet")]

    def _warned(self) -> Line:
        count = len(self._status.warnings) if self._status is not None else 0
        return [(f"! {plural(count, 'warning')}", "warning")] if count else []
