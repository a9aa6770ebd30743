"""`evogit lineage`: how a run came to be, its ancestors oldest first and itself last."""

from __future__ import annotations

import click

from evogit.cli import complete
from evogit.cli.command import Command
from evogit.cli.invocation import Invocation
from evogit.cli.log import lines
from evogit.present import json_line, log_object


@click.command("lineage", cls=Command)
@click.argument("run", shell_complete=complete.runs)
@click.option("--json", "as_json", is_flag=True, help="One JSON object a run.")
@click.pass_obj
def command(invocation: Invocation, run: str, as_json: bool) -> None:
    """List the ancestors of a run, oldest first."""
    lab = invocation.lab()
    ancestry = lab.lineage(run)
    if as_json:
        for ancestor in ancestry:
            click.echo(json_line(log_object(ancestor)))
        return
    page = invocation.page()
    page.show(lines(ancestry, lab.runs(), lab.metric, page, oldest_first=True))
