"""`evogit judge`: a person's verdict in place of the one that a run has. What follows from it is the lab's affair."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from evogit.cli import complete
from evogit.cli.command import Command
from evogit.cli.invocation import Invocation
from evogit.present import clean, json_line, log_object, number

if TYPE_CHECKING:
    from evogit.judging import Judging
    from evogit.lab import Lab


@click.command("judge", cls=Command)
@click.argument("run", shell_complete=complete.runs)
@click.argument("verdict", type=click.Choice(["keep", "discard"]))
@click.option("--because", metavar="TEXT", required=True, help="Why; it is kept with the verdict.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
@click.pass_obj
def command(invocation: Invocation, run: str, verdict: str, because: str, as_json: bool) -> None:
    """Override the verdict on a run, with a reason.

    A keep makes the run the incumbent; an incumbent that is discarded gives way to the one before it. The verdict before stays in
    history. A loop that runs goes on from there.
    """
    lab = invocation.lab()
    done = lab.judge(run, verdict, because)
    for line in done.said:
        click.echo(f"warning: {clean(line)}", err=True)
    if as_json:
        said = {"was": done.was.value, "before": done.before.commit, "incumbent": done.incumbent.commit}
        click.echo(json_line({**log_object(done.run), **said}))
    else:
        click.echo(_words(done, lab))


def _words(done: Judging, lab: Lab) -> str:
    name = lab.metric.name
    held = f"the incumbent is run {done.incumbent.label} ({name} {number(done.incumbent.mean(name))})"
    moved = f", no longer run {done.before.label}" if done.before.commit != done.incumbent.commit else " as before"
    return f"run {done.run.label}: {done.run.verdict.value}, was {done.was.value}; {held}{moved}"
