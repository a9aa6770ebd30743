"""The last line: the keys that matter here, as many as fit. A click does what the key does."""

from __future__ import annotations

from rich.segment import Segment
from rich.style import Style
from textual.binding import Binding
from textual.strip import Strip

from evogit.tui.widgets.inked import Inked

_NAMES = {
    "plus": "+",
    "equals_sign": "=",
    "minus": "-",
    "delete": "Del",
    "left_square_bracket": "[",
    "right_square_bracket": "]",
    "up": "Up",
    "down": "Down",
    "pageup": "PgUp",
    "pagedown": "PgDn",
    "home": "Home",
    "end": "End",
    "space": "Space",
    "question_mark": "?",
    "slash": "/",
    "escape": "Esc",
    "enter": "Enter",
    "tab": "Tab",
    "left": "Left",
    "right": "Right",
}


class KeyBar(Inked):
    """Hints from the bindings of a screen."""

    ALLOW_SELECT = False

    def __init__(self, bindings: list[Binding], **more: object) -> None:
        super().__init__(**more)
        hints: dict[str, tuple[str, str]] = {}
        for binding in bindings:
            if binding.show and binding.description:
                hints.setdefault(spelled(binding.key), (binding.description, binding.action))
        self._hints = [(key, *hint) for key, hint in hints.items()]

    def render_line(self, y: int) -> Strip:
        width = self.size.width
        segments, left = [Segment(" ", self.ink("", "tab"))], width - 1
        for key, what, action in self._hints:
            size = len(key) + len(what) + 3
            if size > left:
                break
            meta = Style(meta={"@click": action if "." in action else f"screen.{action}"})
            segments += [Segment(key, self.ink("key", "tab") + meta), Segment(f" {what}  ", self.ink("tab", "tab") + meta)]
            left -= size
        return Strip([*segments, Segment(" " * left, self.ink("", "tab"))], width)


def told(binding: Binding) -> str:
    """What a key does, where there is room to say it."""
    return binding.tooltip or binding.description


def spelled(key: str) -> str:
    """A key as it is printed on keyboards."""
    name = key.partition(",")[0]
    if name.startswith("ctrl+"):
        return f"^{name[5:]}"
    return _NAMES.get(name, name)
