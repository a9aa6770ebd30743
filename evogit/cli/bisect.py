"""`evogit bisect`: the keep since which a metric is worse. git bisects the branch, the record answers, noise is not believed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from evogit.cli import complete, work
from evogit.cli.command import WorkCommand
from evogit.cli.invocation import Invocation
from evogit.narrating import event_line
from evogit.present import clean, json_line, log_object, number

if TYPE_CHECKING:
    from evogit.bisecting import Bisected
    from evogit.domain.run import Run


@click.command("bisect", cls=WorkCommand)
@click.argument("metric", shell_complete=complete.metrics)
@click.option("--good", metavar="RUN", default="", shell_complete=complete.runs, help="Where it was well; default: the epoch's baseline.")
@click.option("--bad", metavar="RUN", default="", shell_complete=complete.runs, help="Where it is worse; default: the incumbent.")
@click.option("--measure", is_flag=True, help="Read incumbents again where noise leaves it open.")
@work.trial_options
@click.pass_obj
def command(invocation: Invocation, metric: str, good: str, bad: str, measure: bool, as_json: bool, **asked: Any) -> int:
    """Find the keep since which a metric is worse, beyond noise.

    git bisects the first parents of the campaign's branch; each commit there stands for its incumbent. Exit code 1 where it stays open.
    """
    lab = invocation.lab()
    options = work.options_from(invocation, asked) if measure else None
    found = lab.bisect(metric, good=good, bad=bad, measure=options, tell=lambda event: click.echo(event_line(event), err=True))
    if as_json:
        click.echo(json_line(_object(found)))
    else:
        for line in _lines(found):
            click.echo(line)
    return 0 if found.culprit is not None else work.FAILED


def _lines(found: Bisected) -> list[str]:
    name = found.metric
    ends = f"{name} is {number(found.good_value)} in run {found.good.label} and {number(found.bad_value)} in run {found.bad.label}"
    lines = [f"{ends} (noise {number(found.noise)}; git looked at {found.asked} commits)"]
    if found.culprit is None:
        listed = ", ".join(f"run {run.label}" for run in found.suspects)
        return [*lines, f"it stays open: {listed or 'no run'} may have brought it", "read them again: the same command with --measure"]
    run = found.culprit
    was = f", was {number(found.before_value)} in run {found.before.label}" if found.before and found.before_value is not None else ""
    how = {"judge": " (a person made it the incumbent)", "join": " (it came in when two lab books were joined)"}.get(found.how, "")
    lines.append(f"it came with run {run.label}{how}: {clean(run.summary)}: {name} {number(found.culprit_value)}{was}")
    if found.is_mixed:
        lines.append("after it the metric was well again for a while: there may be other such keeps, so move --good and ask again")
    return [*lines, f"look at it: evogit show {run.label}"]


def _object(found: Bisected) -> dict[str, object]:
    def told(run: Run | None) -> dict[str, object] | None:
        return log_object(run) if run is not None else None

    numbers = ("metric", "good_value", "bad_value", "noise", "culprit_value", "before_value", "how", "asked", "is_mixed")
    runs = {"good": told(found.good), "bad": told(found.bad), "culprit": told(found.culprit), "before": told(found.before)}
    return {**{name: getattr(found, name) for name in numbers}, **runs, "suspects": [run.label for run in found.suspects]}
