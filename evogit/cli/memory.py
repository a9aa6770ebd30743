"""`evogit memory`: what a campaign came to believe and what it keeps in mind, each with the runs that it rests on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from evogit import sheets
from evogit.cli import forms
from evogit.cli.command import Command
from evogit.cli.invocation import Invocation
from evogit.cli.page import Cell, Column, Page
from evogit.present import clean, number, places

if TYPE_CHECKING:
    from evogit.domain.lore import MemoryLine

KINDS = {
    "near-miss": "near misses: discarded, and perhaps as good as the best",
    "elite": "elites: the best run of each kind and size of change",
    "conjecture": "conjectures: what seems to help or to hurt",
    "withdrawn": "withdrawn: stood once, and the evidence turned",
    "dead-end": "dead ends: lost again and again",
    "reopened": "reopened: were dead ends, until a keep changed what they rested on",
    "crash": "crashes: what breaks",
}


@click.command("memory", cls=Command)
@click.option("--kind", "kinds", type=click.Choice(list(KINDS)), multiple=True, help="Only this kind; may be repeated.")
@click.option("-n", "--limit", type=click.IntRange(min=0), default=8, show_default=True, metavar="N", help="At most N of each; 0: all.")
@forms.formats("One JSON object a line of it.")
@click.pass_obj
def command(invocation: Invocation, kinds: tuple[str, ...], limit: int, form: str) -> None:
    """List what the campaign remembers: near misses, elites, conjectures, crashes.

    It is folded from the record each time, of the current epoch alone, and it is what the search and agents go by. Its queue of ideas
    is `evogit ideas`.
    """
    lab = invocation.lab()
    found = [line for line in lab.remembered() if not kinds or line.kind in kinds]
    if forms.put(form, lambda: found, lambda: sheets.objects("memory", found)):
        return
    page = invocation.page()
    lines = [text for kind in KINDS for text in _section(kind, [line for line in found if line.kind == kind], limit, page)]
    if lines:
        page.show(lines[1:])
    else:
        click.echo(
            "nothing of that kind is remembered" if kinds else "nothing is remembered yet; it takes some runs: evogit loop", err=True
        )


def _section(kind: str, found: Sequence[MemoryLine], limit: int, page: Page) -> list[str]:
    if not found:
        return []
    shown = found[:limit] if limit else found
    digits = places([line.value for line in shown if line.value is not None]) if kind in ("near-miss", "elite") else 1
    has_value = any(line.value is not None for line in shown)
    columns = [
        *([Column("", right=True)] if has_value else []),
        Column("", right=True),
        *([Column("", least=8, optional=True)] if kind in ("near-miss", "elite", "crash") else []),
        Column("", least=40),
        Column("", least=8, optional=True),
    ]
    rows = [_row(kind, line, digits, has_value) for line in shown]
    more = [page.paint(f"  and {len(found) - len(shown)} more: --limit 0", "quiet")] if len(shown) < len(found) else []
    return ["", page.paint(KINDS[kind], "title"), *page.table(columns, rows, indent=2), *more]


def _row(kind: str, line: MemoryLine, digits: int, has_value: bool) -> list[Cell]:
    sign = "+" if kind in ("conjecture", "withdrawn") and (line.value or 0) > 0 else ""
    value: list[Cell] = [sign + number(line.value, digits)] if has_value else []
    what: Cell = (
        f"{line.count}x" if kind == "crash" else line.runs[0] if kind in ("near-miss", "elite") else f"{line.count} runs",
        "title",
    )
    key: list[Cell] = [(clean(line.key), "name")] if kind in ("near-miss", "elite", "crash") else []
    runs = "" if kind in ("near-miss", "elite") else f"{'run' if len(line.runs) == 1 else 'runs'} {', '.join(line.runs[-4:])}"
    return [*value, what, *key, clean(line.text), (runs, "quiet")]
