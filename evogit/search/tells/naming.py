"""What the expressions of one file stand for: imports, aliases, `getattr`, `__import__` and `sys.modules` with names that are written out.

Syntax only. A name that is put together at run time stays unknown, and text of any size or depth costs no more than one walk.
"""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Iterator
from functools import cached_property

import msgspec

from evogit.search.syntax import Source, children

DEEP = 40  # expressions nested deeper than this stand for nothing
OWN = "<own>"  # stands for the names of the file itself, as `globals()` gives them
LONG = 400  # characters of a statement that are compared with the parent's
BUILTINS = frozenset(
    (
        "exec",
        "eval",
        "compile",
        "__import__",
        "open",
        "getattr",
        "setattr",
        "delattr",
        "globals",
        "locals",
        "vars",
        "print",
        "input",
        "breakpoint",
    )
)
_IMPORTERS = frozenset(("builtins.__import__", "importlib.import_module", "importlib.__import__", "importlib.reload"))
_FUNCTIONS = frozenset((ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))
_ASSIGNS = frozenset((ast.Assign, ast.AnnAssign, ast.AugAssign, ast.NamedExpr))
_SORTED = _FUNCTIONS | _ASSIGNS | {ast.Constant, ast.Attribute, ast.Subscript, ast.Call, ast.ClassDef, ast.Import, ast.ImportFrom}
_SPACE = re.compile(r"\s+")


class Node(msgspec.Struct, frozen=True):
    """A node, the innermost statement around it, and the innermost function around that (None: the module or a class)."""

    node: ast.AST
    holder: ast.stmt
    function: ast.AST | None


class File:
    """One file, walked once. Raises nothing for any source that parses."""

    def __init__(self, path: str, source: Source) -> None:
        self.path, self.source = path, source
        self.loads: list[Node] = []  # names and attributes that are read
        self.stores: list[Node] = []  # names, attributes and subscripts that are written or deleted, and definitions
        self.calls: list[Node] = []
        self.imports: list[Node] = []
        self.texts: list[Node] = []  # constants of text and bytes, docstrings left out
        self.assigns: list[Node] = []
        self.sizes: Counter[ast.stmt] = Counter()  # constants by the statement that they stand in
        self.parents: dict[ast.AST, ast.AST] = {}  # of names and attributes that are part of a longer one
        self._walk()
        self.meanings: dict[str, str] = dict(source.known)
        self.stars: list[str] = []
        self._read_names()

    def _walk(self) -> None:
        stack: list[tuple[ast.AST, ast.stmt | None, ast.AST | None]] = [(node, None, None) for node in self.source.tree.body]
        while stack:
            node, holder, function = stack.pop()
            kind = node.__class__
            if kind is ast.Name:  # a third of all nodes, and with nothing below
                (self.loads if node.ctx.__class__ is ast.Load else self.stores).append(Node(node, holder, function))
                continue
            if isinstance(node, ast.stmt):
                holder = node
            if kind in _SORTED:
                self._sort(node, holder, function)
            if kind in _FUNCTIONS:
                function = node
            for child in children(node):
                stack.append((child, holder, function))

    def _sort(self, node: ast.AST, holder: ast.stmt, function: ast.AST | None) -> None:
        kind = node.__class__
        if kind is ast.Constant:
            self.sizes[holder] += 1
            if node.value.__class__ in (str, bytes) and not (holder.__class__ is ast.Expr and holder.value is node):
                self.texts.append(Node(node, holder, function))
        elif kind in (ast.Attribute, ast.Subscript):
            if kind is ast.Attribute:
                self.parents[node.value] = node
            if not isinstance(node.ctx, ast.Load):
                self.stores.append(Node(node, holder, function))
            elif kind is not ast.Subscript:
                self.loads.append(Node(node, holder, function))
        elif kind is ast.Call:
            self.calls.append(Node(node, holder, function))
        elif kind in (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef):
            self.stores.append(Node(node, holder, function))
        elif kind in (ast.Import, ast.ImportFrom):
            self.imports.append(Node(node, holder, function))
        elif kind in _ASSIGNS:
            self.assigns.append(Node(node, holder, function))

    def _read_names(self) -> None:
        bound = {name for item in self.stores if (name := getattr(item.node, "id", "") or getattr(item.node, "name", ""))}
        self.meanings |= {name: f"builtins.{name}" for name in BUILTINS if name not in bound and name not in self.meanings}
        self.meanings.setdefault("__builtins__", "builtins")
        self.stars = [
            i.node.module for i in self.imports if isinstance(i.node, ast.ImportFrom) and i.node.module and i.node.names[0].name == "*"
        ]
        for _ in range(3):  # an alias of an alias of an alias
            for item in self.assigns:
                for name, value in _pairs(item.node):
                    if name not in self.meanings and (dotted := self.dotted(value)):
                        self.meanings[name] = dotted

    def dotted(self, node: ast.AST | None, depth: int = 0) -> str:
        """What an expression stands for, "time.perf_counter" for instance; "" for what begins with no import and no builtin."""
        if depth > DEEP or node is None:
            return ""
        if isinstance(node, ast.Name):
            return self.meanings.get(node.id, "")
        if isinstance(node, ast.Attribute):
            below = self.dotted(node.value, depth + 1)
            return f"{below}.{node.attr}" if below else ""
        if isinstance(node, ast.Subscript):
            below, key = self.dotted(node.value, depth + 1), self.text(node.slice)
            if below == "sys.modules" and key:
                return key
            if below == f"{OWN}.__dict__" and key:
                return self.meanings.get(key, "")
            return f"{below.removesuffix('.__dict__')}.{key}" if key and below.endswith(".__dict__") else ""
        return self._of_call(node, depth) if isinstance(node, ast.Call) else ""

    def _of_call(self, node: ast.Call, depth: int) -> str:
        callee = self.dotted(node.func, depth + 1)
        first = node.args[0] if node.args else None
        if callee in _IMPORTERS and first is not None:
            return self.text(first) or self.dotted(first, depth + 1)
        if callee == "builtins.getattr" and len(node.args) > 1:
            below, name = self.dotted(first, depth + 1), self.text(node.args[1])
            return f"{below}.{name}" if below and name else ""
        if callee == "builtins.vars" and first is not None:
            below = self.dotted(first, depth + 1)
            return f"{below}.__dict__" if below else ""
        if callee in ("builtins.globals", "builtins.locals"):
            return f"{OWN}.__dict__"
        return ""

    def text(self, node: ast.AST | None, depth: int = 0) -> str:
        """Constant text that is written out, in pieces too (`"a" + "b"`, `"".join(["a", "b"])`); "" for anything else."""
        if depth > DEEP:
            return ""
        if isinstance(node, ast.Constant):
            return node.value if isinstance(node.value, str) else ""
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
            left, right = self.text(node.left, depth + 1), self.text(node.right, depth + 1)
            return left + right if left and right else ""
        if isinstance(node, ast.JoinedStr):
            return "".join(self.text(v, depth + 1) for v in node.values) if all(isinstance(v, ast.Constant) for v in node.values) else ""
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "join" and len(node.args) == 1:
            parts = getattr(node.args[0], "elts", [])
            joint = self.text(node.func.value, depth + 1)
            return joint.join(self.text(part, depth + 1) for part in parts)
        return ""

    def leaf(self, node: ast.AST) -> bool:
        """True for a name or attribute that is no part of a longer one."""
        return node not in self.parents

    def statement(self, item: Node, node: ast.AST | None = None) -> str:
        """The statement around a node without formatting; of a block (`if`, `def`) the node alone, else every line of it would count."""
        chosen = node or (item.node if hasattr(item.holder, "body") else item.holder)
        try:
            return ast.unparse(chosen)[:LONG]
        except (ValueError, RecursionError):
            return _SPACE.sub(" ", self.source.at(chosen))[:LONG]

    @cached_property
    def callees(self) -> dict[ast.AST, str]:
        """Calls whose callee is known, and its dotted name."""
        return {item.node: dotted for item in self.calls if (dotted := self.dotted(item.node.func))}

    @cached_property
    def uses(self) -> list[tuple[str, Node]]:
        """What is read, by its dotted name, and what is imported by `from`."""
        return list(self._uses())

    def _uses(self) -> Iterator[tuple[str, Node]]:
        for item in self.loads:
            if self.leaf(item.node) and (dotted := self.dotted(item.node)):
                yield dotted, item
        for item in self.calls:
            if item.node in self.callees and self.leaf(item.node) and (dotted := self._of_call(item.node, 0)):
                yield dotted, item
        for item in self.imports:
            if isinstance(item.node, ast.ImportFrom) and item.node.module and not item.node.level:
                for alias in item.node.names:
                    yield f"{item.node.module}.{alias.name}", item


def _pairs(node: ast.AST) -> Iterator[tuple[str, ast.AST]]:
    """Names and the expressions that they are given: `a = x`, `a, b = x, y`, `(a := x)`."""
    value = getattr(node, "value", None)
    targets = node.targets if isinstance(node, ast.Assign) else [node.target]
    for target in targets if not isinstance(node, ast.AugAssign) else ():
        if isinstance(target, ast.Name) and value is not None:
            yield target.id, value
        elif isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple):
            yield from ((t.id, v) for t, v in zip(target.elts, value.elts) if isinstance(t, ast.Name))
