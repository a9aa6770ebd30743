"""Where a script tells its own score: what it prints, and how the printed number is made. Asked only where no ruler is locked."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from evogit.search.tells.frozen import Frozen
from evogit.search.tells.naming import File, Node
from evogit.search.tells.spelling import DEEP

_PRINTS = frozenset(("print", "write", "writelines", "info", "echo", "dump", "dumps", "log", "write_text", "write_bytes"))
_SAVES = frozenset(("dump", "dumps", "print", "write", "write_text"))
_SEP = r"[\"']?\s*[:=]\s*[\"']?"
_NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?\b"
_PLAIN = frozenset(("float", "round", "int"))  # what may stand around the evaluator's call
_READ = frozenset(("item", "mean", "detach", "cpu", "tolist"))
_SHOWN = frozenset(("str", "repr", "format"))  # functions that print what they are given
_PERCENT = re.compile(r"%[-+ #0]*[\d*]*(?:\.[\d*]+)?[a-zA-Z]")
_FIELD = re.compile(r"\{([^{}:!]*)[^{}]*\}")
Pieces = list[str | ast.AST]  # what is printed: texts, and expressions whose text only a run tells


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
        if called not in _PRINTS:
            continue
        for pieces in _printed(file, item.node, called):
            yield from _told(item, pieces, label, written)
        if called in _SAVES:
            yield from _saved(file, item, frozenset(names))


def _printed(file: File, call: ast.Call, called: str) -> Iterator[Pieces]:
    """What a call prints, in one go, and every text that stands deeper in an argument."""
    sep = next((file.text(k.value) for k in call.keywords if k.arg == "sep"), " ")
    whole: Pieces = []
    for argument in call.args:
        whole += ([sep] if whole else []) + _pieces(file, argument)
    yield whole
    for argument in (*call.args, *(keyword.value for keyword in call.keywords)):
        yield from (_pieces(file, node) for node in _below(argument) if node is not argument)


def _told(item: Node, pieces: Pieces, label: re.Pattern[str], written: re.Pattern[str]) -> Iterator[Report]:
    said = ""
    for piece in pieces:
        if isinstance(piece, str):
            said += piece
        else:
            if label.search(_PERCENT.sub("", said[-200:]).rstrip()):
                yield _report(item, piece)
            said += "\0"  # stands for a value: no number goes on behind it
    if written.search(said):
        yield Report(item.node, item.holder, item.function, (), True)


def _saved(file: File, item: Node, names: frozenset[str]) -> Iterator[Report]:
    """`json.dump({"val_bpb": ...})`"""
    for argument in (*item.node.args, *(keyword.value for keyword in item.node.keywords)):
        for node in _below(argument):
            for key, value in zip(node.keys, node.values) if isinstance(node, ast.Dict) else ():
                if file.text(key) in names:
                    yield _report(item, value)


def _pieces(file: File, node: ast.AST, depth: int = 0) -> Pieces:
    """What an expression prints: texts that are written out, and between them the expressions that are not."""
    text = file.text(node)
    if text or depth > DEEP:
        return [text or node]
    if isinstance(node, ast.JoinedStr):
        parts = [v.value if isinstance(v, ast.FormattedValue) else v for v in node.values]
        return [piece for part in parts for piece in _pieces(file, part, depth + 1)]
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add) and _holds_text(file, node):
        return _pieces(file, node.left, depth + 1) + _pieces(file, node.right, depth + 1)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mod) and (text := file.text(node.left)):
        return _filled(file, _PERCENT.split(text), [*node.right.elts] if isinstance(node.right, ast.Tuple) else [node.right], depth)
    if not isinstance(node, ast.Call):
        return [node]
    if isinstance(node.func, ast.Name):
        return _pieces(file, node.args[0], depth + 1) if node.func.id in _SHOWN and node.args else [node]
    return _of_method(file, node, depth) if isinstance(node.func, ast.Attribute) else [node]


def _of_method(file: File, node: ast.Call, depth: int) -> Pieces:
    """`text.format(...)`, `text.join([...])`, and a text that is made of one (`.replace("-", "_")`)."""
    text, method = file.text(node.func.value), node.func.attr
    if method == "format" and text:
        return _formatted(file, text, node, depth)
    if method == "join" and text and node.args:
        parts = [_pieces(file, part, depth + 1) for part in getattr(node.args[0], "elts", [])]
        return [piece for n, part in enumerate(parts) for piece in ([text] if n else []) + part]
    if method == "replace" and len(node.args) == 2:
        old, new = map(file.text, node.args)
        return [p.replace(old, new) if isinstance(p, str) and old else p for p in _pieces(file, node.func.value, depth + 1)]
    return [node]


def _formatted(file: File, text: str, call: ast.Call, depth: int) -> Pieces:
    named = {keyword.arg: keyword.value for keyword in call.keywords}
    fields, values = _FIELD.findall(text), []
    for at, field in enumerate(fields):
        place = int(field) if field.isdecimal() and len(field) < 4 else at
        values.append(named.get(field) or (call.args[place] if place < len(call.args) else None))
    return _filled(file, _FIELD.sub("\0", text).split("\0"), values, depth)


def _filled(file: File, texts: list[str], values: list[ast.AST | None], depth: int) -> Pieces:
    """Texts with values in between."""
    found: Pieces = []
    for at, text in enumerate(texts):
        value = values[at] if at < len(values) else None
        found += [text, *(_pieces(file, value, depth + 1) if value is not None else [])]
    return found


def _holds_text(file: File, node: ast.AST) -> bool:
    """True for a sum of texts: one of numbers is one value."""
    stack = [node]
    while stack:
        node = stack.pop()
        if isinstance(node, ast.BinOp):
            stack += [node.left, node.right]
        elif isinstance(node, ast.JoinedStr) or file.text(node):
            return True
    return False


def _report(item: Node, value: ast.AST) -> Report:
    if isinstance(value, ast.Tuple) and value.elts:
        value = value.elts[0]
    return Report(item.node, item.holder, item.function, (value,), _is_number(value))


def _is_number(node: ast.AST) -> bool:
    """True for a number itself: a sum of named constants may be a count of parameters."""
    node = node.operand if isinstance(node, ast.UnaryOp) else node
    return isinstance(node, ast.Constant) and type(node.value) in (int, float) and node.value == node.value


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


def measured_by(file: File, node: ast.AST, facts: Frozen) -> str:
    """The frozen function whose call a value is, bare or behind `float(...)`, `.item()`, or a tuple or entry of one; "" for none."""
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
    return dotted if any(dotted.startswith(f"{module}.") for module in facts.modules) else ""


def scales(item: Node, value: ast.AST, name: str) -> bool:
    """True where a name is made from itself and a constant: `loss *= 0.9`, `loss = min(loss, 0.1)`."""
    if isinstance(item.node, ast.AugAssign):
        return isinstance(value, ast.Constant)
    has_self = any(isinstance(n, ast.Name) and n.id == name for n in ast.walk(value))
    has_constant = any(isinstance(n, ast.Constant) and isinstance(n.value, (int, float)) for n in ast.walk(value))
    return has_self and has_constant and isinstance(value, (ast.BinOp, ast.Call))
