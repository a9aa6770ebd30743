"""`evogit frontier`: the Pareto set as a table and, for two metrics or more, as a small plot of the first two."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import click

from evogit import sheets
from evogit.cli import complete, forms, scatter, trust
from evogit.cli.command import Command
from evogit.cli.invocation import Invocation
from evogit.cli.leaderboard import table
from evogit.cli.page import Column
from evogit.domain.metric import Metric
from evogit.domain.problem import Problem
from evogit.domain.run import Run
from evogit.errors import UnknownName
from evogit.present import log_object, plural, standings

CONTEXT = 200  # other runs in the plot, best first: a plot of 56 by 12 letters shows no more


class Step(Protocol):
    """The covered share after one run, as the lab tells it."""

    run: str
    seq: int
    volume: float


@click.command("frontier", cls=Command)
@click.option(
    "--over",
    multiple=True,
    metavar="METRIC",
    shell_complete=complete.metrics,
    help="These metrics only; repeat it or separate with commas.",
)
@forms.formats("One JSON object a run.")
@click.option("--hypervolume", "as_volume", is_flag=True, help="How much of the room from worst to best is covered, run by run.")
@click.pass_obj
def command(invocation: Invocation, over: tuple[str, ...], form: str, as_volume: bool) -> None:
    """List and draw the runs that no other run dominates."""
    lab = invocation.lab()
    metrics = _metrics(lab.problem, tuple(name.strip() for part in over for name in part.split(",") if name.strip()))
    if as_volume:
        _volumes(invocation, lab.hypervolume(tuple(m.name for m in metrics)), metrics, form)
        return
    runs = lab.frontier(tuple(m.name for m in metrics))
    if forms.put(form, lambda: map(log_object, runs), lambda: sheets.runs(runs, lab.problem.metrics, standings(lab.runs(), lab.metric))):
        return
    if not runs:
        click.echo("no run has all these numbers yet; start with: evogit loop", err=True)
        return
    page = invocation.page()
    lines = [*trust.notes(runs, page), *table(runs, metrics, page)]
    if len(metrics) > 1:
        width = min(60, (page.width or 76) - 16)
        lines += ["", *scatter.draw(points(runs, lab.leaderboard(CONTEXT), metrics), metrics[1], metrics[0], page, width=width)]
    page.show(lines)


def _volumes(invocation: Invocation, steps: Sequence[Step], metrics: Sequence[Metric], form: str) -> None:
    """Every run as JSON; for people those that changed the volume, which is what a curve would show."""
    objects = [{"run": step.run, "seq": step.seq, "hypervolume": step.volume} for step in steps]
    if forms.put(form, lambda: objects, lambda: sheets.objects("hypervolume", objects)):
        return
    if not steps:
        click.echo("no run has all these numbers yet; start with: evogit loop", err=True)
        return
    page = invocation.page()
    rises = [step for before, step in zip([None, *steps], steps) if before is None or step.volume > before.volume]
    rows = [(step.run, f"{step.volume:.4f}") for step in rises]
    names = ", ".join(m.name for m in metrics)
    told = f"{steps[-1].volume:.4f} of the room from worst to best is covered after {plural(len(steps), 'run')} ({names})"
    page.show([*page.table((Column("run"), Column("hypervolume", right=True)), rows), "", told])


def _metrics(problem: Problem, names: Sequence[str]) -> list[Metric]:
    """The objectives, or those that were named, the first one named drawn upwards. Raises UnknownName."""
    if not names:
        return list(problem.objectives)
    found = []
    for name in dict.fromkeys(names):
        metric = problem.metric(name)
        if metric is None:
            raise UnknownName(f"{problem.name} has no metric {name}", hint=f"its metrics are {', '.join(m.name for m in problem.metrics)}")
        found.append(metric)
    return found


def points(front: Sequence[Run], others: Sequence[Run], metrics: Sequence[Metric]) -> list[scatter.Point]:
    """The front by label and the others as dots, at their means of the first two metrics."""
    on_front = {run.commit for run in front}
    found = []
    for run in [*front, *(r for r in others if r.commit not in on_front)]:
        x, y = run.mean(metrics[1].name), run.mean(metrics[0].name)
        if x is not None and y is not None:
            found.append(scatter.Point(x=x, y=y, label=run.label if run.commit in on_front else "", verdict=run.verdict.value))
    return found
