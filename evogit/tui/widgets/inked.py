"""Widgets that write lines of pieces in the inks of `evogit.tcss`. It looks nothing up twice, and cuts what does not fit."""

from __future__ import annotations

from rich.cells import cell_len, set_cell_size
from rich.segment import Segment
from rich.style import Style
from textual.strip import Strip
from textual.widget import Widget

from evogit.tui.letters import Letters, Line

_PLAIN = Style()


class Inked(Widget):
    """A widget whose text is pieces with names of inks; the screen that it is on knows what they look like."""

    def __init__(self, **more: object) -> None:
        super().__init__(**more)  # type: ignore[arg-type]
        self._mixed: dict[tuple[str, str], Style] = {}

    @property
    def letters(self) -> Letters:
        """The alphabet of this terminal."""
        return self.app.letters  # type: ignore[attr-defined]

    def ink(self, name: str, below: str = "") -> Style:
        """The style of an ink, upon that of `below` (a row's, say)."""
        found = self._mixed.get((name, below))
        if found is None:
            ground = self._alone(below) if below else _PLAIN
            base = self.rich_style + ground
            found = base + self._alone(name) if name else base
            if ground.reverse and name:  # a reversed row in patches of reversed colours is hard to read
                found = base + Style(bold=self._alone(name).bold)
            self._mixed[name, below] = found
        return found

    def _alone(self, name: str) -> Style:
        return self.screen.get_component_rich_style(f"ink--{name}", partial=True)

    def on_mount(self) -> None:
        if not self.letters.unicode and self.is_scrollable:
            from evogit.tui.widgets.scrollbar import PlainBar

            self.vertical_scrollbar.renderer = PlainBar

    def notify_style_update(self) -> None:
        self._mixed.clear()
        super().notify_style_update()

    def strip(self, line: Line, width: int, below: str = "") -> Strip:
        """A line as `width` cells, its end cut or filled."""
        segments: list[Segment] = []
        left = width
        for text, name in line:
            size = cell_len(text)
            if size > left:
                text, size = cut(text, left, self.letters), left
            segments.append(Segment(text, self.ink(name, below)))
            left -= size
            if left <= 0:
                break
        if left > 0:
            segments.append(Segment(" " * left, self.ink("", below)))
        return Strip(segments, width)


def cut(text: str, width: int, letters: Letters) -> str:
    """Text in exactly `width` cells or fewer, its end marked where something is missing."""
    if cell_len(text) <= width:
        return text
    return set_cell_size(text, width - 1) + letters["cut"] if width > 1 else letters["cut"][:width]


def fitted(line: Line, width: int, letters: Letters, *, right: bool = False) -> Line:
    """A cell of a table: cut, or filled with blanks on the side away from `right`."""
    size = sum(cell_len(text) for text, _ in line)
    if size <= width:
        blank = (" " * (width - size), "")
        return [blank, *line] if right else [*line, blank]
    kept: Line = []
    left = width
    for text, name in line:
        kept.append((cut(text, left, letters), name))
        left -= min(left, cell_len(text))
        if left <= 0:
            break
    return kept
