"""Text that is read: lines of pieces, folded to the width there is. It scrolls, and knows what stands in no line."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from rich.cells import cell_len
from textual.binding import Binding
from textual.geometry import Size
from textual.scroll_view import ScrollView
from textual.strip import Strip

from evogit.tui.letters import Line
from evogit.tui.widgets.inked import Inked

Writer = Callable[[int], list[Line]]  # lines for a width


class Paper(ScrollView, Inked, can_focus=True):
    """Lines that a writer gives for the width of the moment."""

    BINDINGS: ClassVar = [
        Binding("up,k", "scroll_up", "up", show=False),
        Binding("down,j", "scroll_down", "down", show=False),
        Binding("pageup", "page_up", "page up", show=False),
        Binding("pagedown,space", "page_down", "page down", show=False),
        Binding("home,g", "scroll_home", "first", show=False),
        Binding("end,G", "scroll_end", "last", show=False),
    ]

    def __init__(self, **more: object) -> None:
        super().__init__(**more)
        self._writer: Writer = lambda width: []
        self._lines: list[Line] | None = None

    def write(self, writer: Writer, *, to_top: bool = False) -> None:
        """Other text. Where one has scrolled to is kept, unless `to_top`."""
        self._writer = writer
        self.rewrite()
        if to_top:
            self.scroll_to(y=0, animate=False)

    def rewrite(self) -> None:
        """Ask the writer again."""
        self._lines = self._writer(max(10, self.size.width - 1)) if self.size.width else None
        if self._lines is not None:
            self.virtual_size = Size(self.size.width, len(self._lines))
        self.refresh()

    def on_resize(self) -> None:
        self.rewrite()

    def render_line(self, y: int) -> Strip:
        if self._lines is None:
            self.rewrite()
        at = round(self.scroll_offset.y) + y
        line = self._lines[at] if self._lines and at < len(self._lines) else []
        return self.strip(line, self.size.width, self.below(at))

    def below(self, at: int) -> str:
        """The ink of a line's background, "" for none."""
        return ""


class Feed(Paper):
    """Text that grows at its end. It stays there until one scrolls up, and again once one has scrolled back."""

    def __init__(self, **more: object) -> None:
        super().__init__(**more)
        self._follows = True

    def rewrite(self) -> None:
        super().rewrite()
        if self._follows:
            self.call_after_refresh(self._to_end)

    def _to_end(self) -> None:
        if self._follows:
            self.scroll_to(y=self.max_scroll_y, animate=False, force=True)
        if self.show_vertical_scrollbar:
            self.vertical_scrollbar.position = self.scroll_y  # one that has just appeared was not told

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        super().watch_scroll_y(old_value, new_value)
        self._follows = new_value >= self.max_scroll_y - 1 or (self._follows and new_value >= old_value)


def folded(line: Line, width: int, hang: int = 0) -> list[Line]:
    """A line as several, broken between words; those after the first hang back. A word that is longer than a line is broken."""
    found: list[Line] = [[]]
    left = width
    for text, ink in line:
        for word in _words(text):
            size = cell_len(word)
            if size > left and word.strip() and left < width - (hang if len(found) > 1 else 0):
                found.append([(" " * hang, "")] if hang else [])
                left = width - hang
                word = word.lstrip()
                size = cell_len(word)
            while size > left > 0:
                head = _head(word, left)
                found[-1].append((head, ink))
                word = word[len(head) :]
                size = cell_len(word)
                found.append([(" " * hang, "")] if hang else [])
                left = width - hang
            if word:
                found[-1].append((word, ink))
                left -= size
    return found


def _head(word: str, width: int) -> str:
    """As much of a word as `width` cells hold, one letter at least."""
    used = 0
    for i, letter in enumerate(word):
        used += cell_len(letter)
        if used > width:
            return word[: max(1, i)]
    return word


def _words(text: str) -> list[str]:
    """Words with the blanks before them."""
    found, now = [], ""
    for i, letter in enumerate(text):
        if letter == " " and now.strip() and i:
            found.append(now)
            now = ""
        now += letter
    return [*found, now] if now else found
