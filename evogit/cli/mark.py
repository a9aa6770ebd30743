"""`evogit mark`: runs that a person wants to come back to, and take home later. It judges none of them."""

from __future__ import annotations

import click

from evogit import sheets
from evogit.cli import complete, forms
from evogit.cli.command import Command
from evogit.cli.invocation import Invocation
from evogit.cli.leaderboard import table
from evogit.present import log_object, standings


@click.command("mark", cls=Command)
@click.argument("runs", nargs=-1, metavar="[RUN]...", shell_complete=complete.runs)
@click.option("--off", is_flag=True, help="Take the marks off; without a run, all of them.")
@forms.formats("One JSON object a marked run.")
@click.pass_obj
def command(invocation: Invocation, runs: tuple[str, ...], off: bool, form: str) -> None:
    """Mark runs to be picked later; without a run, list the marked ones.

    A mark is a ref of this clone, which says nothing about the run; `evogit pick --marked` takes all of them home.
    """
    lab = invocation.lab()
    wanted = list(dict.fromkeys(lab.run(label).commit for label in runs))  # a wrong name is found before the first mark is set
    for commit in wanted or [run.commit for run in lab.marks() if off]:
        lab.mark(commit, not off)
    marked = lab.marks()
    if forms.put(
        form, lambda: map(log_object, marked), lambda: sheets.runs(marked, lab.problem.metrics, standings(lab.runs(), lab.metric))
    ):
        return
    if marked:
        page = invocation.page()
        page.show(table(marked, lab.problem.metrics, page))
    else:
        click.echo("no run is marked; mark one with: evogit mark RUN", err=True)
