"""`evogit diff`: two runs side by side, their code as git shows it, their metrics beside it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from evogit import sheets
from evogit.cli import complete, forms, trust
from evogit.cli.command import Command
from evogit.cli.invocation import Invocation
from evogit.cli.page import Cell, Column, Page
from evogit.domain.run import Run
from evogit.present import clean, delta, number, places, std

if TYPE_CHECKING:
    from evogit.lab import Lab


SAME = "their code is the same"


@click.command("diff", cls=Command)
@click.argument("run", shell_complete=complete.runs)
@click.argument("other", required=False, default="", shell_complete=complete.runs)
@forms.formats("One JSON object.")
@click.pass_obj
def command(invocation: Invocation, run: str, other: str, form: str) -> None:
    """Compare two runs, or a run with its parent.

    On a terminal their metrics stand above the code, and whether chance alone may have made the difference (95 %). In a pipe it is a
    patch that `git apply` takes.
    """
    lab = invocation.lab()
    text, (before, after) = lab.diff(run, other), _ends(lab, run, other)
    floors = _floors(lab, before, after)
    numbers = {
        name: {"before": before.mean(name) if before else None, "after": after.mean(name), "floor": floors.get(name)}
        for name in _metrics(lab, before, after)
    }
    told = {"run": run, "other": other or None, "metrics": numbers, "diff": text}
    if forms.put(form, lambda: [told], lambda: sheets.compared(before, after, lab.problem.metrics, floors)):
        return
    page = invocation.page()
    if page.terminal:
        code = page.diff(text) if text else [page.paint(SAME, "quiet")]
        ends = [run for run in (before, after) if run is not None]
        page.show([*trust.notes(ends, page), *_numbers(lab, before, after, floors, page), "", *code])
    elif not text:
        click.echo(SAME, err=True)
    else:
        click.echo(text, nl=not text.endswith("\n"), color=True)


def _ends(lab: Lab, run: str, other: str) -> tuple[Run | None, Run]:
    """The run before, None for a baseline, and the one after."""
    first = lab.run(run)
    if other:
        return first, lab.run(other)
    return (lab.run(first.parents[0]) if first.parents else None), first


def _metrics(lab: Lab, before: Run | None, after: Run) -> list[str]:
    """Metrics that one of the two has, in the problem's order."""
    return [m.name for m in lab.problem.metrics if after.readings.get(m.name) or (before is not None and before.readings.get(m.name))]


def _floors(lab: Lab, before: Run | None, after: Run) -> dict[str, float]:
    """Metric -> what noise makes of a difference, of those of which it is known."""
    if before is None or before.epoch != after.epoch:
        return {}
    return {name: floor for name, floor in lab.noise_floors(before, after).items() if floor}


def _numbers(lab: Lab, before: Run | None, after: Run, floors: dict[str, float], page: Page) -> list[str]:
    """A line a metric: before, after, each with its spread between seeds, and what lies between them; nothing lies between different epochs."""
    is_comparable = before is not None and before.epoch == after.epoch
    columns = [Column("metric", least=8), Column(f"run {before.label}" if before else ""), Column(f"run {after.label}")]
    rows: list[list[Cell]] = []
    for name in _metrics(lab, before, after):
        old, new = before.mean(name) if before else None, after.mean(name)
        spreads = [std(run.readings.get(name, ())) if run else 0.0 for run in (before, after)]
        digits = places([value for value in (old, new) if value is not None], spreads)
        change = delta(new - old, digits) if is_comparable and old is not None and new is not None else ""
        noise = _noise(new - old, floors[name]) if name in floors and old is not None and new is not None else ""
        then, now = (_value(value, spread, digits, page) for value, spread in zip((old, new), spreads))
        rows.append([clean(name), then, now, change, (noise, "quiet")])
    return page.table([*columns, Column("change" if is_comparable else "", right=True), Column("")], rows)


def _value(value: float | None, spread: float, digits: int, page: Page) -> Cell:
    return [(number(value, digits), ""), (f" {page.letter('±', '+-')}{number(spread, digits)}" if spread else "", "quiet")]


def _noise(change: float, floor: float) -> str:
    return "within noise" if abs(change) <= floor else "beyond noise"
