"""The second screen: where every run comes from. Dead ends are folded; the line of the selected run stands out."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from textual.binding import Binding
from textual.containers import Container
from textual.widget import Widget

from evogit.tui.screens.place import Place
from evogit.tui.widgets.heading import Heading
from evogit.tui.widgets.lanes import FamilyTree
from evogit.tui.widgets.peek import Peek


class Lineage(Place):
    """The tree, and the run under the cursor beside it."""

    HERE = "lineage"
    FIRST = "#tree"
    KEYS: ClassVar = [
        Binding("space", "tree('fold')", "fold", tooltip="unfold the dead ends here, or fold them"),
        Binding("A", "tree('fold_all')", "all", tooltip="unfold all dead ends, or fold them"),
        Binding("left", "tree('up')", "parent", tooltip="go to the run's parent"),
        Binding("o", "tree('other')", "other parent", tooltip="go to a recombination's second parent"),
        Binding("right", "tree('child')", "child", tooltip="go to the newest run that descends from this one"),
        Binding("F", "follow", "follow", tooltip="select each run as it is decided, or stop that"),
    ]
    BINDINGS: ClassVar = [KEYS[-1]]

    def __init__(self) -> None:
        super().__init__()
        self._is_following = False

    def body(self) -> Iterator[Widget]:
        tree = FamilyTree(clock=self.app.clock, id="tree")
        yield Container(
            Container(Heading("lineage", id="tree-title"), tree, classes="panel"), Peek(id="tree-peek", classes="side"), classes="beside"
        )

    def hear(self, what: frozenset[str]) -> None:
        app, tree = self.app, self.query_one(FamilyTree)
        if what & {"book", "runs", "front"}:
            tree.show(app.book)
        if "runs" in what and self._is_following and app.landed:
            app.selected = app.landed[-1].commit
        if what & {"selected", "book"} and tree.commit != app.selected:
            tree.select(app.selected, unfold=self._is_following)
        peek = self.query_one(Peek)
        if peek.display and what & {"selected", "book", "runs"}:
            peek.show(app.book, self.run_here)

    def _title(self) -> None:
        book, tree = self.app.book, self.query_one(FamilyTree)
        folded = sum(len(twig.ends) for twig in tree.twigs)
        count = f"{len(book):,} runs" if book is not None else "lineage"
        right = [f"{folded:,} dead ends folded"] if folded else []
        right += ["following the newest"] if self._is_following else []
        right += [f"a wider terminal adds {', '.join(tree.left_out)}"] if tree.left_out else []
        self.query_one("#tree-title", Heading).say(count, ", ".join(right))

    @property
    def pointed(self) -> str:
        return self.query_one(FamilyTree).commit or self.app.selected

    def action_tree(self, what: str) -> None:
        getattr(self.query_one(FamilyTree), f"action_{what}")()

    def action_follow(self) -> None:
        self._is_following = not self._is_following
        book = self.app.book
        if self._is_following and book is not None and len(book):
            self.app.selected = book.runs[-1].commit
            self.query_one(FamilyTree).select(self.app.selected, unfold=True)
        self._title()

    def on_family_tree_drawn(self) -> None:
        self._title()
        tree = self.query_one(FamilyTree)
        if tree.commit != self.app.selected:
            tree.select(self.app.selected, unfold=self._is_following)

    def on_family_tree_selected(self, event: FamilyTree.Selected) -> None:
        self.app.selected = event.commit

    def on_family_tree_opened(self, event: FamilyTree.Opened) -> None:
        self.app.open_run(event.commit)
