"""Text and numbers that are written out, in pieces and behind names too. It runs nothing: what only a run can tell is not told.

A name stands for a value where the file binds it once, to something that is written out. Nothing here raises, whatever the text,
and no answer is longer than `LONGEST`.
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Mapping

DEEP = 40  # expressions nested deeper than this stand for nothing
LONGEST = 1 << 16  # characters of a text that was put together: `a = b + b` line after line doubles
_SAME = {"lower": str.lower, "upper": str.upper, "strip": str.strip, "lstrip": str.lstrip, "rstrip": str.rstrip, "title": str.title}
_SUMS: dict[type[ast.operator], Callable[[float, float], float]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: operator.pow,
}


class Spelling:
    """What the expressions of one file spell. `once`: names that are bound once, and the expressions that they are given."""

    def __init__(self, once: Mapping[str, ast.AST]) -> None:
        self._once = once
        self._texts: dict[str, str] = {}
        self._numbers: dict[str, float | None] = {}

    def text(self, node: ast.AST | None, depth: int = 0) -> str:
        """Text that is written out: `"a" + "b"`, `"".join(["a", "b"])`, `"b-a"[::-1].replace("-", "_")`, a name for one; else ""."""
        if depth > DEEP or node is None:
            return ""
        if isinstance(node, ast.Constant):
            return node.value if isinstance(node.value, str) else ""
        if isinstance(node, ast.Name):
            return self._named(node.id, depth)
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
            left, right = self.text(node.left, depth + 1), self.text(node.right, depth + 1)
            return left + right if left and right and len(left) + len(right) <= LONGEST else ""
        if isinstance(node, ast.JoinedStr):
            return self._joined("", [v.value if _is_plain(v) else v for v in node.values], depth)
        if isinstance(node, ast.Subscript):
            return self.text(node.value, depth + 1)[::-1] if _is_reversal(node.slice) else ""
        return self._of_call(node, depth) if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) else ""

    def number(self, node: ast.AST | None, depth: int = 0) -> float | None:
        """A number that is written out, sums and names too: `2 * HOUR`. None for anything else, for truth values, NaN and infinity."""
        if depth > DEEP or node is None:
            return None
        if isinstance(node, ast.Constant):
            return _finite(node.value)
        if isinstance(node, ast.Name):
            if node.id not in self._numbers:
                self._numbers[node.id] = None  # while it is looked up: `a = a + 1` has no end
                self._numbers[node.id] = self.number(self._once.get(node.id), depth + 1)
            return self._numbers[node.id]
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, (ast.USub, ast.UAdd)):
            below = self.number(node.operand, depth + 1)
            return None if below is None else -below if isinstance(node.op, ast.USub) else below
        if isinstance(node, ast.BinOp) and type(node.op) in _SUMS:
            left, right = self.number(node.left, depth + 1), self.number(node.right, depth + 1)
            if left is None or right is None:
                return None
            try:
                return _finite(_SUMS[type(node.op)](left, right))
            except (ArithmeticError, ValueError):
                return None
        return None

    def _named(self, name: str, depth: int) -> str:
        if name not in self._texts:
            self._texts[name] = ""
            self._texts[name] = self.text(self._once.get(name), depth + 1)
        return self._texts[name]

    def _of_call(self, node: ast.Call, depth: int) -> str:
        """Methods of a text that is written out, whose arguments are too."""
        method, given = node.func.attr, node.args
        if method == "join" and len(given) == 1:
            return self._joined(self.text(node.func.value, depth + 1), getattr(given[0], "elts", []), depth)
        if method in _SAME and not given:
            return _SAME[method](self.text(node.func.value, depth + 1))
        if method == "replace" and len(given) == 2 and all(isinstance(g, ast.Constant) and isinstance(g.value, str) for g in given):
            text = self.text(node.func.value, depth + 1)
            return text.replace(given[0].value, given[1].value) if (len(text) + 1) * (len(given[1].value) + 1) <= LONGEST else ""
        return ""

    def _joined(self, joint: str, parts: list[ast.AST], depth: int) -> str:
        """Parts that are all written out, with something between; "" where one is not."""
        texts = [self.text(part, depth + 1) for part in parts]
        if not all(text or _is_empty(part) for text, part in zip(texts, parts)):
            return ""
        return joint.join(texts) if sum(map(len, texts)) + len(joint) * len(texts) <= LONGEST else ""


def _is_plain(node: ast.AST) -> bool:
    """True for `{name}` in an f-string, without a format of its own."""
    return isinstance(node, ast.FormattedValue) and node.format_spec is None and node.conversion == -1


def _is_empty(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and node.value == ""


def _is_reversal(node: ast.AST) -> bool:
    """True for `::-1`."""
    if not isinstance(node, ast.Slice) or node.lower is not None or node.upper is not None or not isinstance(node.step, ast.UnaryOp):
        return False
    return isinstance(node.step.op, ast.USub) and isinstance(node.step.operand, ast.Constant) and node.step.operand.value == 1


def _finite(value: object) -> float | None:
    """A float, None for what is no finite number."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    try:
        value = float(value)
    except OverflowError:
        return None
    return value if value - value == 0 else None
