"""Finding and rewriting calls and statements by span: the grammar that the structural operators share. It chooses nothing."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Sequence

import msgspec

from evogit.agents.offline.desk import Desk, Option
from evogit.search.families import INIT, OPTIM
from evogit.search.genes import Gene
from evogit.search.syntax import Source, Splice, walk


class Rewrite(msgspec.Struct, frozen=True):
    """A dotted name and the text that would stand for it; None where the file's imports cannot spell it."""

    name: str
    text: str | None


class Optimizer(msgspec.Struct, frozen=True):
    """An optimizer that is made and stepped in one scope: `opt = torch.optim.Adam(model.parameters(), ...)` ... `opt.step()`."""

    path: str
    source: Source
    made: ast.Assign
    name: str  # as it is written: "opt", "self.opt"
    parameters: str  # its first argument, as it is written
    step: ast.stmt  # the statement `opt.step()`
    call: ast.Call


def grouped(genes: Iterable[Gene]) -> list[tuple[str, list[Gene]]]:
    """Genes of the same file and value together, in the order of the first one."""
    groups: dict[tuple[str, str], list[Gene]] = {}
    for gene in genes:
        groups.setdefault((gene.path, str(gene.value)), []).append(gene)
    return [(value, group) for (_, value), group in groups.items()]


def arguments(source: Source, call: ast.Call, names: Sequence[str]) -> dict[str, str]:
    """Argument name -> text, positions named by `names`; {} where there are more positions than names."""
    if len(call.args) > len(names):
        return {}
    return {**{n: source.at(a) for n, a in zip(names, call.args)}, **{k.arg: source.at(k.value) for k in call.keywords if k.arg}}


def without(source: Source, call: ast.Call, dropped: Sequence[ast.keyword]) -> list[Splice]:
    """The edits that take keywords out of a call, each with the comma before it (or after it, if it is the first)."""
    order = sorted([*call.args, *call.keywords], key=lambda n: source.span(n))
    edits = []
    for node in dropped:
        i = order.index(node)
        start, end = source.span(node)
        before = next((n for n in reversed(order[:i]) if n not in dropped), None)
        if i > 0 and before is not None:
            edits.append(Splice(_end(source, order[i - 1], start), end, ""))
        else:
            edits.append(Splice(start, source.span(order[i + 1])[0] if i + 1 < len(order) else end, ""))
    return edits


def _end(source: Source, node: ast.AST, limit: int) -> int:
    """The end of an argument, parentheses around it included; `limit` is where the next one begins, or the call's own `)`."""
    end = source.span(node)[1]
    closing = re.match(r"(\s*\))*", source.text[end:limit])
    return end + closing.end()


def with_setting(source: Source, call: ast.Call, setting: str) -> Splice:
    """The edit that adds a keyword as the last argument of a call."""
    limit = source.span(call)[1] - 1
    last = max([*call.args, *call.keywords], key=lambda n: source.span(n)[1], default=None)
    if last is None:
        return Splice(limit, limit, setting)
    end = _end(source, last, limit)
    return Splice(end, end, f", {setting}")


def times(text: str, value: bool | float | None, factor: float) -> str:
    """A number, or an expression, multiplied by a factor."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return repr(float(f"{value * factor:.2g}"))
    is_plain = all(c.isalnum() or c in "._[]\"'" for c in text)
    return f"{text if is_plain else f'({text})'} * {factor:g}"


def optimizers(desk: Desk) -> list[Optimizer]:
    """Every torch optimizer that is given a name and stepped in the scope where it is made."""
    found = []
    for path, source in desk.files.items():
        for node in source.nodes:
            if not (isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.value, ast.Call) and node.value.args):
                continue
            dotted = source.dotted(node.value.func)
            if not dotted.startswith(f"{OPTIM}.") or "lr_scheduler" in dotted or isinstance(node.value.args[0], ast.Starred):
                continue
            name = source.at(node.targets[0])
            step = _stepped(source, scope_of(source, node), name)
            if step is not None and source.line_span(node) and source.line_span(step):
                found.append(Optimizer(path, source, node, name, source.at(node.value.args[0]), step, node.value))
    return found


def scope_of(source: Source, node: ast.AST) -> ast.AST:
    """The function that a node stands in, or the module."""
    functions = (n for n in source.above(node) if isinstance(n, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Module)))
    return next(functions, source.tree)


def _stepped(source: Source, scope: ast.AST, name: str) -> ast.stmt | None:
    for node in walk(scope):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call) and source.at(node.value.func) == f"{name}.step":
            return node if scope_of(source, node) is scope else None
    return None


def statements(source: Source) -> list[ast.stmt]:
    """Every statement that has whole lines to itself, in the order of the text."""
    return [n for n in source.nodes if isinstance(n, ast.stmt) and source.line_span(n)]


def body_of(source: Source, node: ast.stmt) -> list[ast.stmt]:
    """The block that a statement stands in."""
    above = source.parent(node)
    blocks = [getattr(above, f, None) for f in ("body", "orelse", "finalbody")]
    return next((b for b in blocks if isinstance(b, list) and node in b), [])


def deleted(source: Source, node: ast.stmt) -> Splice | None:
    """The edit that takes a statement's lines out; None if they are shared, or the block would be empty."""
    span = source.line_span(node)
    return Splice(*span, "") if span and len(body_of(source, node)) > 1 else None


def inserted(source: Source, node: ast.stmt, lines: Sequence[str], *, after: bool = False) -> Splice | None:
    """The edit that puts lines before (or after) a statement, at its depth. None if it shares its lines with another."""
    span = source.line_span(node)
    if span is None:
        return None
    at = span[1] if after else span[0]
    indent, end = source.indent(node), source.newline
    text = "".join(f"{indent}{line}{end}" for line in lines)
    if after and not source.text[:at].endswith(("\n", "\r")):
        text = end + text[: -len(end)]
    return Splice(at, at, text)


def inner(source: Source) -> str:
    """One level of indentation, as this file writes it."""
    return "\t" if any(line.startswith("\t") for line in source.lines) else "    "


def add_init(desk: Desk) -> list[Option]:
    """An initialiser for every matrix of a model, where the model's own parameters are given to an optimizer."""
    options = []
    for opt in optimizers(desk):
        if not opt.parameters.endswith(".parameters()") or not opt.parameters.replace(".", "").replace("()", "").isidentifier():
            continue
        for name in ("orthogonal_", "xavier_uniform_", "kaiming_normal_"):
            spelled = opt.source.spell(f"{INIT}.{name}")
            if spelled is None:
                continue
            step = inner(opt.source)
            lines = [f"for weight in {opt.parameters}:", f"{step}if weight.dim() > 1:", f"{step}{step}{spelled}(weight)"]
            edit = inserted(opt.source, opt.made, lines)
            if edit:
                options.append(
                    Option(
                        path=opt.path,
                        edits=(edit,),
                        summary=f"initialise every matrix with {name}",
                        hypothesis="A start with even singular values or variances should train faster in a short run.",
                        change="initialisation",
                    )
                )
    return options
