"""`evogit diff`: two runs side by side, as git shows it."""

from __future__ import annotations

import click

from evogit.cli.command import Command
from evogit.cli.invocation import Invocation
from evogit.present import json_line


@click.command("diff", cls=Command)
@click.argument("run")
@click.argument("other", required=False, default="")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
@click.pass_obj
def command(invocation: Invocation, run: str, other: str, as_json: bool) -> None:
    """Compare two runs, or a run with its parent.

    In a pipe it is a patch that `git apply` takes.
    """
    text = invocation.lab().diff(run, other)
    if as_json:
        click.echo(json_line({"run": run, "other": other or None, "diff": text}))
        return
    page = invocation.page()
    if not text:
        click.echo("there is no difference", err=True)
    elif page.terminal:
        page.show(page.diff(text))
    else:
        click.echo(text, nl=not text.endswith("\n"), color=True)
