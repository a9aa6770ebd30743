"""The family tree: runs as lanes, newest on top, both parents of a recombination drawn. Dead ends of one parent are one line until unfolded."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import ClassVar

import msgspec
from textual.binding import Binding
from textual.message import Message

from evogit import lanes
from evogit.domain.run import Run
from evogit.tui import cells
from evogit.tui.book import Book
from evogit.tui.letters import WORDS, Letters, Line, verdict_of
from evogit.tui.widgets.grid import Column, Grid

CROWD = 1500  # runs from which on it is drawn aside
WIDEST = 28  # cells of lanes that are shown; further ones are cut, never the glyph
_PLURALS = {"near": "near misses", "discard": "discards", "crash": "crashes", "reject": "rejects"}


class Twig(msgspec.Struct, frozen=True):
    """A line of the tree: a run, or the dead ends of one."""

    commit: str  # of the run, or of the parent whose dead ends these are
    left: str  # lanes left of the glyph
    glyph: str
    right: str
    ends: tuple[int, ...] = ()  # places of the dead ends that stand here


class FamilyTree(Grid):
    """Lines of lanes. A dead end is a run that was not kept and that nothing descends from."""

    BINDINGS: ClassVar = [
        Binding("space", "fold", "fold", show=False, tooltip="unfold the dead ends here, or fold them"),
        Binding("left,h", "up", "to the parent", show=False),
        Binding("right,l", "child", "to the newest child", show=False),
        Binding("o", "other", "other parent", show=False),
        Binding("A", "fold_all", "fold all", show=False, tooltip="unfold all dead ends, or fold them"),
    ]

    class Selected(Message):
        """Another run is under the cursor."""

        def __init__(self, commit: str) -> None:
            super().__init__()
            self.commit = commit

        def can_replace(self, message: Message) -> bool:
            return isinstance(message, FamilyTree.Selected)

    class Opened(Selected):
        """A run is to be shown whole."""

        def can_replace(self, message: Message) -> bool:
            return False

    class Drawn(Message):
        """Other lines are shown."""

    def __init__(self, *, clock: Callable[[], float], **more: object) -> None:
        super().__init__(**more)
        self._book: Book | None = None
        self._clock = clock
        self._unfolded: set[str] = set()
        self._is_all = False
        self._asked = 0  # how often it was drawn: an older drawing is not shown over a newer one
        self.twigs: list[Twig] = []
        self._rows: dict[str, int] = {}  # commit -> its line; of a dead end that is folded, the line of its heap
        self._wide = 2
        self._line_of_descent: frozenset[str] = frozenset()

    def show(self, book: Book | None, then: Callable[[], None] = lambda: None) -> None:
        """Draw a book anew; the run under the cursor stays there. `then` is done once it stands: a long lineage is drawn by a thread of its own.

        100 ms at 10,000 runs.
        """
        self._book = book
        self._asked += 1
        if book is None or len(book) < CROWD:
            self._stand(grow(book, self._unfolded, self.letters, is_all=self._is_all) if book is not None else [], then)
            return
        asked, unfolded, is_all, letters = self._asked, set(self._unfolded), self._is_all, self.letters

        def draw() -> None:
            twigs = grow(book, unfolded, letters, is_all=is_all)
            if asked == self._asked and self.is_mounted:
                self.app.call_from_thread(self._stand, twigs, then)

        self.run_worker(draw, thread=True, exclusive=True, group="lineage")

    def _stand(self, twigs: list[Twig], then: Callable[[], None]) -> None:
        """Show what was drawn."""
        kept, book = self.commit, self._book
        self.twigs = twigs
        self._rows = {}
        for row, twig in enumerate(self.twigs):
            if not twig.ends:
                self._rows[twig.commit] = row
            else:
                self._rows.update({book.runs[at].commit: row for at in twig.ends})  # type: ignore[union-attr]
        self._wide = min(WIDEST, max([2, *(len(t.left) + len(t.glyph) + len(t.right) for t in self.twigs)]))
        self.renew()
        if kept:
            self.select(kept)
        then()
        self.post_message(self.Drawn())

    @property
    def commit(self) -> str:
        """The run under the cursor; "" on a heap of dead ends."""
        twig = self._twig
        return twig.commit if twig is not None and not twig.ends else ""

    @property
    def _twig(self) -> Twig | None:
        return self.twigs[self.cursor] if 0 <= self.cursor < len(self.twigs) else None

    def select(self, commit: str, *, unfold: bool = False) -> bool:
        """Put the cursor on a run, or on the heap that it lies in; `unfold` takes that apart."""
        row = self._rows.get(commit)
        if row is None:
            return False
        if unfold and self.twigs[row].ends:
            self._unfolded.add(self.twigs[row].commit)
            self.show(self._book, lambda: self.select(commit) or None)
            return True
        self.cursor = row
        self._highlight(commit)
        self.show_cursor()
        self.call_after_refresh(self.show_cursor)
        return True

    def _highlight(self, commit: str) -> None:
        """Remember the line of descent, which stands out."""
        book, seen, todo = self._book, set(), [commit]
        while todo and book is not None:
            run = book.run(todo.pop())
            if run is not None and run.commit not in seen:
                seen.add(run.commit)
                todo += run.parents
        if seen != self._line_of_descent:
            self._line_of_descent = frozenset(seen)
            self._strips.clear()
            self.refresh()

    # moving -----------------------------------------------------------------------------------------------------------

    def on_grid_moved(self, event: Grid.Moved) -> None:
        event.stop()
        if self.commit:
            self._highlight(self.commit)
            self.post_message(self.Selected(self.commit))

    def on_grid_chosen(self, event: Grid.Chosen) -> None:
        event.stop()
        if self.commit:
            self.post_message(self.Opened(self.commit))
        else:
            self.action_fold()

    def action_fold(self) -> None:
        """Unfold the dead ends under the cursor, or of the run under it; fold them again."""
        twig = self._twig
        if twig is None:
            return
        run = self._book.run(twig.commit) if self._book is not None else None
        owner = twig.commit
        if not twig.ends and run is not None and not self._book.children.get(run.commit) and run.parents:  # type: ignore[union-attr]
            owner = run.parents[0]  # one of those that were unfolded
        self._unfolded ^= {owner}
        self.show(self._book, lambda: self._stay_at(owner))

    def _stay_at(self, owner: str) -> None:
        """Dead ends were folded: the cursor goes to their heap."""
        if owner not in self._unfolded:
            heap = next((row for row, twig in enumerate(self.twigs) if twig.ends and twig.commit == owner), None)
            self.cursor = heap if heap is not None else self._rows.get(owner, self.cursor)

    def action_fold_all(self) -> None:
        self._is_all = not self._is_all
        self._unfolded.clear()
        self.show(self._book)

    def action_up(self, which: int = 0) -> None:
        """To the run's parent, the first one or the other."""
        twig = self._twig
        if twig is None or self._book is None:
            return
        if twig.ends:
            self.select(twig.commit)
            return
        run = self._book.run(twig.commit)
        if run is not None and len(run.parents) > which:
            self.select(run.parents[which], unfold=True)

    def action_other(self) -> None:
        self.action_up(1)

    def action_child(self) -> None:
        """To the newest run that descends from this one, unless it is a dead end."""
        children = self._book.children.get(self.commit, []) if self._book is not None else []
        line = [at for at in children if not is_dead_end(self._book, at)] or children  # type: ignore[arg-type]
        if line:
            self.select(self._book.runs[line[-1]].commit, unfold=True)  # type: ignore[union-attr]

    # rows -------------------------------------------------------------------------------------------------------------

    def count(self) -> int:
        return len(self.twigs)

    def nothing(self) -> str:
        return "no run is decided yet"

    def columns(self) -> Sequence[Column]:
        name = self._book.metric.name if self._book is not None else ""
        return [
            Column("lanes", "", self._wide),
            Column("run", "run", 6, right=True),
            Column("value", name, 20),
            Column("gain", "vs parent", 11, rank=2),
            Column("emitter", "emitter", 14 if self.size.width < 150 else 20, rank=3),
            Column("age", "age", 4, right=True, rank=4),
            Column("summary", "summary", 16, share=True),
        ]

    def cell(self, row: int, key: str) -> Line:
        twig, book, letters = self.twigs[row], self._book, self.letters
        if book is None:
            return []
        if twig.ends:
            return self._heap(twig, key)
        run = book.runs[book.at[twig.commit]]
        on_path = twig.commit in self._line_of_descent
        if key == "lanes":
            return narrowed(twig, self._wide, book.kind(run), letters)
        if key == "run":
            return [(run.label, "title" if on_path or run.is_kept else "quiet")]
        if key == "value":
            return cells.value(book, run, book.metric.name, letters) if run.is_measured else cells.verdict(run, letters)
        if key == "gain":
            return cells.gain(book.over_parent(run), book.digits(book.metric.name), letters)
        if key == "emitter":
            return [(run.emitter, "name")]
        if key == "age":
            return [(cells.since(run.started, self._clock()), "quiet")]
        return [*self._joined(run), *cells.summary(run, letters)]

    def _joined(self, run: Run) -> Line:
        """Both parents of a recombination, by name."""
        known = [p.label if (p := self._book.run(parent)) else "?" for parent in run.parents]  # type: ignore[union-attr]
        return [(f"{' + '.join(known)} {self.letters['arrow']} ", "front")] if len(known) > 1 else []

    def _heap(self, twig: Twig, key: str) -> Line:
        if key == "lanes":
            return narrowed(twig, self._wide, "quiet", self.letters)
        if key == "run":
            return [(f"x{len(twig.ends)}", "quiet")]
        if key != "summary":
            return []
        counts = Counter(verdict_of(self._book.runs[at]) for at in twig.ends)  # type: ignore[union-attr]
        line: Line = []
        for kind in ("near", "discard", "crash", "reject"):
            if counts[kind]:
                word = WORDS.get(kind, kind) if counts[kind] == 1 else _PLURALS[kind]
                line += [(f"{self.letters[kind]} {counts[kind]} {word}", kind), ("  ", "")]
        return line


def is_dead_end(book: Book, place: int) -> bool:
    """True for a run that was not kept and that nothing descends from."""
    run = book.runs[place]
    return not run.is_kept and bool(run.parents) and not book.children.get(run.commit)


def narrowed(twig: Twig, width: int, ink: str, letters: Letters) -> Line:
    """Lanes in at most `width` cells, three or more, with a mark where some are cut. The glyph stays: by it runs are told apart."""
    left, glyph, right = lanes.narrow((twig.left, twig.glyph, twig.right), width, letters["cut"])
    return [(left, "rule"), (glyph, ink), (right, "rule")]


def grow(book: Book, unfolded: set[str], letters: Letters, *, is_all: bool = False) -> list[Twig]:
    """Lines of the tree, newest first. O(runs + lines * lanes)."""
    heaps: dict[str, list[int]] = {}
    order: list[str] = []
    parents: dict[str, Sequence[str]] = {}
    last_seen: dict[str, int] = {}
    for place, run in enumerate(book.runs):
        if not is_all and is_dead_end(book, place) and run.parents[0] not in unfolded and run.parents[0] in book.at:
            heaps.setdefault(run.parents[0], []).append(place)
            continue
        order.append(run.commit)
        parents[run.commit] = [p for p in run.parents if p in book.at]
        last_seen[run.commit] = place
    lines: list[str] = []
    for commit in reversed(order):
        if commit in heaps:
            heap = f"heap {commit}"
            lines.append(heap)
            parents[heap] = [commit]
        lines.append(commit)
    glyphs = {c: letters["closed"] if c.startswith("heap ") else letters[book.kind(book.runs[book.at[c]])] for c in lines}
    drawn = lanes.draw(lines, parents, glyphs, trunk=book.incumbent)
    found = []
    for commit, (left, glyph, right) in zip(lines, drawn):
        left, right = (lanes.spell(lane, ascii_=not letters.unicode) for lane in (left, right))
        owner = commit.removeprefix("heap ")
        found.append(Twig(owner, left, glyph, right, tuple(heaps[owner]) if owner != commit else ()))
    return found
