"""The third screen: one run from what was expected to what came of it, beside its diff, its log and its files. Live while it is in the air."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

from textual.binding import Binding
from textual.containers import Container
from textual.widget import Widget

from evogit.domain.sight import Flying, LogTail, Sight
from evogit.present import clean, duration
from evogit.tui import cells
from evogit.tui.letters import Line
from evogit.tui.screens.place import Place
from evogit.tui.story import fields, story
from evogit.tui.widgets.grid import Grid
from evogit.tui.widgets.heading import Heading
from evogit.tui.widgets.paper import Paper, folded
from evogit.tui.widgets.sheets import DiffView, FileList, FileView, LogView

TAIL_S = 0.5  # between two looks at a log that grows
SHEETS = ("diff", "log", "files", "file")
STREAMS = ("stdout", "stderr")


class RunScreen(Place):
    """The selected run, or one in the air that was asked for by its label."""

    HERE = "run"
    FIRST = "#story"
    KEYS: ClassVar = [
        Binding("d", "sheet('diff')", "diff", tooltip="what it changed"),
        Binding("l", "sheet('log')", "log", tooltip="what its trial writes or wrote"),
        Binding("w", "sheet('files')", "files", tooltip="the files that it left"),
        Binding("b", "stream", "stdout/stderr", show=False, tooltip="the log's other stream: stdout or stderr"),
        Binding("tab", "other_half", "other half", show=False, priority=True, tooltip="from the story to what stands beside it, and back"),
        Binding("left_square_bracket", "step(-1)", "older", show=False, tooltip="the run decided before this one"),
        Binding("right_square_bracket", "step(1)", "newer", show=False, tooltip="the run decided after this one"),
        Binding("u", "parent", "parent", tooltip="go to the run's parent"),
        Binding("escape", "app.go('frontier')", "back", show=False, tooltip="back to the first screen"),
    ]
    BINDINGS: ClassVar = KEYS

    def __init__(self) -> None:
        super().__init__()
        self._sight: Sight | None = None
        self._asked = ""
        self._flight: Flying | None = None
        self._stream = STREAMS[0]
        self._sheet = "diff"  # the one in front; where there is room all of them are

    def body(self) -> Iterator[Widget]:
        told = Container(Heading("run", id="story-title"), Paper(id="story"), classes="panel", id="run-story")
        views = (DiffView(id="diff"), LogView(id="log"), FileList(id="files"), FileView(id="file"))
        sheets = [Container(Heading(v.id or "", id=f"{v.id}-title"), v, classes="panel sheet", id=f"{v.id}-sheet") for v in views]
        sheets[0].add_class("-front")
        yield Container(told, Container(*sheets, id="run-sheets"), classes="beside")

    def on_mount(self) -> None:
        self.set_interval(TAIL_S, self._follow_log)

    # what is shown ----------------------------------------------------------------------------------------------------

    def hear(self, what: frozenset[str]) -> None:
        app = self.app
        flight = next((f for f in app.flying if f.run == app.flight), None) if app.flight else None
        if flight is not None:
            self._show_flight(flight)
            return
        if app.flight:
            self._land()
        if self._flight is not None and app.book is not None:
            self._flight = None
        commit = app.selected
        if not commit:
            self._say_nothing()
        elif commit != self._asked or "book" in what:
            self._asked = commit
            self.app.ask_sight(commit)
        elif self._sight is not None and what & {"front", "status"}:
            self.query_one("#story", Paper).rewrite()

    def _land(self) -> None:
        """What was shown is in the air no more: the run that it became is shown, of a reading the run that was read."""
        app, was = self.app, self._flight
        app.follow_flight()
        if app.flight and was is not None and was.of and app.book is not None and (run := app.book.labelled(was.of)) is not None:
            app.flight, app.selected = "", run.commit

    def _say_nothing(self) -> None:
        self._sight = None
        self.query_one("#story", Paper).write(
            lambda width: folded([("no run is selected: Enter on one of the first screen opens it", "quiet")], width)
        )
        self.query_one("#story-title", Heading).say("run")

    def show_sight(self, sight: Sight, rows: list[Any]) -> None:
        """All about a run, as the reader read it."""
        app, detail = self.app, sight.detail
        if app.book is None or detail.run.commit != self._asked or self._flight is not None:
            return
        is_other = self._sight is None or self._sight.detail.run.commit != detail.run.commit
        self._sight = sight
        book = app.book
        self.query_one("#story", Paper).write(lambda width: story(sight, book, self.letters, width), to_top=is_other)
        self.query_one("#story-title", Heading).say(f"run {detail.run.label}", detail.run.campaign)
        nothing = "a baseline: it changes nothing" if not detail.run.parents else "it changed nothing"
        self.query_one(DiffView).show(rows, nothing)
        self.query_one(FileList).show(detail.files)
        if self._sheet == "file" and is_other:
            self.action_sheet("files")
        if self._sees_log:
            self._ask_log(detail.run.label)
        self._title()

    def _show_flight(self, flight: Flying) -> None:
        is_new = self._flight is None or self._flight.run != flight.run
        self._flight, self._sight, self._asked = flight, None, ""
        self.query_one("#story", Paper).write(lambda width: in_the_air(flight, self.app.clock(), self.letters, width), to_top=is_new)
        self.query_one("#story-title", Heading).say(f"run {flight.run}", "in the air")
        if is_new:
            self.query_one(DiffView).show([], "what it changes is shown once it is decided")
            self.query_one(FileList).show({})
            self.action_sheet("log")

    # the other half ---------------------------------------------------------------------------------------------------

    def action_sheet(self, name: str) -> None:
        """Show diff, log or files, and go there; where there is one half only, from there back to the story."""
        if self._sheet == name and self.has_class("-narrow") and self.has_class("-sheet"):
            self.action_other_half()
            return
        self._sheet = name
        for each in SHEETS:
            self.query_one(f"#{each}-sheet").set_class(each == name, "-front")
        self.add_class("-sheet")
        self.query_one(f"#{name}").focus()
        label = self._flight.run if self._flight is not None else self._sight.detail.run.label if self._sight else ""
        if name == "log" and label:
            self._ask_log(label)
        self._title()

    def action_other_half(self) -> None:
        is_story = self.focused is not None and self.focused.id == "story"
        self.set_class(is_story, "-sheet")
        self.query_one(f"#{self._sheet}" if is_story else "#story").focus()

    def action_stream(self) -> None:
        self._stream = STREAMS[self._stream == STREAMS[0]]
        self.action_sheet("log")

    @property
    def _sees_log(self) -> bool:
        return self._sheet == "log" or (self.has_class("-wide") and self.has_class("-tall"))

    def _ask_log(self, label: str) -> None:
        stream = self._stream
        self.app.reader.ask("log", lambda lab: lab.log_tail(label, stream))

    def _follow_log(self) -> None:
        if self.is_current and self._flight is not None and self._sees_log:
            self._ask_log(self._flight.run)

    def show_log(self, tail: LogTail | None, why: str) -> None:
        """The end of a log, or why there is none."""
        self.query_one(LogView).show(tail, why or "it has written nothing")
        self._title(tail)

    def show_file(self, data: bytes) -> None:
        """One artifact."""
        self.query_one(FileView).show(data)

    def _title(self, tail: LogTail | None = None) -> None:
        run = self._sight.detail.run if self._sight is not None else None
        lines = f"+{run.lines[0]} -{run.lines[1]} lines" if run is not None and any(run.lines) else ""
        self.query_one("#diff-title", Heading).say("diff", lines)
        if tail is not None:
            self.query_one("#log-title", Heading).say(f"log: {tail.stream}{', live' if tail.is_live else ''}", "b: the other stream")
        self.query_one("#files-title", Heading).say("files", "Enter opens")
        self.query_one("#file-title", Heading).say(self._file or "file")

    _file = ""

    def on_grid_chosen(self, event: Grid.Chosen) -> None:
        event.stop()
        if isinstance(event.grid, FileList) and self._sight is not None:
            self._file = event.grid.paths[event.row][0]
            commit, path = self._sight.detail.run.commit, self._file
            self.app.reader.ask("file", lambda lab: lab.artifact(commit, path))
            self.action_sheet("file")

    @property
    def open_file(self) -> str:
        """Path of the artifact that is shown or under the cursor, "" if none is."""
        files = self.query_one(FileList)
        if self._sheet == "file":
            return self._file
        return files.paths[files.cursor][0] if self._sheet == "files" and files.paths else ""

    # going ------------------------------------------------------------------------------------------------------------

    def action_step(self, by: int) -> None:
        """The run decided before or after this one."""
        book = self.app.book
        place = book.at.get(self.app.selected) if book is not None else None
        if place is not None and book is not None:
            self.app.open_run(book.runs[max(0, min(len(book) - 1, place + by))].commit)

    def action_parent(self) -> None:
        run = self.run_here
        if run is not None and run.parents and self.app.book is not None and run.parents[0] in self.app.book.at:
            self.app.open_run(run.parents[0])


def in_the_air(flight: Flying, now: float, letters: Any, width: int) -> list[Line]:
    """What is known of a run that is not decided yet."""
    lines: list[Line] = [[(f"{letters['wait']} run {flight.run}", "busy"), ("  in the air", "quiet")], []]
    lines += folded([(letters.plain(clean(flight.summary)), "title")], width)
    step = f"{flight.step}, seed {flight.seed}" if flight.step else flight.state
    began = f"{duration(max(0.0, now - cells.seconds_of(flight.began)))} ago" if flight.began else ""
    found: list[tuple[str, Line]] = [
        ("now", [(step, "busy")]),
        ("began", [(began, "")]),
        ("reads", [(f"run {flight.of} once more" if flight.of else "", "")]),
        ("from", [(" and ".join(flight.parents), "name")]),
        ("by", [(flight.emitter, "name"), (f" / {flight.agent}" if flight.agent else "", "quiet")]),
        ("where", [(f"slot {flight.slot}, {flight.backend}", "")]),
        ("memory", [(f"{flight.rss_mib} MiB" if flight.rss_mib else "", "")]),
    ]
    return [*lines, [], *fields([(name, line) for name, line in found if line[0][0]], width)]
