"""The fourth screen: what the search learnt. Who pays, where the elites are, what is believed, what breaks, and what people want tried."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

from textual.binding import Binding
from textual.containers import Container
from textual.widget import Widget

from evogit.domain.lore import Conjecture, FaultRecord
from evogit.domain.sight import Portfolio
from evogit.present import clean, plural
from evogit.tui.letters import Letters, Line
from evogit.tui.screens.place import Place
from evogit.tui.widgets.grid import Grid
from evogit.tui.widgets.heading import Heading
from evogit.tui.widgets.paper import Paper, folded
from evogit.tui.widgets.tables import EliteTable, IdeaTable, RoleTable

AGAIN_S = 2.0  # at most so often is the search's mind asked while runs land
PANELS = ("ideas", "elites", "beliefs", "faults")
BINS = 24


class PortfolioScreen(Place):
    """Five panels; where there is little room, roles and one other."""

    HERE = "portfolio"
    FIRST = "#ideas"
    KEYS: ClassVar = [
        Binding("tab", "next_panel", "next panel", priority=True, tooltip="go to the next panel"),
        Binding("i", "app.idea", "add idea", tooltip="add an idea"),
        Binding("plus,equals_sign", "rank('raise')", "raise", tooltip="raise the idea under the cursor by a step"),
        Binding("minus", "rank('lower')", "lower", tooltip="lower the idea under the cursor by a step"),
        Binding("delete,D", "drop", "drop", tooltip="drop the idea: nobody carries it out"),
    ]
    BINDINGS: ClassVar = KEYS

    def __init__(self) -> None:
        super().__init__()
        self._portfolio: Portfolio | None = None
        self._is_due = False

    def body(self) -> Iterator[Widget]:
        yield Container(Heading("emitters", id="roles-title"), RoleTable(id="roles"), classes="panel", id="roles-panel")
        yield Container(
            Container(Heading("ideas", id="ideas-title"), IdeaTable(id="ideas"), classes="panel -front", id="ideas-panel"),
            Container(Heading("niches and their elites", id="elites-title"), EliteTable(id="elites"), classes="panel", id="elites-panel"),
            Container(Heading("conjectures", id="beliefs-title"), Paper(id="beliefs"), classes="panel", id="beliefs-panel"),
            Container(Heading("what breaks", id="faults-title"), Paper(id="faults"), classes="panel", id="faults-panel"),
            id="portfolio-panels",
        )

    def on_mount(self) -> None:
        self.set_interval(AGAIN_S, self._ask)

    def hear(self, what: frozenset[str]) -> None:
        if what & {"book", "runs", "status"}:
            is_first = not self._is_due and self._portfolio is None
            self._is_due = True
            if is_first:
                self._ask()

    def _ask(self) -> None:
        if self._is_due and self.is_current and self.app.book is not None:
            self._is_due = False
            self.app.ask_portfolio()

    # what is shown ----------------------------------------------------------------------------------------------------

    def show(self, portfolio: Portfolio) -> None:
        """What the search learnt until now."""
        book, letters = self.app.book, self.letters
        if book is None:
            return
        self._portfolio = portfolio
        bins = BINS if self.size.width >= 150 else 15
        self.query_one(RoleTable).show(portfolio.roles, book.share_over_time(bins), portfolio.window)
        self.query_one("#roles-title", Heading).say(f"emitters, chosen by {portfolio.policy}", portfolio.over_uniform)
        self.query_one(EliteTable).show(portfolio.elites, book)
        self.query_one("#elites-title", Heading).say("niches and their elites", f"{len(portfolio.elites)} of {portfolio.niches} filled")
        self.query_one("#beliefs", Paper).write(lambda width: beliefs(portfolio, letters, width))
        self.query_one("#beliefs-title", Heading).say("conjectures", f"{len(portfolio.conjectures)} stand, {len(portfolio.withdrawn)} fell")
        self.query_one("#faults", Paper).write(lambda width: faults(portfolio.faults, letters, width))
        count = sum(record.count for record in portfolio.faults)
        self.query_one("#faults-title", Heading).say(
            "what breaks", f"{plural(count, 'run')}, {plural(len(portfolio.faults), 'kind')}" if count else ""
        )

    def show_ideas(self, ideas: list[Any]) -> None:
        """The queue as it is now."""
        rank = {"claimed": 0, "queued": 1, "needs-model": 2}
        rows = [(told.idea, told.status.value, told.run, told.source) for told in ideas]
        rows.sort(key=lambda row: (rank.get(row[1], 3), not row[0].is_persons, -row[0].priority))
        self.query_one(IdeaTable).show(rows)
        waiting = sum(row[1] in ("queued", "needs-model") for row in rows)
        self.query_one("#ideas-title", Heading).say("ideas", f"{waiting} wait" if rows else "")

    # what is asked of it ----------------------------------------------------------------------------------------------

    def action_next_panel(self) -> None:
        """The keys go to the next panel; where there is little room, it comes to the front."""
        names = ("roles", *PANELS)
        now = next((i for i, name in enumerate(names) if self.focused is not None and self.focused.id == name), 0)
        name = names[(now + 1) % len(names)]
        if name != "roles":
            for each in PANELS:
                self.query_one(f"#{each}-panel").set_class(each == name, "-front")
        self.call_after_refresh(self.query_one(f"#{name}").focus)

    def action_rank(self, way: str) -> None:
        if (idea := self.query_one(IdeaTable).idea) is not None:
            self.app.rank_idea(idea, way)
        else:
            self._say_none()

    def action_drop(self) -> None:
        if (idea := self.query_one(IdeaTable).idea) is not None:
            self.app.drop_idea(idea)
        else:
            self._say_none()

    def _say_none(self) -> None:
        self.app.notify("there is no idea to rank or drop; i adds one", severity="warning")

    def on_grid_chosen(self, event: Grid.Chosen) -> None:
        event.stop()
        if isinstance(event.grid, EliteTable):
            self.app.open_run(event.grid.elites[event.row][1].commit)
        elif isinstance(event.grid, IdeaTable) and self.app.book is not None:
            _, _, run, source = event.grid.ideas[event.row]
            if (of := self.app.book.labelled(run or source)) is not None:
                self.app.open_run(of.commit)


def beliefs(portfolio: Portfolio, letters: Letters, width: int) -> list[Line]:
    """Statements with their evidence, the surest first; those that fell, below."""
    lines = [line for each in portfolio.conjectures for line in _belief(each, letters, width)]
    if portfolio.withdrawn:
        lines += [[], [("fell", "title")]] if lines else [[("fell", "title")]]
        lines += [line for each in reversed(portfolio.withdrawn) for line in _belief(each, letters, width, fell=True)]
    return lines or [[("the evidence bears no statement yet", "quiet")]]


def _belief(each: Conjecture, letters: Letters, width: int, *, fell: bool = False) -> list[Line]:
    arrow, ink = (letters["better"], "good") if each.helps else (letters["worse"], "worse")
    said: Line = [
        (f"{letters['dash'] if fell else arrow} ", "quiet" if fell else ink),
        (letters.plain(clean(each.statement)), "quiet" if fell else ""),
    ]
    said.append((f"  {len(each.for_)} for, {len(each.against)} against, z {each.z:+.1f}", "quiet"))
    return folded(said, width, 2)


def faults(records: tuple[FaultRecord, ...], letters: Letters, width: int) -> list[Line]:
    """What struck, most frequent first, beside which changes, and what avoids it."""
    lines: list[Line] = []
    for record in records:
        said = clean(f"{record.signature.kind}: {record.signature.message}")
        where = f" in {clean(record.signature.where)}" if record.signature.where else ""
        head: Line = [(f"{letters['crash']} {record.count:>3} ", "crash"), (letters.plain(said), ""), (where, "quiet")]
        runs = f"run {record.first}" if record.first == record.last else f"runs {record.first} to {record.last}"
        lines += folded([*head, (f"  {runs}", "quiet")], width, 6)
        if record.avoided_by:
            lines += folded([(f"      avoided by {', '.join(record.avoided_by[:3])}", "good")], width, 6)
    return lines or [[("nothing has crashed", "quiet")]]
