"""Widths that are written as bare numbers in layer calls, and must agree between a layer's output and the next one's input.

Works inside one class (or the module outside classes), where layers are chained. It does not follow widths through functions.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

import msgspec

from evogit.agents.offline import steps
from evogit.agents.offline.desk import Desk, Option
from evogit.search.families import NN
from evogit.search.genes import Gene
from evogit.search.syntax import Source, Splice, walk

# Layer -> which positions hold features coming in, and going out.
_LAYERS: dict[str, tuple[tuple[int, ...], tuple[int, ...]]] = {
    **{
        f"{NN}.{n}": ((0,), (1,))
        for n in ("Linear", "Conv1d", "Conv2d", "Conv3d", "ConvTranspose2d", "GRU", "LSTM", "RNN", "GRUCell", "LSTMCell")
    },
    **{f"{NN}.{n}": ((0,), ()) for n in ("BatchNorm1d", "BatchNorm2d", "BatchNorm3d", "LayerNorm", "RMSNorm", "InstanceNorm2d")},
    f"{NN}.GroupNorm": ((1,), ()),
    f"{NN}.Embedding": ((), (1,)),
}
_KEYWORDS = {
    "in_features": "in",
    "in_channels": "in",
    "num_features": "in",
    "normalized_shape": "in",
    "num_channels": "in",
    "input_size": "in",
} | {
    "out_features": "out",
    "out_channels": "out",
    "embedding_dim": "out",
    "hidden_size": "out",
}


class _Place(msgspec.Struct, frozen=True):
    """A bare number in a feature position."""

    node: ast.Constant
    side: str  # "in" or "out"
    callee: str  # dotted
    is_flattened: bool  # the `64` of `64 * 7 * 7`


def scale_literals(desk: Desk, *factors: float, hypothesis: str = "") -> list[Option]:
    """One option for each factor and each inner width of each network: all its places at once."""
    options = []
    for path, source in desk.files.items():
        for scope in _scopes(source):
            places = list(_places(source, scope))
            outs = {p.node.value for p in places if p.side == "out"}
            for width in sorted(outs & {p.node.value for p in places if p.side == "in"}):
                same = [p for p in places if p.node.value == width]
                options += [_scaled(path, source, scope, same, places, factor, hypothesis) for factor in factors]
    return [o for o in options if o is not None]


def _scaled(
    path: str, source: Source, scope: ast.AST, same: list[_Place], places: list[_Place], factor: float, hypothesis: str
) -> Option | None:
    width = same[0].node.value
    if same[0].side == "in" and not same[0].is_flattened:
        return None  # the first layer's input: the data decides it
    gene = Gene(name="width", kind="size", value=width, start=0, end=0, family="width")
    new = steps.scaled(gene, factor)
    if not isinstance(new, int) or any(_is_last_output(p, places) for p in same):
        return None
    edits = [Splice(*source.span(p.node), str(new)) for p in same]
    edits += _flattened(source, same, places, new)
    where = scope.name if isinstance(scope, ast.ClassDef) else "the network"
    grows = new > width
    return Option(
        path=path,
        edits=tuple(edits),
        summary=f"{'widen' if grows else 'narrow'} {where}: {width} to {new} in {len(edits)} places",
        hypothesis=hypothesis
        or ("The model may be too small for the task." if grows else "Width may be idle; a narrower model should do as well."),
        change="capacity_increase" if grows else "capacity_decrease",
    )


def _flattened(source: Source, same: list[_Place], places: list[_Place], new: int) -> list[Splice]:
    """A linear layer after a flatten whose input is written out: 3136 for 64 x 7 x 7 follows the last convolution's width."""
    width = same[0].node.value
    outs = {p.node.value for p in places if p.side == "out"}
    before = [p for p in places if p.side == "out" and "Conv" in p.callee]
    if not before or before[-1].node.value != width:
        return []
    orphans = [p.node for p in places if p.side == "in" and p.node.value not in outs and p.node.lineno >= before[-1].node.lineno]
    return [Splice(*source.span(n), str(n.value // width * new)) for n in orphans if n.value > width and n.value % width == 0]


def _is_last_output(place: _Place, places: list[_Place]) -> bool:
    """The last layer's output: the task decides it."""
    return place.side == "out" and place is [p for p in places if p.side == "out"][-1]


def _scopes(source: Source) -> Iterator[ast.AST]:
    classes = [n for n in source.tree.body if isinstance(n, ast.ClassDef)]
    yield from classes
    yield ast.Module(body=[n for n in source.tree.body if not isinstance(n, ast.ClassDef)], type_ignores=[])


def _places(source: Source, scope: ast.AST) -> Iterator[_Place]:
    for call in walk(scope):
        if not isinstance(call, ast.Call) or (sides := _LAYERS.get(source.dotted(call.func))) is None:
            continue
        arguments = [(a, "in" if i in sides[0] else "out" if i in sides[1] else "") for i, a in enumerate(call.args)]
        arguments += [(k.value, _KEYWORDS.get(k.arg or "", "")) for k in call.keywords]
        for node, side in arguments:
            is_product = isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult)
            while isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult):
                node = node.left
            if side and isinstance(node, ast.Constant) and type(node.value) is int and (side == "in" or not is_product):
                yield _Place(node, side, source.dotted(call.func), is_product)
