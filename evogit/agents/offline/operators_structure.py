"""Operators that add or repeat structure: layers, regularisers, learning-rate schedules. What they add, they add in one place."""

from __future__ import annotations

import ast

from evogit.agents.offline import structure
from evogit.agents.offline.desk import Desk, Option
from evogit.agents.offline.operators_names import swap_schedule
from evogit.agents.offline.operators_numbers import tune_depth, tune_schedule
from evogit.search.families import FAMILY_OF, NN, OPTIM, F
from evogit.search.genes import literal
from evogit.search.syntax import Source, Splice, walk

_DEEPER = "A deeper model can compose more features."
_SHALLOWER = "A layer may be idle; a shallower model trains faster."
_WEIGHTED = (f"{NN}.Linear", f"{NN}.Conv1d", f"{NN}.Conv2d")


def change_depth(desk: Desk) -> list[Option]:
    """One layer more or fewer: a depth constant, a repeated block, a layer of a Sequential whose shapes allow it."""
    options = tune_depth(desk)
    for path, source in desk.files.items():
        for call in sequentials(source):
            options += _sequential(path, source, call)
        options += _repeated(path, source)
        options += _listed(desk, path, source)
    return options


def insert_regulariser(desk: Desk) -> list[Option]:
    """Dropout after an activation, weight decay where the optimizer has none, label smoothing in the training loss, clipping."""
    options = []
    for path, source in desk.files.items():
        options += _dropouts(path, source)
        options += _smoothing(path, source)
    for opt in structure.optimizers(desk):
        options += _decay_and_clip(opt)
    return options


def change_schedule(desk: Desk) -> list[Option]:
    """A constant of the schedule, another schedule, or a first one where a loop over `range(n)` steps an optimizer."""
    options = tune_schedule(desk) + swap_schedule(desk)
    for opt in structure.optimizers(desk):
        options += _new_schedule(opt)
    return options


def sequentials(source: Source) -> list[ast.Call]:
    """Calls of nn.Sequential with their layers written out."""
    calls = (n for n in source.nodes if isinstance(n, ast.Call) and source.dotted(n.func) == f"{NN}.Sequential")
    return [c for c in calls if c.args and not c.keywords and not any(isinstance(a, ast.Starred) for a in c.args)]


def family(source: Source, node: ast.AST) -> str:
    """Family of a layer's call: "activation", "norm" ...; "" for another."""
    return FAMILY_OF.get(source.meaning(node.func), "") if isinstance(node, ast.Call) else ""


def is_square(source: Source, node: ast.AST) -> bool:
    """A layer whose output has the shape of its input, as far as its text says."""
    if not isinstance(node, ast.Call) or len(node.args) < 2 or source.at(node.args[0]) != source.at(node.args[1]):
        return False
    dotted = source.meaning(node.func)
    if "Conv" in dotted:
        return _keeps_shape(source, node)
    return dotted == f"{NN}.Linear" or not dotted.startswith("torch.")


def _keeps_shape(source: Source, node: ast.Call) -> bool:
    """A convolution with stride 1 and padding that makes up for an odd kernel."""
    given = structure.arguments(source, node, ("in_channels", "out_channels", "kernel_size", "stride", "padding"))
    kernel, padding = given.get("kernel_size", ""), given.get("padding", "0")
    is_same = "same" in padding or (kernel.isdigit() and padding.isdigit() and int(padding) * 2 + 1 == int(kernel))
    return is_same and given.get("stride", "1") == "1" and given.get("dilation", "1") == "1"


def _sequential(path: str, source: Source, call: ast.Call) -> list[Option]:
    options = []
    layers = call.args
    for i, layer in enumerate(layers):
        end = _group_end(source, layers, i)
        first, last = source.span(layer)[0], source.span(layers[end])[1]
        group = source.text[first:last]
        name = source.at(layer)
        if is_square(source, layer) and "\n" not in name:
            options.append(_deeper(path, Splice(last, last, f", {group}"), name))
            options.append(_shallower(path, source, layers, i, end, name))
        elif (added := _square_twin(source, layer)) and end > i and end < len(layers) - 1:
            activation = next((source.at(n) for n in layers[i : end + 1] if family(source, n) == "activation"), "")
            options.append(_deeper(path, Splice(last, last, f", {added}, {activation}"), added))
    return [o for o in options if o is not None]


def _group_end(source: Source, layers: list[ast.expr], i: int) -> int:
    """The last of a layer's followers (norm, activation, dropout): they come and go with it."""
    while i + 1 < len(layers) and (
        family(source, layers[i + 1]) in {"activation", "norm"} or "Dropout" in source.at(layers[i + 1]).partition("(")[0]
    ):
        i += 1
    return i


def _square_twin(source: Source, layer: ast.expr) -> str:
    """A layer like this one from its output's width to the same width; "" if it is not a plain Linear or Conv."""
    if not isinstance(layer, ast.Call) or source.meaning(layer.func) not in _WEIGHTED or len(layer.args) < 2:
        return ""
    if "Conv" in source.meaning(layer.func) and not _keeps_shape(source, layer):
        return ""
    out = source.at(layer.args[1])
    rest = [source.at(a) for a in layer.args[2:]] + [source.at(k) for k in layer.keywords]
    return f"{source.at(layer.func)}({', '.join([out, out, *rest])})"


def _deeper(path: str, edit: Splice, name: str) -> Option:
    return Option(path=path, edits=(edit,), summary=f"add a layer: {_brief(name)}", hypothesis=_DEEPER, change="capacity_increase")


def _shallower(path: str, source: Source, layers: list[ast.expr], i: int, end: int, name: str) -> Option | None:
    if len(layers) <= end - i + 1:
        return None
    edit = structure_gap(source, layers, i, end)
    return Option(path=path, edits=(edit,), summary=f"remove a layer: {_brief(name)}", hypothesis=_SHALLOWER, change="capacity_decrease")


def structure_gap(source: Source, items: list[ast.expr], first: int, last: int) -> Splice:
    """The edit that takes items first..last out of a list of arguments, with the comma before or after them."""
    if first > 0:
        return Splice(source.span(items[first - 1])[1], source.span(items[last])[1], "")
    end = source.span(items[last + 1])[0] if last + 1 < len(items) else source.span(items[last])[1]
    return Splice(source.span(items[first])[0], end, "")


def _brief(text: str) -> str:
    return " ".join(text.split())[:60]


def _repeated(path: str, source: Source) -> list[Option]:
    """`[Block(...) for _ in range(6)]`: the bare number that counts the blocks."""
    options = []
    for node in source.nodes:
        if not isinstance(node, (ast.ListComp, ast.GeneratorExp)) or not isinstance(node.elt, ast.Call) or len(node.generators) != 1:
            continue
        over = node.generators[0].iter
        count = (
            literal(over.args[0]) if isinstance(over, ast.Call) and source.dotted(over.func) == "range" and len(over.args) == 1 else None
        )
        is_layer = source.dotted(node.elt.func).rpartition(".")[2][:1].isupper()
        if not is_layer or type(count) is not int or not 1 <= count <= 256:
            continue
        for new in (count + 1, count - 1, count * 2):
            if new >= 1 and new != count and not (new == count * 2 and count == 1):
                summary = f"{count} to {new} of {_brief(source.at(node.elt))}"
                change = "capacity_increase" if new > count else "capacity_decrease"
                edit = Splice(*source.span(over.args[0]), str(new))
                options.append(
                    Option(path=path, edits=(edit,), summary=summary, hypothesis=_DEEPER if new > count else _SHALLOWER, change=change)
                )
    return options


def _listed(desk: Desk, path: str, source: Source) -> list[Option]:
    """`WIDTHS = (32, 64)` that a loop goes over: its last element once more, or gone."""
    looped = {source.at(n.iter).split(".")[-1] for n in source.nodes if isinstance(n, (ast.For, ast.comprehension))}
    options = []
    for gene in desk.genes:
        is_list = gene.kind == "tuple" and gene.family == "width" and isinstance(gene.value, tuple) and gene.path == path
        if not is_list or not (gene.short in looped or gene.short == "hidden_layer_sizes"):
            continue
        parts = sorted((g for g in desk.genes if g.path == path and g.name.startswith(gene.name + "[")), key=lambda g: g.start)
        if not parts or len(parts) != len(gene.value):
            continue
        end, text = parts[-1].end, desk.text_of(parts[-1])
        options.append(_deeper(path, Splice(end, end, f", {text}"), f"{gene.name} of {text}"))
        if len(parts) > 2:
            edit = Splice(parts[-2].end, end, "")
            summary = f"remove a layer: {gene.name} of {text}"
            options.append(Option(path=path, edits=(edit,), summary=summary, hypothesis=_SHALLOWER, change="capacity_decrease"))
    return options


def _dropouts(path: str, source: Source) -> list[Option]:
    options = []
    layer, function = source.spell(f"{NN}.Dropout"), source.spell(f"{F}.dropout")
    for call in sequentials(source):
        for node, following in zip(call.args, [*call.args[1:], None]):
            if layer and following is not None and family(source, node) == "activation" and "Dropout" not in source.at(following):
                end = source.span(node)[1]
                options += [
                    _regularised(path, Splice(end, end, f", {layer}({p})"), f"dropout {p} after {source.at(node)}")
                    for p in (0.05, 0.1, 0.2)
                ]
    for node in structure.statements(source) if function else []:
        if not isinstance(node, ast.Assign) or not isinstance(node.targets[0], ast.Name) or len(node.targets) > 1:
            continue
        scope = structure.scope_of(source, node)
        is_active = any(family(source, n) == "activation" for n in walk(node.value))
        if is_active and getattr(scope, "name", "") == "forward" and isinstance(source.parent(scope), ast.ClassDef):
            name = node.targets[0].id
            for p in (0.05, 0.1, 0.2):
                edit = structure.inserted(source, node, [f"{name} = {function}({name}, {p}, self.training)"], after=True)
                if edit:
                    options.append(_regularised(path, edit, f"dropout {p} after line {node.lineno}"))
    return options


def _smoothing(path: str, source: Source) -> list[Option]:
    """Only in a loss whose function also goes backward: the loss that is reported must stay the loss."""
    options = []
    names = (f"{F}.cross_entropy", f"{NN}.CrossEntropyLoss")
    calls = [n for n in source.nodes if isinstance(n, ast.Call) and source.dotted(n.func) in names]
    for call in calls:
        is_training = any(isinstance(n, ast.Attribute) and n.attr == "backward" for n in walk(structure.scope_of(source, call)))
        if is_training and len(calls) == 1 and "label_smoothing" not in {k.arg for k in call.keywords}:
            for amount in (0.05, 0.1):
                setting = f"label_smoothing={amount}"
                options.append(_regularised(path, structure.with_setting(source, call, setting), f"smooth the labels by {amount}"))
    return options


def _decay_and_clip(opt: structure.Optimizer) -> list[Option]:
    options = []
    dotted = opt.source.dotted(opt.call.func)
    if not any(k.arg in {"weight_decay", None} for k in opt.call.keywords):
        for amount in ("0.05", "0.1") if dotted.endswith("AdamW") else ("1e-4", "1e-3"):
            edit = structure.with_setting(opt.source, opt.call, f"weight_decay={amount}")
            options.append(_regularised(opt.path, edit, f"weight decay {amount}"))
    clip = opt.source.spell("torch.nn.utils.clip_grad_norm_")
    if clip and opt.parameters.endswith(".parameters()") and "clip_grad_norm_" not in opt.source.text:
        for limit in (1.0, 0.5):
            edit = structure.inserted(opt.source, opt.step, [f"{clip}({opt.parameters}, {limit})"])
            if edit:
                options.append(_regularised(opt.path, edit, f"clip gradients at norm {limit}"))
    return options


def _regularised(path: str, edit: Splice, summary: str) -> Option:
    hypothesis = "The model may overfit or take wild steps; a regulariser in this one place is the cheapest test of that."
    return Option(path=path, edits=(edit,), summary=f"add {summary}", hypothesis=hypothesis, change="regularization")


def _new_schedule(opt: structure.Optimizer) -> list[Option]:
    """Where a loop over `range(n)` surrounds the step: a schedule over n. Around any other loop: one that needs no length."""
    source = opt.source
    module = source.spell(f"{OPTIM}.lr_scheduler")
    loops = [n for n in source.above(opt.step) if isinstance(n, (ast.For, ast.AsyncFor, ast.While))]
    if module is None or "lr_scheduler" in source.text or "param_groups" in source.text or not loops or not source.line_span(loops[-1]):
        return []
    loop = loops[-1]
    n = _steps(source, loop) if isinstance(loop, ast.For) else ""
    last = loop.body[-1] if n and source.parent(opt.step) is not loop else opt.step
    name = "scheduler" if "scheduler" not in source.text else "lr_schedule"
    follow = structure.inserted(source, last, [f"{name}.step()"], after=True)
    options = []
    for label, text in (_over(opt.name, n) if n else _endless(opt.name)).items():
        before = structure.inserted(source, loop, [f"{name} = {module}.{text}"])
        if before and follow and loop.lineno > opt.made.lineno:
            hypothesis = "A constant rate is too large at the end or too large at the start; a schedule mends one of the two."
            summary = f"schedule the learning rate: {label}"
            options.append(Option(path=opt.path, edits=(before, follow), summary=summary, hypothesis=hypothesis, change="schedule"))
    return options


def _over(name: str, n: str) -> dict[str, str]:
    """Schedules over `n` steps of an optimizer called `name`."""
    plain = n if n.replace(".", "").replace("_", "").isalnum() else f"({n})"
    return {
        "cosine decay": f"CosineAnnealingLR({name}, T_max={n})",
        "linear decay": f"LinearLR({name}, start_factor=1.0, end_factor=0.05, total_iters={n})",
        "a warmup": f"LinearLR({name}, start_factor=0.1, total_iters=max(1, {plain} // 10))",
        "warmup and linear decay": f"LambdaLR({name}, lambda t, n={n}: min(1.0, (t + 1) / (0.1 * n), (1 - t / n) / 0.7 + 0.02))",
    }


def _endless(name: str) -> dict[str, str]:
    """Schedules for a loop whose length is not written down."""
    return {
        "a warmup of 20 steps": f"LinearLR({name}, start_factor=0.1, total_iters=20)",
        "1 % less every step": f"ExponentialLR({name}, gamma=0.99)",
        "0.3 % less every step": f"ExponentialLR({name}, gamma=0.997)",
    }


def _steps(source: Source, loop: ast.For) -> str:
    """How often a loop over `range(n)` or `range(1, n + 1)` runs, as it is written; "" for another loop."""
    over = loop.iter
    if not isinstance(over, ast.Call) or source.dotted(over.func) != "range" or over.keywords or loop.orelse:
        return ""
    if len(over.args) == 1:
        return source.at(over.args[0])
    if len(over.args) == 2:
        return f"({source.at(over.args[1])}) - ({source.at(over.args[0])})"
    return ""
