"""The plot of runs: any two metrics, or one over the run's number with the best so far and its noise. A click or the arrows select a run."""

from __future__ import annotations

from typing import ClassVar

from textual import events
from textual.binding import Binding
from textual.message import Message
from textual.reactive import reactive
from textual.strip import Strip

from evogit.domain.metric import Metric
from evogit.tui import plot
from evogit.tui.book import Book
from evogit.tui.letters import Line
from evogit.tui.plot import RUNS, Picture, Point, Sketch
from evogit.tui.widgets.inked import Inked

NEAR = 3  # cells that a click may miss by
CROWD = 2000  # runs from which on a picture waits a moment for more changes: it costs some 40 ms at 10,000
WAIT_S = 0.25
HELD = ("incumbent", "front", "certified")  # kinds that an axis never leaves off


class Scatter(Inked, can_focus=True):
    """Runs as points. `x` and `y` are names of metrics; x may be RUNS."""

    BINDINGS: ClassVar = [
        Binding("left,h", "walk(-1)", "run before", show=False),
        Binding("right,l", "walk(1)", "run after", show=False),
        Binding("up,k", "climb(1)", "next higher", show=False),
        Binding("down,j", "climb(-1)", "next lower", show=False),
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

    class Drawn(Message):
        """Another picture is shown, so that what is said about it may be wrong now."""

    def __init__(self, **more: object) -> None:
        super().__init__(**more)
        self._book: Book | None = None
        self._shown: list[int] | None = None  # places, None: all
        self._sketch: Sketch | None = None
        self._picture: Picture | None = None
        self._is_due = False

    def show(self, book: Book | None, shown: list[int] | None = None) -> None:
        """Draw a book, or those runs of it alone. Of a crowd the picture follows a moment later, together with what changes until then."""
        is_other = book is not self._book or shown != self._shown
        self._book, self._shown = book, shown
        if book is not None and not self.y:
            self.set_reactive(Scatter.y, book.metric.name)
        if is_other or book is None or len(book) < CROWD:
            self._again()
        elif not self._is_due:
            self._is_due = True
            self.set_timer(WAIT_S, self._again)

    def _again(self) -> None:
        self._is_due = False
        self._sketch = self._picture = None
        self.refresh()
        self.post_message(self.Drawn())

    def on_resize(self) -> None:
        self.post_message(self.Drawn())

    def watch_x(self) -> None:
        self._again()

    watch_y = watch_is_log = watch_x

    def watch_selected(self) -> None:
        self.refresh()

    def legend(self, room: int) -> Line:
        """The kinds that are drawn with their letters, in at most `room` cells."""
        counts = sketch.counts if (sketch := self._sketched()) else {}
        return plot.legend(counts, self.letters, room, plot.dotted(counts, self.size.width, self.size.height))

    def axes(self) -> tuple[plot.Axis, plot.Axis]:
        """The axis across and the one upwards; of what is empty too."""
        sketch = self._sketched()
        return (sketch.x, sketch.y) if sketch else (plot.axis([], self.x, None), plot.axis([], self.y, None))

    def missing(self) -> int:
        """How many runs have no place in the plot."""
        sketch = self._sketched()
        return sketch.missing if sketch else 0

    # drawing ----------------------------------------------------------------------------------------------------------

    def _sketched(self) -> Sketch | None:
        if self._sketch is None and self._book is not None and len(self._book):
            self._sketch = sketch_of(self._book, self.x, self.y, self._shown, self.is_log)
        return self._sketch

    def _drawn(self) -> Picture:
        size = (self.size.width, self.size.height)
        if self._picture is None or self._picture.size != size:
            sketch = self._sketched()
            if sketch is None or size[1] < 4 or size[0] < 20:
                self._picture = Picture([], {}, {}, size)
            elif not sketch.counts:
                said = "no run has both numbers" if sketch.missing else "no run is like that"
                self._picture = Picture([[], [(f"  {said}", "quiet")]], {}, {}, size)
            else:
                self._picture = plot.draw(sketch, *size, self.letters, is_fine=not self.app.no_color)
        return self._picture

    def render_line(self, y: int) -> Strip:
        picture = self._drawn()
        line: Line = picture.lines[y] if y < len(picture.lines) else []
        place = self._book.at.get(self.selected, -1) if self._book is not None else -1
        if place in picture.at and picture.at[place][1] == y:
            line = picture.pointed(y, place, self._book.runs[place].label, self.letters)  # type: ignore[union-attr]
        return self.strip(line, self.size.width)

    # pointing ---------------------------------------------------------------------------------------------------------

    def on_click(self, event: events.Click) -> None:
        place = self._drawn().near(event.x, event.y, NEAR)
        if place is not None and self._book is not None:
            self.post_message((self.Opened if event.chain > 1 else self.Selected)(self._book.runs[place].commit))

    def action_walk(self, by: int) -> None:
        """The run before or after, along the axis across."""
        self._step(0, by)

    def action_climb(self, by: int) -> None:
        """The next one above or below, along the axis upwards."""
        self._step(1, by)

    def _step(self, axis: int, by: int) -> None:
        sketch, book = self._sketched(), self._book
        if sketch is None or book is None:
            return
        points = sorted((p[axis], p[2]) for points in sketch.kinds.values() for p in points if p[1] is not None)
        place = book.at.get(self.selected, -1)
        at = next((i for i, (_, each) in enumerate(points) if each == place), None)
        if points:
            at = max(0, min(len(points) - 1, at + by)) if at is not None else len(points) - 1
            self.post_message(self.Selected(book.runs[points[at][1]].commit))

    def action_open(self) -> None:
        if self.selected:
            self.post_message(self.Opened(self.selected))


def sketch_of(book: Book, x: str, y: str, shown: list[int] | None = None, is_log: bool | None = None) -> Sketch:
    """What a plot of a book shows. Over metrics, runs without both numbers and those of other epochs have no place. 15 ms at 10,000."""
    places = shown if shown is not None else range(len(book))
    ys, xs, kinds, marked = book.values(y), None if x == RUNS else book.values(x), book.kinds, book.standing_out()
    epoch = book.runs[-1].epoch
    found: dict[str, list[Point]] = {}
    missing = 0
    for at in places:
        across = float(at) if xs is None else xs[at]
        if xs is not None and (across is None or ys[at] is None or book.runs[at].epoch != epoch):
            missing += 1
            continue
        kind = marked.get(at) or kinds[at]
        found.setdefault(kind, []).append((across, ys[at], at))  # type: ignore[arg-type]
    first, last = min(places, default=0) if shown is not None else 0, max(places, default=0)
    best = _within(book.best_so_far(y), first, last) if xs is None and y == book.metric.name else []
    ups = [p[1] for points in found.values() for p in points if p[1] is not None]
    held = [p[1] for kind in HELD for p in found.get(kind, ()) if p[1] is not None] + [value for _, value in best]
    up = plot.axis(ups, y, _metric(book, y), held, is_log)
    if xs is None:
        across_axis = plot.Axis(float(first), float(last), False, 0, RUNS, numbers=tuple(book.numbers))
    else:
        front = [p[0] for kind in HELD for p in found.get(kind, ())]
        across_axis = plot.axis([p[0] for points in found.values() for p in points], x, _metric(book, x), front, is_log)
    return Sketch(found, across_axis, up, best, book.spread if best else 0.0, missing)


def _within(steps: list[tuple[int, float]], first: int, last: int) -> list[tuple[float, float]]:
    """The part of the line of the best from one place to another: what held at the beginning holds from there on."""
    before = [value for at, value in steps if at <= first]
    return [(float(first), value) for value in before[-1:]] + [(float(at), value) for at, value in steps if first < at <= last]


def _metric(book: Book, name: str) -> Metric:
    return next((m for m in book.metrics if m.name == name), book.metric)
