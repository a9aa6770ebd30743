"""`evogit next`: what the search would try now, for a coding agent or a person who carries it out and submits it."""

from __future__ import annotations

import click

from evogit.cli.command import Command
from evogit.cli.invocation import Invocation
from evogit.cli.page import Cell, Column, Page
from evogit.domain.assignment import Task
from evogit.present import json_line, task_object, task_rows


@click.command("next", cls=Command)
@click.option("--emitter", metavar="NAME", default="", help="Ask this search role alone; default: whose turn it is.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
@click.pass_obj
def command(invocation: Invocation, emitter: str, as_json: bool) -> None:
    """Show what to try now: the assignment, where to start, what is known.

    It waits until `evogit submit` carries it out; nothing is written into history.
    """
    task = invocation.lab().next(emitter)
    if as_json:
        click.echo(json_line(task_object(task)))
        return
    page = invocation.page()
    page.show([*lines(task, page), "", *task.packet.rstrip("\n").split("\n")])


def lines(task: Task, page: Page) -> list[str]:
    """The assignment in short, with the commands that begin and end it."""
    styles = {"campaign": "title", "emitter": "name"}
    rows: list[list[Cell]] = [[(title, "quiet"), (text, styles.get(title, ""))] for title, text in task_rows(task)]
    return page.table([Column(""), Column("")], rows)
