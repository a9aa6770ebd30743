"""A drawing of cells: braille dots for lines and crowds, letters for what stands alone, shade behind both. Pure; it knows no run.

In ASCII, and where there is no colour, a line is drawn with one letter to a cell: coarser, and nothing is lost but smoothness.
"""

from __future__ import annotations

from evogit.tui.letters import Letters, Line

_BRAILLE = 0x2800
_BITS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))  # [row][column] of a cell's eight dots
_LEFT, _RIGHT, _UP, _DOWN = 1, 2, 4, 8
_BOXES = {1: "─", 2: "─", 3: "─", 4: "│", 8: "│", 12: "│", 9: "╮", 10: "╭", 5: "╯", 6: "╰", 11: "┬", 7: "┴", 13: "┤", 14: "├", 15: "┼"}
_PLAIN = str.maketrans("─│╮╭╯╰┬┴┤├┼", "-|+++++++++")
ACROSS, UP = 2, 4  # dots a cell


class Canvas:
    """`width` by `height` cells. Cell (0, 0) is top left; dots count from there too, ACROSS by UP in each cell."""

    def __init__(self, width: int, height: int, letters: Letters, *, is_fine: bool = True) -> None:
        """is_fine: lines are dots; else each cell of a line is one letter, which no crowd of dots can be taken for."""
        self.width, self.height, self._letters, self._is_fine = width, height, letters, is_fine and letters.unicode
        self._strokes: dict[tuple[int, int], int] = {}
        self._stroke_ink = ""
        self._dots: dict[tuple[int, int], int] = {}
        self._dot_inks: dict[tuple[int, int], str] = {}
        self._signs: dict[tuple[int, int], tuple[str, str]] = {}
        self._shade: dict[tuple[int, int], str] = {}

    def has(self, x: int, y: int) -> bool:
        """True if the cell is on the canvas."""
        return 0 <= x < self.width and 0 <= y < self.height

    def dot(self, x: int, y: int, ink: str) -> None:
        """One dot; the ink of the last one counts for its whole cell. Outside is ignored."""
        cell = x // ACROSS, y // UP
        if self.has(*cell):
            self._dots[cell] = self._dots.get(cell, 0) | _BITS[y % UP][x % ACROSS]
            self._dot_inks[cell] = ink

    def across(self, x0: int, x1: int, y: int, ink: str) -> None:
        """A level line, both ends drawn."""
        if not self._is_fine:
            self._stroke([(x, y // UP) for x in range(min(x0, x1) // ACROSS, max(x0, x1) // ACROSS + 1)], _LEFT, _RIGHT, ink)
            return
        for x in range(max(0, min(x0, x1)), min(max(x0, x1), self.width * ACROSS - 1) + 1):
            self.dot(x, y, ink)

    def down(self, x: int, y0: int, y1: int, ink: str) -> None:
        """An upright line, both ends drawn."""
        if not self._is_fine:
            self._stroke([(x // ACROSS, y) for y in range(min(y0, y1) // UP, max(y0, y1) // UP + 1)], _UP, _DOWN, ink)
            return
        for y in range(max(0, min(y0, y1)), min(max(y0, y1), self.height * UP - 1) + 1):
            self.dot(x, y, ink)

    def _stroke(self, cells: list[tuple[int, int]], before: int, after: int, ink: str) -> None:
        self._stroke_ink = ink
        for i, cell in enumerate(cells):
            ways = (before if i else 0) | (after if i < len(cells) - 1 else 0)
            self._strokes[cell] = self._strokes.get(cell, 0) | ways

    def sign(self, x: int, y: int, letter: str, ink: str) -> None:
        """A letter over whatever dots are there."""
        if self.has(x, y):
            self._signs[x, y] = (letter, ink)

    def sign_at(self, x: int, y: int) -> str:
        """The letter that stands there, "" if none does."""
        return self._signs.get((x, y), ("", ""))[0]

    def shade(self, x: int, y0: int, y1: int, ink: str) -> None:
        """Cells of one column, behind everything else."""
        for y in range(max(0, min(y0, y1)), min(max(y0, y1), self.height - 1) + 1):
            if 0 <= x < self.width:
                self._shade[x, y] = ink

    def write(self, x: int, y: int, text: str, ink: str) -> None:
        """A word from a cell on to the right, cut where the canvas ends."""
        for i, letter in enumerate(text):
            self.sign(x + i, y, letter, ink)

    def is_free(self, x: int, y: int, width: int) -> bool:
        """True if no letter stands in `width` cells from there on, all of them on the canvas."""
        return self.has(x, y) and self.has(x + width - 1, y) and all((x + i, y) not in self._signs for i in range(width))

    def rows(self) -> list[Line]:
        """The drawing as lines of pieces, neighbours of one ink joined."""
        return [self._row(y) for y in range(self.height)]

    def _row(self, y: int) -> Line:
        found: Line = []
        for x in range(self.width):
            letter, ink = self._cell(x, y)
            if found and found[-1][1] == ink:
                found[-1] = (found[-1][0] + letter, ink)
            else:
                found.append((letter, ink))
        return found

    def _cell(self, x: int, y: int) -> tuple[str, str]:
        if (x, y) in self._signs:
            return self._signs[x, y]
        if (x, y) in self._strokes:
            letter = _BOXES.get(self._strokes[x, y], "─")
            return letter if self._letters.unicode else letter.translate(_PLAIN), self._stroke_ink
        if bits := self._dots.get((x, y)):
            return (chr(_BRAILLE + bits) if self._letters.unicode else _as_ascii(bits)), self._dot_inks[x, y]
        if (x, y) in self._shade:
            return self._letters["band"], self._shade[x, y]
        return " ", ""


def _as_ascii(bits: int) -> str:
    """Dots of one cell as a letter: a few as a full stop, many as a colon."""
    return "." if bits.bit_count() < 3 else ":"
