"""What the expressions of one file stand for: imports, aliases, and `getattr`, `__import__`, `sys.modules` and their like with names that are
written out.

Syntax only. A name that is put together at run time stays unknown, and text of any size or depth costs no more than one walk.
"""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from functools import cached_property

import msgspec

from evogit.search.syntax import Source, children
from evogit.search.tells.spelling import DEEP, Spelling

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
_BINDERS = frozenset((ast.arg, ast.ExceptHandler, ast.MatchAs, ast.MatchStar, ast.MatchMapping))  # beside assignments
_SORTED = (
    _FUNCTIONS | _ASSIGNS | _BINDERS | {ast.Constant, ast.Attribute, ast.Subscript, ast.Call, ast.ClassDef, ast.Import, ast.ImportFrom}
)
# Modules that other modules hold, `pathlib.os` for instance: reached that way they are the same.
_HELD = {name.strip("_"): name.strip("_") for name in ("os", "sys", "builtins", "ctypes", "subprocess", "importlib")}
_HELD |= {f"_{name}": name for name in ("os", "sys", "builtins")}
_SELECTORS = frozenset(("operator.attrgetter", "operator.methodcaller"))
_PICKS = (".get", ".pop", ".setdefault", ".__getitem__")  # of a table, by a key
_SPACE = re.compile(r"\s+")


class Node(msgspec.Struct, frozen=True):
    """A node, the innermost statement around it, and the innermost function around that (None: the module or a class)."""

    node: ast.AST
    holder: ast.stmt
    function: ast.AST | None


class File:
    """One file, walked once. Raises nothing for any source that parses."""

    def __init__(self, path: str, source: Source, given: Iterable[str] = ()) -> None:
        """given: dotted names that `from module import *` brings, of modules whose text is known."""
        self.path, self.source = path, source
        self.loads: list[Node] = []  # names and attributes that are read
        self.stores: list[Node] = []  # names, attributes and subscripts that are written or deleted, and definitions
        self.calls: list[Node] = []
        self.imports: list[Node] = []
        self.texts: list[Node] = []  # constants of text and bytes, docstrings left out
        self.assigns: list[Node] = []
        self.sizes: Counter[ast.stmt] = Counter()  # constants by the statement that they stand in
        self.parents: dict[ast.AST, ast.AST] = {}  # of names and attributes that are part of a longer one
        self.binders: list[str] = []  # names of arguments, of caught errors and of matches
        self._walk()
        self.meanings: dict[str, str] = {name: canonical(dotted) for name, dotted in source.known.items()}
        self.stars = {
            i.node.module for i in self.imports if isinstance(i.node, ast.ImportFrom) and i.node.module and i.node.names[0].name == "*"
        }
        self._read_names(given)

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
        elif kind in _BINDERS:
            self.binders += [name for field in ("arg", "name", "rest") if (name := getattr(node, field, None))]

    def _read_names(self, given: Iterable[str]) -> None:
        bound = {name for item in self.stores if (name := getattr(item.node, "id", "") or getattr(item.node, "name", ""))}
        self.meanings |= {name: f"builtins.{name}" for name in BUILTINS if name not in bound and name not in self.meanings}
        self.meanings.setdefault("__builtins__", "builtins")
        for dotted in given if self.stars else ():
            module, _, name = dotted.rpartition(".")
            if module in self.stars and name not in bound and not name.startswith("_"):
                self.meanings[name] = dotted
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
            return _member(self.dotted(node.value, depth + 1), node.attr)
        if isinstance(node, ast.Subscript):
            return self._entry(self.dotted(node.value, depth + 1), self.text(node.slice))
        return self._of_call(node, depth) if isinstance(node, ast.Call) else ""

    def _entry(self, table: str, key: str) -> str:
        """What a table of names holds under a key: `sys.modules`, `globals()`, `os.__dict__`."""
        if not key:
            return ""
        if table == "sys.modules":
            return canonical(key)
        if table == f"{OWN}.__dict__":
            return self.meanings.get(key, "")
        owner = "builtins" if table == "builtins" else table.removesuffix(".__dict__")  # `__builtins__` may be a table
        return _member(owner, key) if owner != table or table == "builtins" else ""

    def _of_call(self, node: ast.Call, depth: int) -> str:
        callee = self.dotted(node.func, depth + 1)
        first = node.args[0] if node.args else None
        if callee in _IMPORTERS and first is not None:
            return canonical(self.text(first)) or self.dotted(first, depth + 1)
        if callee == "builtins.getattr" and len(node.args) > 1:
            return _member(self.dotted(first, depth + 1), self.text(node.args[1]))
        if callee == "builtins.vars" and first is not None:
            below = self.dotted(first, depth + 1)
            return f"{below}.__dict__" if below else ""
        if callee in ("builtins.globals", "builtins.locals"):
            return f"{OWN}.__dict__"
        if callee.endswith(_PICKS) and first is not None:
            return self._entry(callee.rpartition(".")[0], self.text(first))
        if isinstance(node.func, ast.Attribute) and node.func.attr == "__getattribute__" and node.args:
            owner = node.func.value if len(node.args) == 1 else first
            return _member(self.dotted(owner, depth + 1), self.text(node.args[-1]))
        if isinstance(node.func, ast.Call) and node.func.args and self.dotted(node.func.func, depth + 1) in _SELECTORS:
            return _member(self.dotted(first, depth + 1), self.text(node.func.args[0]))
        return ""

    def text(self, node: ast.AST | None) -> str:
        """Text that is written out, in pieces and behind a name too; "" for anything else."""
        return self._spelling.text(node)

    def number(self, node: ast.AST | None) -> float | None:
        """A number that is written out, sums and names too; None for anything else."""
        return self._spelling.number(node)

    @cached_property
    def _spelling(self) -> Spelling:
        return Spelling(self.once)

    @cached_property
    def once(self) -> dict[str, ast.AST]:
        """Names that the file binds in one place, to an expression, and that expression."""
        bound = Counter(getattr(item.node, "id", "") or getattr(item.node, "name", "") for item in self.stores)
        bound.update(self.binders)
        bound.update([*self.source.known])
        return {name: value for item in self.assigns for name, value in _pairs(item.node) if bound[name] == 1}

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
            if (item.node in self.callees or _picks(item.node)) and self.leaf(item.node) and (dotted := self._of_call(item.node, 0)):
                yield dotted, item
        for item in self.calls:
            if isinstance(item.node.func, ast.Subscript) and item.node in self.callees:
                yield self.callees[item.node], item
        for item in self.imports:
            if isinstance(item.node, ast.ImportFrom) and item.node.module and not item.node.level:
                for alias in item.node.names:
                    yield canonical(f"{item.node.module}.{alias.name}"), item


def canonical(dotted: str) -> str:
    """The same name without a detour through a module that holds another: "pathlib.os.system" is "os.system", so is "posix.system"."""
    parts = dotted.split(".")
    at = next((n for n in range(len(parts) - 1, 0, -1) if parts[n] in _HELD), 0)
    if at:
        return ".".join([_HELD[parts[at]], *parts[at + 1 :]])
    return ".".join(["os", *parts[1:]]) if parts[0] in ("posix", "nt") else dotted


def _member(owner: str, name: str) -> str:
    """`owner.name`, "" where one of them is not known."""
    if not owner or not name:
        return ""
    return _HELD.get(name, f"{owner}.{name}")


def _picks(call: ast.Call) -> bool:
    """True for a call whose own name is not known, and that may yet stand for something: `attrgetter("x")(os)`."""
    return isinstance(call.func, ast.Call) or (isinstance(call.func, ast.Attribute) and call.func.attr == "__getattribute__")


def _pairs(node: ast.AST) -> Iterator[tuple[str, ast.AST]]:
    """Names and the expressions that they are given: `a = x`, `a, b = x, y`, `(a := x)`."""
    value = getattr(node, "value", None)
    targets = node.targets if isinstance(node, ast.Assign) else [node.target]
    for target in targets if not isinstance(node, ast.AugAssign) else ():
        if isinstance(target, ast.Name) and value is not None:
            yield target.id, value
        elif isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple):
            yield from ((t.id, v) for t, v in zip(target.elts, value.elts) if isinstance(t, ast.Name))
