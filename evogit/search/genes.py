"""Genes: the named constants and components of a Python file that a search may move, each with its exact span.

A gene is a number, a boolean, a tuple of numbers, or a component (an activation, a norm, an optimizer ...) that has known
siblings. Its name is made of scopes, targets and callees, so parent and child agree on it. What is not a gene: seeds,
paths, budgets, data, shapes given from outside, indices, counters that are assigned twice, text. Nothing is edited here.
"""

from __future__ import annotations

import ast
from collections import Counter
from functools import lru_cache

import msgspec

from evogit.search import families
from evogit.search.syntax import Source, children, read, walk, walk_all

Value = bool | float | str | tuple[float, ...]
# Positional arguments whose meaning is known: callee -> names of the positions, "" for one that is no gene.
POSITIONAL = {f"{families.NN}.{n}": ("p",) for n in ("Dropout", "Dropout1d", "Dropout2d", "Dropout3d", "AlphaDropout")}
POSITIONAL |= {f"{families.OPTIM}.{n.rpartition('.')[2]}": ("", "lr") for n in families.MEMBERS["optimizer"]}
POSITIONAL |= {f"{families.F}.dropout": ("", "p"), f"{families.NN}.LeakyReLU": ("negative_slope",)}
LOG_ROLES = frozenset({"lr", "decay", "clip", "init", "noise"})


class Gene(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that may be moved. `start` and `end` are character offsets of its value in the text."""

    name: str  # "LR", "Net.width", "optimizer.lr", "main.Adam.lr", "net.Dropout#2.p"; unique in its file
    kind: str  # "float", "ratio", "size", "int", "bool", "tuple", "name", "str"
    value: Value  # of a name: the dotted name behind it, "torch.nn.ReLU"
    start: int
    end: int
    family: str = ""  # of a name: activation, norm ...; of a number: its role, lr, width ...
    line: int = 1
    callee: str = ""  # the call that a setting belongs to, dotted, "" if it is no argument
    path: str = ""

    @property
    def short(self) -> str:
        """The last part of the name, as people say it."""
        return self.name.rpartition(".")[2]


def find(text: str, path: str = "") -> list[Gene]:
    """Every gene of a file in the order of the text; [] if it does not parse. Under 10 ms for 150 lines, cached."""
    return list(_placed(text, path) if path else _find(text))


@lru_cache(maxsize=256)
def _find(text: str) -> tuple[Gene, ...]:
    source = read(text)
    return tuple(_Finder(source).run()) if source else ()


@lru_cache(maxsize=256)
def _placed(text: str, path: str) -> tuple[Gene, ...]:
    return tuple(msgspec.structs.replace(g, path=path) for g in _find(text))


def literal(node: ast.AST | None) -> bool | int | float | None:
    """The value of a number or boolean written as such, `-1` and `2**19` included; None for anything else."""
    if isinstance(node, ast.Constant) and isinstance(node.value, (bool, int, float)):
        return node.value
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        value = literal(node.operand)
        return None if value is None or isinstance(value, bool) else -value
    if isinstance(node, ast.BinOp) and isinstance(node.left, ast.Constant) and isinstance(node.right, ast.Constant):
        left, right = node.left.value, node.right.value
        if type(left) is int and type(right) is int and left in (1, 2) and 0 < right < 40:
            if isinstance(node.op, ast.Pow) and left == 2:
                return 2**right
            if isinstance(node.op, ast.LShift) and left == 1:
                return 1 << right
    return None


def kind_of(value: bool | float, role: str) -> str:
    """How a number is stepped: its type, its role and where it lies decide."""
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, int):
        return "size" if role in {"width", "batch", "heads"} or (role == "" and value >= 16) else "int"
    is_share = 0 <= value < 1 and (role in {"dropout", "momentum", "smoothing"} or value >= 0.8 or (role == "schedule" and value >= 0.01))
    return "ratio" if is_share or (0.05 <= value < 1 and role not in LOG_ROLES) else "float"


class _Finder:
    """Walks a file once. Scopes are class and function names joined by dots, `__init__` left out."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.genes: list[Gene] = []
        self.stores: Counter[tuple[str, str]] = Counter()  # (scope, name) -> how often it is bound; loops and += count twice
        self.shared: set[str] = set()  # names that are declared global or nonlocal anywhere
        self.strings: Counter[str] = Counter()
        self.survey()

    def run(self) -> list[Gene]:
        self.body(self.source.tree.body, "", "")
        self.genes.sort(key=lambda g: (g.start, -g.end))
        seen: Counter[str] = Counter()
        unique = []
        for gene in self.genes:
            head, bracket, tail = gene.name.partition("[")
            if not bracket:
                seen[head] += 1
            name = f"{head}#{seen[head]}" if seen[head] > 1 else head
            unique.append(msgspec.structs.replace(gene, name=name + bracket + tail))
        return unique

    def survey(self) -> None:
        """Count, in one pass over the whole tree, what tells a constant from a counter and a setting from a text."""
        stack: list[tuple[ast.AST, str]] = [(self.source.tree, "")]
        while stack:
            node, scope = stack.pop()
            if isinstance(node, ast.Constant):
                if isinstance(node.value, str):
                    self.strings[node.value] += 1
                continue
            if isinstance(node, (ast.Name, ast.Attribute)):
                if isinstance(node.ctx, ast.Store):
                    self.stores[scope, _target(node) or ""] += 1
            elif isinstance(node, ast.stmt):
                scope = self.survey_statement(node, scope)
            stack += [(child, scope) for child in children(node)]

    def survey_statement(self, node: ast.stmt, scope: str) -> str:
        """What the statement itself says; the scope of what stands in it."""
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            return scope if node.name == "__init__" else _join(scope, node.name)
        if isinstance(node, ast.ClassDef):
            return _join(scope, node.name)
        if isinstance(node, (ast.AugAssign, ast.For, ast.AsyncFor)):
            self.stores.update((scope, _target(n) or "") for n in walk_all(node.target) if isinstance(n, (ast.Name, ast.Attribute)))
        elif isinstance(node, (ast.Global, ast.Nonlocal)):
            self.shared.update(node.names)
        return scope

    def body(self, statements: list[ast.stmt], scope: str, holder: str) -> None:
        for node in statements:
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                self.function(node, scope)
            elif isinstance(node, ast.ClassDef):
                self.body(node.body, _join(scope, node.name), "class")
            elif isinstance(node, (ast.Assign, ast.AnnAssign)):
                self.assign(node, scope, holder)
            else:
                self.statement(node, scope, holder)

    def function(self, node: ast.FunctionDef | ast.AsyncFunctionDef, scope: str) -> None:
        inner = scope if node.name == "__init__" else _join(scope, node.name)
        arguments = node.args
        plain = [*arguments.posonlyargs, *arguments.args]
        pairs = list(zip(plain[len(plain) - len(arguments.defaults) :], arguments.defaults))
        pairs += [(a, d) for a, d in zip(arguments.kwonlyargs, arguments.kw_defaults) if d is not None]
        for argument, default in pairs:
            self.value(default, _join(inner, argument.arg), argument.arg)
        self.body(node.body, inner, "function")

    def statement(self, node: ast.stmt, scope: str, holder: str) -> None:
        """Headers are expressions, blocks are bodies; both belong to the scope they stand in."""
        for _, value in ast.iter_fields(node):
            for item in value if isinstance(value, list) else [value]:
                if isinstance(item, ast.stmt):
                    self.body([item], scope, holder)
                elif isinstance(item, (ast.excepthandler, ast.match_case)):
                    self.body(item.body, scope, holder)
                elif isinstance(item, ast.withitem):
                    self.expression(item.context_expr, scope, is_named=False)
                elif isinstance(item, ast.expr):
                    self.expression(item, scope, is_named=False)

    def assign(self, node: ast.Assign | ast.AnnAssign, scope: str, holder: str) -> None:
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        if node.value is None:
            return
        if len(targets) == 1 and isinstance(targets[0], ast.Tuple) and isinstance(node.value, ast.Tuple):
            pairs = list(zip(targets[0].elts, node.value.elts)) if len(targets[0].elts) == len(node.value.elts) else []
        else:
            pairs = [(targets[0], node.value)]
        for target, value in pairs:
            name = _target(target)
            if name is None:
                self.expression(value, scope, is_named=False)
            elif self.is_state(name, value, scope, holder):
                self.expression(value, _join(scope, name))
            else:
                self.value(value, _join(scope, name), name)

    def is_state(self, name: str, value: ast.expr, scope: str, holder: str) -> bool:
        """A counter or an accumulator: assigned more than once, or begins at 0 inside a function."""
        number = literal(value)
        if number is None or holder == "class":
            return False
        if name in self.shared:
            return True
        return self.stores[scope if holder == "function" else "", name] > 1 or (
            holder == "function" and (isinstance(number, bool) or number in (0, 1))
        )

    def value(self, node: ast.expr, name: str, setting: str, callee: str = "") -> None:
        """A value with a name of its own: a constant's, a default's, a keyword's."""
        number = literal(node)
        if number is not None:
            self.number(node, number, name, setting, callee)
        elif isinstance(node, ast.Constant):
            self.string(node, name, setting, callee)
        elif isinstance(node, (ast.Tuple, ast.List)) and len(node.elts) and all(literal(e) is not None for e in node.elts):
            self.tuple(node, name, setting, callee)
        elif isinstance(node, ast.Dict):
            for key, item in zip(node.keys, node.values):
                if isinstance(key, ast.Constant) and isinstance(key.value, str):
                    self.value(item, _join(name, key.value), key.value, callee)
                else:
                    self.expression(item, name)
        else:
            self.expression(node, name)

    def number(self, node: ast.expr, number: bool | float, name: str, setting: str, callee: str) -> None:
        if families.is_protected(setting) or not abs(number) <= 1e15 or (isinstance(number, int) and number < 0):
            return
        role = "" if isinstance(number, bool) else "schedule" if "lr_scheduler" in callee else families.role(setting)
        self.add(node, name, kind_of(number, role), number, role, callee)

    def string(self, node: ast.Constant, name: str, setting: str, callee: str) -> None:
        if not isinstance(node.value, str):
            return
        setting = setting.lower()
        library = "sklearn" if callee.startswith("sklearn.") else "keras" if callee.startswith(("keras.", "tensorflow.")) else ""
        family = families.STRING_FAMILY.get(setting, "")
        if family and (node.value in families.STRINGS.get(library, {}).get(setting, ()) or self.strings[node.value] > 1):
            self.add(node, name, "str", node.value, family, callee)

    def tuple(self, node: ast.Tuple | ast.List, name: str, setting: str, callee: str) -> None:
        values = tuple(literal(e) for e in node.elts)
        if families.is_protected(setting) or any(isinstance(v, bool) for v in values):
            return
        self.add(node, name, "tuple", values, families.role(setting), callee)
        for i, (element, value) in enumerate(zip(node.elts, values)):
            self.number(element, value, f"{name}[{i}]", setting, callee)

    def expression(self, node: ast.expr, label: str, *, is_named: bool = True) -> None:
        """Settings of calls, and components, anywhere inside an expression. `label` is the target's name, or else the scope's."""
        for item in walk(node):
            if isinstance(item, ast.Call):
                self.call(item, label if item is node and is_named else _join(label, self.callee_name(item)))
            elif isinstance(item, ast.Dict):
                for key, value in zip(item.keys, item.values):
                    if isinstance(key, ast.Constant) and isinstance(key.value, str) and literal(value) is not None:
                        self.number(value, literal(value), _join(label, key.value), key.value, "")
            elif isinstance(item, (ast.Name, ast.Attribute)):
                self.component(item, label)

    def callee_name(self, node: ast.Call) -> str:
        """Family for a component, so that swapping it renames nothing; else the last part of what is called."""
        dotted = self.source.dotted(node.func)
        return (
            families.FAMILY_OF.get(dotted)
            or dotted.rpartition(".")[2]
            or (node.func.attr if isinstance(node.func, ast.Attribute) else "call")
        )

    def call(self, node: ast.Call, label: str) -> None:
        dotted = self.source.dotted(node.func)
        last = dotted.rpartition(".")[2] or (node.func.attr if isinstance(node.func, ast.Attribute) else "")
        if last == "add_argument":
            self.option(node, label)
            return
        if last in families.OTHER_CALLS and not dotted.startswith(families.INIT):
            return
        for name, argument in zip(POSITIONAL.get(dotted, ()), node.args):
            if name and literal(argument) is not None:
                self.number(argument, literal(argument), _join(label, name), name, dotted)
        for keyword in node.keywords:
            is_value = literal(keyword.value) is not None or isinstance(keyword.value, (ast.Constant, ast.Tuple, ast.List))
            if keyword.arg and is_value and not _is_axis(keyword, last):
                self.setting(keyword, label, dotted or last)

    def setting(self, keyword: ast.keyword, label: str, callee: str) -> None:
        """A keyword's value; what `value` would walk into again is walked once, by `expression`."""
        node, name = keyword.value, _join(label, keyword.arg)
        if literal(node) is None and isinstance(node, (ast.Tuple, ast.List)) and not all(literal(e) is not None for e in node.elts):
            return
        if isinstance(node, (ast.Tuple, ast.List)) and not node.elts:
            return
        self.value(node, name, keyword.arg, callee)

    def option(self, node: ast.Call, label: str) -> None:
        """`parser.add_argument("--lr", type=float, default=1e-3)`: the default is the gene, its help text is not."""
        names = [a.value for a in node.args if isinstance(a, ast.Constant) and isinstance(a.value, str)]
        default = next((k.value for k in node.keywords if k.arg == "default"), None)
        if names and literal(default) is not None:
            setting = max(names, key=len).lstrip("-").replace("-", "_")
            self.number(default, literal(default), _join(label.partition(".")[0] if "." in label else "", f"--{setting}"), setting, "")

    def component(self, node: ast.Name | ast.Attribute, label: str) -> None:
        dotted = self.source.dotted(node)
        family = families.FAMILY_OF.get(dotted)
        if dotted == f"{families.NN}.Identity":
            family = next((f for w, f in families.PLACEHOLDERS.items() if w in families.words(label.rpartition(".")[2])), None)
        if family and isinstance(node.ctx, ast.Load):
            is_named = label.endswith(family) or label.isidentifier() and self.source.aliases.get(label) == dotted
            self.add(node, label if is_named else _join(label, family), "name", dotted, family, "")

    def add(self, node: ast.expr, name: str, kind: str, value: Value, family: str, callee: str) -> None:
        start, end = self.source.span(node)
        self.genes.append(Gene(name=name, kind=kind, value=value, start=start, end=end, family=family, line=node.lineno, callee=callee))


def _join(scope: str, name: str) -> str:
    return f"{scope}.{name}" if scope else name


def _target(node: ast.expr) -> str | None:
    """The name that an assignment gives: `x`, or `x` for `self.x`."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
        return node.attr
    return None


def _is_axis(keyword: ast.keyword, callee: str) -> bool:
    """`dim=1` counts axes, `dim=256` is a width; a function in lower case never takes a width called `dim`."""
    value = literal(keyword.value)
    return keyword.arg in {"dim", "dims", "axis"} and (callee.islower() or value is None or value < 4)
