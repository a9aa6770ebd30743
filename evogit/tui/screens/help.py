"""What every key does and what every letter means, from the bindings themselves, so that it cannot say what is not so."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import ClassVar

from rich.cells import cell_len
from textual.binding import Binding
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widget import Widget

from evogit.tui.letters import KINDS, WORDS, Letters, Line
from evogit.tui.screens.place import Inky
from evogit.tui.widgets.heading import Heading
from evogit.tui.widgets.keybar import spelled, told
from evogit.tui.widgets.paper import Paper, folded

NAMES = 14  # cells of the keys' column
MEANINGS = {
    "incumbent": "the run to beat",
    "front": "no other run is as good in every metric and better in one",
    "certified": "kept, and its gain held on fresh seeds",
    "keep": "kept: it moved the incumbent",
    "near": "discarded, but within noise of the incumbent",
    "discard": "measured, and no better",
    "crash": "it ran and failed",
    "reject": "a gate stopped it before it ran",
}
MARKS = {"mark": "marked to be picked", "flag": "something in its files may give a cheat away"}


class Help(Inky, ModalScreen[None]):
    """A page above whatever is shown."""

    BINDINGS: ClassVar = [
        Binding("escape,q,question_mark,enter", "leave", "leave", priority=True),
    ]

    def __init__(self, sections: Sequence[tuple[str, Sequence[Binding]]]) -> None:
        super().__init__()
        self._sections = sections

    def compose(self) -> Iterator[Widget]:
        with Vertical(id="help"):
            yield Heading("help: Esc leaves, the arrows scroll")
            yield Paper(id="help-text")

    def on_mount(self) -> None:
        self.query_one(Paper).write(lambda width: page(self._sections, self.letters, width))
        self.query_one(Paper).focus()

    def action_leave(self) -> None:
        self.dismiss(None)


def page(sections: Sequence[tuple[str, Sequence[Binding]]], letters: Letters, width: int) -> list[Line]:
    """All of it. Two columns where there is room."""
    half = width if width < 92 else width // 2 - 2
    blocks = [*(_keys(title, bindings, half) for title, bindings in sections), _letters(letters, half), _numbers(letters, half)]
    if half == width:
        return [line for block in blocks for line in [*block, []]]
    left: list[Line] = []
    right: list[Line] = []
    for block in blocks:
        side = left if len(left) <= len(right) else right
        side += [*block, []]
    rows = max(len(left), len(right))
    return [[*_padded(left[i] if i < len(left) else [], half), ("    ", ""), *(right[i] if i < len(right) else [])] for i in range(rows)]


def _padded(line: Line, width: int) -> Line:
    return [*line, (" " * max(0, width - sum(cell_len(text) for text, _ in line)), "")]


def _rows(title: str, found: Sequence[tuple[Line, str, str]], width: int) -> list[Line]:
    """A block: what it is called, what it means, the meaning folded."""
    lines: list[Line] = [[(title, "title")]]
    for name, meaning, ink in found:
        for i, piece in enumerate(folded([(meaning, ink)], width - NAMES)):
            lines.append([*_padded(name if i == 0 else [], NAMES), *piece])
    return lines


def _keys(title: str, bindings: Sequence[Binding], width: int) -> list[Line]:
    found = [([(" ".join(dict.fromkeys(spelled(key) for key in b.key.split(","))), "key")], told(b), "") for b in bindings]
    return _rows(title, found, width)


def _letters(letters: Letters, width: int) -> list[Line]:
    found: list[tuple[Line, str, str]] = [([(f"{letters[kind]} {WORDS.get(kind, kind)}", kind)], MEANINGS[kind], "quiet") for kind in KINDS]
    found += [([(letters[name], "warning")], meaning, "quiet") for name, meaning in MARKS.items()]
    return _rows("letters", found, width)


def _numbers(letters: Letters, width: int) -> list[Line]:
    plus, about = letters["plus-minus"], letters["about"]
    told = [
        (f"{plus}0.002", "one standard deviation between the run's own seeds"),
        (f"{plus}0.002?", "the campaign's, since the run was read once"),
        (f"{letters['better']} -0.012", "better than its parent, beyond what noise makes in 95 of 100 cases"),
        (f"{letters['worse']} +0.012", "worse, beyond noise"),
        (f"{about} -0.001", "noise alone may have made it"),
        (letters["band"] * 2, "the best so far, give or take one standard deviation"),
        ("/ words", "-word: without it; emitter:x verdict:x agent:x change:x niche:x run:x look into one field"),
    ]
    return _rows("numbers", [([(sign, "name")], meaning, "quiet") for sign, meaning in told], width)
