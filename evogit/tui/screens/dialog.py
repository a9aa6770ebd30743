"""A question before anything is changed: what will happen, what has to be said for it, yes or no. It asks, and does nothing itself."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

from textual.binding import Binding
from textual.containers import Vertical
from textual.message import Message
from textual.reactive import reactive
from textual.screen import ModalScreen
from textual.strip import Strip
from textual.widget import Widget
from textual.widgets import Input

from evogit.tui.asking import Field
from evogit.tui.letters import Line
from evogit.tui.screens.place import Inky
from evogit.tui.widgets.heading import Heading
from evogit.tui.widgets.inked import Inked
from evogit.tui.widgets.paper import Paper, folded

TIGHT = 30  # rows of a terminal below which a dialog has no blank lines between its fields


class Choice(Inked, can_focus=True):
    """One of a few words; the arrows choose."""

    BINDINGS: ClassVar = [
        Binding("left,h", "turn(-1)", "before", show=False),
        Binding("right,l,space", "turn(1)", "next", show=False),
        Binding("enter", "screen.yes", "yes", show=False),
    ]
    value: reactive[str] = reactive("", init=False)

    class Turned(Message):
        """Another one was chosen."""

    def __init__(self, options: Sequence[str], value: str, **more: object) -> None:
        super().__init__(**more)
        self._options = list(options)
        self.set_reactive(Choice.value, value or self._options[0])

    def action_turn(self, by: int) -> None:
        self.value = self._options[(self._options.index(self.value) + by) % len(self._options)]
        self.post_message(self.Turned())

    def watch_has_focus(self, has_focus: bool) -> None:
        super().watch_has_focus(has_focus)
        self.refresh()

    def on_click(self, event: Any) -> None:
        left = 0
        for option in self._options:
            if left <= event.x < left + len(option) + 4:
                self.value = option
                self.post_message(self.Turned())
            left += len(option) + 5

    def render_line(self, y: int) -> Strip:
        line: Line = []
        for option in self._options:
            is_it = option == self.value
            ink = ("here" if self.has_focus else "title") if is_it else "quiet"
            line += [(f"({'x' if is_it else ' '}) {option}", ink), (" ", "")]
        return self.strip(line, self.size.width)


class Name(Inked):
    """The name of a field."""

    def __init__(self, text: str, **more: object) -> None:
        super().__init__(**more)
        self._text = text

    def render_line(self, y: int) -> Strip:
        return self.strip([(self._text, "quiet")], self.size.width)


class Ask(Inky, ModalScreen[dict[str, str]]):
    """A dialog. It is dismissed with the values of its fields, or with None."""

    BINDINGS: ClassVar = [
        Binding("escape", "no", "leave", priority=True),
        Binding("enter", "yes", "yes", show=False),
        Binding("y", "yes", "yes", show=False),
        Binding("n", "no", "no", show=False),
        Binding("down", "app.focus_next", "next", show=False),
        Binding("up", "app.focus_previous", "before", show=False),
    ]

    class Changed(Message):
        """A field was changed."""

        def __init__(self, values: dict[str, str]) -> None:
            super().__init__()
            self.values = values

    def __init__(self, title: str, words: Sequence[str], fields: Sequence[Field] = (), *, yes: str = "yes", preview: int = 0) -> None:
        super().__init__()
        self._title, self._words, self._fields, self._yes, self._preview = title, list(words), list(fields), yes, preview
        self._complaint = ""

    def compose(self) -> Iterator[Widget]:
        with Vertical(id="dialog"):
            yield Heading(self._title)
            words = Paper(id="dialog-words")
            words.can_focus = False
            yield words
            for field in self._fields:
                with Vertical(classes="field"):
                    yield Name(field.label, classes="field-name")
                    if field.options:
                        yield Choice(field.options, field.value, id=f"field-{field.name}")
                    else:
                        yield Input(field.value, placeholder=field.hint, id=f"field-{field.name}", compact=True, select_on_focus=False)
            if self._preview:
                yield Paper(id="dialog-preview")
            foot = Paper(id="dialog-foot")
            foot.can_focus = False
            yield foot

    def on_mount(self) -> None:
        dialog, words = self.query_one("#dialog"), self.query_one("#dialog-words", Paper)
        width = min(76, self.size.width - 4)
        dialog.styles.width = width
        lines = [line for text in self._words for line in folded([(self.letters.plain(text), "")], width - 7)]
        words.styles.height = max(1, len(lines))
        words.write(lambda _: lines)
        is_tight = self.size.height < TIGHT
        self.set_class(is_tight, "-tight")
        if self._preview:
            used = 10 + len(lines) + len(self._fields) if is_tight else 13 + len(lines) + 2 * len(self._fields)
            self.query_one("#dialog-preview").styles.height = max(3, min(self._preview, self.size.height - used))
        self._foot()
        if self._fields:
            first = next((f for f in self._fields if f.is_needed and not f.value), self._fields[0])
            self.query_one(f"#field-{first.name}").focus()

    def _foot(self) -> None:
        keys: Line = [("Enter", "key"), (f" {self._yes}   ", ""), ("Esc", "key"), (" leave it", "")]
        keys += [("   Up Down", "key"), (" other fields", "")] if len(self._fields) > 1 else []
        complaint = [(self.letters.plain(self._complaint), "warning")] if self._complaint else []
        self.query_one("#dialog-foot", Paper).write(lambda width: [complaint, keys])

    def preview(self, lines: list[Line]) -> None:
        """What would happen, as it is known now."""
        self.query_one("#dialog-preview", Paper).write(
            lambda width: [piece for line in lines for piece in folded(line, width, 2)], to_top=True
        )

    @property
    def values(self) -> dict[str, str]:
        """What the fields say."""
        return {f.name: self.query_one(f"#field-{f.name}").value.strip() for f in self._fields}  # type: ignore[attr-defined]

    def on_input_changed(self) -> None:
        self._say_changed()

    def on_choice_turned(self) -> None:
        self._say_changed()

    def _say_changed(self) -> None:
        if self._complaint:
            self._complaint = ""
            self._foot()
        self.post_message(self.Changed(self.values))

    def on_input_submitted(self) -> None:
        self.action_yes()

    def action_yes(self) -> None:
        values = self.values
        for field in self._fields:
            said = values[field.name]
            wrong = f"{field.label} is missing" if field.is_needed and not said else field.check(said) if field.check and said else ""
            if wrong:
                self._complaint = wrong
                self._foot()
                self.query_one(f"#field-{field.name}").focus()
                return
        self.dismiss(values)

    def action_no(self) -> None:
        self.dismiss(None)
