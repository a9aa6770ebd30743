"""The command palette's entries, the help screen's sections, and what leaves the screen: clipboard, pager, editor."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from textual.app import SuspendNotSupported, SystemCommand
from textual.binding import Binding

from evogit.present import clean, clean_lines, short
from evogit.tui import news, themes
from evogit.tui.asking import Field, dialog
from evogit.tui.widgets.keybar import spelled, told

if TYPE_CHECKING:
    from evogit.domain.run import Run
    from evogit.tui.book import Book
    from evogit.tui.reader import Reader


class Commands:
    """The part of the app that lists what it can do."""

    reader: Reader
    book: Book | None
    status: Any

    if TYPE_CHECKING:
        GOING: Sequence[Binding]
        STEERING: Sequence[Binding]
        KEYS: Sequence[Binding]
        available_themes: dict[str, Any]
        theme: str
        screen: Any
        screen_stack: Any

        def notify(self, message: str, **more: Any) -> None: ...
        def push_screen(self, screen: Any, callback: Any = None) -> Any: ...
        def open_run(self, commit: str) -> None: ...
        def run_action(self, action: str) -> Any: ...
        def suspend(self) -> Any: ...
        def refresh(self) -> Any: ...
        def copy_to_clipboard(self, text: str) -> None: ...
        def _run(self, *, quiet: bool = False) -> Run | None: ...
        def _complain(self, fault: BaseException) -> None: ...

    # the palette ------------------------------------------------------------------------------------------------------

    def own_commands(self) -> Iterator[SystemCommand]:
        """Everything that can be done here, with its key."""
        for binding in (*self.GOING, *self.STEERING):
            yield SystemCommand(_titled(told(binding)), f"key {spelled(binding.key)}", partial(self.run_action, binding.action))
        here = self.screen_stack[0]
        for binding in getattr(here, "KEYS", ()):
            action = binding.action if "." in binding.action else f"screen.{binding.action}"
            if not action.startswith("app."):  # those are named above
                yield SystemCommand(f"Here: {told(binding)}", f"key {spelled(binding.key)}", partial(self.run_action, action))
        yield SystemCommand("Go to a run", "by label, hash, incumbent or baseline", self.action_find_run)
        for tag in self.status.campaigns if self.status is not None else ():
            if self.book is None or tag != self.book.campaign:
                yield SystemCommand(f"Campaign {clean(tag)}", "read another campaign of this repository", partial(self.open_campaign, tag))
        for name in self.available_themes:
            yield SystemCommand(f"Theme {name}", themes.WORDS.get(name, f"the colours of {name}"), partial(setattr, self, "theme", name))
        yield SystemCommand("Help", "what the keys do and the letters mean", partial(self.run_action, "app.help"))
        yield SystemCommand("Quit", "the loop goes on", partial(self.run_action, "app.quit"))

    def action_find_run(self) -> None:
        """Ask for a run's name and go there."""
        field = Field("run", "run", is_needed=True, hint="57, a hash, incumbent, baseline")

        def find(said: dict[str, str] | None) -> None:
            if said is not None:
                self.reader.ask("found", lambda lab: lab.run(said["run"]).commit)

        self.push_screen(dialog("go to a run", ["Its label, the beginning of its hash, or what it is."], [field], yes="go"), find)

    def _answered_found(self, item: news.Answered) -> None:
        if item.fault is not None:
            self._complain(item.fault)
        else:
            self.open_run(item.value)

    def open_campaign(self, tag: str) -> None:
        """Read another campaign."""
        self.reader.reopen(tag)

    def help_sections(self) -> list[tuple[str, Sequence[Binding]]]:
        """What the help screen lists: everywhere, this screen, lists and text, steering."""
        from evogit.tui.widgets.grid import Grid
        from evogit.tui.widgets.lanes import FamilyTree
        from evogit.tui.widgets.scatter import Scatter

        here = self.screen_stack[0]
        found = [("everywhere", [*self.GOING, *self.KEYS]), (f"on this screen ({here.HERE})", here.KEYS)]
        if here.HERE == "frontier":
            found.append(("in the plot", Scatter.BINDINGS))
        if here.HERE == "lineage":
            found.append(("in the tree", FamilyTree.BINDINGS))
        return [*found, ("in a list", Grid.BINDINGS), ("steering: what changes something is asked once", self.STEERING)]

    # what leaves the screen -------------------------------------------------------------------------------------------

    def action_copy_hash(self) -> None:
        """The selected run's full hash, for the clipboard."""
        if (run := self._run()) is not None:
            self.copy_to_clipboard(run.commit)
            self.notify(f"copied {short(run.commit)}, run {run.label}")

    def action_edit(self) -> None:
        """The selected run's files, or the artifact that is open, in the editor."""
        run = self._run()
        if run is None:
            return
        path = getattr(self.screen, "open_file", "")
        if path:
            self.reader.ask("edited", lambda lab: {path: lab.artifact(run.commit, path).decode("utf-8", "replace")})
        else:
            self.reader.ask("edited", lambda lab: lab.files_of(run.commit))

    def _answered_edited(self, item: news.Answered) -> None:
        if item.fault is not None:
            self._complain(item.fault)
        else:
            from evogit.tui import handing

            self._outside(lambda: handing.edit(item.value))

    def action_pager(self) -> None:
        """The diff of the selected run, or the log or file that is open, in the pager."""
        run = self._run()
        if run is None:
            return
        path = getattr(self.screen, "open_file", "")
        if path:
            self.reader.ask("paged", lambda lab: (path, lab.artifact(run.commit, path).decode("utf-8", "replace")))
        else:
            self.reader.ask("paged", lambda lab: (f"run-{run.label.replace('/', '-')}.diff", lab.diff(run.commit)))

    def _answered_paged(self, item: news.Answered) -> None:
        if item.fault is not None:
            self._complain(item.fault)
        else:
            from evogit.tui import handing

            name, text = item.value
            self._outside(lambda: handing.page(clean_lines(text), name))

    def _outside(self, act: Callable[[], str]) -> None:
        """Give the terminal away for as long as a program runs on it."""
        try:
            with self.suspend():
                wrong = act()
        except SuspendNotSupported:
            wrong = "this terminal cannot be handed to another program"
        self.refresh()
        if wrong:
            self.notify(clean(wrong), severity="warning")


def _titled(text: str) -> str:
    return text[:1].upper() + text[1:]
