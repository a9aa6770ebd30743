"""What every operator works on and hands back: the files of one plan, and the edits that they allow. It writes nothing."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping

import msgspec

from evogit.agents.offline import steps
from evogit.domain.briefing import Contrast
from evogit.domain.plan import Aim
from evogit.search import genes, syntax
from evogit.search.genes import Gene
from evogit.search.syntax import Source, Splice


class Option(msgspec.Struct, frozen=True, kw_only=True):
    """One bounded edit that could be made: spans of one file, and what to say about it."""

    path: str
    edits: tuple[Splice, ...]
    summary: str
    hypothesis: str
    change: str  # a change category
    weight: float = 1.0  # how much likelier than its neighbours it is drawn


class Desk:
    """The Python files of one plan that parse, their genes, and the plan's generator."""

    def __init__(
        self,
        sources: Mapping[str, str],
        rng: random.Random,
        *,
        emitter: str = "",
        contrast: Contrast | None = None,
        aims: tuple[Aim, ...] = (),
    ) -> None:
        self.texts = dict(sources)
        self.rng = rng
        self.emitter = emitter
        self.contrast = contrast
        self.aims = aims
        python = {path: syntax.read(text) for path, text in sorted(sources.items()) if path.endswith(".py")}
        self.broken = [path for path, source in python.items() if source is None]
        self.files: dict[str, Source] = {path: source for path, source in python.items() if source is not None}
        self.genes: list[Gene] = [g for path in self.files for g in genes.find(sources[path], path)]
        self.calls: dict[str, list[frozenset[str]]] = {}  # last part of a callee -> keywords of each of its calls
        for source in self.files.values():
            for call in source.calls.values():
                self.calls.setdefault(source.dotted(call.func).rpartition(".")[2], []).append(frozenset(k.arg or "" for k in call.keywords))
        self.read = frozenset(name for source in self.files.values() for name in source.read_names)

    def text_of(self, gene: Gene) -> str:
        """The gene's value as it is written."""
        return self.texts[gene.path][gene.start : gene.end]

    def fitted(self, gene: Gene, value: bool | float | None) -> bool | int | float | None:
        """`value`, moved so that a width stays a multiple of the attention heads of its file; None for heads that divide nothing."""
        if gene.family not in {"width", "heads"} or type(value) is not int or type(gene.value) is not int:
            return value
        near = [g for g in self.genes if g.path == gene.path and type(g.value) is int]
        if gene.family == "heads":
            held = [g.value for g in near if g.family == "width" and g.value % gene.value == 0]
            return None if any(width % (2 * value) and width % (2 * gene.value) == 0 or width % value for width in held) else value
        for heads in {g.value for g in near if g.family == "heads" and g.value > 1 and gene.value % g.value == 0}:
            unit = heads * (2 if gene.value // heads % 2 == 0 else 1)
            value = max(unit, round(value / unit) * unit)
        return None if value == gene.value else value

    def is_idle(self, gene: Gene) -> bool:
        """True for a constant that no mutable file reads, or a default that every call here overrides: moving it changes nothing."""
        name = gene.short.partition("[")[0].partition("#")[0].lstrip("-")
        holder = gene.name.rpartition(".")[0].rpartition(".")[2]
        calls = [] if gene.callee else self.calls.get(holder, [])
        return not gene.callee and (name not in self.read or bool(calls) and all(name in given for given in calls))

    def set(self, gene: Gene, value: bool | float, *, hypothesis: str = "", change: str = "", weight: float = 1.0) -> Option:
        """The option to give a number or boolean another value."""
        old = gene.value
        if isinstance(value, bool):
            summary = f"turn {gene.name} {'on' if value else 'off'}"
        else:
            summary = f"{steps.verb(old, value)} {gene.name}: {shown(old)} to {shown(value)}"
        return Option(
            path=gene.path,
            edits=(Splice(gene.start, gene.end, steps.written(value, self.text_of(gene))),),
            summary=summary,
            hypothesis=hypothesis or expectation(gene, value),
            change=change or category(gene, value),
            weight=weight * (0.05 if self.is_idle(gene) else 1.0),
        )


Operator = Callable[[Desk], list[Option]]


def shown(value: object) -> str:
    """A value for a summary: numbers short, components by their last name."""
    if isinstance(value, float):
        return f"{value:.6g}"
    return value.rpartition(".")[2] if isinstance(value, str) else str(value)


_CATEGORY = {
    "lr": "optimizer",
    "decay": "regularization",
    "momentum": "optimizer",
    "batch": "optimizer",
    "clip": "optimizer",
    "schedule": "schedule",
    "dropout": "regularization",
    "smoothing": "regularization",
    "noise": "regularization",
    "init": "initialisation",
}
_EXPECTATION = {
    ("lr", True): "Training may be limited by too small a step; a larger one gets further in the same number of steps.",
    ("lr", False): "The step may overshoot; a smaller one settles lower.",
    ("decay", True): "The weights may be free to overfit; more decay should generalise better.",
    ("decay", False): "Decay may hold the weights back; with less of it the model should fit better.",
    ("momentum", True): "Gradients may be noisy; a longer average smooths them.",
    ("momentum", False): "A shorter average follows the gradient more closely in a short run.",
    ("batch", True): "Less noise a step should allow a better direction, at the price of more work a step.",
    ("batch", False): "More, noisier steps over the same data may generalise better.",
    ("dropout", True): "The model may overfit; more dropout should narrow the gap.",
    ("dropout", False): "The model may underfit; with less dropout it keeps more of what it learns.",
    ("width", True): "The model may be too small for the task; more width gives it capacity.",
    ("width", False): "Width may be idle; a narrower model should do as well, with fewer parameters.",
    ("depth", True): "A deeper model can compose more features.",
    ("depth", False): "A layer may be idle; a shallower model trains faster.",
    ("smoothing", True): "Softer targets should calibrate the model and generalise better.",
    ("smoothing", False): "Sharper targets should fit better where labels are clean.",
    ("schedule", True): "The shape of the schedule matters in a short run; a larger value is untested.",
    ("schedule", False): "The shape of the schedule matters in a short run; a smaller value is untested.",
    ("steps", True): "Training may end before it has converged.",
    ("steps", False): "Training may go on after it has stopped helping.",
}


def category(gene: Gene, value: bool | float) -> str:
    """The change category of a move: by role, and by direction where it is capacity."""
    if gene.family in {"width", "depth", "heads"} and not isinstance(value, bool):
        return "capacity_increase" if value > gene.value else "capacity_decrease"
    return _CATEGORY.get(gene.family, "hyperparameter")


def expectation(gene: Gene, value: bool | float) -> str:
    """Why the move might help, in one or two sentences."""
    if isinstance(value, bool):
        return f"Whether {gene.short} helps here is untested."
    known = _EXPECTATION.get((gene.family, value > gene.value))
    return (
        known or f"{gene.short} = {shown(gene.value)} was not tuned for this budget; {shown(value)} is a measured look at one side of it."
    )
