"""`evogit context`: what an agent would be told next. It asks no model and changes nothing."""

from __future__ import annotations

import click

from evogit.cli.command import Command
from evogit.cli.invocation import Invocation
from evogit.present import clean_lines, json_line


@click.command("context", cls=Command)
@click.option("--parent", metavar="RUN", default="", help="The run to start from; default: the search's choice.")
@click.option("--emitter", metavar="NAME", default="", help="The search role that asks; default: the policy's choice.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
@click.pass_obj
def command(invocation: Invocation, parent: str, emitter: str, as_json: bool) -> None:
    """Print the briefing that an agent would get next."""
    packet = invocation.lab().context(parent=parent, emitter=emitter)
    if as_json:
        told = {name: getattr(packet, name) for name in packet.__struct_fields__}
        click.echo(json_line({**told, "tokens": packet.tokens}))
        return
    invocation.page().show(clean_lines(packet.text.rstrip("\n")))
