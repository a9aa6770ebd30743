"""The page that is printed on: its width, its letters, its colours, and tables that fit it.

A page knows nothing of runs. Colour only repeats what a word or a glyph says; without a terminal nothing is cut.
Tables are set here rather than by rich: `leaderboard` and `status` have 200 ms for everything, rich takes 35 to import.
"""

from __future__ import annotations

import dataclasses
import os
import shutil
import unicodedata
from collections.abc import Iterable, Sequence
from typing import TextIO

import click

from evogit.present import clean_lines

STYLES: dict[str, dict[str, object]] = {
    "keep": {"fg": "green", "bold": True},
    "discard": {"fg": "yellow"},
    "crash": {"fg": "red"},
    "reject": {"fg": "magenta"},
    "good": {"fg": "green"},
    "bad": {"fg": "red", "bold": True},
    "worse": {"fg": "red"},
    "warning": {"fg": "yellow"},
    "quiet": {"dim": True},
    "title": {"bold": True},
    "name": {"fg": "cyan"},
}
GLYPHS = {"keep": ("●", "k"), "discard": ("○", "d"), "crash": ("✗", "x"), "reject": ("⊘", "r")}
GAP = 2  # blanks between columns
NARROWEST = 3  # cells that a flexible column keeps whatever happens

Cell = str | tuple[str, str] | list[tuple[str, str]]  # plain text; text and style; several of these


@dataclasses.dataclass(frozen=True)
class Column:
    """A column of a table. One with `least` may be cut to that many cells, an `optional` one left out, where room is short: the most optional first."""

    title: str
    right: bool = False
    least: int = 0
    optional: int = 0
    folds: bool = False  # the last one only: what has no room goes on below, in the style that its cell begins with


@dataclasses.dataclass(frozen=True)
class Page:
    """Where text goes. `width` is None where nothing needs to fit: in a pipe."""

    width: int | None
    height: int
    unicode: bool
    colour: bool
    terminal: bool
    paged: bool = True  # what is longer than the terminal goes through the pager
    directory: str = "."  # whose git settings name that

    def paint(self, text: str, style: str) -> str:
        """`text` in a style of STYLES, or as it is."""
        return click.style(text, **STYLES[style]) if self.colour and style and text else text  # type: ignore[arg-type]

    def letter(self, unicode: str, ascii_: str) -> str:
        """The one of two spellings that this page can show."""
        return unicode if self.unicode else ascii_

    def glyph(self, verdict: str) -> str:
        """One letter for a verdict."""
        return self.letter(*GLYPHS[verdict])

    def fit(self, text: str, width: int) -> str:
        """`text` cut to `width` cells, its end marked where something is missing."""
        return text if cells(text) <= width else _beginning(text, width - 1) + self.letter("…", "~")

    def fold(self, text: str, *, hang: int = 0, room: int | None = None) -> list[str]:
        """Lines of one long line, broken between words where the page (or `room`) ends and never within one; those after the first hang back."""
        room = self.width if room is None else room
        if room is None or cells(text) <= room:
            return [text]
        import textwrap

        kept = " " * hang
        return textwrap.wrap(text, max(room, 24), subsequent_indent=kept, break_long_words=False, break_on_hyphens=False) or [text]

    def fold_command(self, text: str, *, room: int | None = None) -> list[str]:
        """The same for what is to be pasted into a shell: lines that go on end in a backslash."""
        room = self.width if room is None else room
        lines = [text] if room is None else self.fold(text, hang=2, room=room if cells(text) <= room else room - 2)
        return [*(f"{line} \\" for line in lines[:-1]), lines[-1]]

    def echo(self, text: str = "") -> None:
        """Print a line on stdout."""
        click.echo(text, color=self.colour)

    def show(self, lines: Sequence[str]) -> None:
        """Print lines on stdout, through the pager where they are more than the terminal holds, as git does."""
        if self.terminal and self.paged and len(lines) >= self.height:
            from evogit.cli import pager

            if pager.show("\n".join(lines) + "\n", self.directory):
                return
        if lines:
            self.echo("\n".join(lines))

    def table(self, columns: Sequence[Column], rows: Iterable[Sequence[Cell]], *, indent: int = 0) -> list[str]:
        """Lines of a table with its titles, as wide as it needs to be and no wider than the page."""
        body = [[_segments(cell) for cell in row] for row in rows]
        head = [[(column.title, "quiet")] for column in columns]
        natural = [max(_width(row[i]) for row in [head, *body]) for i in range(len(columns))]
        chosen = _widths(columns, natural, None if self.width is None else self.width - indent)
        shown = [i for i in range(len(columns)) if i in chosen]
        lines = []
        for row in [head, *body] if any(c.title for c in columns) else body:
            first, *below = _folded(row[shown[-1]], chosen[shown[-1]]) if columns[shown[-1]].folds else [row[shown[-1]]]
            parts = [self._cell(row[i], chosen[i], columns[i], is_last=False) for i in shown[:-1]]
            parts.append(self._cell(first, chosen[shown[-1]], columns[shown[-1]], is_last=True))
            lines.append((" " * indent + (" " * GAP).join(parts)).rstrip())
            left = " " * (indent + sum(chosen[i] + GAP for i in shown[:-1]))
            lines += [left + self._cell(more, chosen[shown[-1]], columns[shown[-1]], is_last=True) for more in below]
        return lines

    def _cell(self, segments: list[tuple[str, str]], width: int, column: Column, *, is_last: bool) -> str:
        if _width(segments) > width:
            segments = _cut(self, segments, width)
        blank = " " * (width - _width(segments))
        painted = "".join(self.paint(text, style) for text, style in segments)
        if column.right:
            return blank + painted
        return painted if is_last else painted + blank

    def diff(self, text: str) -> list[str]:
        """Lines of a unified diff, coloured; safe on a terminal whatever the files hold."""
        return [self.paint(line, _diff_style(line)) for line in clean_lines(text.rstrip("\n"))] if text.strip() else []


def _diff_style(line: str) -> str:
    if line.startswith(("diff ", "index ", "--- ", "+++ ", "new file", "deleted file", "similarity", "rename")):
        return "title"
    return {"+": "good", "-": "worse", "@": "name"}.get(line[:1], "")


def cells(text: str) -> int:
    """Cells that `text` takes on a terminal: wide letters take two, combining marks none."""
    if text.isascii():
        return len(text)
    return sum(0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


def _segments(cell: Cell) -> list[tuple[str, str]]:
    if isinstance(cell, str):
        return [(cell, "")]
    return [cell] if isinstance(cell, tuple) else cell


def _width(segments: list[tuple[str, str]]) -> int:
    return sum(cells(text) for text, _ in segments)


def _folded(segments: list[tuple[str, str]], width: int) -> list[list[tuple[str, str]]]:
    """A cell in lines that fit, broken between words where it can be."""
    if _width(segments) <= width:
        return [segments]
    import textwrap

    return [[(line, segments[0][1])] for line in textwrap.wrap("".join(text for text, _ in segments), width, break_on_hyphens=False)]


def _beginning(text: str, width: int) -> str:
    """As much of `text` as `width` cells hold."""
    for at, character in enumerate(text):
        width -= cells(character)
        if width < 0:
            return text[:at]
    return text


def _cut(page: Page, segments: list[tuple[str, str]], width: int) -> list[tuple[str, str]]:
    """Segments that are wider than `width`, cut to it; the last cell says that something is missing."""
    kept: list[tuple[str, str]] = []
    room = width - 1
    for text, style in segments:
        kept.append((_beginning(text, room), style))
        room -= cells(text)
        if room < 0:
            return [*kept, (page.letter("…", "~"), style)]
    return kept


def _widths(columns: Sequence[Column], natural: list[int], room: int | None) -> dict[int, int]:
    """Column -> width. Flexible columns give way first, the last one most; then optional ones go; then flexible ones give all, then any."""
    if room is None:
        return dict(enumerate(natural))
    shown = list(range(len(columns)))
    while True:
        chosen, excess = _shrunk(columns, {i: natural[i] for i in shown}, room, spare=True)
        optional = [i for i in shown if columns[i].optional]
        if excess <= 0:
            return chosen
        if not optional:
            return _squeezed(_shrunk(columns, chosen, room, spare=False)[0], room)
        shown.remove(max(optional, key=lambda i: (columns[i].optional, i)))


def _shrunk(columns: Sequence[Column], widths: dict[int, int], room: int, *, spare: bool) -> tuple[dict[int, int], int]:
    """Widths after flexible columns gave way, and the cells that are still too many. `spare` leaves them their `least`."""
    excess = sum(widths.values()) + GAP * (len(widths) - 1) - room
    for i in sorted(widths, reverse=True):
        if columns[i].least and excess > 0:
            cut = min(excess, max(0, widths[i] - (columns[i].least if spare else NARROWEST)))
            widths[i] -= cut
            excess -= cut
    return widths, excess


def _squeezed(widths: dict[int, int], room: int) -> dict[int, int]:
    """The same, the widest cut until they fit: a number that is cut says so, one beyond the edge breaks the line."""
    while sum(widths.values()) + GAP * (len(widths) - 1) > room and max(widths.values()) > 1:
        widest = max(widths, key=lambda i: (widths[i], i))
        widths[widest] -= 1
    return widths


def page_on(stream: TextIO, *, colour: bool = True, paged: bool = True, directory: str = ".") -> Page:
    """The page that `stream` is, by its terminal and the environment (NO_COLOR, TERM, COLUMNS, LC_ALL, LC_CTYPE, LANG)."""
    terminal = stream.isatty()
    size = shutil.get_terminal_size((80, 24))
    wants_colour = colour and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    return Page(
        width=max(size.columns, 40) if terminal else None,
        height=size.lines,
        unicode=_speaks_unicode(stream),
        colour=terminal and wants_colour,
        terminal=terminal,
        paged=paged,
        directory=directory,
    )


def _speaks_unicode(stream: TextIO) -> bool:
    """Python itself sets LC_CTYPE=C.UTF-8 where LANG is C: that is no wish of the user's."""
    wish = os.environ.get("LC_ALL") or os.environ.get("LC_CTYPE", "")
    if not os.environ.get("LC_ALL") and wish in ("", "C.UTF-8", "C.utf8", "UTF-8"):
        wish = os.environ.get("LANG", "")
    return "utf" in wish.lower() and "utf" in (getattr(stream, "encoding", "") or "").lower()
