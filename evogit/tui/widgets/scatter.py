"""The plot of runs: any two metrics, or one over the run's number with the best so far and its noise. A click or the arrows select a run."""

from __future__ import annotations

from collections import Counter
from typing import ClassVar

from textual import events
from textual.binding import Binding
from textual.message import Message
from textual.reactive import reactive
from textual.strip import Strip

from evogit.domain.metric import Metric
from evogit.present import plural
from evogit.tui import plot
from evogit.tui.book import Book
from evogit.tui.letters import Line
from evogit.tui.plot import RUNS, Picture, Point, Sketch
from evogit.tui.widgets.inked import Inked

NEAR = 3  # cells that a click may miss by


class Scatter(Inked, can_focus=True):
    """Runs as points. `x` and `y` are names of metrics; x may be RUNS."""

    BINDINGS: ClassVar = [
        Binding("left,h", "walk(-1)", "run before", show=False),
        Binding("right,l", "walk(1)", "run after", show=False),
        Binding("up,k", "climb(1)", "next better", show=False),
        Binding("down,j", "climb(-1)", "next worse", show=False),
        Binding("enter", "open", "open", show=False),
    ]
    x: reactive[str] = reactive(RUNS, init=False)
    y: reactive[str] = reactive("", init=False)
    selected: reactive[str] = reactive("", init=False)
    is_log: reactive[bool | None] = reactive(None, init=False)

    class Selected(Message):
        """A run was pointed at."""

        def __init__(self, commit: str) -> None:
            super().__init__()
            self.commit = commit

        def can_replace(self, message: Message) -> bool:
            return isinstance(message, Scatter.Selected)

    class Opened(Selected):
        """A run is to be shown whole."""

        def can_replace(self, message: Message) -> bool:
            return False

    def __init__(self, **more: object) -> None:
        super().__init__(**more)
        self._book: Book | None = None
        self._shown: list[int] | None = None  # places, None: all
        self._sketch: Sketch | None = None
        self._picture: Picture | None = None
        self._drawn_for: tuple[int, int] = (0, 0)

    def show(self, book: Book | None, shown: list[int] | None = None) -> None:
        """Draw a book, or those runs of it alone."""
        self._book, self._shown, self._sketch = book, shown, None
        if book is not None and not self.y:
            self.set_reactive(Scatter.y, book.metric.name)
        self._again()

    def _again(self) -> None:
        self._picture = None
        self.refresh()

    def watch_x(self) -> None:
        self._sketch = None
        self._again()

    watch_y = watch_is_log = watch_x

    def watch_selected(self) -> None:
        self._again()

    def counts(self) -> dict[str, int]:
        """How many runs of each kind are drawn."""
        sketch = self._sketched()
        return Counter(point.kind for point in sketch.points) if sketch else {}

    def axes(self) -> tuple[plot.Axis, plot.Axis]:
        """The axis across and the one upwards; of what is empty too."""
        sketch = self._sketched()
        return (sketch.x, sketch.y) if sketch else (plot.axis([], self.x, None), plot.axis([], self.y, None))

    def asides(self) -> str:
        """What the plot leaves out, in words."""
        sketch = self._sketched()
        return sketch.asides if sketch else ""

    # drawing ----------------------------------------------------------------------------------------------------------

    def _sketched(self) -> Sketch | None:
        if self._sketch is None and self._book is not None and len(self._book):
            self._sketch = sketch_of(self._book, self.x, self.y, self._shown, self.is_log)
        return self._sketch

    def render_line(self, y: int) -> Strip:
        width, height = self.size
        if self._picture is None or self._drawn_for != (width, height):
            self._picture, self._drawn_for = self._draw(width, height), (width, height)
        line: Line = self._picture.lines[y] if y < len(self._picture.lines) else []
        return self.strip(line, width)

    def _draw(self, width: int, height: int) -> Picture:
        sketch = self._sketched()
        if sketch is None or height < 4 or width < 20:
            return Picture([], {}, {})
        sketch.selected = self._book.at.get(self.selected, -1) if self._book is not None else -1
        return plot.draw(sketch, width, height, self.letters, is_fine=not self.app.no_color)

    # pointing ---------------------------------------------------------------------------------------------------------

    def on_click(self, event: events.Click) -> None:
        commit = self._near(event.x, event.y)
        if commit:
            self.post_message((self.Opened if event.chain > 1 else self.Selected)(commit))

    def _near(self, x: int, y: int) -> str:
        if self._picture is None or self._book is None:
            return ""
        cells = [(abs(cx - x) + 2 * abs(cy - y), -len(places), places[-1]) for (cx, cy), places in self._picture.cells.items()]
        near = min(cells, default=None)
        return self._book.runs[near[2]].commit if near is not None and near[0] <= NEAR else ""

    def action_walk(self, by: int) -> None:
        """The run before or after, along the axis across."""
        self._step(lambda point: (point.x, point.place), by)

    def action_climb(self, by: int) -> None:
        """The next better or worse one, along the axis upwards."""
        self._step(lambda point: (point.y, point.place), by)

    def _step(self, key: object, by: int) -> None:
        sketch = self._sketched()
        if sketch is None or self._book is None:
            return
        points = sorted((p for p in sketch.points if p.y is not None), key=key)  # type: ignore[arg-type]
        place = self._book.at.get(self.selected, -1)
        at = next((i for i, p in enumerate(points) if p.place == place), None)
        if points:
            at = max(0, min(len(points) - 1, at + by)) if at is not None else len(points) - 1
            self.post_message(self.Selected(self._book.runs[points[at].place].commit))

    def action_open(self) -> None:
        if self.selected:
            self.post_message(self.Opened(self.selected))


def sketch_of(book: Book, x: str, y: str, shown: list[int] | None = None, is_log: bool | None = None) -> Sketch:
    """What a plot of a book shows. Runs of other epochs than the newest are compared with nothing, and are left out over metrics."""
    places = shown if shown is not None else range(len(book))
    epoch = book.runs[-1].epoch
    ys, xs = book.values(y), None if x == RUNS else book.values(x)
    points: list[Point] = []
    missing = 0
    for at in places:
        run = book.runs[at]
        across = float(run.seq) if xs is None else xs[at]
        is_there = across is not None and (xs is None or (ys[at] is not None and run.epoch == epoch))
        if is_there:
            points.append(Point(at, across, ys[at], book.kind(run), run.label))
        missing += not is_there
    best = [(float(book.runs[at].seq), value) for at, value in book.best_so_far(y)] if xs is None and y == book.metric.name else []
    held = [p.y for p in points if p.y is not None and p.kind in ("incumbent", "front", "certified")] + [value for _, value in best]
    up = plot.axis([p.y for p in points if p.y is not None], y, _metric(book, y), held, is_log)
    if xs is None:
        across_axis = plot.axis([p.x for p in points] or [0.0], RUNS, None)
    else:
        front = [p.x for p in points if p.kind in ("incumbent", "front", "certified")]
        across_axis = plot.axis([p.x for p in points], x, _metric(book, x), front, is_log)
    asides = f"{plural(missing, 'run')} without these numbers" if missing else ""
    return Sketch(points, across_axis, up, best, book.spread if best else 0.0, asides=asides)


def _metric(book: Book, name: str) -> Metric:
    return next((m for m in book.metrics if m.name == name), book.metric)
