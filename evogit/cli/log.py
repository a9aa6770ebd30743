"""`evogit log`: the lineage, one line a run, newest first. What counts as better is asked of the metric."""

from __future__ import annotations

from collections.abc import Sequence

import click

from evogit import lanes, sheets
from evogit.cli import complete, forms, trust
from evogit.cli.command import Command
from evogit.cli.invocation import Invocation
from evogit.cli.leaderboard import titled
from evogit.cli.page import Cell, Column, Page
from evogit.domain.metric import Metric
from evogit.domain.run import Run
from evogit.present import Standing, clean, delta, log_object, number, places, standings

TREND = {1: "good", -1: "worse", 0: ""}
VERDICTS = ("keep", "discard", "crash", "reject")
WIDEST = 28  # cells of lanes, also in a pipe: each run's words would stand behind a hundred blanks
SLIMMEST = 6


@click.command("log", cls=Command)
@click.option("-n", "--limit", type=click.IntRange(min=0), default=0, metavar="N", help="Only the newest N; 0: all.")
@click.option("--verdict", type=click.Choice(VERDICTS), default=None, help="Only runs with this verdict.")
@click.option("--emitter", metavar="NAME", default="", shell_complete=complete.roles, help="Only runs of this search role.")
@click.option(
    "--since",
    metavar="WHEN",
    default="",
    shell_complete=complete.runs,
    help="Only runs since a date (2026-11-29T23:00), within an age (12h, 30d, 2w), or after a run.",
)
@click.option("--grep", metavar="TEXT", default="", help="Only runs that say TEXT.")
@forms.formats("One JSON object a run, oldest first.")
@click.pass_obj
def command(invocation: Invocation, limit: int, verdict: str | None, emitter: str, since: str, grep: str, form: str) -> None:
    """Draw the lineage with verdicts and deltas.

    Newest first. A run hangs off its parent's line, a recombination off two. Where there are more lines than room, they are cut,
    with a mark; the verdict stays.
    """
    lab = invocation.lab()
    shown = lab.runs(verdict=verdict or "", emitter=emitter, since=since, grep=grep, limit=limit)
    if forms.put(form, lambda: map(log_object, shown), lambda: sheets.runs(shown, lab.problem.metrics, standings(lab.runs(), lab.metric))):
        return
    page = invocation.page()
    is_part = bool(verdict or emitter or since or grep or limit)
    everything = lab.runs() if is_part else shown
    if shown:
        page.show([*trust.notes(shown, page), *lines(shown, everything, lab.metric, page)])
    else:
        click.echo(_nothing(emitter, everything), err=True)


def _nothing(emitter: str, everything: Sequence[Run]) -> str:
    if not everything:
        return "no run is decided yet; start with: evogit loop"
    roles = sorted({run.emitter for run in everything})
    return f"no run is of a role {emitter}; there are: {', '.join(roles)}" if emitter and emitter not in roles else "no run is like that"


def lines(shown: Sequence[Run], everything: Sequence[Run], metric: Metric, page: Page, *, oldest_first: bool = False) -> list[str]:
    """The drawing of `shown` (oldest first), compared along `everything`: a title line, then a line a run."""
    standing = standings(everything, metric)
    known = [standing[run.commit] for run in shown]
    digits = places([s.value for s in known if s.value is not None], [s.spread for s in known])
    newest = list(reversed(shown))
    drawn = _lanes(newest, everything, page, upside_down=oldest_first)
    rows = [[lane, *_row(run, standing[run.commit], digits, page)] for run, lane in zip(newest, drawn)]
    return page.table(_columns(metric, page), reversed(rows) if oldest_first else rows)


def _columns(metric: Metric, page: Page) -> list[Column]:
    return [
        Column(""),
        Column("run", right=True),
        Column(titled(metric, page)),
        Column("vs best", right=True, optional=1),
        Column("vs parent", right=True, optional=3),
        Column("emitter", least=9, optional=2),
        Column("summary", least=16),
    ]


def _row(run: Run, standing: Standing, digits: int, page: Page) -> list[Cell]:
    why = run.crash or run.reason if standing.value is None else ""
    return [
        (run.label, "title"),
        value_of(run, standing, digits, page),
        (delta(standing.to_incumbent, digits) if standing.to_incumbent is not None else "", TREND[standing.trend]),
        (delta(standing.to_parent, digits) if standing.to_parent is not None else "", "quiet"),
        (run.emitter, "name"),
        [
            (trust.mark(run, page), "warning"),
            (clean(_said(run)), ""),
            *((f" {page.letter('·', '-')} {clean(text)}", "quiet") for text in (why, _judged(run)) if text),
        ],
    ]


def value_of(run: Run, standing: Standing, digits: int, page: Page) -> Cell:
    """A run's mean and its spread between seeds, or the verdict of one that has no number."""
    if standing.value is None:
        return (run.verdict.value, run.verdict.value)
    spread = f" {page.letter('±', '+-')}{number(standing.spread, digits)}" if standing.spread > 0 else ""
    return [(number(standing.value, digits), ""), (spread, "quiet")]


def _judged(run: Run) -> str:
    return f"{run.verdict.value} by {run.judged}" if run.judgements else ""


def _said(run: Run) -> str:
    """Its summary; of a baseline that began another epoch, why that began: what is below it is not compared."""
    return f"epoch {run.epoch}: {run.hypothesis}" if run.epoch and run.generation == 0 else run.summary


def _lanes(newest: Sequence[Run], everything: Sequence[Run], page: Page, *, upside_down: bool) -> list[Cell]:
    parents: dict[str, Sequence[str]] = {run.commit: run.parents for run in everything}
    order = [run.commit for run in newest]
    if len(newest) < len(everything):
        parents = lanes.nearest_shown(order, parents)
    verdicts = {run.commit: run.verdict.value for run in newest}
    drawn = lanes.draw(order, parents, {c: page.glyph(v) for c, v in verdicts.items()}, trunk=newest[0].incumbent)
    width = WIDEST if page.width is None else min(WIDEST, max(SLIMMEST, page.width // 6))
    cells: list[Cell] = []
    for commit, line in zip(order, drawn):
        left, glyph, right = lanes.narrow(line, width, page.letter("…", "~"))
        left, right = (lanes.spell(lane, upside_down=upside_down, ascii_=not page.unicode) for lane in (left, right))
        cells.append([(left, "quiet"), (glyph, verdicts[commit]), (right, "quiet")])
    return cells
