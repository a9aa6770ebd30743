"""Operators that look at a past change: do the opposite, half of it, one part of it, some of it. Without one they offer nothing."""

from __future__ import annotations

import math

import msgspec

from evogit.agents.offline import steps
from evogit.agents.offline.desk import Desk, Option, shown
from evogit.agents.offline.operators_names import siblings
from evogit.search import change, genes
from evogit.search.change import GeneMove, Hunk
from evogit.search.genes import Gene
from evogit.search.syntax import Splice


def reverse_change(desk: Desk) -> list[Option]:
    """The number that went up goes down by the same step; the component that was swapped gives way to a third one."""
    options = []
    for move, gene in _moved(desk):
        value = _opposite(gene, move)
        if value is not None:
            options.append(desk.set(gene, value, hypothesis=_against(desk, move), weight=2.0))
        elif gene.kind in {"name", "str"}:
            others = [
                o for o in siblings(desk, gene) if f" to {shown(move.new)} " not in o.summary and f" to {shown(move.old)} " not in o.summary
            ]
            options += [msgspec.structs.replace(o, hypothesis=_against(desk, move)) for o in others]
    return options + _undo(desk)


def halve_step(desk: Desk) -> list[Option]:
    """Half of the way that a number went, on its own scale."""
    options = []
    for move, gene in _moved(desk):
        value = _midway(gene, move)
        if value is not None and value != gene.value:
            step = f"{_run(desk).capitalize()} moved {move.name} from {shown(move.old)} to {shown(move.new)}"
            hypothesis = f"{step} with a surprising result; half of that step tells whether it was the step."
            options.append(desk.set(gene, value, hypothesis=hypothesis))
    return options


def isolate_change(desk: Desk) -> list[Option]:
    """One of several moves, or one of several hunks, of the past change alone."""
    parts = _parts(desk)
    return parts if len(parts) > 1 else []


def mix_genes(desk: Desk) -> list[Option]:
    """About half of the moves of the past change together, each taken or left by the plan's generator."""
    options = []
    for path in sorted(desk.files):
        parts = [o for o in _parts(desk) if o.path == path]
        for _ in range(4 if len(parts) > 2 else 0):
            taken = [o for o in parts if desk.rng.random() < 0.5]
            if 1 < len(taken) < len(parts):
                options.append(
                    Option(
                        path=path,
                        edits=tuple(e for o in taken for e in o.edits),
                        summary=f"take {len(taken)} of {len(parts)} changes of {_run(desk)}",
                        hypothesis="Some of the changes may carry the gain and the others may hide it.",
                        change="recombination",
                    )
                )
    return options


def _run(desk: Desk) -> str:
    return f"run {desk.contrast.run}" if desk.contrast else "the other run"


def _against(desk: Desk, move: GeneMove) -> str:
    step = f"{_run(desk).capitalize()} moved {move.name} from {shown(move.old)} to {shown(move.new)}"
    return f"{step} and lost by it; the other way is untested."


def _moved(desk: Desk) -> list[tuple[GeneMove, Gene]]:
    """Moves of the contrasted change, with the gene as it is now."""
    if desk.contrast is None:
        return []
    now = {(g.path, g.name): g for g in desk.genes}
    moves = change.gene_moves(desk.contrast.before, desk.contrast.after)
    return [(m, now[m.path, m.name]) for m in moves if (m.path, m.name) in now]


def _number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _factor(gene: Gene, old: float, new: float) -> float:
    """The step of a move on the gene's own scale: a factor, taken from the other end for shares above 0.8."""
    if gene.kind == "ratio" and old >= 0.8 and new < 1:
        return (1 - old) / (1 - new)
    return new / old if old and new / old > 0 else 0.0


def _opposite(gene: Gene, move: GeneMove) -> bool | int | float | None:
    """The gene's value moved against the move; None where that is no step."""
    if isinstance(gene.value, bool) and isinstance(move.old, bool):
        return move.old if gene.value != move.old else None
    if not (_number(gene.value) and _number(move.old) and _number(move.new)):
        return None
    factor = _factor(gene, move.old, move.new)
    if factor == 0.0:
        return move.old if gene.value == move.new and type(gene.value) is type(move.old) else None
    return steps.scaled(gene, 1 / factor, far=True)


def _midway(gene: Gene, move: GeneMove) -> int | float | None:
    old, new = move.old, move.new
    if not (_number(old) and _number(new)) or type(old) is not type(gene.value):
        return None
    if gene.kind == "ratio" and min(old, new) >= 0.8 and max(old, new) < 1:
        middle = 1 - math.sqrt((1 - old) * (1 - new))
    else:
        middle = math.sqrt(old * new) if old * new > 0 else (old + new) / 2
    value = (
        steps.snapped(gene, middle) if isinstance(gene.value, int) else round(middle, 6) if gene.kind == "ratio" else steps.tidy(middle, 3)
    )
    return value if value not in (old, new) else None


def _parts(desk: Desk) -> list[Option]:
    """Each part of the contrasted change alone: by gene where the change is moves of genes, else by hunk."""
    if desk.contrast is None:
        return []
    after = {(g.path, g.name): g for path, text in desk.contrast.after.items() for g in genes.find(text, path)}
    options = []
    moves = _moved(desk)
    for move, gene in moves:
        there = after[move.path, move.name]
        text = desk.contrast.after[move.path][there.start : there.end]
        if text != desk.text_of(gene):
            summary = f"only {move.name}: {shown(gene.value)} to {shown(move.new)}"
            options.append(_part(desk, gene.path, Splice(gene.start, gene.end, text), summary))
    return options if len(moves) > 1 else [_hunk(desk, h, h.before, h.after) for h in _hunks(desk, desk.contrast.before)]


def _undo(desk: Desk) -> list[Option]:
    """Where the file still has the change, each hunk of it taken back."""
    if desk.contrast is None or _moved(desk):
        return []
    return [
        _hunk(desk, msgspec.structs.replace(h, start=_start_after(desk, h)), h.after, h.before, "take back")
        for h in _hunks(desk, desk.contrast.after)
    ]


def _hunks(desk: Desk, version: dict[str, str]) -> list[Hunk]:
    """Hunks of the contrasted change in files that are now as they are in `version`."""
    found = change.hunks(desk.contrast.before, desk.contrast.after)
    return [h for h in found if h.path in desk.files and desk.texts[h.path] == version.get(h.path)]


def _start_after(desk: Desk, hunk: Hunk) -> int:
    """Where a hunk stands in the version after the change."""
    earlier = [h for h in change.hunks(desk.contrast.before, desk.contrast.after) if h.path == hunk.path and h.start < hunk.start]
    return hunk.start + sum(len(h.after) - len(h.before) for h in earlier)


def _hunk(desk: Desk, hunk: Hunk, old: tuple[str, ...], new: tuple[str, ...], verb: str = "only") -> Option:
    lines = desk.texts[hunk.path].split("\n")
    start = sum(len(line) + 1 for line in lines[: hunk.start])
    start = min(start, len(desk.texts[hunk.path]))
    summary = f"{verb} lines {hunk.start + 1} to {hunk.start + max(len(old), 1)} of {_run(desk)}"
    return _part(desk, hunk.path, Splice(start, start + sum(map(len, old)), "".join(new)), summary)


def _part(desk: Desk, path: str, edit: Splice, summary: str) -> Option:
    hypothesis = f"{_run(desk).capitalize()} changed several things at once; this part alone shows whether it carries the effect."
    return Option(path=path, edits=(edit,), summary=summary, hypothesis=hypothesis, change="hyperparameter")
