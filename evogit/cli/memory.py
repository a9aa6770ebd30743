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
from evogit.present import clean, number, places, plural

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
    is `evogit ideas`. z is how sure a conjecture is: its summed gain over that sum's standard deviation, its sign the gain's.
    """
    lab = invocation.lab()
    found = [line for line in lab.remembered() if not kinds or line.kind in kinds]
    if forms.put(form, lambda: found, lambda: sheets.objects("memory", found)):
        return
    page = invocation.page()
    lines = [text for kind in KINDS for text in section(kind, [line for line in found if line.kind == kind], limit, lab.metric.name, page)]
    if lines:
        page.show(lines[1:])
    else:
        click.echo(
            "nothing of that kind is remembered" if kinds else "nothing is remembered yet; it takes some runs: evogit loop", err=True
        )


def section(kind: str, found: Sequence[MemoryLine], limit: int, metric: str, page: Page) -> list[str]:
    """Lines of one kind below its title, the first `limit` of them (0: all); none where nothing of it is remembered."""
    if not found:
        return []
    shown = found[:limit] if limit else found
    more = [page.paint(f"  and {len(found) - len(shown)} more: --limit 0", "quiet")] if len(shown) < len(found) else []
    title = [page.paint(line, "title") for line in page.fold(KINDS[kind], hang=2)]
    return ["", *title, *(_runs(shown, metric, page) if kind in ("near-miss", "elite") else _sayings(kind, shown, page)), *more]


def _runs(shown: Sequence[MemoryLine], metric: str, page: Page) -> list[str]:
    """A line a run."""
    digits = places([line.value for line in shown if line.value is not None])
    columns = [Column(clean(metric), right=True), Column("run", right=True), Column("niche", least=8, optional=True), Column("", least=30)]
    rows: list[list[Cell]] = [
        [number(line.value, digits), (line.runs[0], "title"), (clean(line.key), "name"), clean(line.text)] for line in shown
    ]
    return page.table(columns, rows, indent=2)


def _sayings(kind: str, shown: Sequence[MemoryLine], page: Page) -> list[str]:
    """What was concluded, whole, with the runs that it rests on."""
    has_z, is_crash = kind in ("conjecture", "withdrawn"), kind == "crash"
    columns = [
        *([Column("z", right=True)] if has_z else []),
        Column("", right=True),
        *([Column("", least=8, optional=True)] if is_crash else []),
        Column("", least=40, folds=True),
    ]
    rows: list[list[Cell]] = []
    for line in shown:
        head: list[Cell] = [f"{line.value or 0.0:+.1f}"] if has_z else []
        head.append((f"{line.count}x" if is_crash else plural(line.count, "run"), "title"))
        head += [(clean(line.key), "name")] if is_crash else []
        runs = f" ({'run' if len(line.runs) == 1 else 'runs'} {', '.join(line.runs[-4:])})"
        rows.append([*head, [(clean(line.text), ""), (runs, "quiet")]])
    return page.table(columns, rows, indent=2)
