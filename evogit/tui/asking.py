"""What is asked before something is done: fields, and checks of what is said. The dialog itself is made when one is opened."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from evogit.tui.screens.dialog import Ask


class Field(msgspec.Struct, frozen=True):
    """Something that has to be said, or may be. With `options` one of them is chosen; else it is typed."""

    name: str
    label: str
    value: str = ""
    options: tuple[str, ...] = ()
    is_needed: bool = False
    hint: str = ""
    check: Callable[[str], str] | None = None  # what is wrong with a value, "" if nothing is


def dialog(title: str, words: Sequence[str], fields: Sequence[Field] = (), *, yes: str = "yes", preview: int = 0) -> Ask:
    """A question with those fields. `yes`: what Enter does, in a word. `preview`: lines that show what would happen."""
    from evogit.tui.screens.dialog import Ask  # with its inputs 15 ms, which the first frame does not wait for

    return Ask(title, words, fields, yes=yes, preview=preview)


def whole_number(low: int, high: int) -> Callable[[str], str]:
    """A check: a whole number from low to high."""
    return lambda text: "" if text.isdecimal() and low <= int(text) <= high else f"a whole number from {low} to {high}"


def share(text: str) -> str:
    """A check: a number from 0 to 1."""
    try:
        return "" if 0 <= float(text) <= 1 else "a number from 0 to 1"
    except ValueError:
        return "a number from 0 to 1"
