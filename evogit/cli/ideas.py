"""`evogit ideas`: the queue of ideas, and a person's way to put one in. Which idea is tried next is the search's affair."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from evogit import sheets
from evogit.cli import complete, forms
from evogit.cli.command import Command
from evogit.cli.invocation import Invocation
from evogit.cli.page import Column, Page
from evogit.domain.idea import IdeaStatus
from evogit.present import clean, json_line

if TYPE_CHECKING:
    from evogit.ideabook import Told

SHORT = 6  # digits of an id that are shown on a terminal: four name it where no other begins so
STYLES = {
    "queued": "",
    "claimed": "title",
    "done": "good",
    "failed": "bad",
    "needs-model": "warning",
    "expired": "quiet",
    "dropped": "quiet",
}


class IdeasGroup(Command, click.Group):
    """A command with commands below it, which takes the options of every command too."""


@click.group("ideas", cls=IdeasGroup, invoke_without_command=True)
@click.option(
    "--status",
    type=click.Choice([*(status.value for status in IdeaStatus), "all"]),
    default="all",
    show_default=True,
    help="Only ideas that are there in their life.",
)
@forms.formats("One JSON object an idea.")
@click.pass_context
def command(ctx: click.Context, status: str, form: str) -> None:
    """List what people and reviewers want tried, or add to it, or move what waits.

    People's ideas come first, oldest first; then those of the newest reviews. An idea that says the same as an earlier one is not listed.
    """
    if ctx.invoked_subcommand is not None:
        return
    invocation = ctx.find_object(Invocation) or Invocation()
    lab = invocation.lab()
    for refused in lab.idea_refusals():
        click.echo(f"warning: {clean(refused.message)}", err=True)
    found = lab.ideas(None if status == "all" else IdeaStatus(status))
    objects = list(map(idea_object, found))
    if forms.put(form, lambda: objects, lambda: sheets.objects("ideas", objects)):
        return
    if found:
        page = invocation.page()
        page.show(table(found, page))
    else:
        which = "" if status == "all" else f"{status} "
        click.echo(f'no {which}idea is there; add one with: evogit ideas add "try a cosine schedule"', err=True)


@command.command("add", cls=Command)
@click.argument("text")
@click.option(
    "--priority", type=click.FloatRange(0, 1), default=0.9, show_default=True, metavar="P", help="0 to 1; the highest goes first."
)
@click.option("--type", "kind", metavar="TYPE", default="", help="What it is about: optimizer, schedule, architecture, simplification ...")
@click.option(
    "--from", "source", metavar="RUN", default="", shell_complete=complete.runs, help="The run to start from; default: the incumbent."
)
@click.option("--benefit", metavar="TEXT", default="", help="What you expect of it.")
@click.option("--json", "as_json", is_flag=True, help="The idea as one JSON object.")
@click.pass_obj
def add(invocation: Invocation, text: str, priority: float, kind: str, source: str, benefit: str, as_json: bool) -> None:
    """Put an idea into the queue; a loop that runs already takes it up."""
    told = invocation.lab().add_idea(text, mutation_type=kind, priority=priority, source=source, expected_benefit=benefit)
    if as_json:
        click.echo(json_line(idea_object(told)))
        return
    page = invocation.page()
    said = f"idea {told.idea.id} waits, to start from run {told.source}: {clean(told.idea.description)}"
    page.echo("\n".join(page.fold(said, hang=2)))


@command.command("drop", cls=Command)
@click.argument("idea", metavar="ID", shell_complete=complete.ideas)
@click.option("--because", metavar="TEXT", default="", help="Why; it is kept with it.")
@click.option("--json", "as_json", is_flag=True, help="The idea as one JSON object.")
@click.pass_obj
def drop(invocation: Invocation, idea: str, because: str, as_json: bool) -> None:
    """Take an idea out of the queue; raising or lowering it brings it back."""
    _tell(invocation, invocation.lab().drop_idea(idea, because), as_json)


def _mover(name: str, help_: str) -> None:
    """`evogit ideas raise` and `lower`, which differ in the sign alone."""

    @command.command(name, cls=Command, help=help_)
    @click.argument("idea", metavar="ID", shell_complete=complete.ideas)
    @click.option("--to", type=click.FloatRange(0, 1), default=None, metavar="P", help="That priority; default: a step of 0.1.")
    @click.option("--json", "as_json", is_flag=True, help="The idea as one JSON object.")
    @click.pass_obj
    def move(invocation: Invocation, idea: str, to: float | None, as_json: bool) -> None:
        lab = invocation.lab()
        step = lab.raise_idea if name == "raise" else lab.lower_idea
        _tell(invocation, step(idea) if to is None else lab.rank_idea(idea, to), as_json)


_mover("raise", "Move an idea up in the queue: the highest priority goes first.")
_mover("lower", "Move an idea down in the queue.")


def _tell(invocation: Invocation, told: Told, as_json: bool) -> None:
    if as_json:
        click.echo(json_line(idea_object(told)))
        return
    page = invocation.page()
    how = "is dropped" if told.status is IdeaStatus.DROPPED else f"has priority {told.idea.priority:.2g}"
    page.echo("\n".join(page.fold(f"idea {told.idea.id} {how}: {clean(told.idea.description)}", hang=2)))


def idea_object(told: Told) -> dict[str, object]:
    """What programs get of an idea."""
    idea = told.idea
    return {
        "id": idea.id,
        "status": told.status.value,
        "run": told.run,
        "from": told.source,
        "source": idea.source,
        "by": idea.by,
        "mutation_type": idea.mutation_type,
        "description": idea.description,
        "expected_benefit": idea.expected_benefit,
        "priority": idea.priority,
        "time": idea.time,
    }


def table(found: Sequence[Told], page: Page) -> list[str]:
    """Lines of a table, an idea a line."""
    columns = [
        Column("id"),
        Column("status"),
        Column("run", right=True, optional=True),
        Column("from", right=True, optional=True),
        Column("priority", right=True, optional=True),
        Column("by", least=9),
        Column("type", least=9, optional=True),
        Column("idea", least=40),
    ]
    rows = [
        [
            (told.idea.id if page.width is None else told.idea.id[:SHORT], "quiet"),
            (told.status.value, STYLES[told.status.value]),
            (told.run, "title"),
            (told.source, "quiet"),
            f"{told.idea.priority:.2g}",
            (clean(told.idea.by if page.width is None else told.idea.by.removeprefix("reviewer:")), "name"),
            clean(told.idea.mutation_type),
            clean(told.idea.description),
        ]
        for told in found
    ]
    return page.table(columns, rows)
