"""`evogit start`: a campaign's branch and run 0's flight; the checkout stays as it is."""

from __future__ import annotations

import shlex

import click

from evogit.cli.command import Command
from evogit.cli.invocation import Invocation
from evogit.present import json_line, short


@click.command("start", cls=Command)
@click.argument("name", metavar="[TAG]", required=False)
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
@click.pass_obj
def command(invocation: Invocation, name: str | None, as_json: bool) -> None:
    """Make a campaign's branch, without touching the checkout.

    TAG names the campaign; one called after today is made if there is none.
    """
    lab = invocation.lab()
    started = lab.start(name or invocation.tag)
    if as_json:
        click.echo(json_line(started))
        return
    page = invocation.page()
    page.echo(f"campaign {page.paint(started.campaign, 'title')} of {started.problem}")
    page.echo(f"  branch  {started.branch.removeprefix('refs/heads/')}")
    page.echo(f"  base    {short(started.base)}")
    if lab.problem.evaluate is None:
        page.echo("  ruler   self-reported: candidates print their own numbers;")
        page.echo("          declare [evaluate] and they cannot")
    page.echo()
    page.echo(f"search:     evogit loop --tag {started.campaign}")
    if started.refspecs:
        first, *more = [f"git push origin {shlex.quote(started.refspecs[0])}", *map(shlex.quote, started.refspecs[1:])]
        page.echo(f"share it:   {first}" + "".join(f" \\\n              {spec}" for spec in more))
