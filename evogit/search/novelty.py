"""How far apart two edits of one parent are: signed tokens of what each of them changed, and the distance between the sets.

A token carries its place in the parent, so distances are meant among children of one parent. Formatting, comments,
docstrings and the names that an edit gives to its own locals do not count; a number within 5 % of another is the same
number. It does not run code: two edits that do the same in other words are far apart here.
"""

from __future__ import annotations

import ast
import io
import re
import tokenize
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Mapping
from difflib import SequenceMatcher
from functools import lru_cache

from evogit.search.change import normalise
from evogit.search.syntax import children, parse

NEAR = 0.15  # distance up to which two edits are one: a single moved constant of another size is 2/3 away
CLOSE = 0.05  # relative difference up to which two numbers are one
NUMBER = 4  # weight of a number beside a word's or a sign's 1: a search moves numbers, and one of them may be all that matters
ALIGNED = 1500  # tokens of a hunk that are aligned one by one (the alignment is quadratic); larger ones are replaced whole

_TOKEN = re.compile(
    r"[^\W\d]\w*|0[xXoObB]\w+|-?(?:\d[\d_]*\.?[\d_]*|\.\d+)(?:[eE][-+]?\d+)?|\"(?:\\.|[^\"\\])*\"|'(?:\\.|[^'\\])*'|[^\w\s]"
)
_NUMBER = re.compile(r"(?P<key>.*#-?)(?P<value>[\d.][\w.+-]*)(?P<again>/\d+)?", re.DOTALL)
_SCOPES = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda, ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
_LOCAL = "\N{SECTION SIGN}"  # stands for every name that an edit made up for itself


def tokens(before: Mapping[str, str], after: Mapping[str, str]) -> frozenset[str]:
    """Signed tokens of the changed lines: `-train.py@12.2#0.001`, `+train.py@12.2#0.002`; a path, a place in `before`, a token.

    before, after: path -> text of the mutable files. Empty where only formatting differs. A few ms for 150 changed files'
    lines, cached by text.
    """
    found: set[str] = set()
    for path in before.keys() | after.keys():
        old, new = before.get(path, ""), after.get(path, "")
        if old != new:
            found |= _of_file(path, old, new)
    return frozenset(found)


def distance(one: frozenset[str], other: frozenset[str]) -> float:
    """Jaccard distance, 0 (the same edit) to 1 (nothing in common), a number counting as NUMBER tokens; symmetric. Two empty sets: 0."""
    shared = one & other
    left, right = _numbers(one - shared), _numbers(other - shared)
    same = _weight(shared) + NUMBER * sum(_matched(values, right.get(key, ())) for key, values in left.items())
    union = _weight(one) + _weight(other) - same
    return 1 - same / union if union else 0.0


def nearest(change_tokens: frozenset[str], others: Iterable[tuple[str, frozenset[str]]]) -> tuple[str, float]:
    """Label and distance of the nearest of some edits, the first of equals; ("", 1.0) where there is none."""
    label, least = "", 1.0
    for name, theirs in others:
        far = distance(change_tokens, theirs)
        if far < least:
            label, least = name, far
    return label, least


@lru_cache(maxsize=128)
def _of_file(path: str, before: str, after: str) -> frozenset[str]:
    old = normalise(before, path)
    new = _anonymous(normalise(after, path), old) if path.endswith(".py") else normalise(after, path)
    left, right = old.split("\n"), new.split("\n")
    signed: list[str] = []
    for tag, a, b, c, d in SequenceMatcher(None, left, right, autojunk=False).get_opcodes():
        if tag != "equal":
            signed += _of_hunk(path, a, [_TOKEN.findall(line) for line in left[a:b]], [_TOKEN.findall(line) for line in right[c:d]])
    return frozenset(_counted(signed))


def _of_hunk(path: str, line: int, old: list[list[str]], new: list[list[str]]) -> list[str]:
    """Tokens that differ between the lines of a hunk, each with the place in the parent where it goes out or comes in."""
    places = [f"{line + row}.{column}" for row, tokens_ in enumerate(old) for column in range(len(tokens_))]
    places.append(f"{line + len(old)}.0")
    left, right = [t for row in old for t in row], [t for row in new for t in row]
    if len(left) + len(right) > ALIGNED:
        codes = [("replace", 0, len(left), 0, len(right))]
    else:
        codes = SequenceMatcher(None, left, right, autojunk=False).get_opcodes()
    found: list[str] = []
    for tag, a, b, c, d in codes:
        if tag == "equal":
            continue
        found += [f"-{path}@{places[i]}#{left[i]}" for i in range(a, b)]
        found += [f"+{path}@{places[min(a + i - c, max(a, b - 1))]}#{right[i]}" for i in range(c, d)]
    return found


def _counted(signed: Iterable[str]) -> list[str]:
    """The second of two like tokens is another token: a set then knows how many there are."""
    seen: Counter[str] = Counter()
    out = []
    for token in signed:
        seen[token] += 1
        out.append(token if seen[token] == 1 else f"{token}/{seen[token]}")
    return out


def _anonymous(text: str, parent: str) -> str:
    """The text with every local name that the parent does not know replaced by one and the same sign. As it is, if it does not parse."""
    known = _words(parent)
    if text.isascii() and _words(text) <= known:  # no name here that is not there
        return text
    made = _locals(text) - known
    if not made:
        return text
    lines = text.split("\n")
    try:
        names = [t for t in tokenize.generate_tokens(io.StringIO(text).readline) if t.type == tokenize.NAME and t.string in made]
    except (tokenize.TokenError, SyntaxError):
        return text
    for token in reversed(names):
        row, start = token.start
        line = lines[row - 1]
        is_foreign = (
            line[:start].rstrip().endswith(".") or re.match(r"\s*=[^=]", line[token.end[1] :]) is not None and _is_keyword(line, start)
        )
        if not is_foreign:
            lines[row - 1] = line[:start] + _LOCAL + line[token.end[1] :]
    return "\n".join(lines)


@lru_cache(maxsize=64)
def _words(text: str) -> frozenset[str]:
    """Every word of a text: its names, and more."""
    return frozenset(re.findall(r"[^\W\d]\w*", text))


def _is_keyword(line: str, start: int) -> bool:
    """True where the name follows a bracket or comma: `f(lr=1)` names somebody else's parameter."""
    return line[:start].rstrip().endswith(("(", ","))


def _locals(text: str) -> frozenset[str]:
    """Names that functions, lambdas and comprehensions of a text bind for themselves."""
    try:
        tree = parse(text)
    except (SyntaxError, ValueError, RecursionError):
        return frozenset()
    found: set[str] = set()
    stack: list[tuple[ast.AST, bool]] = [(tree, False)]
    while stack:
        node, is_inside = stack.pop()
        if is_inside and isinstance(node, ast.arg):
            found.add(node.arg)
        elif is_inside and isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            found.add(node.id)
        is_inside = is_inside or isinstance(node, _SCOPES)
        stack += [(child, is_inside) for child in children(node)]
    return frozenset(found)


def _weight(tokens_: frozenset[str]) -> int:
    return len(tokens_) + (NUMBER - 1) * sum(map(len, _numbers(tokens_).values()))


def _numbers(tokens_: frozenset[str]) -> dict[str, list[float]]:
    """Sign and place -> the numbers there, sorted."""
    found: dict[str, list[float]] = {}
    for token in tokens_:
        parts = _NUMBER.fullmatch(token)
        value = _value(parts["value"]) if parts else None
        if parts and value is not None:
            found.setdefault(parts["key"], []).append(value)
    return {key: sorted(values) for key, values in found.items()}


def _value(text: str) -> float | None:
    try:
        return float(text.replace("_", ""))
    except ValueError:
        return None


def _matched(left: list[float], right: Iterable[float]) -> int:
    """How many numbers of two sorted lists pair up, each with one that differs by at most CLOSE of the larger."""
    free, count = list(right), 0
    for value in left:
        at = bisect_left(free, value * (1 - CLOSE))
        if at < len(free) and abs(free[at] - value) <= CLOSE * max(abs(free[at]), abs(value)):
            free.pop(at)
            count += 1
    return count
