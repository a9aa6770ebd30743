"""What a run was about, as keys that its like share: the category of its change, the roles and constants that it moved. Pure.

Conjectures, dead ends and emitters speak about these keys, so that all of them mean the same by "raising the learning rate".
"""

from __future__ import annotations

from collections.abc import Iterable

from evogit.domain.change import Move
from evogit.domain.run import Run

MOST_MOVES = 4  # a run that moved more constants than this says nothing about any one of them

# What a constant's or component's role can be coupled to: a keep that moves the one may change what is true of the other.
COUPLED: dict[str, frozenset[str]] = {
    "lr": frozenset({"optimizer", "schedule", "batch", "norm", "steps", "init"}),
    "optimizer": frozenset({"lr", "decay", "momentum", "schedule"}),
    "schedule": frozenset({"lr", "steps", "optimizer"}),
    "batch": frozenset({"lr", "steps", "norm"}),
    "steps": frozenset({"lr", "schedule", "batch"}),
    "momentum": frozenset({"optimizer", "lr"}),
    "decay": frozenset({"optimizer", "lr", "dropout", "width", "depth"}),
    "dropout": frozenset({"width", "depth", "decay", "norm", "smoothing"}),
    "smoothing": frozenset({"dropout", "decay"}),
    "width": frozenset({"depth", "dropout", "decay", "lr"}),
    "depth": frozenset({"width", "norm", "init", "dropout", "lr"}),
    "activation": frozenset({"norm", "init"}),
    "norm": frozenset({"lr", "activation", "depth", "batch"}),
    "init": frozenset({"activation", "depth", "norm", "lr"}),
    "pooling": frozenset({"width", "depth"}),
    "clip": frozenset({"lr", "optimizer"}),
    "noise": frozenset({"dropout", "lr"}),
    "heads": frozenset({"width", "depth"}),
}


def topics(run: Run) -> tuple[str, ...]:
    """Keys, the most special first: `gene:train.py:LR+`, `role:lr+`, `change:hyperparameter`. At most 2 * MOST_MOVES + 1."""
    keys: list[str] = []
    if len(run.moves) <= MOST_MOVES:
        keys += [gene_key(move) for move in run.moves]
        keys += [f"role:{move.family}{_sign(move)}" for move in run.moves if move.family]
    if run.change:
        keys.append(f"change:{run.change}")
    return tuple(dict.fromkeys(keys))


def gene_key(move: Move) -> str:
    """`gene:train.py:LR+`: a constant and the way it moved; `gene:train.py:ACTIVATION=torch.nn.GELU` where there is no order."""
    return f"gene:{move.gene}{_sign(move)}"


def _sign(move: Move) -> str:
    return {1: "+", -1: "-"}.get(move.direction, f"={move.new}")


def roles(runs_moves: Iterable[Move]) -> frozenset[str]:
    """The roles among some moves."""
    return frozenset(move.family for move in runs_moves if move.family)


def opposite(key: str) -> str:
    """The key of the other way; "" where there is none."""
    return key[:-1] + {"+": "-", "-": "+"}[key[-1]] if key.startswith(("gene:", "role:")) and key[-1:] in {"+", "-"} else ""


def in_words(key: str) -> str:
    """The key as a person says it: `raising LR (train.py)`, `changes of category activation`."""
    kind, _, rest = key.partition(":")
    if kind == "change":
        return f"changes of category {rest}"
    name, value = rest, ""
    way = {"+": "raising", "-": "lowering"}.get(rest[-1:], "")
    if way:
        name = rest[:-1]
    else:
        name, _, value = rest.partition("=")
    short = name.rpartition(":")[2] if kind == "gene" else f"every {name}"
    return f"{way} {short}" if way else f"setting {short} to {value.rpartition('.')[2]}"
