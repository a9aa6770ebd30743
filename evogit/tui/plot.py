"""A scatter of runs: metric over run number, or one metric over another. Pure: nouns in, lines of letters out.

It ranks nothing: kinds come with the points. An axis is logarithmic where it spans over two decades; runs far off are put on the edge,
where an arrow says so, since one that diverged would leave no room for the others.
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Callable, Sequence

import msgspec
from rich.cells import cell_len

from evogit.domain.metric import Direction, Metric
from evogit.present import number, places
from evogit.tui.canvas import ACROSS, UP, Canvas
from evogit.tui.letters import KINDS, WORDS, Letters, Line

RUNS = "run"  # the axis of run numbers, in the order of decisions
CROWD = (
    0.08  # of the cells: of discards, where there are more than that, each is a dot; no other kind ever is, so that none looks like another
)
FENCE = 3.0  # distances between the quartiles that a run may be beyond them and still be on the scale: Tukey's outer fence
FEWEST = 8  # values from which on any may be off the scale
_SHORT = {"incumbent": "best", "front": "front", "certified": "cert", "near": "near", "discard": "disc", "reject": "rej"}
_FOOT = 2  # lines below the plot: axis and its numbers


class Axis(msgspec.Struct, frozen=True):
    """A range of values on a line of cells. `metric` None: places of runs in their book, whose numbers stand below it."""

    low: float
    high: float
    is_log: bool
    digits: int
    name: str
    metric: Metric | None = None
    numbers: tuple[int, ...] = ()  # of each place, the greatest run number until there

    def share(self, value: float) -> float:
        """Where a value stands, 0 at the low end, 1 at the high one; beyond for what is off the scale."""
        low, high, value = (_log(v) for v in (self.low, self.high, value)) if self.is_log else (self.low, self.high, value)
        low, high, value = low / 2, high / 2, value / 2  # what candidates report may span more than a float holds
        found = (value - low) / (high - low) if high > low else 0.5
        return 0.5 if math.isnan(found) else min(max(found, -1.0), 2.0)

    def scale(self, last: int) -> Callable[[float], int]:
        """The same as a function to steps from 0 to `last`; what is off the scale is told as one step beyond."""
        if self.is_log or not 1e-300 < self.high / 2 - self.low / 2 < 1e300:
            return lambda value: round(min(max(self.share(value) * last, -1), last + 1))
        low, factor = self.low, last / (self.high - self.low)
        return lambda value: round(min(max((value - low) * factor, -1), last + 1))

    def text(self, value: float) -> str:
        """A value as it stands beside the axis."""
        return number(value, self.digits)


Point = tuple[float, float | None, int]  # across, up (None: it has no number, and is drawn on the axis), place of the run in its book


class Sketch(msgspec.Struct):
    """What is to be drawn."""

    kinds: dict[str, list[Point]]
    x: Axis
    y: Axis
    best: list[tuple[float, float]] = []  # (x, mean of the incumbent from there on)
    noise: float = 0.0  # one standard deviation around it
    missing: int = 0  # runs that have no place in it

    @property
    def counts(self) -> dict[str, int]:
        """How many there are of each kind."""
        return {kind: len(points) for kind, points in self.kinds.items()}


class Picture(msgspec.Struct):
    """What was drawn, and where each run stands."""

    lines: list[Line]
    cells: dict[tuple[int, int], list[int]]  # cell -> places of the runs on it, the rarest kind last
    at: dict[int, tuple[int, int]]  # place -> cell
    size: tuple[int, int] = (0, 0)

    def near(self, x: int, y: int, reach: int) -> int | None:
        """Place of the run that a click at a cell means: the nearest one's, None where none is near. Rows count double."""
        found = [
            (abs(x - cx) + 2 * abs(y - cy), -len(self.cells[cx, cy]), self.cells[cx, cy][-1])
            for cx in range(x - reach, x + reach + 1)
            for cy in range(y - reach, y + reach + 1)
            if (cx, cy) in self.cells
        ]
        best = min(found, default=None)
        return best[2] if best is not None and best[0] <= reach else None

    def pointed(self, y: int, place: int, label: str, letters: Letters) -> Line:
        """A line of it with a run pointed at: its letter and its label in the ink of a cursor, if it stands there."""
        line = self.lines[y]
        where = self.at.get(place)
        if where is None or where[1] != y:
            return line
        x, text = where[0], "".join(text for text, _ in line)
        sign = text[x] if x < len(text) else letters["dot"]
        left = x - len(label) - 1 if x + len(label) + 1 >= self.size[0] else x
        said = f" {label}{sign}" if left < x else f"{sign}{label} "
        return [*_columns(line, 0, left), (said, "here"), *_columns(line, left + len(said), len(text))]


def _columns(line: Line, start: int, end: int) -> Line:
    """The part of a line between two columns."""
    found: Line = []
    at = 0
    for text, ink in line:
        part = text[max(0, start - at) : max(0, end - at)]
        if part:
            found.append((part, ink))
        at += len(text)
    return found


def axis(values: Sequence[float], name: str, metric: Metric | None, must: Sequence[float] = (), is_log: bool | None = None) -> Axis:
    """An axis that suits values: all of `must` on it, and all of the others but those that are far off. is_log None: where it helps."""
    known = sorted(v for v in values if math.isfinite(v)) or [0.0]
    low, high = known[0], known[-1]
    if metric is not None and len(known) >= FEWEST:
        lower, upper = known[len(known) // 4], known[-1 - len(known) // 4]
        reach = FENCE * (upper / 2 - lower / 2) * 2
        if reach > 0:
            low = next(v for v in known if v >= lower - reach)
            high = next(v for v in reversed(known) if v <= upper + reach)
    held = [v for v in must if math.isfinite(v)]
    low, high = min([low, *held]), max([high, *held])
    is_log = metric is not None and low > 0 and (high / low > 100 if is_log is None else is_log)
    if metric is not None and not is_log:
        margin = 0.04 * (high / 2 - low / 2) * 2 or 0.05 * abs(high) or 1.0
        margin = margin if math.isfinite(low - margin) and math.isfinite(high + margin) else 0.0
        low, high = (low if low == 0 else low - margin), high + margin
    return Axis(low, high, is_log, places([low, high, *known[:: max(1, len(known) // 64)]]) if metric is not None else 0, name, metric)


def draw(sketch: Sketch, width: int, height: int, letters: Letters, *, is_fine: bool = True) -> Picture:
    """`height` lines of `width` cells; is_fine as in `Canvas`, and never beside runs that are dots. Costs O(points), 20 ms at 10,000."""
    ticks = _ticks(sketch.y, max(2, (height - _FOOT) // 3))
    margin = max((len(text) for _, text in ticks), default=1) + 1
    drawing = _Drawing(sketch, max(1, width - margin - 1), max(1, height - _FOOT), letters, dotted(sketch.counts, width, height), is_fine)
    drawing.best()
    drawing.points()
    shift = margin + 1
    return Picture(
        lines=[*drawing.framed(ticks, margin), *_foot(drawing.canvas.width, margin, sketch, letters)],
        cells={(x + shift, y): places_ for (x, y), places_ in drawing.cells.items()},
        at={place: (x + shift, y) for place, (x, y) in drawing.at.items()},
        size=(width, height),
    )


def dotted(counts: dict[str, int], width: int, height: int) -> frozenset[str]:
    """Kinds that are drawn as dots in a plot of that size: discards in a crowd, or none."""
    return frozenset({"discard"} if counts.get("discard", 0) > CROWD * width * height else ())


class _Drawing:
    """The inside of the frame. Its last row belongs to runs without a number, if there are any."""

    def __init__(self, sketch: Sketch, width: int, height: int, letters: Letters, dots: frozenset[str], is_fine: bool) -> None:
        self.sketch, self.letters, self._dotted = sketch, letters, dots
        self.canvas = Canvas(width, height, letters, is_fine=is_fine and not dots)
        self.cells: dict[tuple[int, int], list[int]] = {}
        self.at: dict[int, tuple[int, int]] = {}
        has_rug = any(point[1] is None for kind in ("crash", "reject") for point in sketch.kinds.get(kind, ()))
        self._rows = max(1, height - (height > 1 and has_rug))

    def row(self, value: float) -> int:
        """The row of dots of a value, whether or not it is on the canvas."""
        share = self.sketch.y.share(value)
        return round((1 - min(max(share, -1.0), 2.0)) * (self._rows * UP - 1))

    def best(self) -> None:
        """The line of the incumbent with its band, from one keep to the next."""
        sketch, canvas = self.sketch, self.canvas
        last, bottom = canvas.width * ACROSS - 1, self._rows * UP - 1
        steps = [(max(0, min(last, round(sketch.x.share(x) * last))), value) for x, value in sketch.best]
        for (x0, value), (x1, following) in zip(steps, [*steps[1:], (last, steps[-1][1] if steps else 0.0)]):
            high, low = (max(0, min(bottom, self.row(value + side * sketch.noise))) for side in (1, -1))
            if abs(low - high) >= UP:
                for x in range(x0 // ACROSS, x1 // ACROSS + 1):
                    canvas.shade(x, high // UP, low // UP, "band")
            y = max(0, min(bottom, self.row(value)))
            canvas.across(x0, x1, y, "line")
            if following != value:
                canvas.down(x1, y, max(0, min(bottom, self.row(following))), "line")

    def points(self) -> None:
        """Every run, the rarest kinds last and so on top."""
        canvas, rows = self.canvas, self._rows
        last, bottom, rug = canvas.width * ACROSS - 1, rows * UP - 1, min(rows, canvas.height - 1)
        across_of, up_of = self.sketch.x.scale(last), self.sketch.y.scale(bottom)
        for kind in reversed(KINDS):
            is_dot, sign = kind in self._dotted, self.letters[kind]
            for x, y, place in self.sketch.kinds.get(kind, ()):
                dot = min(max(across_of(x), 0), last)
                cell = dot // ACROSS
                if y is None:
                    canvas.sign(cell, rug, sign, kind)
                    self._remember(place, cell, rug)
                    continue
                up = bottom - up_of(y)
                if 0 <= up <= bottom:
                    row = up // UP
                    if is_dot and not canvas.sign_at(cell, row):
                        canvas.dot(dot, up, kind)
                    elif not is_dot:
                        canvas.sign(cell, row, sign, kind)
                else:
                    row = 0 if up < 0 else rows - 1
                    canvas.sign(cell, row, self.letters["above" if up < 0 else "below"], kind)
                self._remember(place, cell, row)

    def _remember(self, place: int, x: int, y: int) -> None:
        self.cells.setdefault((x, y), []).append(place)
        self.at[place] = (x, y)

    def framed(self, ticks: list[tuple[float, str]], margin: int) -> list[Line]:
        """The canvas beside its axis."""
        marks = {self.row(value) // UP: text for value, text in ticks if 0 <= self.row(value) < self._rows * UP}
        lines: list[Line] = []
        for y, row in enumerate(self.canvas.rows()):
            text = marks.get(y, "")
            edge = self.letters["notch"] if text else self.letters["vertical"]
            lines.append([(text.rjust(margin - 1) + " ", "axis"), (edge, "rule"), *row])
        return lines


def title(axis_: Axis, letters: Letters, *, is_up: bool) -> str:
    """An axis's name, with an arrow to where it is better."""
    if axis_.metric is None:
        return axis_.name
    is_least = axis_.metric.direction is Direction.MINIMIZE
    arrow = letters["down" if is_least else "up"] if is_up or not letters.unicode else letters["left" if is_least else "right"]
    return f"{axis_.name} {arrow}{' log' if axis_.is_log else ''}"


def legend(counts: dict[str, int], letters: Letters, room: int, dots: frozenset[str] = frozenset()) -> Line:
    """Each kind that is there with its letter, or that of dots, in at most `room` cells: with its word, a short one, or none."""
    found: Line = []
    for words, gap, blank in ((WORDS, "  ", " "), (_SHORT, "  ", " "), (_SHORT, " ", ""), ({}, " ", "")):
        found = []
        for kind in (k for k in KINDS if counts.get(k)):
            sign, word = letters["dots" if kind in dots else kind], words.get(kind, kind) if words else ""
            found += [(gap, "")] * bool(found) + [(sign, kind)] + [(f"{blank}{word}", "quiet")] * bool(word)
        if sum(cell_len(text) for text, _ in found) <= room:
            break
    return found


def _foot(width: int, margin: int, sketch: Sketch, letters: Letters) -> list[Line]:
    """The axis across, and its numbers below."""
    ticks = _ticks(sketch.x, max(2, width // 16))
    line, below = [letters["across"]] * width, [" "] * width
    used = -1
    name = title(sketch.x, letters, is_up=False)
    for value, text in ticks:
        x = round(sketch.x.share(value) * (width * ACROSS - 1)) // ACROSS
        start = min(max(0, x - len(text) // 2), width - len(text))
        if not 0 <= x < width or start <= used or start + len(text) > width - len(name) - 1:
            continue
        line[x] = letters["tick"]
        below[start : start + len(text)] = text
        used = start + len(text)
    words = "".join(below)[: width - len(name)] + name if len(name) < width else "".join(below)
    return [[(" " * margin, ""), (letters["corner"] + "".join(line), "rule")], [(" " * (margin + 1), ""), (words, "axis")]]


def _ticks(axis_: Axis, most: int) -> list[tuple[float, str]]:
    """Round values on an axis, `most` at most, with their words."""
    if axis_.is_log:
        first, last = math.ceil(_log(axis_.low)), math.floor(_log(axis_.high))
        powers = range(first, last + 1, max(1, math.ceil((last - first + 1) / most)))
        values = [10.0**p for p in powers] or [axis_.low, axis_.high]
        return [(v, f"{v:g}") for v in values]
    if axis_.numbers:
        return _run_ticks(axis_, most)
    span = axis_.high - axis_.low
    if span <= 0 or not math.isfinite(span):
        return [(axis_.low, axis_.text(axis_.low))]
    step = _round_step(span / most)
    digits = next((d for d in range(12) if abs(step * 10**d - round(step * 10**d)) < 1e-6), 12)
    first = math.ceil(axis_.low / step - 1e-9)
    values = [(first + i) * step for i in range(most + 2) if (first + i) * step <= axis_.high + 1e-9 * span]
    return [(v, _tick_text(v, digits)) for v in values]


def _run_ticks(axis_: Axis, most: int) -> list[tuple[float, str]]:
    """Round numbers of runs, each where that run stands, or the next one where a reading had the number."""
    numbers, first, last = axis_.numbers, round(axis_.low), round(axis_.high)
    low, high = numbers[first], numbers[last]
    step = max(1, math.ceil(_round_step(max(1, high - low) / most)))
    step += 2 * (step == 3)  # 2.5 is no number of runs
    found = range(-(-low // step) * step, high + 1, step)
    return [(float(bisect.bisect_left(numbers, n, first, last)), _tick_text(n, 0)) for n in found]


def _tick_text(value: float, digits: int) -> str:
    """Short however large: 40000 is 40k, and what needs many places is written with a power."""
    if digits > 6:
        return f"{value:.2e}"
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
        if abs(value) >= size and digits == 0:
            return f"{value / (1e3 if letter == 'k' else size):g}{letter}"
    return f"{value:.{digits}f}"


def _round_step(rough: float) -> float:
    power = 10.0 ** math.floor(math.log10(rough))
    return next((m * power for m in (1, 2, 2.5, 5) if m * power >= rough * (1 - 1e-9)), 10 * power)


def _log(value: float) -> float:
    return math.log10(value) if value > 0 else -math.inf
