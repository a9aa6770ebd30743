"""`evogit leaderboard`: the best runs by the primary metric, with their other numbers."""

from __future__ import annotations

from collections.abc import Sequence

import click

from evogit import sheets
from evogit.cli import forms, trust
from evogit.cli.command import Command
from evogit.cli.invocation import Invocation
from evogit.cli.page import Cell, Column, Page
from evogit.domain.metric import Direction, Metric
from evogit.domain.run import Run
from evogit.present import claim, clean, log_object, number, places, standings, std


@click.command("leaderboard", cls=Command)
@click.option("-n", "--limit", type=click.IntRange(min=1), default=20, show_default=True, metavar="N", help="How many runs.")
@forms.formats("One JSON object a run, best first.")
@click.pass_obj
def command(invocation: Invocation, limit: int, form: str) -> None:
    """List the best runs."""
    lab = invocation.lab()
    best = lab.leaderboard(limit)
    if forms.put(form, lambda: map(log_object, best), lambda: sheets.runs(best, lab.problem.metrics, standings(lab.runs(), lab.metric))):
        return
    if best:
        page = invocation.page()
        page.show([*trust.notes(best, page), *table(best, lab.problem.metrics, page, ranked=True)])
    else:
        click.echo("no run has a number yet; start with: evogit loop", err=True)


def table(runs: Sequence[Run], metrics: Sequence[Metric], page: Page, *, ranked: bool = False) -> list[str]:
    """Lines of a table of runs in the order given, a column a metric; the first one with its spread over seeds."""
    digits = {m.name: _places(runs, m) for m in metrics}
    columns = [
        *([Column("", right=True)] if ranked else []),
        Column(""),
        Column("run", right=True),
        *(Column(titled(m, page), right=i > 0, optional=i > 2) for i, m in enumerate(metrics)),
        Column("gain", optional=True),
        Column("emitter", least=9, optional=True),
        Column("summary", least=20),
    ]
    rows = [[*([(str(i), "quiet")] if ranked else []), *_row(run, metrics, digits, page)] for i, run in enumerate(runs, 1)]
    return page.table(columns, rows)


def _places(runs: Sequence[Run], metric: Metric) -> int:
    readings = [r.readings.get(metric.name, ()) for r in runs]
    whole = all(float(v).is_integer() for values in readings for v in values)
    return places([sum(v) / len(v) for v in readings if v], [] if whole else [std(v) for v in readings])


def titled(metric: Metric, page: Page) -> str:
    """The metric's name with an arrow to where it is better."""
    is_least = metric.direction is Direction.MINIMIZE
    return f"{metric.name} {page.letter('↓', '(min)') if is_least else page.letter('↑', '(max)')}"


def _row(run: Run, metrics: Sequence[Metric], digits: dict[str, int], page: Page) -> list[Cell]:
    numbers: list[Cell] = [number(run.mean(m.name), digits[m.name]) for m in metrics]
    spread = std(run.readings.get(metrics[0].name, ()))
    if spread > 0:
        numbers[0] = [(str(numbers[0]), ""), (f" {page.letter('±', '+-')}{number(spread, digits[metrics[0].name])}", "quiet")]
    verdict = run.verdict.value
    return [
        (page.glyph(verdict), verdict),
        (run.label, "title"),
        *numbers,
        (claim(run), "quiet"),
        (run.emitter, "name"),
        [(trust.mark(run, page), "warning"), (clean(run.summary), "")],
    ]
