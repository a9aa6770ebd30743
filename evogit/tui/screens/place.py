"""What the five screens share: bars above and below, inks, and a way to hear what has changed. It shows nothing of its own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from textual.app import ComposeResult
from textual.binding import Binding
from textual.screen import Screen
from textual.widget import Widget

from evogit.domain.run import Run
from evogit.tui.letters import INKS, Letters
from evogit.tui.widgets.keybar import KeyBar
from evogit.tui.widgets.topbar import TopBar

if TYPE_CHECKING:
    from evogit.tui.app import EvogitApp

ALL = frozenset({"book", "runs", "front", "status", "flying", "events", "selected", "trouble"})


class Inky(Screen):
    """A screen that the inks are defined for."""

    COMPONENT_CLASSES: ClassVar = set(INKS)
    app: EvogitApp

    @property
    def letters(self) -> Letters:
        """The alphabet of this terminal."""
        return self.app.letters

    def on_mount(self) -> None:
        self.set_class(not self.letters.unicode, "-ascii")


class Place(Inky):
    """One of the five. `HERE` is its name among the modes, `KEYS` are the bindings that its bottom line shows."""

    HERE: ClassVar[str] = ""
    KEYS: ClassVar[Sequence[Binding]] = ()
    HORIZONTAL_BREAKPOINTS: ClassVar = [(0, "-narrow"), (100, "-normal"), (150, "-wide")]
    VERTICAL_BREAKPOINTS: ClassVar = [(0, "-low"), (32, "-tall")]

    def compose(self) -> ComposeResult:
        yield TopBar(self.HERE, id="top")
        yield from self.body()
        yield KeyBar([*self.KEYS, *self.app.KEYS])

    def body(self) -> Sequence[Widget]:
        """What stands between the bars."""
        raise NotImplementedError

    def hear(self, what: frozenset[str]) -> None:
        """Some of ALL are other than they were: draw what shows them."""

    def on_screen_resume(self) -> None:
        self.tell(ALL)

    def tell(self, what: frozenset[str]) -> None:
        """Called by the app for the screen that is shown."""
        if not self.is_mounted:
            return
        if what & {"book", "runs", "status", "trouble"}:
            app = self.app
            self.query_one("#top", TopBar).show(app.book, app.status, app.trouble, is_paused=app.is_paused)
        self.hear(what)

    @property
    def run_here(self) -> Run | None:
        """The run that is selected, if it is known."""
        return self.app.book.run(self.app.selected) if self.app.book is not None else None
