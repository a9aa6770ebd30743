"""`evogit init`: a commented evogit.toml for a folder, and what was guessed about it."""

from __future__ import annotations

import click

from evogit.cli.command import Command
from evogit.cli.invocation import Invocation
from evogit.errors import UserError
from evogit.present import clean, json_line


@click.command("init", cls=Command)
@click.argument("folder", metavar="[DIR]", required=False, default=".")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
@click.pass_obj
def command(invocation: Invocation, folder: str, as_json: bool) -> None:
    """Write evogit.toml after looking at a folder.

    A file that exists is never replaced.
    """
    from evogit.problem import scaffold

    target = invocation.under(folder)
    if not target.is_dir():
        raise UserError(f"there is no folder {target}", hint="name the folder that holds the training script")
    guess = scaffold.create(target)
    written = target / scaffold.FILE
    if as_json:
        click.echo(json_line({"file": str(written), "said": list(guess.said)}))
        return
    page = invocation.page()
    page.echo(f"wrote {written}")
    for said in guess.said:
        page.echo(f"  {page.paint(page.letter('·', '-'), 'quiet')} {clean(said)}")
    page.echo("read it and commit it; then: evogit doctor, evogit loop --max-runs 12")
