"""`evogit search`: runs that speak of something, in their words, their reviews, and where asked in the lines that they changed."""

from __future__ import annotations

import click

from evogit import sheets
from evogit.cli import forms
from evogit.cli.command import Command
from evogit.cli.invocation import Invocation
from evogit.cli.leaderboard import titled
from evogit.cli.log import value_of
from evogit.cli.page import Column
from evogit.present import clean, log_object, places, standings


@click.command("search", cls=Command)
@click.argument("text", nargs=-1, required=True)
@click.option("-n", "--limit", type=click.IntRange(min=0), default=20, show_default=True, metavar="N", help="At most N runs; 0: all.")
@click.option("--diffs", is_flag=True, help="Look into the lines that runs changed as well.")
@forms.formats("One JSON object a run, newest first.")
@click.pass_obj
def command(invocation: Invocation, text: tuple[str, ...], limit: int, diffs: bool, form: str) -> None:
    """Find runs by what they say: summary, hypothesis, reason, crash, reviews.

    Every word has to be there, in any case and any place. Newest first.
    """
    lab = invocation.lab()
    found = lab.search(" ".join(text), limit, diffs=diffs)
    objects = ({**log_object(run), "where": where} for run, where in found)
    if forms.put(form, lambda: objects, lambda: sheets.found(found, lab.problem.metrics, standings(lab.runs(), lab.metric))):
        return
    if not found:
        click.echo("no run says that" + ("" if diffs else "; --diffs looks into the code too"), err=True)
        return
    page, standing = invocation.page(), standings(lab.runs(), lab.metric)
    known = [standing[run.commit] for run, _ in found]
    digits = places([s.value for s in known if s.value is not None], [s.spread for s in known])
    columns = [
        Column(""),
        Column("run", right=True),
        Column(titled(lab.metric, page), optional=True),
        Column("emitter", least=9, optional=True),
        Column("", least=30),
    ]
    rows = [
        [
            (page.glyph(run.verdict.value), run.verdict.value),
            (run.label, "title"),
            value_of(run, standing[run.commit], digits, page),
            (run.emitter, "name"),
            [(clean(run.summary), ""), ("" if where == run.summary else f" {page.letter('·', '-')} {clean(where)}", "quiet")],
        ]
        for run, where in found
    ]
    page.show(page.table(columns, rows))
