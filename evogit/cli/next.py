"""`evogit next`: what the search would try now, for a coding agent or a person who carries it out and submits it."""

from __future__ import annotations

import click

from evogit.cli.command import Command
from evogit.cli.invocation import Invocation
from evogit.cli.page import Cell, Column, Page
from evogit.domain.assignment import Task
from evogit.present import clean, json_line, number, task_object


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
    plan, tag = task.assignment.plan, task.assignment.campaign
    name = task.metric.name
    parents = [f"run {run.label} ({name} {number(run.mean(name))}: {clean(run.summary)})" for run in task.parents]
    found: list[tuple[str, Cell]] = [
        ("campaign", (tag, "title")),
        ("emitter", (plan.emitter, "name")),
        ("from", " and ".join(parents)),
        ("try", clean(plan.instruction)),
    ]
    if plan.forecast:
        found.append(("forecast", f"{name} {number(plan.forecast.mean)} {page.letter('±', '+-')} {number(plan.forecast.spread)}"))
    if not plan.replicate:
        where = f"in {task.folder}: " if task.folder else ""
        begin = " && ".join(task.restore) or "your files are those of the start already"
        found += [("begin", f"{where if task.restore else ''}{begin}"), ("edit", ", ".join(task.files[:12]))]
    found.append(("then", f'evogit submit --tag {tag} -m "what you changed" --hypothesis "what you expect, and why"'))
    rows: list[list[Cell]] = [[(title, "quiet"), cell] for title, cell in found]
    return page.table([Column(""), Column("", least=400)], rows)
