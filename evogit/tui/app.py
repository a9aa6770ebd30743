"""The app: what is true now, who hears of it, and where intent goes. It draws nothing, and it reads nothing but what the reader tells."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from textual.app import App
from textual.binding import Binding
from textual.message import Message
from textual.reactive import reactive
from textual.screen import Screen

from evogit.domain.run import Run
from evogit.errors import EvogitError
from evogit.present import clean
from evogit.tui import news, themes
from evogit.tui.book import Book
from evogit.tui.letters import Letters
from evogit.tui.reader import Reader, words_of
from evogit.tui.screens.frontier import Frontier
from evogit.tui.screens.place import Place

if TYPE_CHECKING:
    from evogit.domain.event import Event
    from evogit.domain.report import Status
    from evogit.domain.sight import Flying, Machine
    from evogit.lab import Lab

EVENTS_KEPT = 500


def _lineage() -> Screen:
    from evogit.tui.screens.lineage import Lineage

    return Lineage()


def _run() -> Screen:
    from evogit.tui.screens.run import RunScreen

    return RunScreen()


def _portfolio() -> Screen:
    from evogit.tui.screens.portfolio import PortfolioScreen

    return PortfolioScreen()


def _live() -> Screen:
    from evogit.tui.screens.live import LiveScreen

    return LiveScreen()


class Told(Message):
    """The reader has something to say."""

    def __init__(self, item: news.News) -> None:
        super().__init__()
        self.item = item


class EvogitApp(App[EvogitError]):
    """`evogit tui`. Ends with an error where there is nothing that it could ever show."""

    CSS_PATH = "evogit.tcss"
    TITLE = "evogit"
    MODES: ClassVar = {"frontier": Frontier, "lineage": _lineage, "run": _run, "portfolio": _portfolio, "live": _live}
    DEFAULT_MODE = "frontier"
    ENABLE_COMMAND_PALETTE = True
    KEYS: ClassVar[Sequence[Binding]] = [
        Binding("question_mark", "app.help", "help"),
        Binding("ctrl+p", "app.command_palette", "commands"),
        Binding("q", "app.quit", "quit"),
    ]
    BINDINGS: ClassVar = [
        *KEYS,
        *(Binding(str(n), f"go('{mode}')", show=False) for n, mode in enumerate(("frontier", "lineage", "run", "portfolio", "live"), 1)),
    ]

    book: reactive[Book | None] = reactive(None, init=False, always_update=True)
    status: reactive[Status | None] = reactive(None, init=False)
    flying: reactive[tuple[Flying, ...]] = reactive((), init=False)
    selected: reactive[str] = reactive("", init=False)
    trouble: reactive[str] = reactive("", init=False)
    flight: reactive[str] = reactive("", init=False)  # label of the run in the air that the third screen shows; "" for the selected one

    def __init__(
        self,
        open_lab: Callable[[], Lab],
        *,
        letters: Letters | None = None,
        theme: str = "auto",
        colour: bool = True,
        clock: Callable[[], float] = time.time,
    ) -> None:
        super().__init__()
        self.letters, self.clock = letters or Letters(), clock
        for each in themes.own():
            self.register_theme(each)
        self.theme = themes.choose(theme, colour=colour)
        self.events: deque[Event] = deque(maxlen=EVENTS_KEPT)
        self.landed: tuple[Run, ...] = ()
        self.is_paused = False
        self.controls: tuple[Any, ...] = ()
        self.gauge: Callable[[], Machine] | None = None  # reads this machine, in place of `gauging.machine`
        self.reader = Reader(open_lab, lambda item: self.post_message(Told(item)))

    def get_theme_variable_defaults(self) -> dict[str, str]:
        return themes.defaults(self.current_theme)

    def on_mount(self) -> None:
        self.call_after_refresh(self.reader.start)  # the first frame is drawn before anything is read

    def on_unmount(self) -> None:
        self.reader.close()

    # hearing ----------------------------------------------------------------------------------------------------------

    def on_told(self, event: Told) -> None:
        item = event.item
        getattr(self, f"_heard_{type(item).__name__.lower()}")(item)

    def _heard_opened(self, item: news.Opened) -> None:
        self.trouble = ""
        self.book = item.book

    def _heard_landed(self, item: news.Landed) -> None:
        if self.book is not None:
            self.book.extend(item.runs)
            self.landed = item.runs
            self._tell("runs")

    def _heard_fronted(self, item: news.Fronted) -> None:
        if self.book is not None and item.over == self.reader.over:
            self.book.front = item.commits
            self._tell("front")

    def _heard_stood(self, item: news.Stood) -> None:
        if self.book is not None:
            self.book.spread = item.status.spread
            self.book.marked = item.marks
        self.status = item.status

    def _heard_flew(self, item: news.Flew) -> None:
        self.flying = item.flying

    def _heard_happened(self, item: news.Happened) -> None:
        self.events.extend(item.events)
        self._tell("events")

    def _heard_absent(self, item: news.Absent) -> None:
        self.trouble = item.why

    def _heard_answered(self, item: news.Answered) -> None:
        hear = getattr(self, f"_answered_{item.key.partition(' ')[0]}", None)
        if hear is not None:
            hear(item)
        elif item.fault is not None:
            self._complain(item.fault)

    def _answered_front(self, item: news.Answered) -> None:
        if isinstance(item.value, news.Fronted):
            self._heard_fronted(item.value)

    def _answered_sight(self, item: news.Answered) -> None:
        if item.fault is not None:
            self._complain(item.fault)
        elif (screen := self._shown("run")) is not None:
            screen.show_sight(*item.value)

    def _answered_log(self, item: news.Answered) -> None:
        if (screen := self._shown("run")) is not None:
            screen.show_log(item.value, words_of(item.fault) if item.fault is not None else "")

    def _answered_file(self, item: news.Answered) -> None:
        if item.fault is not None:
            self._complain(item.fault)
        elif (screen := self._shown("run")) is not None:
            screen.show_file(item.value)

    def _answered_portfolio(self, item: news.Answered) -> None:
        if item.fault is not None:
            self._complain(item.fault)
        elif (screen := self._shown("portfolio")) is not None:
            screen.show(item.value)

    def _answered_ideas(self, item: news.Answered) -> None:
        if item.fault is not None:
            self._complain(item.fault)
        elif (screen := self._shown("portfolio")) is not None:
            screen.show_ideas(item.value)

    def _shown(self, mode: str) -> Any:
        """The screen of that mode, if it is in front or below a dialog."""
        return self.screen_stack[0] if self.current_mode == mode else None

    def _complain(self, fault: BaseException) -> None:
        hint = getattr(fault, "hint", "")
        self.notify(clean(hint), title=clean(words_of(fault)), severity="error") if hint else self.notify(
            clean(words_of(fault)), severity="error"
        )

    def watch_book(self) -> None:
        self._tell("book")

    def watch_status(self) -> None:
        self._tell("status")

    def watch_flying(self) -> None:
        self._tell("flying")

    def watch_selected(self) -> None:
        self._tell("selected")

    def watch_trouble(self) -> None:
        self._tell("trouble")

    def _tell(self, *what: str) -> None:
        if self.is_mounted and isinstance(self.screen, Place):
            self.screen.tell(frozenset(what))

    # going ------------------------------------------------------------------------------------------------------------

    def action_go(self, mode: str) -> None:
        if mode in self.MODES:
            self.switch_mode(mode)

    def open_run(self, commit: str) -> None:
        """Show a run whole."""
        self.flight = ""
        self.selected = commit
        self.action_go("run")

    def open_flight(self, label: str) -> None:
        """Show a run that is in the air."""
        self.flight = label
        self.action_go("run")

    def ask_sight(self, commit: str) -> None:
        """All about a run, its diff in colours."""

        def look(lab: Lab) -> object:
            from evogit.tui.code import rows

            sight = lab.sight(commit)
            return sight, rows(sight.detail.diff)

        self.reader.ask("sight", look)

    def ask_portfolio(self) -> None:
        """What the search learnt, and the queue of ideas."""
        self.reader.ask("ideas", lambda lab: lab.ideas())
        self.reader.ask("portfolio", lambda lab: lab.portfolio())

    def want_front(self, over: tuple[str, ...]) -> None:
        """The frontier over other metrics; the reader tells it."""
        self.reader.over = over
        self.reader.ask("front", lambda lab: news.Fronted(over, frozenset(run.commit for run in lab.frontier(over))))
