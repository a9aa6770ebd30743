"""Operators that put one component in place of another of its family, arguments mended where the two differ.

A replacement is offered only where the file's own imports can spell it. Strings ("relu") move only where the library is known.
"""

from __future__ import annotations

import ast
import re

from evogit.agents.offline import structure
from evogit.agents.offline.desk import Desk, Option, shown
from evogit.agents.offline.structure import Rewrite
from evogit.search import families
from evogit.search.families import INIT, NN, OPTIM, F
from evogit.search.genes import Gene, literal
from evogit.search.syntax import Source, Splice

_ACTIVATIONS = ("ReLU", "GELU", "SiLU", "LeakyReLU", "ELU", "Mish", "Tanh", "Hardswish")
_FUNCTIONS = ("relu", "gelu", "silu", "leaky_relu", "elu", "mish", "hardswish")
_ADAPTIVE = ("lr", "betas", "eps", "weight_decay", "foreach", "maximize", "capturable", "differentiable")
_OPTIMIZERS: dict[str, tuple[str, ...]] = {
    "SGD": ("lr", "momentum", "dampening", "weight_decay", "nesterov", "foreach", "maximize", "fused"),
    "Adam": (*_ADAPTIVE, "amsgrad", "fused"),
    "AdamW": (*_ADAPTIVE, "amsgrad", "fused"),
    "NAdam": (*_ADAPTIVE, "momentum_decay"),
    "RAdam": _ADAPTIVE,
    "RMSprop": ("lr", "alpha", "eps", "weight_decay", "momentum", "centered", "foreach", "maximize"),
}
_SGD_TO_ADAPTIVE = 0.05  # learning rates of SGD with momentum are usually 20 to 100 times those of Adam


def swap_activation(desk: Desk) -> list[Option]:
    """Another activation, in one place or in all places that use the same one."""
    options = []
    for value, group in structure.grouped(g for g in desk.genes if g.kind == "name" and g.family == "activation"):
        source = desk.files[group[0].path]
        for new in _activations(value):
            spelled = source.spell(new)
            if spelled is None:
                continue
            usable = [e for e in (_renamed(source, g, spelled) for g in group) if e]
            if len(usable) > 1:
                options.append(_swap(group[0], [s for e in usable for s in e], new, f"all {len(usable)} times", weight=2.0))
            options += [_swap(g, e, new) for g in group if (e := _renamed(source, g, spelled))]
    return options + _swap_strings(desk, "activation", "architecture")


def swap_norm(desk: Desk) -> list[Option]:
    """Another normalisation with the same features, or none."""
    options = []
    for source, call, dotted, gene in _calls(desk, "norm"):
        for new in _norms(source, call, dotted):
            if new.text is not None:
                options.append(_swap(gene, [Splice(*source.span(call), new.text)], new.name))
    for source, gene in _referred(desk, "norm"):
        has_images = "Conv2d" in source.text
        names = ("BatchNorm2d", "InstanceNorm2d", "Identity") if has_images else ("BatchNorm1d", "LayerNorm", "RMSNorm", "Identity")
        options += _renamings(source, gene, [f"{NN}.{n}" for n in names])
    return options


def swap_pooling(desk: Desk) -> list[Option]:
    """Maximum for average, or the other way round."""
    options = []
    for source, call, dotted, gene in _calls(desk, "pooling"):
        new = _other_pooling(dotted)
        spelled = source.spell(new)
        fits = all(k.arg in {"kernel_size", "stride", "padding", "output_size", "ceil_mode"} for k in call.keywords) and len(call.args) <= 4
        if spelled and fits:
            options.append(_swap(gene, [Splice(*source.span(call.func), spelled)], new))
    for source, gene in _referred(desk, "pooling"):
        options += _renamings(source, gene, [_other_pooling(gene.value)])
    return options + _swap_means(desk)


def swap_init(desk: Desk) -> list[Option]:
    """Another initialiser; where the file has none, one for every matrix of the model before its optimizer is made."""
    options = []
    for source, call, dotted, gene in _calls(desk, "initialiser"):
        for name in ("kaiming_normal_", "kaiming_uniform_", "xavier_normal_", "xavier_uniform_", "orthogonal_"):
            spelled = source.spell(f"{INIT}.{name}")
            if spelled and f"{INIT}.{name}" != dotted and call.args:
                edit = Splice(*source.span(call), f"{spelled}({source.at(call.args[0])})")
                options.append(_swap(gene, [edit], f"{INIT}.{name}", change="initialisation"))
    return options or structure.add_init(desk)


def swap_optimizer(desk: Desk) -> list[Option]:
    """Another optimizer; settings that it does not take are dropped, and the step is brought to its scale."""
    options = []
    for source, call, dotted, gene in _calls(desk, "optimizer"):
        old = dotted.rpartition(".")[2]
        for new in _OPTIMIZERS:
            spelled = source.spell(f"{OPTIM}.{new}")
            edits = _other_optimizer(source, call, old, new, spelled) if spelled and new != old else None
            if edits:
                options.append(_swap(gene, edits, f"{OPTIM}.{new}", change="optimizer"))
    return options + _swap_strings(desk, "optimizer", "optimizer")


def swap_schedule(desk: Desk) -> list[Option]:
    """Linear for cosine and the other way round, where the scheduler says how many steps there are."""
    options = []
    for source, call, dotted, gene in _calls(desk, "schedule"):
        given = structure.arguments(source, call, ("optimizer", "T_max") if dotted.endswith("CosineAnnealingLR") else ("optimizer",))
        if not given or "optimizer" not in given:
            continue
        if dotted.endswith("CosineAnnealingLR") and "T_max" in given:
            new, rest = "LinearLR", f"start_factor=1.0, end_factor=0.05, total_iters={given['T_max']}"
        elif dotted.endswith("LinearLR") and "total_iters" in given and "start_factor" in given:
            new, rest = "CosineAnnealingLR", f"T_max={given['total_iters']}"
        elif dotted.endswith(".StepLR") and {"step_size", "gamma"} <= given.keys():
            new, rest = "ExponentialLR", f"gamma={given['gamma']} ** (1 / {given['step_size']})"
        else:
            continue
        spelled = source.spell(f"{OPTIM}.lr_scheduler.{new}")
        if spelled:
            edit = Splice(*source.span(call), f"{spelled}({given['optimizer']}, {rest})")
            options.append(_swap(gene, [edit], f"{OPTIM}.lr_scheduler.{new}", change="schedule"))
    return options


def siblings(desk: Desk, gene: Gene) -> list[Option]:
    """Every swap of one component or string that this module knows."""
    known = {"activation": swap_activation, "norm": swap_norm, "pooling": swap_pooling, "initialiser": swap_init}
    operator = (known | {"optimizer": swap_optimizer, "schedule": swap_schedule}).get(gene.family)
    if operator is None:
        return []
    return [o for o in operator(desk) if o.path == gene.path and any(e.start <= gene.start < e.end for e in o.edits)]


def _swap(gene: Gene, edits: list[Splice], new: str, where: str = "", *, change: str = "architecture", weight: float = 1.0) -> Option:
    old = shown(gene.value)
    place = where or f"at {gene.name}"
    return Option(
        path=gene.path,
        edits=tuple(edits),
        summary=f"{old} to {shown(new)} {place}",
        hypothesis=f"{shown(new)} may suit this {gene.family} better than {old}; nothing else changes.",
        change=change,
        weight=weight,
    )


def _activations(dotted: str) -> list[str]:
    prefix, names = (NN, _ACTIVATIONS) if dotted.startswith(f"{NN}.") and not dotted.startswith(F) else (F, _FUNCTIONS)
    last = dotted.rpartition(".")[2]
    return [f"{prefix}.{n}" for n in names if n != last]


def _renamed(source: Source, gene: Gene, spelled: str) -> list[Splice] | None:
    """The name replaced; settings of the old activation (a slope, inplace) dropped with its call. None if the call has more than x."""
    call = source.calls.get(gene.start)
    if call is None:
        return [Splice(gene.start, gene.end, spelled)]
    keep = 0 if not gene.value.startswith(F) and gene.value != "torch.relu" else 1
    if len(call.args) < keep or any(isinstance(a, ast.Starred) for a in call.args):
        return None
    if len(call.args) == keep and not call.keywords:
        return [Splice(gene.start, gene.end, spelled)]
    kept = ", ".join(source.at(a) for a in call.args[:keep])
    return [Splice(*source.span(call), f"{spelled}({kept})")]


def _other_pooling(dotted: str) -> str:
    return re.sub("[Mm]ax|[Aa]vg", lambda m: {"Max": "Avg", "Avg": "Max", "max": "avg", "avg": "max"}[m.group()], dotted)


def _referred(desk: Desk, family: str) -> list[tuple[Source, Gene]]:
    """Genes that name a component without calling it: `NORM = nn.BatchNorm2d`."""
    named = [(desk.files[g.path], g) for g in desk.genes if g.kind == "name" and g.family == family]
    return [(source, gene) for source, gene in named if gene.start not in source.calls]


def _renamings(source: Source, gene: Gene, names: list[str]) -> list[Option]:
    spelled = [(n, source.spell(n)) for n in names if n != gene.value]
    return [_swap(gene, [Splice(gene.start, gene.end, s)], n) for n, s in spelled if s]


def _calls(desk: Desk, family: str) -> list[tuple[Source, ast.Call, str, Gene]]:
    """Calls of a family's members, with the gene that names each."""
    found = []
    for gene in desk.genes:
        if gene.kind == "name" and gene.family == family:
            source = desk.files[gene.path]
            call = source.calls.get(gene.start)
            if call is not None and not any(isinstance(a, ast.Starred) for a in call.args) and all(k.arg for k in call.keywords):
                found.append((source, call, gene.value, gene))
    return found


def _norms(source: Source, call: ast.Call, dotted: str) -> list[Rewrite]:
    """What may stand in for a norm: same features, valid for the same shapes of input."""
    last = dotted.rpartition(".")[2]
    if dotted.startswith(f"{F}."):
        new = f"{F}.{'layer_norm' if last == 'rms_norm' else 'rms_norm'}"
        spelled = source.spell(new)
        fits = len(call.args) == 2 and not call.keywords
        return [Rewrite(new, f"{spelled}({source.at(call.args[0])}, {source.at(call.args[1])})" if spelled and fits else None)]
    names = {
        "LayerNorm": ("normalized_shape",),
        "RMSNorm": ("normalized_shape",),
        "GroupNorm": ("num_groups", "num_channels"),
    }.get(last, ("num_features",))
    given = structure.arguments(source, call, names)
    if not given or names[-1] not in given:
        return []
    features = given[names[-1]]
    others = {
        "BatchNorm1d": (f"LayerNorm({features})",),
        "BatchNorm2d": (_group_norm(source, call, features), f"InstanceNorm2d({features}, affine=True)"),
        "InstanceNorm2d": (f"BatchNorm2d({features})", _group_norm(source, call, features)),
        "GroupNorm": (f"BatchNorm2d({features})",) if f"{NN}.Conv2d" in {source.dotted(n) for n in source.nodes} else (),
        "LayerNorm": (f"RMSNorm({features})",),
        "RMSNorm": (f"LayerNorm({features})",),
    }.get(last, ())
    return [Rewrite(f"{NN}.{o.partition('(')[0]}", _spelled(source, o)) for o in (*others, "Identity()")]


def _group_norm(source: Source, call: ast.Call, features: str) -> str:
    """As many groups of at least four channels as divide the features, where they are a number; else one group, always valid."""
    width = literal(call.args[0]) if call.args else None
    groups = next((g for g in (8, 4, 2) if isinstance(width, int) and width % g == 0 and width >= 4 * g), 1)
    return f"GroupNorm({groups}, {features})"


def _spelled(source: Source, layer: str) -> str | None:
    name, _, rest = layer.partition("(")
    spelled = source.spell(f"{NN}.{name}")
    return f"{spelled}({rest}" if spelled else None


def _other_optimizer(source: Source, call: ast.Call, old: str, new: str, spelled: str) -> list[Splice] | None:
    """The edits of one call: its name, settings that do not fit, the step's scale. None where positions cannot be read."""
    if len(call.args) > 2 or not call.args:
        return None
    dropped = [k for k in call.keywords if k.arg not in {*_OPTIMIZERS[new], "params"}]
    edits = [Splice(*source.span(call.func), spelled), *structure.without(source, call, dropped)]
    if (old == "SGD") != (new == "SGD"):
        step = call.args[1] if len(call.args) == 2 else next((k.value for k in call.keywords if k.arg == "lr"), None)
        factor = _SGD_TO_ADAPTIVE if old == "SGD" else 1 / _SGD_TO_ADAPTIVE
        if step is not None:
            edits.append(Splice(*source.span(step), structure.times(source.at(step), literal(step), factor)))
        elif new == "SGD":
            edits.append(structure.with_setting(source, call, "lr=0.02"))
    if new == "SGD":
        edits.append(structure.with_setting(source, call, "momentum=0.9"))
    return edits if all(edits) else None


def _swap_means(desk: Desk) -> list[Option]:
    """`x.mean(dim=(2, 3))` to `x.amax(dim=(2, 3))` and back: global pooling written by hand."""
    options = []
    for path, source in desk.files.items():
        for call in (n for n in source.nodes if isinstance(n, ast.Call) and isinstance(n.func, ast.Attribute)):
            axes = call.args or [k.value for k in call.keywords if k.arg == "dim"]
            if call.func.attr in {"mean", "amax"} and axes and isinstance(axes[0], (ast.Tuple, ast.List)) and len(axes[0].elts) == 2:
                new = "amax" if call.func.attr == "mean" else "mean"
                end = source.span(call.func)[1]
                options.append(
                    Option(
                        path=path,
                        edits=(Splice(end - len(call.func.attr), end, new),),
                        summary=f"{call.func.attr} to {new} in the pooling of line {call.lineno}",
                        hypothesis="Whether the strongest or the mean response carries the class is untested.",
                        change="architecture",
                    )
                )
    return options


def _swap_strings(desk: Desk, family: str, change: str) -> list[Option]:
    options = []
    for gene in (g for g in desk.genes if g.kind == "str" and g.family == family):
        library = "sklearn" if gene.callee.startswith("sklearn.") else "keras" if gene.callee.startswith(("keras.", "tensorflow.")) else ""
        choices = families.STRINGS.get(library, {}).get(gene.short.partition("#")[0], ())
        quote = desk.text_of(gene)[-1]
        options += [_swap(gene, [Splice(gene.start, gene.end, f"{quote}{c}{quote}")], c, change=change) for c in choices if c != gene.value]
    return options
