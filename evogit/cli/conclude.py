"""`evogit conclude`: what a campaign comes to, as a Markdown document or as one JSON object."""

from __future__ import annotations

import click

from evogit.cli.command import Command
from evogit.cli.invocation import Invocation
from evogit.present import clean_lines


@click.command("conclude", cls=Command)
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
@click.pass_obj
def command(invocation: Invocation, as_json: bool) -> None:
    """Write a campaign's conclusion from its evidence."""
    said = invocation.lab().conclude()
    if as_json:
        import msgspec

        click.echo(msgspec.json.encode(said).decode())
        return
    from evogit.concluding import markdown

    page = invocation.page()
    lines = clean_lines(markdown(said).rstrip("\n"))
    page.show([part for line in lines for part in ([line] if line.startswith("|") else page.fold(line, hang=2 * line.startswith("- ")))])
