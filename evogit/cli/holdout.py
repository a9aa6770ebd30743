"""`evogit holdout`: what runs score on data that no search sees. For a person: hooks keep agents from it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from evogit import sheets
from evogit.cli import forms
from evogit.cli.command import Command, WorkCommand
from evogit.cli.invocation import Invocation
from evogit.cli.page import Cell, Column, Page
from evogit.errors import UserError
from evogit.present import clean, delta, json_line, number, places, plural

if TYPE_CHECKING:
    from evogit.domain.holdout import HeldOut, Look, Scored
    from evogit.domain.options import LoopOptions
    from evogit.errors import EvogitError
    from evogit.lab import Lab

FAILED = 1
COLUMNS = (
    "run",
    "commit",
    "epoch",
    "seed",
    "look",
    "asked",
    "time",
    "validation",
    "held_out",
    "how",
    "seconds",
    "ruler",
    "sandbox",
    "reason",
)


class HoldoutGroup(Command, click.Group):
    """A command with commands below it, which takes the options of every command too."""


def _say(line: str) -> None:
    click.echo(line, err=True)


@click.group("holdout", cls=HoldoutGroup, invoke_without_command=True)
@click.option("--look/--no-look", default=True, help="First take the looks that wait.")
@click.option("--backend", metavar="NAME", default="local", show_default=True, help="Where their jobs run.")
@forms.formats("One JSON object.")
@click.pass_context
def command(ctx: click.Context, look: bool, backend: str, form: str) -> None:
    """Show what kept runs score on held-out data, for you alone.

    A loop takes one look at each kept run; what it could not take yet is taken now. Every look is counted.
    """
    if ctx.invoked_subcommand is not None:
        return
    invocation = ctx.find_object(Invocation) or Invocation()
    lab = invocation.lab()
    found = lab.held_out()
    if look and any(row.waits for row in found.rows):
        _complain(lab.take_looks(_options(backend, 0.0, 0.0), _say))
        found = lab.held_out()
    if forms.put(form, lambda: [found], lambda: sheets.objects("holdout", found.rows)):
        return
    page = invocation.page()
    page.show([*_table(found, page), "", *_words(found)])


@command.command("look", cls=WorkCommand)
@click.argument("runs", nargs=-1, required=True, metavar="RUN...")
@click.option("--backend", metavar="NAME", default="local", show_default=True, help="Where its jobs run.")
@click.option("--timeout-s", type=click.FloatRange(min=0), default=0.0, metavar="S", help="Wall-clock limit of a job.")
@click.option("--train-seconds", type=click.FloatRange(min=0), default=0.0, metavar="S", help="As the run was trained.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a look.")
@click.pass_obj
def look(invocation: Invocation, runs: tuple[str, ...], backend: str, timeout_s: float, train_seconds: float, as_json: bool) -> int:
    """Take a further look at runs: at certified ones, best.

    What a run had trained is kept for its first look alone: it is trained again. Exit code 1 if a look gave no number.
    """
    lab = invocation.lab()
    options = _options(backend, timeout_s, train_seconds, invocation.after)
    taken, faults = lab.look_at(runs, options, _say)
    _complain(faults)
    name = lab.metric.name
    for each in taken:
        click.echo(json_line(each) if as_json else _line(each, name))
    return FAILED if faults or any(name not in each.metrics for each in taken) else 0


@command.command("export", cls=Command)
@click.option("--json", "target", metavar="FILE", help="One JSON object a line into FILE, - for stdout; default: a table on stdout.")
@click.pass_obj
def export(invocation: Invocation, target: str | None) -> None:
    """Write down every look, outside the repository."""
    lab = invocation.lab()
    looks = lab.all_looks()
    if target is None:
        click.echo("\t".join(COLUMNS))
        for each in looks:
            click.echo("\t".join(_fields(each, lab.metric.name)))
        return
    text = "".join(f"{json_line(each)}\n" for each in looks)
    if target == "-":
        click.echo(text, nl=False)
        return
    _write(invocation, lab, target, text)
    _say(f"{target}: {plural(len(looks), 'look')}")


def _write(invocation: Invocation, lab: Lab, target: str, text: str) -> None:
    path = invocation.under(target)
    if lab.repo_top in path.resolve().parents:
        raise UserError(f"{target} lies in the repository, where agents read", hint="name a file outside of it")
    if path.exists():
        raise UserError(f"{target} exists", hint="name another file")
    path.write_text(text, encoding="utf-8")


def _options(backend: str, timeout_s: float, train_s: float, arguments: tuple[str, ...] = ()) -> LoopOptions:
    from evogit.domain.options import LoopOptions

    return LoopOptions(backend=backend, timeout_s=timeout_s, train_s=train_s, arguments=arguments)


def _complain(faults: list[EvogitError]) -> None:
    for fault in faults:
        _say(f"warning: {clean(fault.message)}" + (f"; {clean(fault.hint)}" if fault.hint else ""))


# showing -------------------------------------------------------------------------------------------------------------


def _table(found: HeldOut, page: Page) -> list[str]:
    digits = places([value for row in found.rows for value in (row.validation, row.held_out) if value is not None])
    columns = [
        Column("run", right=True),
        Column("verdict", optional=True),
        Column("validation", right=True),
        Column("held-out", right=True),
        Column("gap", right=True),
        Column("looks", right=True),
        Column("when", optional=True),
        Column("", least=12),
    ]
    return page.table(columns, [_row(row, digits) for row in found.rows])


def _row(row: Scored, digits: int) -> list[Cell]:
    mark = "certified" if row.certified else ""
    note = ", ".join(filter(None, [mark, clean(row.note)]))
    when = row.time[:16].replace("T", " ")
    numbers = [number(row.validation, digits), number(row.held_out, digits), delta(row.gap, digits)]
    return [(row.run, "title"), (row.verdict, row.verdict), *numbers, str(row.looks), (when, "quiet"), (note, "quiet")]


def _words(found: HeldOut) -> list[str]:
    from evogit.withheld import trend_words

    seen = sum(1 for row in found.rows if row.looks)
    spent = f"{plural(found.looks, 'look')} so far, at {plural(seen, 'run')}"
    return [
        trend_words(found),
        "a gap above 0: worse on held-out data; validation is the reading of the very model that was looked at",
        f"{spent}: each one that you choose by makes the set a little less held out; certified runs are those to look at",
    ]


def _line(look: Look, name: str) -> str:
    mine, theirs = look.metrics.get(name), look.validation.get(name)
    if mine is None:
        return f"run {look.label}, look {look.look}: no number, {clean(look.reason)}"
    beside = f" (validation {number(theirs)})" if theirs is not None else ""
    return f"run {look.label}, look {look.look}: {name} {number(mine)} on held-out data{beside}"


def _fields(look: Look, name: str) -> list[str]:
    """The cells of COLUMNS; a number that is missing is an empty one."""
    values = (
        look.validation.get(name, ""),
        look.metrics.get(name, ""),
        look.how,
        look.seconds,
        look.ruler,
        look.sandbox,
        clean(look.reason),
    )
    return list(map(str, (look.label, look.run, look.epoch, look.seed, look.look, look.asked, look.time, *values)))
