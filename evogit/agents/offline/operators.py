"""Operator families by name, and those each search role falls back on. Names are shared with the emitters' plans."""

from __future__ import annotations

from evogit.agents.offline.desk import Operator
from evogit.agents.offline.operators_aims import aim, take_back
from evogit.agents.offline.operators_contrast import halve_step, isolate_change, mix_genes, reverse_change
from evogit.agents.offline.operators_names import swap_activation, swap_init, swap_norm, swap_optimizer, swap_pooling
from evogit.agents.offline.operators_numbers import change_width, halve_capacity, tune_constant, tune_far, tune_near, tune_optimizer
from evogit.agents.offline.operators_simplify import neutralise, remove_something
from evogit.agents.offline.operators_structure import change_depth, change_schedule, insert_regulariser

OPERATORS: dict[str, Operator] = {
    "tune_near": tune_near,
    "tune_constant": tune_constant,
    "tune_far": tune_far,
    "tune_optimizer": tune_optimizer,
    "swap_optimizer": swap_optimizer,
    "change_schedule": change_schedule,
    "change_width": change_width,
    "change_depth": change_depth,
    "swap_activation": swap_activation,
    "swap_norm": swap_norm,
    "swap_pooling": swap_pooling,
    "swap_init": swap_init,
    "insert_regulariser": insert_regulariser,
    "remove_something": remove_something,
    "neutralise": neutralise,
    "halve_capacity": halve_capacity,
    "reverse_change": reverse_change,
    "halve_step": halve_step,
    "isolate_change": isolate_change,
    "mix_genes": mix_genes,
    "aim": aim,
    "take_back": take_back,
}
IN_ORDER = frozenset({"aim"})  # families whose options were put in order by the plan: they are not drawn
DEFAULTS: dict[str, tuple[str, ...]] = {
    "local_tuner": ("tune_near", "tune_constant"),
    "optimizer_hacker": ("tune_optimizer", "swap_optimizer", "change_schedule"),
    "architecture_mutator": (
        "change_width",
        "change_depth",
        "swap_activation",
        "swap_norm",
        "swap_pooling",
        "swap_init",
        "insert_regulariser",
    ),
    "simplifier": ("remove_something", "neutralise", "halve_capacity"),
    "contrarian": ("reverse_change", "tune_far"),
    "recombinator": ("mix_genes", "tune_constant"),
    "anomaly_chaser": ("halve_step", "isolate_change", "tune_near"),
}


def order(wanted: tuple[str, ...], emitter: str) -> list[str]:
    """The plan's families that exist, then the role's own; a role that nobody knows tunes constants."""
    names = [*wanted, *DEFAULTS.get(emitter, ("tune_near", "tune_constant"))]
    return [name for name in dict.fromkeys(names) if name in OPERATORS]
