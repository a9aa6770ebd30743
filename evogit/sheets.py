"""Tables for scripts: nouns as named columns of whole values, written with tabs, or in the stable line format of `--porcelain`.

Nothing is shortened, rounded or coloured here, and no column ever moves: what is new comes last. People get `cli.page`.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from evogit.domain.metric import Metric
from evogit.domain.report import Bill, Costs, Status
from evogit.domain.run import Run
from evogit.domain.trial import TrialLine
from evogit.present import Standing, clean, std

VERSION = 1  # of the porcelain: raised where a column would have to move or to mean something else
MISSING = "\\N"  # in the porcelain; an empty text is an empty text
_ESCAPES = {"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"}

_UNSAFE = ("Cc", "Cf", "Cs", "Zl", "Zp")  # what a terminal may obey, or a reader take for the end of a line

Value = str | int | float | bool | None | tuple[Any, ...]


class Sheet(NamedTuple):
    """A table: what it is called, its columns, its rows."""

    name: str
    columns: tuple[str, ...]
    rows: Iterable[Sequence[Value]]


def tsv(sheet: Sheet) -> Iterator[str]:
    """Lines: the columns' names, then a row each. A missing value is empty; tabs and line ends in text are blanks."""
    yield "\t".join(map(clean, sheet.columns))
    for row in sheet.rows:
        yield "\t".join("" if value is None else clean(_text(value)) for value in row)


def porcelain(sheet: Sheet) -> Iterator[str]:
    """Lines: two that begin with `#` (format, version, table; the columns' names), then a row each, every value reversibly escaped."""
    yield f"# evogit porcelain {VERSION} {sheet.name}"
    yield "# " + "\t".join(map(_escaped, sheet.columns))
    for row in sheet.rows:
        yield "\t".join(MISSING if value is None else _escaped(_text(value)) for value in row)


def _text(value: Value) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (tuple, list, frozenset, set)):
        return ",".join(map(_text, sorted(value) if isinstance(value, (set, frozenset)) else value))
    return repr(value) if isinstance(value, float) else str(value)


def _escaped(text: str) -> str:
    if text.isprintable() and "\\" not in text:
        return text
    return "".join(_ESCAPES.get(c) or (_by_number(c) if unicodedata.category(c) in _UNSAFE else c) for c in text)


def _by_number(character: str) -> str:
    code = ord(character)
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


# what is in them: a column never moves, and what is new comes last; `runs`, `found` and `trials` have the problem's metrics behind these

RUN = (
    "run",
    "commit",
    "parents",
    "generation",
    "epoch",
    "verdict",
    "near_miss",
    "certified",
    "judged",
    "emitter",
    "agent",
    "change",
    "seeds",
    "seconds",
    "cost_usd",
    "started",
    "vs_best",
    "vs_parent",
    "crash",
    "reason",
    "summary",
)
_TRIAL = (
    "run",
    "seed",
    "purpose",
    "attempt",
    "status",
    "arm",
    "seconds",
    "peak_rss_mib",
    "cost_usd",
    "source",
    "backend",
    "sandbox",
    "time",
)
_BILL = ("name", "runs", "kept", "readings", "calls", "unpriced", "input", "output", "cache_write", "cache_read")
COLUMNS: dict[str, tuple[str, ...]] = {
    "runs": RUN,
    "found": (*RUN, "where"),
    "trials": (*_TRIAL, "crash"),
    "metrics": ("metric", "before", "after", "change", "floor"),
    "status": ("field", "value"),
    "costs": (*_BILL, "models_usd", "compute_usd", "known_usd", "cost_usd", "per_kept_usd"),
    "emitters": ("emitter", "runs", "keeps", "rate", "low", "high", "share", "chance"),
    "hypervolume": ("run", "seq", "hypervolume"),
    "memory": ("kind", "key", "runs", "count", "value", "text"),
    "ideas": (
        "id", "status", "run", "from", "source", "by", "mutation_type", "description", "expected_benefit", "priority", "time",
    ),
    "tags": ("name", "run", "commit", "subject"),
    "campaigns": ("tag", "is_archived", "age_s", "subject", "bars"),
    "pruned": ("tag", "action", "why"),
    "findings": ("level", "check", "fixed", "message", "fix"),
    "holdout": ("run", "verdict", "certified", "validation", "held_out", "gap", "looks", "time", "waits", "note"),
}  # fmt: skip


def objects(name: str, said: Iterable[object]) -> Sheet:
    """Structs, or objects as `--json` prints them, by the names of their fields: those of COLUMNS."""
    columns = COLUMNS[name]
    return Sheet(name, columns, ([_field(each, column) for column in columns] for each in said))


def _field(said: object, name: str) -> Value:
    value = said.get(name) if isinstance(said, Mapping) else getattr(said, name)
    return tuple(value) if isinstance(value, list) else value


# runs ---------------------------------------------------------------------------------------------------------------------


def runs(found: Iterable[Run], metrics: Sequence[Metric], standings: Mapping[str, Standing] | None = None) -> Sheet:
    """A row a run, then of each metric its mean, spread between seeds and number of readings. Without standings nothing is compared."""
    standing = standings or {}
    rows = ([*_run(run, standing.get(run.commit)), *_numbers(run, metrics)] for run in found)
    return Sheet("runs", (*COLUMNS["runs"], *_titles(metrics)), rows)


def found(said: Iterable[tuple[Run, str]], metrics: Sequence[Metric], standings: Mapping[str, Standing]) -> Sheet:
    """What a search found, and where. standings: as for `runs`."""
    rows = ([*_run(run, standings.get(run.commit)), where, *_numbers(run, metrics)] for run, where in said)
    return Sheet("found", (*COLUMNS["found"], *_titles(metrics)), rows)


def _run(run: Run, standing: Standing | None) -> list[Value]:
    seeds = tuple(dict.fromkeys(t.seed for t in run.trials if t.purpose == "select"))
    compared = (standing.to_incumbent, standing.to_parent) if standing else (None, None)
    head: list[Value] = [run.label, run.commit, run.parents, run.generation, run.epoch, run.verdict.value, run.near_miss, run.certified]
    head += [run.judged or None, run.emitter, run.agent, run.change, seeds, run.seconds, run.total_usd, run.started]
    return [*head, *compared, run.crash or None, run.reason, run.summary]


def _titles(metrics: Sequence[Metric]) -> list[str]:
    return [title for m in metrics for title in (m.name, f"{m.name}.std", f"{m.name}.n")]


def _numbers(run: Run, metrics: Sequence[Metric]) -> list[Value]:
    told: list[Value] = []
    for metric in metrics:
        values = run.readings.get(metric.name, ())
        told += [run.mean(metric.name), std(values) if values else None, len(values)]
    return told


def trials(run: Run, later: Sequence[TrialLine], metrics: Sequence[Metric]) -> Sheet:
    """A row a trial of a run, later readings among them, then each metric."""
    rows = (
        [
            run.label,
            *(t.status.value if name == "status" else getattr(t, name) for name in _TRIAL[1:]),
            f"{t.crash.kind}: {t.crash.message}" if t.crash else None,
            *(t.metrics.get(m.name) for m in metrics),
        ]
        for t in (*run.trials, *later)
    )
    return Sheet("trials", (*COLUMNS["trials"], *(m.name for m in metrics)), rows)


def compared(before: Run | None, after: Run, metrics: Sequence[Metric], floors: Mapping[str, float]) -> Sheet:
    """A row a metric that one of two runs has: its mean in the one, in the other, the difference where they may be compared, and what noise makes.

    floors: metric -> the difference that chance alone stays below in 95 % of cases, where it is known.
    """
    is_fair = before is not None and before.epoch == after.epoch
    rows = []
    for metric in metrics:
        old, new = before.mean(metric.name) if before else None, after.mean(metric.name)
        if old is not None or new is not None:
            change = new - old if is_fair and old is not None and new is not None else None
            rows.append((metric.name, old, new, change, floors.get(metric.name)))
    return Sheet("metrics", COLUMNS["metrics"], rows)


# other nouns --------------------------------------------------------------------------------------------------------------


def status(now: Status) -> Sheet:
    """A row a fact; what there may be several of has a row each (`in_flight`, `warning`)."""
    name = now.metric.name
    plain = ("campaign", "branch", "problem", "folder", "runs", "epoch", "baselines", "spread", "seconds", "cost_usd", "known_usd")
    rows: list[tuple[str, Value]] = [(field, getattr(now, field)) for field in plain]
    rows += [("metric", name), ("direction", now.metric.direction.value), *now.verdicts.items()]
    for word, run in (("baseline", now.baseline), ("incumbent", now.incumbent)):
        rows += [(word, run.label if run else None), (f"{word}_value", run.mean(name) if run else None)]
    rows += [(field, getattr(now, field)) for field in ("loop_pid", "is_paused", "max_cost", "loop_usd", "campaigns")]
    rows += [("in_flight", (f.run, f.state, f.emitter, f.clone, f.since)) for f in now.in_flight]
    rows += [("warning", f"{w.kind}: {w.message}") for w in now.warnings]
    return Sheet("status", COLUMNS["status"], rows)


def costs(said: Costs) -> Sheet:
    """A row a line of `evogit cost`; the sum is left to whoever reads it."""
    return Sheet("costs", COLUMNS["costs"], map(_bill, said.lines))


def _bill(bill: Bill) -> list[Value]:
    paid = bill.spent
    counts = [bill.runs, bill.kept, bill.readings, paid.calls, paid.unpriced, paid.input, paid.output, paid.cache_write, paid.cache_read]
    each = None if paid.unpriced else bill.per_kept_usd
    return [bill.name, *counts, paid.usd, bill.compute_usd, bill.usd, bill.total_usd, each]
