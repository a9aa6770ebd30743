"""`evogit export`: results.tsv, on stdout or in a file."""

from __future__ import annotations

import click

from evogit.cli.command import Command
from evogit.cli.invocation import Invocation
from evogit.errors import UserError


@click.command("export", cls=Command)
@click.option("-o", "--output", metavar="FILE", help="Write there; default: stdout.")
@click.option("--format", "form", type=click.Choice(["tsv"]), default="tsv", show_default=True, help="What to write.")
@click.option("--force", is_flag=True, help="Replace FILE if it exists.")
@click.pass_obj
def command(invocation: Invocation, output: str | None, form: str, force: bool) -> None:
    """Write results.tsv anywhere."""
    if output is None or output == "-":
        click.echo(invocation.lab().export(), nl=False)
        return
    target = invocation.under(output)
    if target.exists() and not force:
        raise UserError(f"{output} exists", hint="name another file, or add --force")
    if not target.parent.is_dir():
        raise UserError(f"there is no folder {target.parent}", hint=f"mkdir -p {target.parent}")
    text = invocation.lab().export()
    with target.open("w", encoding="utf-8", newline="\n") as file:
        file.write(text)
    click.echo(f"{output}: {max(text.count(chr(10)) - 1, 0)} rows", err=True)
