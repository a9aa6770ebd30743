"""`evogit emitters`: what each search role earned, and what another policy would have earned on the same runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from evogit import sheets
from evogit.cli import complete, forms
from evogit.cli.command import Command
from evogit.cli.invocation import Invocation
from evogit.cli.page import Cell, Column, Page

if TYPE_CHECKING:
    from evogit.learnt import Emitters


TOO_FEW = "what it gained over an even hand is told from 60 runs on that it chose"


@click.command("emitters", cls=Command)
@click.option(
    "--what-if",
    metavar="POLICY",
    default="",
    shell_complete=complete.hands("policies"),
    help="Estimate what that policy would have earned: uniform, thompson ...",
)
@forms.formats("One JSON object.")
@click.pass_obj
def command(invocation: Invocation, what_if: str, form: str) -> None:
    """Show which search role pays, and what another policy would have.

    Credit is what a run earned its emitter, 0 to 1: fitness, novelty, information, surprise; it is divided by what the run cost.
    The chance is that of the next choice.
    """
    said = invocation.lab().emitters(what_if)
    if forms.put(form, lambda: [_object(said)], lambda: sheets.objects("emitters", (_account(said, n) for n in _names(said)))):
        return
    page = invocation.page()
    numbers = [Column(title, right=True) for title in ("runs", "keeps", "credit per cost")]
    columns = [Column("emitter", least=9), *numbers, Column("95 %", right=True, optional=2), Column("next chance", right=True, optional=1)]
    table = page.table(columns, [_row(said, name, page) for name in _names(said)])
    idle = [name for name, chance in said.chances.items() if not chance]
    words = [f"policy {said.policy}: {said.over_uniform or f'{TOO_FEW}; so far {said.chosen}'}", *_estimate(said)]
    words += [f"nothing to offer now: {', '.join(idle)}"] if idle else []
    page.show([*table, "", *(part for line in words for part in page.fold(line, hang=2))])


def _account(said: Emitters, name: str) -> dict[str, Any]:
    import msgspec

    account = next((a for a in said.accounts if a.emitter == name), None)
    none = {"emitter": name, "runs": 0, "keeps": 0, **dict.fromkeys(("rate", "low", "high", "share"))}
    return {**(msgspec.structs.asdict(account) if account else none), "chance": said.chances.get(name)}


def _names(said: Emitters) -> list[str]:
    return list(dict.fromkeys([*(a.emitter for a in said.accounts), *said.chances]))


def _row(said: Emitters, name: str, page: Page) -> list[Cell]:
    account = next((a for a in said.accounts if a.emitter == name), None)
    chance = f"{said.chances[name]:.0%}" if said.chances.get(name) else page.letter("–", "-")
    if account is None:
        return [(name, "name"), "0", "0", "", "", chance]
    return [
        (name, "name"),
        str(account.runs),
        str(account.keeps),
        f"{account.rate:.3f}",
        f"{account.low:.3f} to {account.high:.3f}",
        chance,
    ]


def _estimate(said: Emitters) -> list[str]:
    if not said.asked:
        return []
    if said.estimate is None:
        return [f"what if {said.asked}: the recorded chances cannot tell yet"]
    e = said.estimate
    words = (
        f"what if {said.asked}: {e.mean:.3f} credit a run (95 % {e.low:.3f} to {e.high:.3f}) where {e.actual:.3f} was earned;"
        f" {e.over:+.3f} ({e.over_low:+.3f} to {e.over_high:+.3f}) over it, from {e.runs} runs worth {e.effective:.0f}"
    )
    return [words]


def _object(said: Emitters) -> dict[str, Any]:
    import msgspec

    return msgspec.to_builtins(said)
