"""A table of which only the visible rows exist: ten thousand rows cost what forty cost. Subclasses say what stands in a row.

It chooses columns by the room there is, moves a cursor, and tells what was chosen. It holds no rows and sorts nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import msgspec
from textual import events
from textual.binding import Binding
from textual.geometry import Region, Size
from textual.message import Message
from textual.reactive import reactive
from textual.scroll_view import ScrollView
from textual.strip import Strip

from evogit.tui.letters import Line
from evogit.tui.widgets.inked import Inked, fitted

GAP = 2


class Column(msgspec.Struct, frozen=True):
    """A column. The one with a `share` takes what the others leave; those with the greatest `rank` go first where room is short."""

    key: str
    title: str
    width: int
    right: bool = False
    rank: int = 0  # 0: never left out
    share: bool = False


class Grid(ScrollView, Inked, can_focus=True):
    """A list with a cursor."""

    BINDINGS: ClassVar = [
        Binding("up,k", "step(-1)", "up", show=False),
        Binding("down,j", "step(1)", "down", show=False),
        Binding("pageup", "page(-1)", "page up", show=False),
        Binding("pagedown", "page(1)", "page down", show=False),
        Binding("home,g", "go(0)", "first", show=False),
        Binding("end,G", "go(-1)", "last", show=False),
        Binding("enter", "choose", "open", show=False),
    ]
    cursor: reactive[int] = reactive(0, repaint=False, init=False)

    class Moved(Message):
        """The cursor is on another row."""

        def __init__(self, grid: Grid, row: int) -> None:
            super().__init__()
            self.grid, self.row = grid, row

        @property
        def control(self) -> Grid:
            return self.grid

        def can_replace(self, message: Message) -> bool:
            return isinstance(message, Grid.Moved) and message.grid is self.grid

    class Chosen(Moved):
        """A row was opened: Enter, or a second click."""

        def can_replace(self, message: Message) -> bool:
            return False

    class Headed(Message):
        """A column's title was clicked."""

        def __init__(self, grid: Grid, key: str) -> None:
            super().__init__()
            self.grid, self.key = grid, key

        @property
        def control(self) -> Grid:
            return self.grid

    def __init__(self, **more: object) -> None:
        super().__init__(**more)
        self._strips: dict[tuple[int, str], Strip] = {}
        self._chosen: list[tuple[Column, int]] = []
        self._room = -1

    # what subclasses say ------------------------------------------------------------------------------------------------

    def columns(self) -> Sequence[Column]:
        """All columns that there could be."""
        raise NotImplementedError

    def count(self) -> int:
        """How many rows there are."""
        raise NotImplementedError

    def cell(self, row: int, key: str) -> Line:
        """What stands in a row's column."""
        raise NotImplementedError

    def row_ink(self, row: int) -> str:
        """An ink below the whole row, "" for none."""
        return ""

    def nothing(self) -> str:
        """What to say where there are no rows."""
        return ""

    # drawing ----------------------------------------------------------------------------------------------------------

    def renew(self) -> None:
        """Rows changed: forget what was drawn. The cursor stays in range."""
        self._strips.clear()
        self._room = -1
        self.virtual_size = Size(self.size.width, self.count() + 1)
        self.set_reactive(Grid.cursor, max(0, min(self.cursor, self.count() - 1)))
        self.refresh()

    def notify_style_update(self) -> None:
        self._strips.clear()
        super().notify_style_update()

    def on_resize(self) -> None:
        self.renew()
        self.call_after_refresh(self.show_cursor)

    def _layout(self, width: int) -> list[tuple[Column, int]]:
        """Columns that fit and their widths."""
        if width != self._room:
            self._room, self._chosen = width, fit(self.columns(), width)
            self._strips.clear()
        return self._chosen

    @property
    def left_out(self) -> list[str]:
        """Titles of the columns that a wider terminal would show."""
        shown = {column.key for column, _ in self._layout(self.size.width)} if self.size.width else set()
        return [c.title for c in self.columns() if c.key not in shown and c.title] if shown else []

    def render_line(self, y: int) -> Strip:
        width = self.size.width
        shown = self._layout(width)
        if y == 0:
            return self._head(shown, width)
        row = round(self.scroll_offset.y) + y - 1
        if row >= self.count():
            said = self.nothing() if y == 2 and not self.count() else ""
            return self.strip([(f"  {said}", "quiet")], width)
        below = self._below(row)
        strip = self._strips.get((row, below))
        if strip is None:
            if len(self._strips) > 2000:
                self._strips.clear()
            strip = self._strips[row, below] = self._row(row, below, shown, width)
        return strip

    def _below(self, row: int) -> str:
        if row == self.cursor:
            return "cursor" if self.has_focus else "blurred"
        return self.row_ink(row)

    def _head(self, shown: list[tuple[Column, int]], width: int) -> Strip:
        line: Line = [(" ", "head")]
        for column, size in shown:
            line += [*fitted([(self.title(column), "head")], size, self.letters, right=column.right), (" " * GAP, "head")]
        return self.strip(line[:-1], width, "head")

    def title(self, column: Column) -> str:
        """A column's title as it stands now."""
        return column.title

    def _row(self, row: int, below: str, shown: list[tuple[Column, int]], width: int) -> Strip:
        line: Line = [(" ", "")]
        for column, size in shown:
            line += [*fitted(self.cell(row, column.key), size, self.letters, right=column.right), (" " * GAP, "")]
        return self.strip(line[:-1], width, below)

    # moving -----------------------------------------------------------------------------------------------------------

    def validate_cursor(self, row: int) -> int:
        return max(0, min(row, self.count() - 1))

    def watch_cursor(self, before: int, now: int) -> None:
        self.show_cursor()
        top = round(self.scroll_offset.y)
        for row in (before, now):
            self.refresh(Region(0, row - top + 1, self.size.width, 1))
        self.post_message(self.Moved(self, now))

    def watch_has_focus(self, has_focus: bool) -> None:
        super().watch_has_focus(has_focus)
        self.refresh()

    def show_cursor(self) -> None:
        """Scroll as little as it takes to see the cursor."""
        top, rows = round(self.scroll_offset.y), max(1, self.size.height - 1)
        if self.cursor < top:
            self.scroll_to(y=self.cursor, animate=False)
        elif self.cursor >= top + rows:
            self.scroll_to(y=self.cursor - rows + 1, animate=False)

    def action_step(self, by: int) -> None:
        self.cursor += by

    def action_page(self, by: int) -> None:
        self.cursor += by * max(1, self.size.height - 2)

    def action_go(self, row: int) -> None:
        self.cursor = row if row >= 0 else self.count() - 1

    def action_choose(self) -> None:
        if self.count():
            self.post_message(self.Chosen(self, self.cursor))

    def on_click(self, event: events.Click) -> None:
        if event.y == 0:
            if key := self._column_at(event.x):
                self.post_message(self.Headed(self, key))
            return
        row = round(self.scroll_offset.y) + event.y - 1
        if row < self.count():
            self.cursor = row
            if event.chain > 1:
                self.action_choose()

    def _column_at(self, x: int) -> str:
        left = 1
        for column, size in self._layout(self.size.width):
            if left - 1 <= x < left + size + 1:
                return column.key
            left += size + GAP
        return ""


def fit(columns: Sequence[Column], width: int) -> list[tuple[Column, int]]:
    """Columns that have room and their widths: the greatest ranks go first, the sharing one takes what is left."""
    shown = list(columns)
    while True:
        need = 1 + sum(c.width for c in shown) + GAP * (len(shown) - 1)
        out = max((c for c in shown if c.rank), key=lambda c: c.rank, default=None)
        if need <= width or out is None:
            break
        shown.remove(out)
    spare = max(0, width - need - 1)
    return [(c, max(1, c.width + spare) if c.share else c.width) for c in shown]
