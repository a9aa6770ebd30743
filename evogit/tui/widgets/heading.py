"""The line above a panel: what it shows, and on the right a few words about it. Bright where the keys go."""

from __future__ import annotations

from rich.cells import cell_len
from textual.strip import Strip

from evogit.tui.letters import Line
from evogit.tui.widgets.inked import Inked, fitted


class Heading(Inked):
    """A rule with a title. It belongs to the container that it stands in."""

    ALLOW_SELECT = False

    def __init__(self, title: str = "", **more: object) -> None:
        super().__init__(**more)
        self._left: Line = [(title, "")] if title else []
        self._right: Line = []

    def say(self, left: str | Line, right: str | Line = "") -> None:
        """Other words."""
        now = ([(left, "")] if isinstance(left, str) else left, [(right, "quiet")] if isinstance(right, str) else right)
        if now != (self._left, self._right):
            self._left, self._right = now
            self.refresh()

    def on_mount(self) -> None:
        self.watch(self.screen, "focused", lambda: self.refresh(), init=False)

    @property
    def _is_lit(self) -> bool:
        focused = self.screen.focused
        return focused is not None and self.parent in focused.ancestors

    def render_line(self, y: int) -> Strip:
        width, across = self.size.width, self.letters["across"]
        rule, title = ("key", "title") if self._is_lit else ("rule", "axis")
        line: Line = [(across, rule)]
        if left := [(text, ink or title) for text, ink in self._left if text]:
            line += [(" ", ""), *left, (" ", "")]
        right = [piece for piece in self._right if piece[0]]
        size = sum(cell_len(text) for text, _ in right)
        room = width - sum(cell_len(text) for text, _ in line) - 3
        if right and room > 8:
            right = fitted(right, min(size, room), self.letters)
            fill = room - min(size, room)
            line += [(across * fill, rule), (" ", ""), *right, (" ", ""), (across, rule)]
        else:
            line.append((across * width, rule))
        used, cut = 0, []
        for text, ink in line:
            cut.append((text[: max(0, width - used)], ink))
            used += cell_len(text)
        return self.strip(cut, width)
