"""`evogit lineage`: how a run came to be, its ancestors oldest first and itself last."""

from __future__ import annotations

import click

from evogit import sheets
from evogit.cli import complete, forms, trust
from evogit.cli.command import Command
from evogit.cli.invocation import Invocation
from evogit.cli.log import lines
from evogit.present import log_object, standings


@click.command("lineage", cls=Command)
@click.argument("run", shell_complete=complete.runs)
@forms.formats("One JSON object a run.")
@click.pass_obj
def command(invocation: Invocation, run: str, form: str) -> None:
    """List the ancestors of a run, oldest first."""
    lab = invocation.lab()
    ancestry = lab.lineage(run)
    everything = lab.runs()
    if forms.put(
        form, lambda: map(log_object, ancestry), lambda: sheets.runs(ancestry, lab.problem.metrics, standings(everything, lab.metric))
    ):
        return
    page = invocation.page()
    page.show([*trust.notes(ancestry, page), *lines(ancestry, everything, lab.metric, page, oldest_first=True)])
