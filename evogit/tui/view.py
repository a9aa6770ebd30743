"""Which runs of a book are shown and in which order: what is typed, a verdict, a column. Pure, and fast enough for each key at 10,000 runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from evogit.domain.run import Run
from evogit.tui.book import Book

VERDICTS = ("", "keep", "near miss", "discard", "crash", "reject")
FIELDS: dict[str, Callable[[Run], str]] = {
    "verdict": lambda r: r.verdict.value,
    "emitter": lambda r: r.emitter,
    "agent": lambda r: r.agent,
    "change": lambda r: r.change,
    "niche": lambda r: r.niche,
    "run": lambda r: r.label,
}


class View(msgspec.Struct, frozen=True):
    """What is asked for."""

    text: str = ""  # words that must all be there; -word must not; emitter:word looks into one field
    verdict: str = ""  # one of VERDICTS
    sort: str = "run"  # a column: "run", "verdict", "gain", "emitter", "agent", "cost", "took", "age", or a metric's name
    is_reversed: bool = False  # best, newest or first in the alphabet stands on top unless this is true

    @property
    def is_all(self) -> bool:
        """True if no run is left out."""
        return not self.text.strip() and not self.verdict


def order(book: Book, view: View) -> list[int]:
    """Places of the runs to show, from top to bottom. 20 ms at 10,000 runs. What has no value for the column comes last."""
    shown = [at for at in range(len(book)) if fits(book, at, view)] if not view.is_all else list(range(len(book)))
    key = _key(book, view.sort)
    if key is None:
        return shown if view.is_reversed else shown[::-1]
    known = [(value, at) for at in shown if (value := key(at)) is not None]
    known.sort(key=lambda pair: pair[0], reverse=view.is_reversed)
    return [at for _, at in known] + [at for at in reversed(shown) if key(at) is None]


def fits(book: Book, place: int, view: View) -> bool:
    """True if the run is among those asked for."""
    run = book.runs[place]
    if view.verdict and view.verdict != ("near miss" if run.near_miss else run.verdict.value):
        return False
    said = book.said[place]
    return all(_has(run, said, word) for word in view.text.casefold().split())


def _has(run: Run, said: str, word: str) -> bool:
    if word[0] == "-" and len(word) > 1:
        return not _has(run, said, word[1:])
    field, colon, rest = word.partition(":")
    look = FIELDS.get(field) if colon else None
    return rest in look(run).casefold() if look else word in said


def _key(book: Book, column: str) -> Callable[[int], object] | None:
    """What a column sorts by, best or first on top; None for the order of decisions."""
    metric = next((m for m in book.metrics if m.name == column), None)
    if metric is not None:
        values, sign = book.values(column), metric.gain(0.0, 1.0)  # 1.0 where less is better
        return lambda at: None if values[at] is None else sign * values[at]
    runs = book.runs
    if column == "gain":
        gains = [book.over_parent(run) for run in runs]
        sign = book.metric.gain(0.0, 1.0)
        return lambda at: None if (gain := gains[at]) is None else sign * gain.delta
    return {
        "verdict": lambda at: (_VERDICT_ORDER[runs[at].verdict.value], not runs[at].near_miss, -at),
        "emitter": lambda at: (runs[at].emitter, -at),
        "agent": lambda at: (runs[at].agent, -at),
        "cost": lambda at: (-runs[at].cost_usd, -at),
        "took": lambda at: (-runs[at].seconds, -at),
    }.get(column)


_VERDICT_ORDER = {"keep": 0, "discard": 1, "crash": 2, "reject": 3}


def next_of(options: Sequence[str], now: str, step: int = 1) -> str:
    """The option after `now`, the first one after the last."""
    return options[(options.index(now) + step) % len(options)] if now in options else options[0]
