"""The first screen: runs as a plot above and as a table below. What is selected in one is selected in the other."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, ClassVar

from rich.cells import cell_len
from textual.binding import Binding
from textual.containers import Container
from textual.widget import Widget

from evogit.tui import plot
from evogit.tui.plot import RUNS
from evogit.tui.screens.place import Place
from evogit.tui.view import VERDICTS, View, next_of
from evogit.tui.widgets.grid import Grid
from evogit.tui.widgets.heading import Heading
from evogit.tui.widgets.peek import Peek
from evogit.tui.widgets.runtable import RunTable
from evogit.tui.widgets.scatter import Scatter

if TYPE_CHECKING:
    from textual.widgets import Input

LAYOUTS = ("", "-only-table", "-only-plot")
SORTS = ("run", "gain", "verdict", "emitter", "agent", "cost", "took")


class Frontier(Place):
    """Plot, table, and what is typed to find a run."""

    HERE = "frontier"
    FIRST = "#frontier-table"
    KEYS: ClassVar = [
        Binding("slash", "find", "find", tooltip="find runs by what is said of them, as you type"),
        Binding("f", "verdict", "verdict", tooltip="show one verdict alone, the next one at each press, then all"),
        Binding("s", "sort", "sort", tooltip="sort the table by its next column"),
        Binding("r", "reverse", "reverse", show=False, tooltip="turn the table's order round"),
        Binding("x", "axis('x')", "across", tooltip="what the plot has across: the run's number, then each metric"),
        Binding("y", "axis('y')", "upwards", tooltip="what the plot has upwards: the next metric"),
        Binding("L", "log", "log", show=False, tooltip="a logarithmic scale in the plot, or a plain one"),
        Binding("z", "zoom", "zoom", tooltip="the table alone, then the plot alone, then both"),
        Binding("escape", "clear", "clear", show=False, tooltip="leave the search and show all runs"),
    ]
    BINDINGS: ClassVar = KEYS

    def __init__(self) -> None:
        super().__init__()
        self._view = View()

    def body(self) -> Iterator[Widget]:
        plotted = Container(Heading(id="plot-title"), Scatter(id="plot"), classes="panel")
        yield Container(plotted, Peek(id="frontier-peek", classes="side"), id="frontier-upper")
        table = RunTable(clock=self.app.clock, id="frontier-table")
        yield Container(Heading("runs", id="table-title"), table, id="frontier-lower", classes="panel")

    def hear(self, what: frozenset[str]) -> None:
        app, table, scatter = self.app, self.query_one(RunTable), self.query_one(Scatter)
        if "book" in what:
            table.show(app.book, self._view)
        elif "runs" in what and app.book is not None:
            table.grow(app.landed)
        elif "front" in what:
            table.renew()
        if what & {"book", "runs", "front"}:
            scatter.show(app.book, None if self._view.is_all else table.shown)
            self._title()
        if what & {"selected", "book"}:
            scatter.selected = app.selected
            if table.commit != app.selected:
                table.select(app.selected)
        peek = self.query_one(Peek)
        if peek.display and what & {"book", "runs", "front", "selected"}:
            peek.show(app.book, self.run_here)

    @property
    def pointed(self) -> str:
        table = self.query_one(RunTable)
        return table.commit if self.focused is table and table.commit else self.app.selected

    def on_scatter_drawn(self) -> None:
        self._title()

    def _title(self) -> None:
        book, table, scatter, letters = self.app.book, self.query_one(RunTable), self.query_one(Scatter), self.letters
        upper, lower = self.query_one("#plot-title", Heading), self.query_one("#table-title", Heading)
        if book is None or not len(book):
            upper.say(""), lower.say("runs")
            return
        across, up = scatter.axes()
        over = "run number" if scatter.x == RUNS else plot.title(across, letters, is_up=False)
        left = f"{plot.title(up, letters, is_up=True)} over {over}"
        if missing := scatter.missing():
            left += f", {missing:,} without these numbers"
        room = (upper.size.width or self.size.width) - cell_len(left) - 6
        upper.say(left, scatter.legend(room))
        count = f"{len(book):,}" if self._view.is_all else f"{len(table.shown):,} of {len(book):,}"
        asked = " ".join(part for part in (self._view.verdict, self._view.text) if part)
        reverse = ", reversed" if self._view.is_reversed else ""
        more = ", ".join(table.left_out)
        lower.say(
            f"{count} runs{f': {asked}' if asked else ''}",
            f"by {self._view.sort}{reverse}" + (f"; a wider terminal adds {more}" if more else ""),
        )

    # what is asked of it ----------------------------------------------------------------------------------------------

    def _look(self, view: View) -> None:
        self._view = view
        table = self.query_one(RunTable)
        table.show(self.app.book, view)
        self.query_one(Scatter).show(self.app.book, None if view.is_all else table.shown)
        self._title()

    def _with(self, **more: object) -> View:
        fields = {name: getattr(self._view, name) for name in View.__struct_fields__}
        return View(**{**fields, **more})

    def action_find(self) -> None:
        from textual.widgets import Input  # 10 ms of the first frame

        self.add_class("-finding")
        if not self.query("#find"):
            hint = "words, -word, emitter:name, verdict:keep"
            self.query_one("#body").mount(Input(placeholder=hint, id="find", compact=True, select_on_focus=False))
        self.query_one("#find").focus()

    def on_input_changed(self, event: Input.Changed) -> None:
        self._look(self._with(text=event.value))

    def on_input_submitted(self) -> None:
        self.query_one(RunTable).focus()
        self.set_class(bool(self._view.text), "-finding")

    def action_clear(self) -> None:
        for box in self.query("#find"):
            box.value = ""  # type: ignore[attr-defined]
        self.remove_class("-finding")
        self.query_one(RunTable).focus()
        self._look(View(sort=self._view.sort, is_reversed=self._view.is_reversed))

    def action_verdict(self) -> None:
        self._look(self._with(verdict=next_of(VERDICTS, self._view.verdict)))

    def action_sort(self) -> None:
        metrics = [m.name for m in self.app.book.metrics] if self.app.book is not None else []
        self._look(self._with(sort=next_of(["run", *metrics, *SORTS[1:]], self._view.sort), is_reversed=False))

    def action_reverse(self) -> None:
        self._look(self._with(is_reversed=not self._view.is_reversed))

    def action_axis(self, which: str) -> None:
        scatter, book = self.query_one(Scatter), self.app.book
        if book is None:
            return
        names = [m.name for m in book.metrics]
        if which == "x":
            scatter.x = next_of([RUNS, *(n for n in names if n != scatter.y)], scatter.x)
        else:
            scatter.y = next_of([n for n in names if n != scatter.x], scatter.y or names[0])
        self.app.want_front(() if scatter.x == RUNS else (scatter.y, scatter.x))
        self._title()

    def action_log(self) -> None:
        scatter = self.query_one(Scatter)
        scatter.is_log = not (scatter.is_log if scatter.is_log is not None else False)
        self._title()

    def action_zoom(self) -> None:
        now = next((name for name in LAYOUTS if name and self.has_class(name)), "")
        for name in filter(None, LAYOUTS):
            self.set_class(name == next_of(LAYOUTS, now), name)

    def on_run_table_selected(self, event: RunTable.Selected) -> None:
        self.app.selected = event.commit

    def on_scatter_selected(self, event: Scatter.Selected) -> None:
        self.app.selected = event.commit

    def on_run_table_opened(self, event: RunTable.Opened) -> None:
        self.app.open_run(event.commit)

    def on_scatter_opened(self, event: Scatter.Opened) -> None:
        self.app.open_run(event.commit)

    def on_grid_headed(self, event: Grid.Headed) -> None:
        if event.key in ("summary", "age"):
            return
        is_same = event.key == self._view.sort
        self._look(self._with(sort=event.key, is_reversed=is_same and not self._view.is_reversed))
