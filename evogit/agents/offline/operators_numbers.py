"""Operators that move one number or flip one boolean. They change no structure; where a number cannot move, they offer nothing."""

from __future__ import annotations

from collections.abc import Iterable

from evogit.agents.offline import steps, widths
from evogit.agents.offline.desk import Desk, Option
from evogit.search.genes import Gene

# How likely a number is drawn: what usually matters comes first, what hardly ever does is not left out.
_WEIGHT = {"lr": 4.0, "width": 2.0, "batch": 2.0, "depth": 2.0, "dropout": 2.0, "momentum": 1.5, "decay": 1.5, "schedule": 1.5}
_TRAINING = frozenset({"lr", "decay", "momentum", "batch", "clip"})
NEAR = (1.15, 1.6)
CONSTANT = (2.0, 3.0)
FAR = (4.0, 10.0)


def tune_near(desk: Desk) -> list[Option]:
    """One number, 15 to 60 % up or down."""
    return [option for gene in _tunable(desk) for option in _both_ways(desk, gene, *NEAR)]


def tune_constant(desk: Desk) -> list[Option]:
    """One number by a factor of 2 to 3, or one boolean."""
    flips = [desk.set(gene, not gene.value, weight=0.5) for gene in desk.genes if gene.kind == "bool"]
    return [option for gene in _tunable(desk) for option in _both_ways(desk, gene, *CONSTANT)] + flips


def tune_far(desk: Desk) -> list[Option]:
    """One number by a factor of 4 to 10: the step nobody has dared yet."""
    return [option for gene in _tunable(desk) for option in _both_ways(desk, gene, *FAR, far=True)]


def tune_optimizer(desk: Desk) -> list[Option]:
    """Learning rate, momentum, decay, clipping, batch size, or any other setting of an optimizer's call."""
    chosen = [g for g in _tunable(desk) if g.family in _TRAINING or g.callee.startswith("torch.optim.") and not _is_schedule(g)]
    options = [o for gene in chosen for span in (NEAR, CONSTANT) for o in _both_ways(desk, gene, *span, change="optimizer")]
    flips = [g for g in desk.genes if g.kind == "bool" and g.callee.startswith("torch.optim.")]
    return options + [desk.set(g, not g.value, change="optimizer", weight=0.5) for g in flips]


def tune_schedule(desk: Desk) -> list[Option]:
    """One constant of the learning-rate schedule."""
    chosen = [g for g in _tunable(desk) if g.family == "schedule" or _is_schedule(g)]
    return [o for gene in chosen for o in _both_ways(desk, gene, *CONSTANT, change="schedule")]


def change_width(desk: Desk) -> list[Option]:
    """A width by a quarter, a half or a factor of two, wherever it is written: a constant, or literals that must agree."""
    chosen = [g for g in _numbers(desk) if g.family == "width"]
    options = [o for gene in chosen for factor in (1.25, 1.5, 2.0) for o in _both_ways(desk, gene, factor, factor)]
    return options + widths.scale_literals(desk, 2.0, 1.5, 0.75, 0.5)


def tune_depth(desk: Desk) -> list[Option]:
    """A constant that counts layers, one up or one down."""
    chosen = [g for g in _numbers(desk) if g.family == "depth"]
    return [o for gene in chosen for o in _both_ways(desk, gene, 1.5, 1.5)]


def halve_capacity(desk: Desk) -> list[Option]:
    """Half of a width or of a number of layers."""
    chosen = [g for g in _numbers(desk) if g.family in {"width", "depth"} and isinstance(g.value, int) and g.value > 1]
    hypothesis = "Half of it may do as well: what the simpler model loses is measured, not assumed."
    halved = [(g, desk.fitted(g, steps.scaled(g, 0.5, far=True))) for g in chosen]
    options = [desk.set(g, v, hypothesis=hypothesis, change="capacity_decrease") for g, v in halved if v is not None]
    return options + widths.scale_literals(desk, 0.5, hypothesis=hypothesis)


def _both_ways(desk: Desk, gene: Gene, least: float, most: float, *, change: str = "", far: bool = False) -> Iterable[Option]:
    """The gene moved up and down by a factor drawn between `least` and `most`."""
    factor = desk.rng.uniform(least, most)
    for value in (desk.fitted(gene, steps.scaled(gene, f, far=far)) for f in (factor, 1 / factor)):
        if value is not None:
            yield desk.set(gene, value, change=change, weight=_WEIGHT.get(gene.family, 1.0))


def _numbers(desk: Desk) -> list[Gene]:
    return [g for g in desk.genes if g.kind in {"float", "ratio", "size", "int"}]


def _tunable(desk: Desk) -> list[Gene]:
    """Every number; how long training takes is the local tuner's to change, by a factor of two at most."""
    return [g for g in _numbers(desk) if g.family != "steps" or desk.emitter == "local_tuner"]


def _is_schedule(gene: Gene) -> bool:
    return "lr_scheduler" in gene.callee
