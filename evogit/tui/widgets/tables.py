"""Small tables of the search's mind and of what runs now: roles, elites, ideas, flights. Each holds its nouns and says which is chosen."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar

from evogit.domain.idea import Idea
from evogit.domain.run import Run
from evogit.domain.sight import Flying, Role
from evogit.present import clean, duration
from evogit.tui import cells
from evogit.tui.book import Book
from evogit.tui.letters import Line
from evogit.tui.widgets.grid import Column, Grid

METER = 12  # cells of a bar
READING = "reading what the search learnt"


class RoleTable(Grid):
    """Search roles: what each tried and kept, what it earns, its share and its credit over time, its chance to be next."""

    def __init__(self, **more: object) -> None:
        super().__init__(**more)
        self.roles: list[Role] = []
        self._shares: dict[str, list[float]] = {}
        self._most = self._dearest = 1.0
        self._credited = "credit over time"

    def show(self, roles: Sequence[Role], shares: dict[str, list[float]], window: int) -> None:
        """Other numbers. shares: role -> its share of the runs in equal stretches of the campaign, 0 to 1. window: newest runs that credit is of, 0: all."""
        self.roles = sorted(roles, key=lambda r: (r.emitter in ("baseline", "person"), -r.rate, -r.tries, r.emitter))
        self._shares = shares
        self._most = max([0.01, *(share for row in shares.values() for share in row)])
        self._dearest = max([1e-9, *(rate for role in roles for rate in role.earned)])
        self._credited = f"credit, last {window}" if window else "credit over time"
        self.renew()

    def columns(self) -> Sequence[Column]:
        bins = len(next(iter(self._shares.values()), ()))
        return [
            Column("emitter", "emitter", 20),
            Column("tries", "tries", 6, right=True),
            Column("keeps", "keeps", 6, right=True),
            Column("rate", "credit/cost", 11, right=True),
            Column("meter", "95 % interval", self._scale, rank=3),
            Column("shares", "share over time", max(15, bins), rank=1),
            Column("earned", self._credited, 16, rank=5),
            Column("chance", "next", 5, right=True),
            Column("why", "", 8, rank=4, share=True),
        ]

    @property
    def _scale(self) -> int:
        """Cells of the intervals' scale."""
        return 24 if self.size.width >= 146 else 16

    def count(self) -> int:
        return len(self.roles)

    def nothing(self) -> str:
        return READING

    def cell(self, row: int, key: str) -> Line:
        role, letters = self.roles[row], self.letters
        if key == "emitter":
            return [(letters.plain(clean(role.emitter)), "name")]
        if key in ("tries", "keeps"):
            count = getattr(role, key)
            return [(f"{count:,}", "keep" if key == "keeps" and count else "")]
        if key == "chance":
            return [(f"{role.chance:.0%}", "title")] if role.chance else [(letters["dash"], "quiet")]
        if key == "why":
            return [("rests" if role.is_resting else "", "warning")]
        if key == "shares":
            share = self._shares.get(role.emitter, [])
            return [(letters.spark([value / self._most for value in share]), "bar")]
        if key == "earned":
            return [(letters.spark([rate / self._dearest for rate in role.earned]), "good")]
        if not role.runs:
            return [("", "")]
        if key == "rate":
            return [(f"{role.rate:.3f}", "")]
        return self._interval(role)

    def _interval(self, role: Role) -> Line:
        """Where the rate lies between none and the highest there may be, and how sure that is."""
        most, last = max([1e-9, *(r.high for r in self.roles if r.runs > 1)]), self._scale - 1
        low, at, high = (min(last, round(value / most * last)) for value in (role.low, role.rate, role.high))
        across, point = self.letters["across"], self.letters["point"]
        return [(" " * low + across * (at - low), "rule"), (point, "bar"), (across * (high - at), "rule")]


class EliteTable(Grid):
    """Niches and the best run of each."""

    def __init__(self, **more: object) -> None:
        super().__init__(**more)
        self.elites: list[tuple[str, Run]] = []
        self._book: Book | None = None  # None until there is an answer

    def show(self, elites: Sequence[tuple[str, Run]], book: Book) -> None:
        """Other elites, best first."""
        self.elites, self._book = list(elites), book
        self.renew()

    def columns(self) -> Sequence[Column]:
        name = self._book.metric.name if self._book is not None else "value"
        return [
            Column("niche", "niche", 22),
            Column("run", "run", 6, right=True),
            Column("value", name, 20),
            Column("summary", "summary", 14, rank=1, share=True),
        ]

    def count(self) -> int:
        return len(self.elites)

    def nothing(self) -> str:
        return "no niche has a run yet" if self._book is not None else READING

    def cell(self, row: int, key: str) -> Line:
        niche, run = self.elites[row]
        if key == "niche":
            return [(niche, "name")]
        if key == "run":
            kind = self._book.kind(run)  # type: ignore[union-attr]
            return [(f"{self.letters[kind]} ", kind), (run.label, "title")]
        if key == "value":
            return cells.value(self._book, run, self._book.metric.name, self.letters)  # type: ignore[arg-type, union-attr]
        return cells.summary(run, self.letters)


class IdeaTable(Grid):
    """The queue of ideas, what is next on top."""

    STYLES: ClassVar = {
        "queued": "",
        "claimed": "busy",
        "done": "good",
        "failed": "worse",
        "needs-model": "warning",
        "expired": "quiet",
        "dropped": "quiet",
    }

    def __init__(self, **more: object) -> None:
        super().__init__(**more)
        self.ideas: list[tuple[Idea, str, str, str]] = []  # idea, its status, label of the run that carried it out, of its source
        self._is_read = False

    def show(self, ideas: Sequence[tuple[Idea, str, str, str]]) -> None:
        """Other ideas; the one under the cursor stays there."""
        self._is_read = True
        kept = self.ideas[self.cursor][0].id if self.cursor < len(self.ideas) else ""
        self.ideas = list(ideas)
        self.renew()
        at = next((i for i, (idea, *_) in enumerate(self.ideas) if idea.id == kept), None)
        if at is not None:
            self.cursor = at

    @property
    def idea(self) -> Idea | None:
        """The one under the cursor."""
        return self.ideas[self.cursor][0] if self.cursor < len(self.ideas) else None

    def columns(self) -> Sequence[Column]:
        return [
            Column("status", "status", 11),
            Column("priority", "prio", 5, right=True),
            Column("run", "run", 5, right=True, rank=2),
            Column("by", "by", 10, rank=3),
            Column("kind", "kind", 14, rank=1),
            Column("idea", "idea", 16, share=True),
        ]

    def count(self) -> int:
        return len(self.ideas)

    def nothing(self) -> str:
        return "no ideas: i adds one" if self._is_read else READING

    def cell(self, row: int, key: str) -> Line:
        idea, status, run, source = self.ideas[row]
        plain = self.letters.plain
        if key == "status":
            return [(status, self.STYLES.get(status, ""))]
        if key == "priority":
            return [(f"{idea.priority:.2f}", "")]
        if key == "run":
            return [(run or source, "title" if run else "quiet")]
        if key == "by":
            return [(plain(clean(idea.by.removeprefix("reviewer:"))), "name")]
        return [(plain(clean(idea.mutation_type if key == "kind" else idea.description)), "quiet" if key == "kind" else "")]


class FlightTable(Grid):
    """What each slot runs, how long it has taken, and how long such a trial usually takes."""

    def __init__(self, *, clock: Callable[[], float], **more: object) -> None:
        super().__init__(**more)
        self.flights: list[Flying] = []
        self._clock = clock
        self._usual_s = 0.0
        self._has_loop = False

    def show(self, flights: Sequence[Flying], usual_s: float, *, has_loop: bool) -> None:
        """Other flights. usual_s: what a trial takes, 0.0 if nobody knows. has_loop: something may be in the air soon."""
        self._has_loop = has_loop
        self.flights, self._usual_s = sorted(flights, key=lambda f: (f.slot, f.run)), usual_s
        self.renew()

    def tick(self) -> None:
        """Time went on."""
        if self.flights:
            self._strips.clear()
            self.refresh()

    @property
    def flight(self) -> Flying | None:
        """The one under the cursor."""
        return self.flights[self.cursor] if self.cursor < len(self.flights) else None

    def columns(self) -> Sequence[Column]:
        return [
            Column("slot", "slot", 4, rank=5),
            Column("run", "run", 6, right=True),
            Column("step", "now", 16),
            Column("meter", "", METER, rank=3),
            Column("time", "elapsed of usual", 18),
            Column("memory", "memory", 9, right=True, rank=2),
            Column("emitter", "emitter", 14, rank=4),
            Column("summary", "what", 14, share=True),
        ]

    def count(self) -> int:
        return len(self.flights)

    def nothing(self) -> str:
        return "nothing is in the air" + ("" if self._has_loop else ", and no loop runs: `evogit loop` starts one")

    def cell(self, row: int, key: str) -> Line:
        flight, letters = self.flights[row], self.letters
        if key == "slot":
            return [(flight.slot, "quiet")]
        if key == "run":
            return [(flight.run, "title")]
        if key == "step":
            return [(f"{flight.step}, seed {flight.seed}" if flight.step else flight.state, "busy" if flight.step else "")]
        if key == "memory":
            return [(f"{flight.rss_mib:,} MiB" if flight.rss_mib else letters["dash"], "quiet")]
        if key == "emitter":
            return [(letters.plain(clean(flight.emitter)), "name")]
        if key == "summary":
            said = f"reads run {flight.of} once more" if flight.of else flight.summary
            return [(letters.plain(clean(said)), "")]
        return self._time(flight, key)

    def _time(self, flight: Flying, key: str) -> Line:
        then = cells.seconds_of(flight.since if flight.step else flight.began)
        if not then:
            return [("", "")]
        seconds, usual = max(0.0, self._clock() - then), self._usual_s if flight.step else 0.0
        if key == "time":
            late = usual and seconds > 2 * usual
            said = duration(seconds) if seconds >= 10 else f"{int(seconds)} s"
            return [(said, "warning" if late else ""), (f" of {duration(usual)}" if usual else "", "quiet")]
        if not usual:
            return [("", "")]
        full, empty = self.letters.meter(seconds / usual, METER)
        return [(full, "warning" if seconds > 2 * usual else "busy"), (empty, "trough")]
