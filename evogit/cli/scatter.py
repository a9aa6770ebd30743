"""A small scatter plot in letters: two metrics, the frontier's runs by label, other runs as dots. It ranks nothing."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

from evogit.cli.page import Page, cells
from evogit.domain.metric import Direction, Metric
from evogit.present import number, places


@dataclasses.dataclass(frozen=True)
class Point:
    """A run at its two means. Without a label it is context."""

    x: float
    y: float
    label: str = ""
    verdict: str = "keep"


def draw(points: Sequence[Point], x: Metric, y: Metric, page: Page, *, width: int = 56, height: int = 12) -> list[str]:
    """Lines of a plot `height` rows tall. An axis is logarithmic where it spans over two decades of positive numbers.

    Empty for fewer than two points. Costs O(points).
    """
    if len(points) < 2:
        return []
    across, up = _Axis([p.x for p in points]), _Axis([p.y for p in points])
    grid: list[list[tuple[str, str]]] = [[(" ", "")] * width for _ in range(height)]
    for point in sorted(points, key=lambda p: bool(p.label)):  # the named ones last, over the others
        at = across.at(point.x, width - 1), height - 1 - up.at(point.y, height - 1)
        grid[at[1]][at[0]] = (page.glyph(point.verdict), point.verdict) if point.label else (page.letter("·", "."), "quiet")
    named: dict[tuple[int, int], list[str]] = {}  # runs that share a cell share a name: beside each other they would look like neighbours
    for point in points:
        if point.label:
            named.setdefault((across.at(point.x, width - 1), height - 1 - up.at(point.y, height - 1)), []).append(point.label)
    for (column, row), labels in named.items():
        _name(grid, column, row, labels)
    ends = [number(up.high, up.places), number(up.low, up.places)]
    margin = max(map(len, ends))
    lines = [f"{' ' * margin}  {page.paint(_title(y, up, page, 'up'), 'quiet')}"]
    for i, row in enumerate(grid):
        tick = ends[0] if i == 0 else ends[1] if i == height - 1 else ""
        letters = "".join(page.paint(letter, style) for letter, style in row)
        lines.append(f"{page.paint(tick.rjust(margin), 'quiet')} {page.letter('│', '|')}{letters}".rstrip())
    lines.append(" " * (margin + 1) + page.letter("└", "+") + page.letter("─", "-") * width)
    left, right = number(across.low, across.places), number(across.high, across.places)
    title = _title(x, across, page, "across")
    gap = max(width - cells(left) - cells(right) - cells(title), 2)
    foot = left + " " * (gap // 2) + title + " " * (gap - gap // 2) + right
    return [*lines, " " * (margin + 2) + page.paint(foot, "quiet")]


class _Axis:
    def __init__(self, values: list[float]) -> None:
        self.low, self.high = min(values), max(values)
        self.is_log = self.low > 0 and self.high / self.low > 100
        self.places = places(values)

    def at(self, value: float, last: int) -> int:
        """The cell of `value`, 0 to `last`."""
        low, high, value = (math.log(v) if self.is_log else v for v in (self.low, self.high, value))
        return round((value - low) / (high - low) * last) if high > low else last // 2


def _title(metric: Metric, axis: _Axis, page: Page, way: str) -> str:
    is_least = metric.direction is Direction.MINIMIZE
    arrow = {
        ("up", True): page.letter("↓", "v"),
        ("up", False): page.letter("↑", "^"),
        ("across", True): page.letter("←", "<"),
        ("across", False): page.letter("→", ">"),
    }[way, is_least]
    return f"{metric.name} ({arrow} is better{', log' if axis.is_log else ''})"


def _name(grid: list[list[tuple[str, str]]], x: int, y: int, labels: Sequence[str]) -> None:
    """Write the labels of a mark beside it, once all marks stand: all of them, or how many there are, or nothing where there is no room."""
    shorter = f"{labels[0]}+{len(labels) - 1}"
    for text in (",".join(labels), shorter) if len(labels) > 1 else labels:
        if _write(grid, x, y, text):
            return


def _write(grid: list[list[tuple[str, str]]], x: int, y: int, label: str) -> bool:
    """True where there was room: right of the mark, else left, else above or below."""
    for line, start in ((y, x + 1), (y, x - len(label)), (y - 1, x), (y + 1, x)):
        room = range(start, start + len(label))
        if 0 <= line < len(grid) and start >= 0 and room.stop <= len(grid[line]) and all(grid[line][i][0] in " ·." for i in room):
            for i, letter in zip(room, label):
                grid[line][i] = (letter, "title")
            return True
    return False
