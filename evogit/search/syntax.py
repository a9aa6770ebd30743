"""One Python file, read once: its tree, exact character spans, what its names stand for, and splicing by span.

Built on `ast`, not on a concrete syntax tree: its spans are exact, it is 20 times faster, and a splice leaves every other
character alone by construction. It never writes a file and never runs one. Positions inside f-strings are wrong before
Python 3.12, so `walk` does not enter them.
"""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Iterable, Iterator
from functools import cached_property, lru_cache
from threading import Lock

import msgspec

_LINE_END = re.compile(r"\r\n|\r|\n")  # what Python's tokenizer ends a line with, and nothing else
_ANNOTATIONS = frozenset({"annotation", "returns"})
# Fields that hold text or numbers, or marks: operators and contexts, which are shared between trees and have no place in the text.
_NO_NODES = frozenset(
    ("ctx", "op", "ops", "id", "attr", "kind", "level", "module", "type_comment", "simple", "is_async", "conversion", "asname")
)
BLOCKS = ("body", "handlers", "orelse", "finalbody", "cases")  # fields of a statement that hold statements, in the order of the text
_QUIET = Lock()  # warnings' filters belong to the process


class Splice(msgspec.Struct, frozen=True):
    """Replace text[start:end] by `text`. An insertion has start == end."""

    start: int
    end: int
    text: str


def splice(text: str, edits: Iterable[Splice]) -> str:
    """`text` with all edits made at once; every character outside their spans stays. Raises ValueError where two overlap."""
    parts, at = [], 0
    for edit in sorted(edits, key=lambda e: (e.start, e.end)):
        if edit.start < at:
            raise ValueError(f"two edits overlap at {edit.start}")
        parts += [text[at : edit.start], edit.text]
        at = edit.end
    return "".join(parts) + text[at:]


def split_lines(text: str) -> list[str]:
    """Lines with their ends, split where Python and git split them: a form feed or U+2028 ends no line."""
    ends = [m.end() for m in _LINE_END.finditer(text)]
    if not ends or ends[-1] != len(text):
        ends.append(len(text))
    starts = [0, *ends[:-1]]
    return [text[a:b] for a, b in zip(starts, ends) if b > a]


class _Fields(dict[type[ast.AST], tuple[str, ...]]):
    """Class of nodes -> its fields that may hold nodes, the last first. Worked out once a class: a walk asks at every node."""

    def __init__(self, left_out: frozenset[str], closed: tuple[type[ast.AST], ...]) -> None:
        super().__init__()
        self._left_out, self._closed = left_out, closed

    def __missing__(self, kind: type[ast.AST]) -> tuple[str, ...]:
        is_closed = issubclass(kind, self._closed)
        fields = self[kind] = () if is_closed else tuple(f for f in reversed(kind._fields) if f not in self._left_out)
        return fields


_HELD = _Fields(_NO_NODES, (ast.Constant,))
_WALKED = _Fields(_NO_NODES | _ANNOTATIONS, (ast.Constant, ast.JoinedStr))


def walk(node: ast.AST) -> Iterator[ast.AST]:
    """The node and all below it, in source order; f-strings, type annotations, and operators and contexts are left out."""
    return _walk(node, _WALKED)


def walk_all(node: ast.AST) -> Iterator[ast.AST]:
    """The same with what stands in f-strings and annotations: right for names, wrong for positions."""
    return _walk(node, _HELD)


def _walk(node: ast.AST, fields: _Fields) -> Iterator[ast.AST]:
    stack = [node]
    while stack:
        node = stack.pop()
        yield node
        for field in fields[node.__class__]:
            value = getattr(node, field, None)
            if value.__class__ is list:
                stack += [v for v in reversed(value) if isinstance(v, ast.AST)]
            elif isinstance(value, ast.AST):
                stack.append(value)


def statements(tree: ast.Module) -> Iterator[ast.stmt]:
    """Every statement below, in source order, without a look at the expressions in them: a tenth of all nodes."""
    stack: list[ast.AST] = list(reversed(tree.body))
    while stack:
        node = stack.pop()
        if isinstance(node, ast.stmt):
            yield node
        for field in reversed(BLOCKS):
            stack += reversed(getattr(node, field, ()))


def children(node: ast.AST) -> list[ast.AST]:
    """The nodes right below, operators and contexts left out; in no order."""
    found: list[ast.AST] = []
    for field in _HELD[node.__class__]:
        value = getattr(node, field, None)
        if value.__class__ is list:
            found += [v for v in value if isinstance(v, ast.AST)]
        elif isinstance(value, ast.AST):
            found.append(value)
    return found


class Source:
    """A file that parses. Spans are character offsets into `text`."""

    def __init__(self, text: str, tree: ast.Module) -> None:
        self.text = text
        self.tree = tree
        self.lines = split_lines(text)
        self._starts = [0]
        for line in self.lines:
            self._starts.append(self._starts[-1] + len(line))
        self._shift = 1 if text.startswith("\ufeff") else 0  # the parser never saw the byte order mark
        self.bound: dict[str, str] = {}  # name -> what it stands for, module level only
        self.known: dict[str, str] = {}  # the same, with imports inside functions
        self.aliases: dict[str, str] = {}  # `ACTIVATION = nn.ReLU` at module level: name -> what it stands for
        self._read_imports()
        self._read_aliases()
        self._parents: dict[ast.AST, ast.AST] = {}

    def offset(self, line: int, column: int) -> int:
        """Character offset of a 1-based line and a column in UTF-8 bytes, as `ast` counts them."""
        if line > len(self.lines):
            return len(self.text)
        text = self.lines[line - 1]
        shift = self._shift if line == 1 else 0
        if not text.isascii():
            column = len(text[shift:].encode()[:column].decode(errors="ignore"))
        return self._starts[line - 1] + column + shift

    def span(self, node: ast.AST) -> tuple[int, int]:
        """Where a node stands: start and end, without parentheses around it."""
        return self.offset(node.lineno, node.col_offset), self.offset(node.end_lineno, node.end_col_offset)

    def at(self, node: ast.AST) -> str:
        """The text of a node."""
        start, end = self.span(node)
        return self.text[start:end]

    def parent(self, node: ast.AST) -> ast.AST | None:
        """The node above, None for the module and for what `walk` leaves out. Built on first use."""
        if not self._parents:
            for above in self.nodes:
                for below in children(above):
                    self._parents[below] = above
        return self._parents.get(node)

    def above(self, node: ast.AST) -> Iterator[ast.AST]:
        """Every node above, nearest first."""
        while (node := self.parent(node)) is not None:
            yield node

    def dotted(self, node: ast.AST) -> str:
        """What a name or attribute stands for, through the imports: `nn.ReLU` is "torch.nn.ReLU". "" for anything else."""
        parts: list[str] = []
        while isinstance(node, ast.Attribute):
            parts.append(node.attr)
            node = node.value
        if not isinstance(node, ast.Name):
            return ""
        return ".".join([self.known.get(node.id, node.id), *reversed(parts)])

    def meaning(self, node: ast.AST) -> str:
        """`dotted`, and further through names that this file gives to a component: `ACTIVATION` is "torch.nn.ReLU"."""
        dotted = self.dotted(node)
        head, dot, rest = dotted.partition(".")
        return self.aliases[head] + dot + rest if head in self.aliases else dotted

    def spell(self, dotted: str) -> str | None:
        """How to write a dotted name with the imports of this file; None if it cannot be reached."""
        best = max(
            (item for item in self.bound.items() if dotted == item[1] or dotted.startswith(item[1] + ".")),
            key=lambda item: (len(item[1]), -len(item[0]), item[0]),
            default=None,
        )
        return best[0] + dotted[len(best[1]) :] if best else None

    def line_span(self, node: ast.stmt) -> tuple[int, int] | None:
        """The whole lines of a statement, line end included; None if it shares a line with another."""
        start, end = self.span(node)
        first, last = self._starts[node.lineno - 1], self._starts[node.end_lineno]
        rest = self.text[end:last].strip()
        if self.text[first:start].strip(" \t\ufeff") or (rest and not rest.startswith("#")):
            return None
        return first, last

    def indent(self, node: ast.stmt) -> str:
        """White space before a statement that begins its line."""
        line = self.lines[node.lineno - 1]
        return line[: len(line) - len(line.lstrip(" \t"))]

    @cached_property
    def nodes(self) -> list[ast.AST]:
        """Every node that `walk` reaches from the module, in source order."""
        return list(walk(self.tree))

    @cached_property
    def calls(self) -> dict[int, ast.Call]:
        """Offset where a callee of plain names begins -> its call."""
        found = (n for n in self.nodes if isinstance(n, ast.Call) and self.dotted(n.func))
        return {self.span(n)[0]: n for n in found}

    @cached_property
    def read_names(self) -> frozenset[str]:
        """Every name, attribute and string that the file reads: what a constant could be reached by."""
        found = set()
        for node in walk_all(self.tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.add(node.value)
            elif isinstance(node, (ast.Name, ast.Attribute)) and isinstance(node.ctx, ast.Load):
                found.add(node.id if isinstance(node, ast.Name) else node.attr)
        return frozenset(found)

    @property
    def newline(self) -> str:
        """How this file ends its lines."""
        first = _LINE_END.search(self.text)
        return first.group() if first else "\n"

    def _read_imports(self) -> None:
        for node in statements(self.tree):
            if isinstance(node, ast.Import):
                found = {a.asname or a.name.partition(".")[0]: a.name if a.asname else a.name.partition(".")[0] for a in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                found = {a.asname or a.name: f"{node.module}.{a.name}" for a in node.names if a.name != "*"}
            else:
                continue
            self.known.update(found)
            if node.col_offset == 0:
                self.bound.update(found)

    def _read_aliases(self) -> None:
        assigned = [n for n in self.tree.body if isinstance(n, ast.Assign) and len(n.targets) == 1 and isinstance(n.targets[0], ast.Name)]
        for node in assigned:
            dotted = self.dotted(node.value)
            if "." in dotted:
                self.aliases[node.targets[0].id] = dotted


def parse(text: str) -> ast.Module:
    """The tree of a file, a byte order mark allowed. Raises SyntaxError, and nothing else, for text that Python cannot read."""
    try:
        with _QUIET, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return ast.parse(text.removeprefix("\ufeff"))
    except (ValueError, RecursionError, MemoryError) as error:
        raise SyntaxError(str(error) or type(error).__name__) from error


def check(text: str) -> None:
    """Compile the file and throw the code away: finds what parsing does not (`return` outside a function). Raises SyntaxError alone."""
    try:
        with _QUIET, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            compile(text.removeprefix("\ufeff"), "<candidate>", "exec", dont_inherit=True)
    except (ValueError, RecursionError, MemoryError) as error:
        raise SyntaxError(str(error) or type(error).__name__) from error


@lru_cache(maxsize=32)
def read(text: str) -> Source | None:
    """The file as a `Source`, None if it does not parse. Cached: treat the tree as frozen. About 2 ms for 150 lines."""
    try:
        return Source(text, parse(text))
    except SyntaxError:
        return None
