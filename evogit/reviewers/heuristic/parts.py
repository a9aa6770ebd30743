"""The parts of a change: named constants that moved, and hunks for the rest, each with a name that a person finds in the file.

It reads a unified diff and nothing else; what the parts did is `attribution`'s question.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

import msgspec

from evogit.domain.change import Move, MoveValue

_HEADER = re.compile(r"@@ -\d+(?:,\d+)? \+(\d+)(?:,\d+)? @@")
_SCOPE = re.compile(r"(\s*)(?:async\s+def|def|class)\s+(\w+)")
MOST_PARTS = 12  # of one change: one that moved more is a rewrite, and its parts tell little
_SHOWN = 60  # characters of a line that stand for a hunk


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that a change did. Parts of two children of the same parent are the same if their keys are."""

    key: str
    name: str  # as a person says it: `LR = 0.002` (train.py:12)
    move: Move | None = None


class _Hunk(msgspec.Struct, frozen=True, kw_only=True):
    path: str
    line: int  # 1-based, in the version after
    before: tuple[str, ...]
    after: tuple[str, ...]
    scope: str  # innermost function or class that the diff shows around it, "" if none


def parts(diff: str, moves: Sequence[Move]) -> list[Part]:
    """What a change consists of: its moves first, then the hunks in which no moved constant is. At most MOST_PARTS."""
    hunks = list(_hunks(diff))
    found: list[Part] = []
    told: set[int] = set()
    for move in moves:
        at = next((i for i, hunk in enumerate(hunks) if _holds(hunk, move)), None)
        where = ""
        if at is not None:
            told.add(at)
            where = f" ({hunks[at].path}:{_line_of(hunks[at], move)})"
        found.append(Part(key=f"{move.gene}={move.new!r}", name=f"`{short_name(move)} = {in_words(move.new)}`{where}", move=move))
    for i, hunk in enumerate(hunks):
        if i not in told:
            found.append(_of_hunk(hunk))
    return list({part.key: part for part in found}.values())[:MOST_PARTS]


def short_name(move: Move) -> str:
    """`LR` of `train.py:LR`."""
    return move.gene.rpartition(":")[2]


def in_words(value: MoveValue) -> str:
    """A value as it would be written, floats in six digits."""
    if isinstance(value, float):
        return f"{value:.6g}"
    return "(" + ", ".join(in_words(v) for v in value) + ")" if isinstance(value, tuple) else str(value)


def _of_hunk(hunk: _Hunk) -> Part:
    said = next((line.strip() for line in (*hunk.after, *hunk.before) if line.strip()), "blank lines")
    sign = "" if any(line.strip() for line in hunk.after) else "without "
    said = said if len(said) <= _SHOWN else said[: _SHOWN - 1] + "…"
    scope = f" in {hunk.scope}" if hunk.scope else ""
    key = "\n".join([hunk.path, *(f"-{line.strip()}" for line in hunk.before), *(f"+{line.strip()}" for line in hunk.after)])
    return Part(key=key, name=f"the hunk{scope} `{sign}{said}` ({hunk.path}:{hunk.line})")


def _holds(hunk: _Hunk, move: Move) -> bool:
    return hunk.path.endswith(move.gene.rpartition(":")[0]) and any(_names(line, move) for line in hunk.after)


def _line_of(hunk: _Hunk, move: Move) -> int:
    return hunk.line + next(i for i, line in enumerate(hunk.after) if _names(line, move))


def _names(line: str, move: Move) -> bool:
    """True if the line holds the last word of the constant's name: `lr` of `AdamW.lr`, `WIDTHS` of `WIDTHS[1]`."""
    words = re.findall(r"[A-Za-z_]\w*", short_name(move))
    return bool(words) and re.search(rf"\b{re.escape(words[-1])}\b", line) is not None


def _hunks(diff: str) -> Iterable[_Hunk]:
    """Runs of changed lines of a unified diff; anything that is none is passed over."""
    path, number, scopes = "", 0, []
    before: list[str] = []
    after: list[str] = []
    start = 0
    for line in [*diff.split("\n"), ""]:
        tag, text = line[:1], line[1:]
        if tag == "\\":  # "No newline at end of file" speaks of the line before it
            continue
        if tag == "-" and not line.startswith("--- ") or tag == "+" and not line.startswith("+++ "):
            start = start if before or after else number
            (before if tag == "-" else after).append(text)
            number += tag == "+"
            continue
        if before or after:
            yield _Hunk(path=path, line=start, before=tuple(before), after=tuple(after), scope=_around(scopes, [*after, *before]))
            for seen in after:
                _note(scopes, seen)
            before, after = [], []
        header = _HEADER.match(line)
        if line.startswith("+++ "):
            path, scopes = line[4:].strip().removeprefix("b/"), []
        elif header:
            number, scopes = int(header.group(1)), []
        elif tag == " ":
            _note(scopes, text)
            number += 1


def _note(scopes: list[tuple[int, str]], line: str) -> None:
    """Keep the functions and classes that are open at this line, by indentation."""
    if not line.strip():
        return
    depth = len(line) - len(line.lstrip())
    while scopes and scopes[-1][0] >= depth:
        scopes.pop()
    found = _SCOPE.match(line)
    if found:
        scopes.append((depth, found.group(2)))


def _around(scopes: list[tuple[int, str]], lines: list[str]) -> str:
    depth = min((len(line) - len(line.lstrip()) for line in lines if line.strip()), default=0)
    return ".".join(name for indent, name in scopes if indent < depth)
