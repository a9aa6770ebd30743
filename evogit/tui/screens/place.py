"""What the five screens share: bars above and below, inks, and a way to hear what has changed. It shows nothing of its own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Container
from textual.screen import Screen
from textual.widget import Widget

from evogit.domain.run import Run
from evogit.present import clean
from evogit.tui.letters import INKS, Letters, Line
from evogit.tui.widgets.keybar import KeyBar
from evogit.tui.widgets.paper import Paper, folded
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


class Place(Inky):
    """One of the five. `HERE` is its name among the modes, `KEYS` are the bindings that its bottom line shows."""

    HERE: ClassVar[str] = ""
    FIRST: ClassVar[str] = ""  # what the keys go to at first, as a selector
    KEYS: ClassVar[Sequence[Binding]] = ()
    HORIZONTAL_BREAKPOINTS: ClassVar = [(0, "-narrow"), (100, "-normal"), (150, "-wide")]
    VERTICAL_BREAKPOINTS: ClassVar = [(0, "-tiny"), (17, "-low"), (32, "-tall")]

    def compose(self) -> ComposeResult:
        yield TopBar(self.HERE, id="top")
        yield Container(*self.body(), id="body")
        yield KeyBar([*self.KEYS, *self.app.KEYS, *self.app.HINTS])

    def on_mount(self) -> None:
        self.query_one(self.FIRST).focus()

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
        app = self.app
        if what & {"book", "runs", "status", "trouble"}:
            self.query_one("#top", TopBar).show(app.book, app.status, app.trouble, is_paused=app.is_paused)
            is_absent = app.book is None and bool(app.trouble)
            self.set_class(is_absent, "-absent")
            if not is_absent and self.focused is None:
                self.call_after_refresh(self.query_one(self.FIRST).focus)
            if is_absent:
                self._absent().write(lambda width: absent(app.trouble, app.hint, self.letters, width))
        self.hear(what)

    def _absent(self) -> Paper:
        """The page that says why there is nothing; made when it is needed."""
        for known in self.query("#absent"):
            return known  # type: ignore[return-value]
        made = Paper(id="absent")
        self.mount(made, after="#body")
        return made

    @property
    def pointed(self) -> str:
        """The run that the cursor is on now, for keys that act on it: messages about a cursor that moved may still be under way."""
        return self.app.selected

    @property
    def run_here(self) -> Run | None:
        """The run that is selected, if it is known."""
        return self.app.book.run(self.app.selected) if self.app.book is not None else None


def absent(why: str, hint: str, letters: Letters, width: int) -> list[Line]:
    """There is nothing to show: why, and what makes something appear."""
    start = [
        ("evogit init", "look at this folder and write evogit.toml"),
        ("evogit loop --max-runs 12", "start a campaign and search: it shows here as soon as it begins"),
        ("evogit start NAME", "start one, and run nothing yet"),
    ]
    lines: list[Line] = [[], *folded([(letters.plain(clean(why)), "title")], width), []]
    lines += [*folded([(letters.plain(clean(hint)), "")], width), []] if hint else []
    lines.append([("In another terminal, in this folder:", "quiet")])
    lines.append([])
    for command, what in start:
        lines += folded([(f"  {command:<28}", "name"), (what, "quiet")], width, 30)
    return [*lines, [], [(f"{letters['wait']} waiting for a campaign", "busy")]]
