"""The app: what is true now, who hears of it, and where intent goes. It draws nothing, and it reads nothing but what the reader tells."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from textual.app import App, SystemCommand
from textual.binding import Binding
from textual.css.query import NoMatches
from textual.message import Message
from textual.reactive import reactive
from textual.screen import Screen

from evogit.domain.run import Run
from evogit.errors import EvogitError, RepositoryError
from evogit.present import clean
from evogit.tui import news, themes
from evogit.tui.book import Book
from evogit.tui.commands import Commands
from evogit.tui.letters import Letters
from evogit.tui.reader import Reader
from evogit.tui.screens.frontier import Frontier
from evogit.tui.screens.place import Place
from evogit.tui.steering import Steering

if TYPE_CHECKING:
    from evogit.domain.control import Control
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


class EvogitApp(Steering, Commands, App[EvogitError]):
    """`evogit tui`. Ends with an error where there is nothing that it could ever show."""

    CSS_PATH = Path(__file__).with_name("evogit.tcss")  # of this class, whoever subclasses it
    TITLE = "evogit"
    MODES: ClassVar = {"frontier": Frontier, "lineage": _lineage, "run": _run, "portfolio": _portfolio, "live": _live}
    DEFAULT_MODE = "frontier"
    KEYS: ClassVar = [
        Binding("question_mark", "app.help", "help", tooltip="this page: what keys do and what letters mean"),
        Binding("ctrl+p", "app.command_palette", "commands", tooltip="find any command by its name"),
        Binding("q", "app.quit", "quit", tooltip="leave; the loop goes on"),
    ]
    STEERING: ClassVar = [
        Binding("p", "app.pause", "pause the loop, or have it go on"),
        Binding("T", "app.stop_loop", "stop the loop after the runs in the air"),
        Binding("J", "app.judge", "judge the run: keep or discard"),
        Binding("R", "app.measure", "measure the run again with more seeds"),
        Binding("i", "app.idea", "add an idea"),
        Binding("m", "app.mark", "mark the run to be picked"),
        Binding("P", "app.pick", "pick runs onto a branch, after a look at what would happen"),
        Binding("c", "app.copy_hash", "copy the run's hash"),
        Binding("e", "app.edit", "open the run's files in your editor"),
        Binding("v", "app.pager", "open what is shown in your pager"),
    ]
    HINTS: ClassVar = [
        Binding("m", "app.mark", "mark"),
        Binding("P", "app.pick", "pick"),
        Binding("J", "app.judge", "judge"),
        Binding("R", "app.measure", "measure"),
        Binding("p", "app.pause", "pause"),
    ]
    GOING: ClassVar = [
        Binding(str(n), f"go('{mode}')", f"{mode} screen", show=False)
        for n, mode in enumerate(("frontier", "lineage", "run", "portfolio", "live"), 1)
    ]
    BINDINGS: ClassVar = [*KEYS, *GOING, *STEERING]

    book: reactive[Book | None] = reactive(None, init=False, always_update=True)
    status: reactive[Status | None] = reactive(None, init=False)
    flying: reactive[tuple[Flying, ...]] = reactive((), init=False)
    selected: reactive[str] = reactive("", init=False)  # full hash of a run
    trouble: reactive[str] = reactive("", init=False)  # why nothing is shown, or nothing newer
    flight: reactive[str] = reactive("", init=False)  # label of the run in the air that the third screen shows; "" for the selected one

    def __init__(
        self,
        open_lab: Callable[[str], Lab],
        *,
        letters: Letters | None = None,
        theme: str = "auto",
        colour: bool = True,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """open_lab: the lab at a campaign's tag, "" for the one that is meant. clock: seconds since 1970."""
        super().__init__(ansi_color=None if colour else True)  # with the terminal's own colours Textual leaves all of them out
        self.letters, self.clock = letters or Letters(), clock
        for each in themes.own():
            self.register_theme(each)
        chosen = themes.choose(theme, colour=colour)
        if chosen in self.available_themes:
            self.theme = chosen
        self.set_class(not self.letters.unicode, "-ascii")
        self.events: deque[Event] = deque(maxlen=EVENTS_KEPT)
        self.landed: tuple[Run, ...] = ()
        self.hint = ""  # what to do about `trouble`
        self.is_paused = False
        self.controls: tuple[Control, ...] = ()
        self.gauge: Callable[[], Machine] | None = None  # reads this machine, in place of `gauging.machine`
        self.reader = Reader(open_lab, lambda item: self.post_message(Told(item)))

    def get_theme_variable_defaults(self) -> dict[str, str]:
        return themes.defaults(self.current_theme)

    def on_mount(self) -> None:
        self.call_after_refresh(self.reader.start)  # the first frame is drawn before anything is read

    def on_unmount(self) -> None:
        self.reader.close()

    def notify(self, message: str, **more: Any) -> None:
        """Say something for a moment. Text of candidates is never markup here."""
        super().notify(self.letters.plain(message), **{**more, "markup": False})

    def action_help_quit(self) -> None:
        """Ctrl-C: in a shell it would end the program, here `q` does."""
        self.notify("q ends this screen; the loop goes on")

    def get_system_commands(self, screen: Screen) -> Iterable[SystemCommand]:
        yield from self.own_commands()

    # hearing ----------------------------------------------------------------------------------------------------------

    def on_told(self, event: Told) -> None:
        item = event.item
        getattr(self, f"_heard_{type(item).__name__.lower()}")(item)

    def _heard_opened(self, item: news.Opened) -> None:
        self.trouble = self.hint = ""
        if not item.is_same:
            self.events.clear()
            self.flying, self.flight = (), ""
        elif self.book is not None:
            item.book.marked = self.book.marked
        self.book = item.book

    def _heard_landed(self, item: news.Landed) -> None:
        if self.book is None:
            return
        self.book.extend(item.runs)
        self.landed = item.runs
        self.follow_flight()
        self._tell("runs")

    def _heard_fronted(self, item: news.Fronted) -> None:
        if self.book is not None and item.over == self.reader.over:
            self.book.front = item.commits
            self._tell("front")

    def _heard_stood(self, item: news.Stood) -> None:
        book = self.book
        if book is not None and (book.marked, book.spread) != (item.marks, item.status.spread):
            book.marked, book.spread = item.marks, item.status.spread
            self._tell("front")
        self.is_paused, self.controls = item.status.is_paused, item.controls
        self.status = item.status

    def _heard_flew(self, item: news.Flew) -> None:
        self.flying = item.flying

    def _heard_happened(self, item: news.Happened) -> None:
        self.events.extend(item.events)
        self._tell("events")

    def _heard_absent(self, item: news.Absent) -> None:
        if item.is_first and isinstance(item.fault, RepositoryError):
            self.exit(item.fault)  # no repository, a bare or a shallow one: nothing will come of waiting
            return
        self.hint = item.hint
        self.trouble = item.why

    def _heard_broken(self, item: news.Broken) -> None:
        self.exit(return_code=1)  # the thread's own fault is told by whoever started us

    def _handle_exception(self, error: Exception) -> None:
        """At the end a screen loses its parts one by one, and may hear of a run in between: that is no fault."""
        if self.is_running or not isinstance(error, NoMatches):
            super()._handle_exception(error)

    def _fatal_error(self) -> None:
        """Textual prints pages of variables here; what nobody foresaw is told once the terminal is a shell's again."""
        self._close_messages_no_wait()

    def _heard_answered(self, item: news.Answered) -> None:
        hear = getattr(self, f"_answered_{item.key.partition(' ')[0]}", None)
        if item.fault is not None and hear is None:
            self._complain(item.fault)
        elif hear is not None:
            hear(item)

    def _answered_front(self, item: news.Answered) -> None:
        if isinstance(item.value, news.Fronted):
            self._heard_fronted(item.value)

    def _answered_sight(self, item: news.Answered) -> None:
        self._show("run", item, lambda screen: screen.show_sight(*item.value))

    def _answered_log(self, item: news.Answered) -> None:
        if (screen := self._shown("run")) is not None:
            screen.show_log(item.value, news.words_of(item.fault) if item.fault is not None else "")

    def _answered_tail(self, item: news.Answered) -> None:
        if (screen := self._shown("live")) is not None:
            screen.show_tail(item.value, "" if item.fault is None else "nothing yet")

    def _answered_file(self, item: news.Answered) -> None:
        self._show("run", item, lambda screen: screen.show_file(item.value))

    def _answered_portfolio(self, item: news.Answered) -> None:
        self._show("portfolio", item, lambda screen: screen.show(item.value))

    def _answered_ideas(self, item: news.Answered) -> None:
        self._show("portfolio", item, lambda screen: screen.show_ideas(item.value))

    def _show(self, mode: str, item: news.Answered, show: Callable[[Any], None]) -> None:
        """Hand an answer to its screen, if that is in front; say what went wrong, if anything did."""
        if item.fault is not None:
            self._complain(item.fault)
        elif (screen := self._shown(mode)) is not None:
            show(screen)

    def _shown(self, mode: str) -> Any:
        """The screen of that mode, if it is in front or below a dialog."""
        return self.screen_stack[0] if self.current_mode == mode and self.screen_stack[0].is_mounted else None

    def _complain(self, fault: BaseException) -> None:
        said = [news.words_of(fault), getattr(fault, "hint", "")]
        self.notify("\n".join(clean(line) for line in said if line), severity="error", timeout=12)

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
        """The screen that is shown hears what has changed, also below a dialog; the others ask when they come to the front."""
        if self.is_mounted and self.screen_stack and isinstance(self.screen_stack[0], Place):
            self.screen_stack[0].tell(frozenset(what))

    # going and asking ---------------------------------------------------------------------------------------------------

    def action_go(self, mode: str) -> None:
        self.switch_mode(mode)

    def action_help(self) -> None:
        from evogit.tui.screens.help import Help

        self.push_screen(Help(self.help_sections()))

    def open_run(self, commit: str) -> None:
        """Show a run whole."""
        self.flight = ""
        self.selected = commit
        self.action_go("run")

    def open_flight(self, label: str) -> None:
        """Show a run that is in the air, or was a moment ago."""
        self.flight = label
        self.follow_flight()
        self.action_go("run")

    def follow_flight(self) -> None:
        """Where the run in the air that is shown was decided meanwhile, that run is the selected one."""
        if self.flight and self.book is not None and (run := self.book.labelled(self.flight)) is not None:
            self.flight, self.selected = "", run.commit

    @property
    def has_loop(self) -> bool:
        """True if a loop runs this campaign, as far as is known."""
        return self.status is not None and bool(self.status.loop_pid)

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


def letters_for(*, unicode: bool) -> Letters:
    """The alphabet of a terminal, and scrollbars to match it."""
    if not unicode:
        from textual.scrollbar import ScrollBar

        from evogit.tui.widgets.scrollbar import PlainBar

        ScrollBar.renderer = PlainBar
    return Letters(unicode)
