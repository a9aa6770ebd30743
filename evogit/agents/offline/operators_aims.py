"""Operators that carry out what a plan wishes for by name, and that take a past addition back. They wish for nothing themselves."""

from __future__ import annotations

import math

import msgspec

from evogit.agents.offline import steps
from evogit.agents.offline.desk import Desk, Option, shown
from evogit.agents.offline.operators_names import siblings
from evogit.domain.plan import Aim
from evogit.search import change, genes, syntax
from evogit.search.genes import Gene
from evogit.search.syntax import Splice

MAY_BE_ZERO = frozenset({"dropout", "decay", "smoothing", "noise", "momentum", "schedule"})


def aim(desk: Desk) -> list[Option]:
    """Each of the plan's aims that this file can meet, in the plan's order; numbers end at the nearest value they may have."""
    by_name = {f"{g.path}:{g.name}": g for g in desk.genes}
    options = []
    for wish in desk.aims:
        gene = by_name.get(wish.gene)
        if gene is None or wish.value == gene.value:
            continue
        if gene.kind in {"name", "str"}:
            options += _component(desk, gene, wish)
        elif not desk.is_idle(gene):
            options += _number(desk, gene, wish)
    return options


def take_back(desk: Desk) -> list[Option]:
    """Each hunk that the contrasted change added to, undone, where its lines still stand in the file once."""
    if desk.contrast is None:
        return []
    options = []
    for hunk in change.hunks(desk.contrast.before, desk.contrast.after):
        text, added = desk.texts.get(hunk.path, ""), "".join(hunk.after)
        if hunk.path in desk.files and len(hunk.after) > len(hunk.before) and added.strip() and text.count(added) == 1:
            start = text.index(added)
            if start == 0 or text[start - 1] == "\n":
                options.append(
                    Option(
                        path=hunk.path,
                        edits=(Splice(start, start + len(added), "".join(hunk.before)),),
                        summary=f"take back what run {desk.contrast.run} added: {_first(hunk.after)}",
                        hypothesis=f"Run {desk.contrast.run} added this without a clear gain; without it the model should do as well.",
                        change="simplification",
                    )
                )
    return options


def _first(lines: tuple[str, ...]) -> str:
    return next((line.strip() for line in lines if line.strip()), "")[:60]


def _number(desk: Desk, gene: Gene, wish: Aim) -> list[Option]:
    value = nearest(desk, gene, wish.value)
    if value is None or value == gene.value:
        return []
    option = desk.set(gene, value)
    if isinstance(value, bool):
        return [option]
    summary = f"{steps.verb(gene.value, value)} {gene.name} from {shown(gene.value)} to {shown(value)}"
    return [msgspec.structs.replace(option, summary=summary)]


def nearest(desk: Desk, gene: Gene, value: bool | float | str) -> bool | int | float | None:
    """The value closest to the one wished for that the gene may have; None where it may have none but its own."""
    if isinstance(gene.value, bool) or isinstance(value, (bool, str)):
        return value if isinstance(gene.value, bool) and isinstance(value, bool) else None
    if not isinstance(gene.value, (int, float)) or not math.isfinite(value) or value * gene.value < 0:
        return None
    if value == 0:
        return 0.0 if isinstance(gene.value, float) and gene.family in MAY_BE_ZERO else None
    if gene.value == 0:
        return steps.within(gene, float(value)) if isinstance(gene.value, float) else None
    factor = (1 - gene.value) / (1 - value) if gene.kind == "ratio" and gene.value >= 0.8 and value < 1 else value / gene.value
    allowed = steps.scaled(gene, factor, far=True)
    if isinstance(allowed, float) and abs(allowed - value) < 0.06 * abs(value) and steps.within(gene, float(value)) == value:
        return float(value)
    return desk.fitted(gene, allowed)


def _component(desk: Desk, gene: Gene, wish: Aim) -> list[Option]:
    """The swap after which the component is the one that is wished for."""
    for option in siblings(desk, gene):
        try:
            text = syntax.splice(desk.texts[gene.path], option.edits)
        except ValueError:
            continue
        if any(g.name == gene.name and g.value == wish.value for g in genes.find(text, gene.path)):
            return [option]
    return []
