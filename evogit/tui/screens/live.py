"""The fifth screen: what runs now and for how long, this machine, what it costs, and what is said meanwhile."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from textual.binding import Binding
from textual.containers import Container
from textual.widget import Widget

from evogit import narrating
from evogit.domain import event as events
from evogit.domain.sight import LogTail, Machine
from evogit.gauging import machine
from evogit.present import clean, dollars, duration, plural
from evogit.tui.letters import Letters, Line
from evogit.tui.screens.place import Place
from evogit.tui.widgets.grid import Grid
from evogit.tui.widgets.heading import Heading
from evogit.tui.widgets.paper import Feed, Paper, folded
from evogit.tui.widgets.sheets import LogView
from evogit.tui.widgets.tables import FlightTable

TICK_S = 1.0
GAUGE_S = 2.0
BAR = 20  # cells


class LiveScreen(Place):
    """Slots above; events, and beside them gauges, below."""

    HERE = "live"
    FIRST = "#slots"
    KEYS: ClassVar = [
        Binding("p", "app.pause", "pause", tooltip="pause the loop, or have it go on"),
        Binding("T", "app.stop_loop", "stop", tooltip="stop the loop after the runs in the air"),
        Binding("X", "cancel", "cancel trial", tooltip="end the trial under the cursor: the run is decided as it stands"),
        Binding("i", "app.idea", "add idea", tooltip="add an idea"),
    ]
    BINDINGS: ClassVar = [KEYS[2]]

    def __init__(self) -> None:
        super().__init__()
        self._machine: Machine | None = None
        self._tail: LogTail | None = None

    def body(self) -> Iterator[Widget]:
        yield Container(
            Heading("slots", id="slots-title"), FlightTable(clock=self.app.clock, id="slots"), classes="panel", id="slots-panel"
        )
        yield Container(
            Container(
                Container(Heading("log", id="live-log-title"), LogView(id="live-log"), classes="panel", id="live-log-panel"),
                Container(Heading("events", id="events-title"), Feed(id="events"), classes="panel", id="events-panel"),
                id="live-told",
            ),
            Container(Heading("gauges", id="gauges-title"), Paper(id="gauges"), classes="panel", id="gauges-panel"),
            id="live-lower",
        )

    def on_mount(self) -> None:
        self.set_interval(TICK_S, self._tick)
        self.set_interval(GAUGE_S, self._gauge)

    def on_screen_resume(self) -> None:
        self._gauge()
        self.call_after_refresh(self._tick)

    def _tick(self) -> None:
        if not self.is_current:
            return
        table = self.query_one(FlightTable)
        table.tick()
        if table.flight is not None and self.query_one("#live-log-panel").display:
            label = table.flight.run
            self.app.reader.ask("tail", lambda lab: lab.log_tail(label))

    def show_tail(self, tail: LogTail | None, why: str) -> None:
        """The end of what the slot under the cursor writes."""
        self._tail = tail
        self.query_one(LogView).show(tail, why or "it has written nothing")
        self._log_title()

    def _log_title(self) -> None:
        """Whose log it is. Once nothing is in the air it is that of a run that has ended, and Enter has nothing to open."""
        tail, is_idle = self._tail, self.query_one(FlightTable).flight is None
        state = ", ended" if is_idle else ", live" if tail is not None and tail.is_live else ""
        self.query_one("#live-log-title", Heading).say(
            f"log of run {tail.run}{state}" if tail is not None else "log", "" if tail is None or is_idle else "Enter: all about it"
        )
        if tail is None and is_idle:
            self.query_one(LogView).show(None, "what the run under the cursor writes shows here")

    def _gauge(self) -> None:
        if self.is_current:
            self.run_worker(self._read_machine, thread=True, exclusive=True, group="gauge")

    def _read_machine(self) -> None:
        told = (self.app.gauge or machine)()
        self.app.call_from_thread(self._show_machine, told)

    def _show_machine(self, told: Machine) -> None:
        self._machine = told
        if self.is_mounted:
            self.query_one("#gauges", Paper).rewrite()

    def hear(self, what: frozenset[str]) -> None:
        app = self.app
        if what & {"flying", "book", "runs", "status"}:
            usual = app.book.usual_s() if app.book is not None else 0.0
            table = self.query_one(FlightTable)
            table.show(app.flying, usual, has_loop=app.has_loop)
            self._log_title()
            self.query_one("#slots-title", Heading).say("slots", f"{plural(len(app.flying), 'run')} in the air" if app.flying else "")
        if what & {"events", "book", "status"}:
            self._show_events()
        if what & {"status", "book", "flying"}:
            self.query_one("#gauges", Paper).write(self._gauges)

    def _show_events(self) -> None:
        told, letters, has_loop = list(self.app.events), self.letters, self.app.has_loop
        nothing = "what the loop does shows here" if has_loop else "what a loop does shows here: `evogit loop` starts one"
        self.query_one("#events", Feed).write(
            lambda width: [line for event in told for line in event_lines(event, letters, width)] or folded([(nothing, "quiet")], width)
        )

    # gauges -----------------------------------------------------------------------------------------------------------

    def _gauges(self, width: int) -> list[Line]:
        status, letters = self.app.status, self.letters
        bar = max(6, min(BAR, width - 34))
        lines: list[Line] = []
        if status is not None:
            loop = f"process {status.loop_pid}" if status.loop_pid else "none runs"
            paused = "paused" if self.app.is_paused else ""
            lines.append([("loop      ", "quiet"), (loop, "busy" if status.loop_pid else ""), (f"  {paused}" if paused else "", "warning")])
            for control in self.app.controls:
                said = f"{control.kind} {control.run}".strip()
                lines.append([("asked     ", "quiet"), (letters.plain(clean(f"{said} by {control.by}, waits")), "warning")])
            if status.max_cost:
                lines.append(
                    _gauge(
                        "spend",
                        status.loop_usd / status.max_cost,
                        f"{dollars(status.loop_usd)} of {dollars(status.max_cost)}",
                        bar,
                        letters,
                    )
                )
            if status.known_usd or status.spent.unpriced:
                lines.append([("cost      ", "quiet"), (f"{dollars(status.known_usd, status.spent.unpriced)} in all", "")])
            lines.append([("trials    ", "quiet"), (duration(status.seconds), "")])
        lines += machine_lines(self._machine, bar, letters)
        if status is not None and status.warnings:
            lines.append([])
            for warning in status.warnings:
                lines += folded([("! ", "warning"), (letters.plain(clean(warning.message)), "")], width, 2)
                lines += folded([("  ", ""), (letters.plain(clean(warning.hint)), "quiet")], width, 2) if warning.hint else []
        return lines

    # what is asked of it ----------------------------------------------------------------------------------------------

    def action_cancel(self) -> None:
        if (flight := self.query_one(FlightTable).flight) is not None:
            self.app.cancel_flight(flight)
        else:
            self.app.notify("nothing is in the air that could be cancelled", severity="warning")

    def on_grid_chosen(self, event: Grid.Chosen) -> None:
        event.stop()
        if (flight := self.query_one(FlightTable).flight) is not None:
            self.app.open_flight(flight.run)


def machine_lines(told: Machine | None, bar: int, letters: Letters) -> list[Line]:
    """Processors, memory and cards, each with a bar."""
    if told is None:
        return []
    lines = [_gauge("cpu", told.load / max(1, told.cpus), f"load {told.load:.1f} of {told.cpus}", bar, letters)]
    if told.total_mib:
        lines.append(
            _gauge("memory", told.used_mib / told.total_mib, f"{told.used_mib / 1024:.1f} of {told.total_mib / 1024:.0f} GiB", bar, letters)
        )
    for n, gpu in enumerate(told.gpus):
        lines.append(_gauge(f"gpu {n}", gpu.busy, f"{gpu.busy:.0%} {letters.plain(clean(gpu.name))}", bar, letters))
        share = gpu.used_mib / gpu.total_mib if gpu.total_mib else 0.0
        lines.append(_gauge("", share, f"{gpu.used_mib / 1024:.1f} of {gpu.total_mib / 1024:.0f} GiB", bar, letters))
    return lines


def _gauge(name: str, share: float, words: str, bar: int, letters: Letters) -> Line:
    full, empty = letters.meter(share, bar)
    return [(name.ljust(10), "quiet"), (full, "warning" if share > 0.9 else "bar"), (empty, "trough"), (f"  {words}", "")]


def event_lines(event: events.Event, letters: Letters, width: int) -> list[Line]:
    """An event as it reads in a log: its time, its letter, its words."""
    ink, sign = "", letters["dot"]
    if isinstance(event, events.Decided):
        ink, sign = event.verdict, letters[event.verdict]
    elif isinstance(event, events.Warned):
        ink, sign = "warning", "!"
    elif isinstance(event, (events.TrialStarted, events.TrialEnded, events.Planned, events.Proposed)):
        ink = "quiet"
    said: Line = [(f"{event.time[11:19]} ", "quiet"), (f"{sign} ", ink), (letters.plain(narrating.event_line(event)), ink)]
    return folded(said, width, 11)
