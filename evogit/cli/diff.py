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
from evogit.present import clean, delta, number, places

if TYPE_CHECKING:
    from evogit.lab import Lab


@click.command("diff", cls=Command)
@click.argument("run", shell_complete=complete.runs)
@click.argument("other", required=False, default="", shell_complete=complete.runs)
@forms.formats("One JSON object.")
@click.pass_obj
def command(invocation: Invocation, run: str, other: str, form: str) -> None:
    """Compare two runs, or a run with its parent.

    On a terminal their metrics stand above the code. In a pipe it is a patch that `git apply` takes.
    """
    lab = invocation.lab()
    text, (before, after) = lab.diff(run, other), _ends(lab, run, other)
    numbers = {name: {"before": before.mean(name) if before else None, "after": after.mean(name)} for name in _metrics(lab, before, after)}
    told = {"run": run, "other": other or None, "metrics": numbers, "diff": text}
    if forms.put(form, lambda: [told], lambda: sheets.compared(before, after, lab.problem.metrics)):
        return
    page = invocation.page()
    if not text:
        click.echo("there is no difference", err=True)
    elif page.terminal:
        ends = [run for run in (before, after) if run is not None]
        page.show([*trust.notes(ends, page), *_numbers(lab, before, after, page), "", *page.diff(text)])
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


def _numbers(lab: Lab, before: Run | None, after: Run, page: Page) -> list[str]:
    """A line a metric: before, after, and what lies between them; nothing lies between runs of different epochs."""
    is_comparable = before is not None and before.epoch == after.epoch
    columns = [Column("metric"), Column(f"run {before.label}" if before else "", right=True), Column(f"run {after.label}", right=True)]
    rows: list[list[Cell]] = []
    for name in _metrics(lab, before, after):
        old, new = before.mean(name) if before else None, after.mean(name)
        digits = places([value for value in (old, new) if value is not None])
        change = delta(new - old, digits) if is_comparable and old is not None and new is not None else ""
        rows.append([clean(name), (number(old, digits), "quiet"), number(new, digits), change])
    return page.table([*columns, Column("", right=True)], rows)
