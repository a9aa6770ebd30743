"""Where a script tells its own score: what it prints, and how the printed number is made. Asked only where no ruler is locked."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from evogit.search.tells.frozen import Frozen
from evogit.search.tells.naming import File, Node

_PRINTS = frozenset(("print", "write", "writelines", "info", "echo", "dump", "dumps", "log", "write_text", "write_bytes"))
_SAVES = frozenset(("dump", "dumps", "print"))
_SEP = r"[\"']?\s*[:=]\s*[\"']?"
_NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?\b"
_PLAIN = frozenset(("float", "round", "int"))  # what may stand around the evaluator's call
_READ = frozenset(("item", "mean", "detach", "cpu", "tolist"))


class Report(Node, frozen=True):
    """A statement that prints or saves a metric: the expressions of its value, none where the number is written out."""

    values: tuple[ast.AST, ...]
    is_constant: bool


def reports(file: File, facts: Frozen) -> Iterator[Report]:
    """Statements that say a metric's number where evogit reads it."""
    names = (*facts.metrics, "val_metric")
    label = re.compile(rf"(?<![\w.])(?:{'|'.join(map(re.escape, names))}){_SEP}$")
    written = re.compile(rf"(?<![\w.])(?:{'|'.join(map(re.escape, names))}){_SEP}{_NUMBER}")
    for item in file.calls:
        func = item.node.func
        called = func.attr if isinstance(func, ast.Attribute) else func.id if isinstance(func, ast.Name) else ""
        if called in _PRINTS:
            yield from _printed(file, item, called, label, written, frozenset(names))


def _printed(
    file: File, item: Node, called: str, label: re.Pattern[str], written: re.Pattern[str], names: frozenset[str]
) -> Iterator[Report]:
    arguments = [*item.node.args, *(keyword.value for keyword in item.node.keywords)]
    for at, argument in enumerate(arguments):
        text = file.text(argument)
        if written.search(text):
            yield Report(item.node, item.holder, item.function, (), True)
        elif label.search(text.rstrip()) and at + 1 < len(arguments):
            yield _report(item, (arguments[at + 1],))
        for node in _below(argument):
            yield from _in_text(item, node, label, written)
            if isinstance(node, ast.Dict) and called in _SAVES | {"write", "write_text"}:
                for key, value in zip(node.keys, node.values):
                    if isinstance(key, ast.Constant) and key.value in names:
                        yield _report(item, (value,))


def _in_text(item: Node, node: ast.AST, label: re.Pattern[str], written: re.Pattern[str]) -> Iterator[Report]:
    """Values in an f-string, a % or .format text."""
    if isinstance(node, ast.JoinedStr):
        for one, other in zip(node.values, node.values[1:]):
            if isinstance(one, ast.Constant) and isinstance(other, ast.FormattedValue) and label.search(str(one.value).rstrip(" ")):
                yield _report(item, (other.value,))
        if any(isinstance(part, ast.Constant) and written.search(str(part.value)) for part in node.values):
            yield Report(item.node, item.holder, item.function, (), True)
    elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mod) and isinstance(node.left, ast.Constant):
        if isinstance(node.left.value, str) and label.search(node.left.value.partition("%")[0].rstrip(" ")):
            yield _report(item, (node.right,))
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "format":
        text = getattr(node.func.value, "value", "")
        if isinstance(text, str) and label.search(text.partition("{")[0].rstrip(" ")):
            yield _report(item, tuple(node.args[:1]))


def _report(item: Node, values: tuple[ast.AST, ...]) -> Report:
    plain = [value.elts[0] if isinstance(value, ast.Tuple) and value.elts else value for value in values]
    constant = bool(plain) and all(_finite(value) for value in plain)
    return Report(item.node, item.holder, item.function, tuple(plain), constant)


def _finite(node: ast.AST) -> bool:
    if isinstance(node, ast.UnaryOp):
        node = node.operand
    return (
        isinstance(node, ast.Constant)
        and isinstance(node.value, (int, float))
        and not isinstance(node.value, bool)
        and node.value == node.value
    )


def _below(node: ast.AST) -> Iterator[ast.AST]:
    """The parts of an argument that may hold a label, without a walk of everything in it."""
    yield node
    for child in ast.iter_child_nodes(node):
        if isinstance(child, (ast.JoinedStr, ast.BinOp, ast.Dict, ast.Call)):
            yield from _below(child) if isinstance(child, ast.Call) and child is not node else (child,)


def origins(file: File, found: list[Report]) -> Iterator[tuple[Node, ast.AST, str]]:
    """Statements that give a reported name its value: the statement, the value, the name."""
    names = {n.id for report in found for value in report.values for n in ast.walk(value) if isinstance(n, ast.Name)}
    for item in file.assigns:
        targets = item.node.targets if isinstance(item.node, ast.Assign) else [item.node.target]
        for target in targets:
            for name in (n.id for n in ast.walk(target) if isinstance(n, ast.Name) and n.id in names):
                if item.node.value is not None:
                    yield item, item.node.value, name


def is_measured(file: File, node: ast.AST, facts: Frozen) -> bool:
    """True for a call of a frozen function, bare or behind `float(...)`, `.item()`, and for a tuple or entry of one."""
    while True:
        if isinstance(node, ast.Subscript):
            node = node.value
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in _PLAIN and node.args:
            node = node.args[0]
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in _READ and not node.args:
            node = node.func.value
        else:
            break
    dotted = file.dotted(node.func) if isinstance(node, ast.Call) else ""
    return bool(dotted) and any(dotted.startswith(f"{module}.") for module in facts.modules)


def scales(item: Node, value: ast.AST, name: str) -> bool:
    """True where a name is made from itself and a constant: `loss *= 0.9`, `loss = min(loss, 0.1)`."""
    if isinstance(item.node, ast.AugAssign):
        return isinstance(value, ast.Constant)
    has_self = any(isinstance(n, ast.Name) and n.id == name for n in ast.walk(value))
    has_constant = any(isinstance(n, ast.Constant) and isinstance(n.value, (int, float)) for n in ast.walk(value))
    return has_self and has_constant and isinstance(value, (ast.BinOp, ast.Call))
