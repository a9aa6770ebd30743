"""`evogit cost`: what the work cost, by whom or by what it was done, and what each kept improvement came to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from evogit import sheets
from evogit.cli import forms
from evogit.cli.command import Command
from evogit.cli.invocation import Invocation
from evogit.cli.page import Cell, Column, Page
from evogit.present import dollars, plural

if TYPE_CHECKING:
    from evogit.domain.report import Bill, Costs

WAYS = ("campaign", "agent", "emitter", "verdict", "model")
_UNITS = ((1e9, "G"), (1e6, "M"), (1e3, "k"))


@click.command("cost", cls=Command)
@click.option("--by", type=click.Choice(WAYS), default="agent", show_default=True, help="A line for each of these.")
@forms.formats("One JSON object.")
@click.pass_obj
def command(invocation: Invocation, by: str, form: str) -> None:
    """Sum what models and the backend cost, and what a kept run did.

    Recorded runs count, not those in flight. A call whose price is not known is counted apart and never taken for zero; dollars
    with a + are at least so many.
    """
    costs = invocation.lab().cost(by)
    if forms.put(form, lambda: [_object(costs)], lambda: sheets.costs(costs)):
        return
    page = invocation.page()
    page.show(_lines(costs, page))


def _lines(costs: Costs, page: Page) -> list[str]:
    has_compute = any(bill.compute_usd for bill in costs.lines)
    titles = ["runs", "kept", "calls", "tokens in", "out", *(["models", "backend"] if has_compute else []), "dollars", "per kept"]
    columns = [
        Column(costs.by, least=10),
        *(Column(title, right=True, optional=title in ("calls", "out", "tokens in")) for title in titles),
    ]
    rows = [_row(bill, has_compute, "name") for bill in costs.lines]
    if len(rows) > 1:
        rows.append(_row(costs.total, has_compute, "title"))
    words = [part for line in _words(costs) for part in page.fold(line, hang=2)]
    return [*page.table(columns, rows), "", *words] if rows else words


def _row(bill: Bill, has_compute: bool, style: str) -> list[Cell]:
    paid, unpriced = bill.spent, bill.spent.unpriced
    parts = [_at_least(paid.usd, unpriced), dollars(bill.compute_usd)] if has_compute else []
    each = _at_least(bill.per_kept_usd, unpriced) if bill.per_kept_usd is not None and (bill.usd or unpriced) else ""
    tokens_in = paid.input + paid.cache_write + paid.cache_read
    counts = [bill.runs, bill.kept, paid.calls, tokens_in, paid.output]
    return [(bill.name, style), *map(_count, counts), *parts, _at_least(bill.usd, unpriced), each]


def _at_least(usd: float, unpriced: int) -> str:
    """ "$1.23", "$1.23+" where more comes on top, "?" where nothing is known."""
    return dollars(usd) if not unpriced else f"{dollars(usd)}+" if usd else "?"


def _count(number: int) -> str:
    """12345 as "12.3k": a table has room for three digits."""
    size, unit = next(((size, unit) for size, unit in _UNITS if number >= size), (1.0, ""))
    return f"{number / size:.1f}{unit}" if unit else str(number)


def _words(costs: Costs) -> list[str]:
    """The sum in words: no more certain than it is."""
    total = costs.total
    where = f"campaign {costs.campaign}" if costs.campaign else "all campaigns together" if len(costs.lines) != 1 else costs.lines[0].name
    if not total.usd and not total.spent.calls:
        return [f"{where}: no model was asked, and nothing that was used has a price", *_absent(costs)]
    lines = [f"{where}: {plural(total.runs, 'run')}{_readings(total)} cost {dollars(total.usd, total.spent.unpriced)}"]
    if total.per_kept_usd is not None:
        floor = "at least " if total.spent.unpriced else ""
        lines.append(
            f"{floor}{dollars(total.per_kept_usd)} for {'each of' if total.kept > 1 else 'its'} {plural(total.kept, 'kept improvement')}"
        )
    elif total.runs:
        lines.append("nothing was kept yet")
    return lines + _absent(costs)


def _readings(bill: Bill) -> str:
    return f" and {plural(bill.readings, 'later reading')}" if bill.readings else ""


def _absent(costs: Costs) -> list[str]:
    if not costs.absent:
        return []
    return [f"the calls of {plural(costs.absent, 'run')} are not here: artifacts travel apart from the branch (refs/evogit/TAG/artifacts)"]


def _object(costs: Costs) -> dict[str, Any]:
    return {
        "by": costs.by,
        "campaign": costs.campaign,
        "lines": [_bill(bill) for bill in costs.lines],
        "total": _bill(costs.total),
        "absent": costs.absent,
    }


def _bill(bill: Bill) -> dict[str, Any]:
    import msgspec

    each = bill.per_kept_usd if not bill.spent.unpriced else None
    told = msgspec.to_builtins(bill)
    return {**told, "known_usd": bill.usd, "cost_usd": bill.total_usd, "per_kept_usd": each}
