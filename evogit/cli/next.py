"""`evogit next`: what the search would try now, for a coding agent or a person who carries it out and submits it."""

from __future__ import annotations

import click

from evogit.cli.command import Command
from evogit.cli.invocation import Invocation
from evogit.cli.page import GAP, Cell, Column, Page
from evogit.domain.assignment import Task
from evogit.present import json_line, task_object, task_rows

COMMANDS = ("begin", "then")  # rows that are pasted into a shell


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
    page.show([*lines(task, page), "", *_folded(task.packet, page)])


def lines(task: Task, page: Page) -> list[str]:
    """The assignment in short, with the commands that begin and end it."""
    styles = {"campaign": "title", "emitter": "name"}
    rows: list[list[Cell]] = []
    told = task_rows(task)
    left = max(len(title) for title, _ in told) + GAP
    room = None if page.width is None else page.width - left
    for title, text in told:
        folded = page.fold_command(text, room=room) if title in COMMANDS else page.fold(text, room=room)
        rows += [[(title if i == 0 else "", "quiet"), (line, styles.get(title, ""))] for i, line in enumerate(folded)]
    return page.table([Column(""), Column("")], rows)


def _folded(packet: str, page: Page) -> list[str]:
    """The briefing's lines as wide as the page; code, between <file> tags, stays as it is."""
    found: list[str] = []
    is_code = False
    for line in packet.rstrip("\n").split("\n"):
        is_code = (is_code or line.startswith("<file")) and not line.startswith("</file")
        if is_code or line.startswith("</file"):
            found.append(line)
            continue
        first, *more = page.fold(line, hang=0 if not line.startswith("- ") else 2)
        found += [first, *(f"| {part}" if line.startswith("| ") else part for part in more)]
    return found
