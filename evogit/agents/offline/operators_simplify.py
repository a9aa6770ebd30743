"""Operators that take something away: a layer, a statement, a setting, or its effect. They add nothing."""

from __future__ import annotations

import ast

from evogit.agents.offline import structure
from evogit.agents.offline.desk import Desk, Option
from evogit.agents.offline.operators_structure import family, is_square, sequentials, structure_gap
from evogit.search.families import NN, OPTIM, F, words
from evogit.search.genes import literal
from evogit.search.syntax import Source, Splice, walk

_SIMPLER = "What is removed may not have been needed; simpler code that measures the same is a gain."
_ZERO = frozenset({"dropout", "decay", "smoothing", "noise"})
# Attributes and functions that give back the shape they were given, by a word of their name.
_SHAPELESS = frozenset(("drop", "dropout", "norm", "bn", "ln", "act", "relu", "gelu", "silu", "augment", "jitter", "noise", "flip", "clip"))
_DEFAULTS: dict[str, dict[str, object]] = {
    **{f"{OPTIM}.{n}": {"lr": 1e-3, "eps": 1e-8, "weight_decay": 0, "amsgrad": False} for n in ("Adam", "RAdam")},
    f"{OPTIM}.AdamW": {"lr": 1e-3, "eps": 1e-8, "weight_decay": 1e-2, "amsgrad": False},
    f"{OPTIM}.SGD": {"lr": 1e-3, "momentum": 0, "dampening": 0, "weight_decay": 0, "nesterov": False},
    **{f"{NN}.{n}": {"bias": True, "stride": 1, "padding": 0, "dilation": 1, "groups": 1} for n in ("Linear", "Conv1d", "Conv2d")},
    **{f"{NN}.{n}": {"eps": 1e-5, "momentum": 0.1, "affine": True} for n in ("BatchNorm1d", "BatchNorm2d", "LayerNorm", "GroupNorm")},
    f"{NN}.CrossEntropyLoss": {"label_smoothing": 0, "reduction": "mean"},
    f"{F}.cross_entropy": {"label_smoothing": 0, "reduction": "mean"},
    f"{NN}.Dropout": {"p": 0.5, "inplace": False},
    f"{NN}.ReLU": {"inplace": False},
}


def remove_something(desk: Desk) -> list[Option]:
    """A layer of a Sequential, a statement that gives back the shape it was given, a setting of an optimizer, a default."""
    options = []
    for path, source in desk.files.items():
        for call in sequentials(source):
            options += _layers(path, source, call)
        options += _statements(path, source)
        options += _schedulers(path, source)
        options += _settings(path, source)
    return options


def neutralise(desk: Desk) -> list[Option]:
    """A regulariser set to 0, a norm to Identity, a switch to off: the code stays, its effect goes."""
    options = []
    for gene in desk.genes:
        if gene.kind in {"float", "ratio"} and gene.family in _ZERO and gene.value:
            hypothesis = f"{gene.short} may cost more than it brings; without it the model keeps all it learns."
            zero = desk.set(gene, 0.0, hypothesis=hypothesis, change="simplification", weight=2.0)
            options.append(zero)
        elif gene.kind == "bool" and gene.value is True:
            options.append(desk.set(gene, False, change="simplification"))
        elif gene.kind == "name" and gene.family == "norm" and gene.value.startswith(f"{NN}.") and not gene.value.startswith(F):
            source = desk.files[gene.path]
            call, identity = source.calls.get(gene.start), source.spell(f"{NN}.Identity")
            if identity and gene.value != f"{NN}.Identity":
                edit = Splice(*source.span(call), f"{identity}()") if call else Splice(gene.start, gene.end, identity)
                options.append(_removed(gene.path, [edit], f"{gene.value.rpartition('.')[2]} to Identity at {gene.name}"))
    return options


def _removed(path: str, edits: list[Splice], summary: str, weight: float = 1.0) -> Option:
    return Option(path=path, edits=tuple(edits), summary=summary, hypothesis=_SIMPLER, change="simplification", weight=weight)


def _layers(path: str, source: Source, call: ast.Call) -> list[Option]:
    options = []
    for i, layer in enumerate(call.args):
        is_free = family(source, layer) in {"activation", "norm"} or is_square(source, layer)
        is_free = is_free or (
            isinstance(layer, ast.Call) and source.meaning(layer.func).rpartition(".")[2] in {"Identity", "Dropout", "Dropout2d"}
        )
        if is_free and len(call.args) > 1:
            text = " ".join(source.at(layer).split())[:60]
            options.append(_removed(path, [structure_gap(source, call.args, i, i)], f"remove {text} from line {layer.lineno}"))
    return options


def _statements(path: str, source: Source) -> list[Option]:
    options = []
    for node in structure.statements(source):
        edit = structure.deleted(source, node) if _is_removable(source, node) else None
        if edit:
            text = " ".join(source.at(node).split())[:60]
            options.append(_removed(path, [edit], f"remove `{text}`", weight=2.0))
    return options


def _is_removable(source: Source, node: ast.stmt) -> bool:
    """True for `x = f(x)` where f keeps shapes, for noise added to a value, for residual branches, for clipping."""
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
        return source.dotted(node.value.func).rpartition(".")[2] in {"clip_grad_norm_", "clip_grad_value_", "clamp_"}
    if isinstance(node, ast.AugAssign):
        return isinstance(node.op, ast.Add) and isinstance(node.value, ast.Call) and _is_noise_or_branch(source, node, node.value)
    if not isinstance(node, ast.Assign) or len(node.targets) > 1 or not isinstance(node.targets[0], ast.Name):
        return False
    name, value = node.targets[0].id, node.value
    if isinstance(value, ast.Call) and value.args and isinstance(value.args[0], ast.Name) and value.args[0].id == name:
        return not _SHAPELESS.isdisjoint(words(source.dotted(value.func).rpartition(".")[2]))
    is_sum = isinstance(value, ast.BinOp) and isinstance(value.op, ast.Add) and isinstance(value.left, ast.Name) and value.left.id == name
    return is_sum and _is_noise_or_branch(source, node, value.right)


def _is_noise_or_branch(source: Source, node: ast.stmt, added: ast.expr) -> bool:
    called = [source.dotted(n.func).rpartition(".")[2] for n in walk(added) if isinstance(n, ast.Call)]
    if any(name in {"randn_like", "randn", "rand_like", "normal"} for name in called):
        return True
    return bool(called) and getattr(structure.scope_of(source, node), "name", "") == "forward"


def _schedulers(path: str, source: Source) -> list[Option]:
    """A scheduler's making and every step of it, where nothing else speaks of it."""
    options = []
    for node in structure.statements(source):
        if not isinstance(node, ast.Assign) or not isinstance(node.targets[0], ast.Name) or not isinstance(node.value, ast.Call):
            continue
        if not source.dotted(node.value.func).startswith(f"{OPTIM}.lr_scheduler."):
            continue
        name = node.targets[0].id
        uses = [n for n in source.nodes if isinstance(n, ast.Name) and n.id == name and isinstance(n.ctx, ast.Load)]
        steps = [s for s in structure.statements(source) if isinstance(s, ast.Expr) and source.at(s).startswith(f"{name}.step(")]
        edits = [structure.deleted(source, s) for s in (node, *steps)]
        if steps and len(uses) == len(steps) and all(edits):
            options.append(_removed(path, edits, f"remove the schedule {source.dotted(node.value.func).rpartition('.')[2]}", weight=2.0))
    return options


def _settings(path: str, source: Source) -> list[Option]:
    """Settings that say what is the default anyway, and settings of an optimizer but its step."""
    options = []
    for call in source.calls.values():
        dotted = source.dotted(call.func)
        defaults = _DEFAULTS.get(dotted, {})
        for keyword in call.keywords:
            value = keyword.value.value if isinstance(keyword.value, ast.Constant) else literal(keyword.value)
            is_default = keyword.arg in defaults and value == defaults[keyword.arg] and value is not None
            is_extra = (
                dotted.startswith(f"{OPTIM}.")
                and "lr_scheduler" not in dotted
                and keyword.arg not in {None, "lr", "params", "fused", "foreach"}
            )
            if is_default or is_extra:
                summary = f"drop {source.at(keyword)} from {dotted.rpartition('.')[2]}"
                weight = 0.3 if is_default else 1.0
                options.append(_removed(path, structure.without(source, call, [keyword]), summary, weight))
    return options
