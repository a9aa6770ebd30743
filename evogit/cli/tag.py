"""`evogit tag`: a name for a run that git knows everywhere, its numbers in the message; or the names that there are."""

from __future__ import annotations

import click

from evogit import sheets
from evogit.cli import complete, forms
from evogit.cli.command import Command
from evogit.cli.invocation import Invocation
from evogit.cli.page import Column
from evogit.present import clean, short


@click.command("tag", cls=Command)
@click.argument("run", required=False, default="", shell_complete=complete.runs)
@click.argument("name", required=False, default="")
@click.option("--force", is_flag=True, help="Move a tag of that name.")
@forms.formats("One JSON object a tag.")
@click.pass_obj
def command(invocation: Invocation, run: str, name: str, force: bool, form: str) -> None:
    """Tag a run, its numbers in the tag's message; without a run, list the tags.

    `git push origin NAME` shares it, `git tag -d NAME` takes it away.
    """
    if run and not name:
        raise click.UsageError("give the tag a name: evogit tag RUN NAME")
    lab = invocation.lab()
    found = [lab.tag_run(run, name, is_forced=force)] if run else lab.tagged()
    objects = [{"name": t.name, "run": t.run.label, "commit": t.run.commit, "subject": t.subject} for t in found]
    if forms.put(form, lambda: objects, lambda: sheets.objects("tags", objects)):
        return
    if not found:
        click.echo("no run has a tag; give one with: evogit tag incumbent NAME", err=True)
        return
    page = invocation.page()
    columns = [Column("tag"), Column("run", right=True), Column("commit", optional=True), Column("", least=20)]
    page.show(page.table(columns, [[(t.name, "title"), t.run.label, (short(t.run.commit), "quiet"), clean(t.subject)] for t in found]))
