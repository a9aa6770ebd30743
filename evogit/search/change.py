"""What changed between two versions of a problem's mutable files: hash, diff, hunks, genes. Pure; it reads no file and no git.

A source hash says whether two candidates are the same program but for formatting, comments and docstrings. It does not say
that two programs do the same.
"""

from __future__ import annotations

import ast
import copy
import difflib
import hashlib
from collections.abc import Mapping
from functools import lru_cache

import msgspec

from evogit.domain.change import Move
from evogit.search import genes, syntax

_DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


class Hunk(msgspec.Struct, frozen=True, kw_only=True):
    """Lines of one file that were replaced: `start` is the 0-based line in the version before."""

    path: str
    start: int
    before: tuple[str, ...]  # lines with their ends; () for an insertion
    after: tuple[str, ...]


class GeneMove(msgspec.Struct, frozen=True, kw_only=True):
    """One named constant or component whose value changed."""

    path: str
    name: str
    old: genes.Value
    new: genes.Value
    kind: str = ""
    family: str = ""


def normalise(text: str, path: str) -> str:
    """The program without formatting, comments and docstrings; for other files the text without white space at its ends.

    Python that does not parse comes back as it is. Raises nothing. About 4 ms for 150 lines, cached.
    """
    return _normalise(text, path.endswith((".py", ".pyi")))


@lru_cache(maxsize=64)
def _normalise(text: str, is_python: bool) -> str:
    if not is_python:
        return "\n".join(line.rstrip() for line in text.split("\n")).strip()
    source = syntax.read(text)
    try:
        return text if source is None else ast.unparse(_without_docstrings(source.tree))
    except (ValueError, RecursionError):
        return text


def _without_docstrings(node: ast.AST) -> ast.AST:
    """The tree without docstrings. What holds none is shared with the tree, which stays as it is; what held one is copied."""
    changed: dict[str, list[ast.AST]] = {}
    for field in syntax.BLOCKS:
        below = getattr(node, field, None) or []
        bare = [_without_docstrings(n) for n in below]
        if field == "body" and isinstance(node, _DOCUMENTED) and _has_docstring(node):
            changed[field] = bare[1:] or [ast.Pass()]
        elif any(one is not other for one, other in zip(bare, below)):
            changed[field] = bare
    if not changed:
        return node
    bare_node = copy.copy(node)
    for field, below in changed.items():
        setattr(bare_node, field, below)
    return bare_node


def _has_docstring(node: ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    first = node.body[0] if node.body else None
    return isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str)


def sources_hash(files: Mapping[str, str]) -> str:
    """sha256, 64 hex digits, over every path and its normalised text, in the order of the paths.

    The same under one minor version of Python; another may write a program out differently, and then a repeat goes unseen.
    """
    digest = hashlib.sha256()
    for path in sorted(files):
        for part in (path, normalise(files[path], path)):
            data = part.encode("utf-8", "surrogatepass")
            digest.update(b"%d:" % len(data) + data)
    return digest.hexdigest()


def diff(before: Mapping[str, str], after: Mapping[str, str], context: int = 3) -> str:
    """Unified diff of two sets of files, as git writes it; "" if they are equal."""
    changed = [path for path in sorted(before.keys() | after.keys()) if before.get(path) != after.get(path)]
    return "".join(_diff_of_file(path, before.get(path), after.get(path), context) for path in changed)


@lru_cache(maxsize=64)
def _diff_of_file(path: str, old: str | None, new: str | None, context: int) -> str:
    """Cached by text: a reviewer is shown the same siblings again and again."""
    names = ("/dev/null" if old is None else f"a/{path}", "/dev/null" if new is None else f"b/{path}")
    lines = difflib.unified_diff(_lines(old), _lines(new), *names, n=context)
    return "".join(line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n" for line in lines)


def hunks(before: Mapping[str, str], after: Mapping[str, str]) -> tuple[Hunk, ...]:
    """Every run of changed lines, without context, in files that both versions have."""
    found: list[Hunk] = []
    for path in sorted(before.keys() & after.keys()):
        if before[path] == after[path]:
            continue
        old, new = _lines(before[path]), _lines(after[path])
        for tag, a, b, c, d in difflib.SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
            if tag != "equal":
                found.append(Hunk(path=path, start=a, before=tuple(old[a:b]), after=tuple(new[c:d])))
    return tuple(found)


def gene_moves(before: Mapping[str, str], after: Mapping[str, str]) -> tuple[GeneMove, ...]:
    """Genes that both versions have and whose values differ, in the order of the file. Files that do not parse have none."""
    moves: list[GeneMove] = []
    for path in sorted(before.keys() & after.keys()):
        if before[path] == after[path] or not path.endswith(".py"):
            continue
        old = {g.name: g for g in genes.find(before[path], path)}
        lengths = {g.name for g in genes.find(after[path], path) if g.kind == "tuple" and g.name in old and _resized(old[g.name], g)}
        for gene in genes.find(after[path], path):
            was = old.get(gene.name)
            if was is None or was.kind == "tuple" and gene.name not in lengths or gene.name.partition("[")[0] in lengths - {gene.name}:
                continue
            if was.value != gene.value or type(was.value) is not type(gene.value):
                moves.append(GeneMove(path=path, name=gene.name, old=was.value, new=gene.value, kind=gene.kind, family=gene.family))
    return tuple(moves)


def moves(before: Mapping[str, str], after: Mapping[str, str]) -> tuple[Move, ...]:
    """`gene_moves` as a run's commit tells them."""
    return tuple(Move(f"{m.path}:{m.name}", m.old, m.new, m.family) for m in gene_moves(before, after))


def _resized(old: genes.Gene, new: genes.Gene) -> bool:
    """A tuple that kept its length moves element by element; one that did not moves as a whole."""
    return old.kind != "tuple" or len(old.value) != len(new.value)


def line_delta(before: Mapping[str, str], after: Mapping[str, str]) -> tuple[int, int]:
    """Lines added and removed, as `git diff --numstat` counts them, summed over files."""
    added = removed = 0
    for path in before.keys() | after.keys():
        if path in before and path in after:
            for hunk in hunks({path: before[path]}, {path: after[path]}):
                added, removed = added + len(hunk.after), removed + len(hunk.before)
        else:
            added += len(_lines(after.get(path)))
            removed += len(_lines(before.get(path)))
    return added, removed


def _lines(text: str | None) -> list[str]:
    """Lines as git counts them: ended by \\n alone."""
    if not text:
        return []
    lines = text.split("\n")
    return [line + "\n" for line in lines[:-1]] + ([lines[-1]] if lines[-1] else [])
