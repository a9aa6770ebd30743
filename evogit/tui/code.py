"""A diff for people: lines with their numbers, code in colours, the words that changed in a line marked. Pure; 1 ms a hundred lines.

What candidates wrote may hold anything: control characters are gone before a line is made of it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence

import msgspec

from evogit.present import clean_lines
from evogit.tui.letters import Line

LONGEST = 4000  # lines of a diff that are shown
WIDEST = 400  # characters of a line
_HUNK = re.compile(r"@@ -(\d+)(?:,\d+)? \+(\d+)(?:,\d+)? @@(.*)")
_BACKS = {"+": "added", "-": "removed"}


class Row(msgspec.Struct, frozen=True):
    """A line of a diff."""

    line: Line
    below: str = ""  # the ink of its background


def rows(diff: str) -> list[Row]:
    """A unified diff as rows. Lexers are found by the file's name; without one the text is plain."""
    found: list[Row] = []
    lines = clean_lines(diff.rstrip("\n")) if diff.strip() else []
    lexer, hunk, at = None, [], (0, 0)
    for line in lines[:LONGEST]:
        if line.startswith("diff "):
            found += _hunk(hunk, at, lexer)
            hunk, at = [], (0, 0)
        elif line.startswith("+++ ") and not hunk:
            path = line[4:].removeprefix("b/")
            lexer = _lexer(path)
            found += [Row([]), Row([(path if path != "/dev/null" else "(removed)", "file")])] if found else [Row([(path, "file")])]
        elif match := _HUNK.match(line):
            found += _hunk(hunk, at, lexer)
            hunk, at = [], (int(match[1]), int(match[2]))
            found.append(Row([(f"{'':>11}{line[: line.rindex('@@') + 2]}", "hunk"), (match[3], "quiet")]))
        elif at != (0, 0) and line[:1] in ("+", "-", " ", "\\"):
            hunk.append(line[: WIDEST + 1])
        elif line.startswith(("new file", "deleted file", "rename ", "Binary")):
            found.append(Row([(line, "quiet")]))
    found += _hunk(hunk, at, lexer)
    if len(lines) > LONGEST:
        found.append(Row([(f"... {len(lines) - LONGEST} more lines", "quiet")]))
    return found


def _hunk(lines: Sequence[str], at: tuple[int, int], lexer: object) -> Iterator[Row]:
    """Rows of one hunk. Old and new text are lexed whole, so that a string over three lines is one."""
    if not lines:
        return
    old = iter(_lexed([line[1:] for line in lines if line[:1] in "- "], lexer))
    new = iter(_lexed([line[1:] for line in lines if line[:1] in "+ "], lexer))
    changed = _changed(lines)
    before, after = at
    for i, line in enumerate(lines):
        sign = line[:1]
        if sign == "\\":
            yield Row([(f"{'':>13}{line[2:]}", "quiet")])
            continue
        pieces: Line = []
        if sign in "- ":
            pieces = next(old)
        if sign in "+ ":
            pieces = next(new)
        numbers = f"{before if sign != '+' else '':>5}{after if sign != '-' else '':>5} "
        back = _BACKS.get(sign, "")
        if i in changed:
            pieces = _mark(pieces, *changed[i], f"{back}-word")
        yield Row([(numbers, "quiet"), (f"{sign} ", {"+": "good", "-": "worse"}.get(sign, "")), *pieces], back)
        before += sign in "- "
        after += sign in "+ "


def _changed(lines: Sequence[str]) -> dict[int, tuple[int, int]]:
    """Of lines that were replaced one for one: index -> the columns between what both begin and end with."""
    found: dict[int, tuple[int, int]] = {}
    i = 0
    while i < len(lines):
        out = i
        while i < len(lines) and lines[i][:1] == "-":
            i += 1
        came = i
        while i < len(lines) and lines[i][:1] == "+":
            i += 1
        if came - out == i - came > 0:
            for k in range(came - out):
                a, b = lines[out + k][1:], lines[came + k][1:]
                head = len(os.path.commonprefix([a, b]))
                tail = min(len(os.path.commonprefix([a[::-1], b[::-1]])), len(a) - head, len(b) - head)
                if head + tail > 0.3 * max(len(a), len(b)):
                    found[out + k], found[came + k] = (head, len(a) - tail), (head, len(b) - tail)
        i = max(i, out + 1)
    return found


def _mark(pieces: Line, start: int, end: int, ink: str) -> Line:
    """The pieces with the columns from start to end in another ink."""
    found: Line = []
    at = 0
    for text, name in pieces:
        for low, high, which in ((0, start, name), (start, end, ink), (end, 1 << 30, name)):
            part = text[max(0, low - at) : max(0, high - at)]
            if part:
                found.append((part, which))
        at += len(text)
    return found


def _lexer(path: str) -> object:
    from pygments.lexers import get_lexer_for_filename
    from pygments.util import ClassNotFound

    try:
        return get_lexer_for_filename(path, stripnl=False, ensurenl=False)
    except ClassNotFound:
        return None


def _lexed(lines: Sequence[str], lexer: object) -> Iterator[Line]:
    """Each line as pieces in the inks of its tokens."""
    if lexer is None:
        yield from ([(line, "")] for line in lines)
        return
    now: Line = []
    for token, text in lexer.get_tokens("\n".join(lines)):  # type: ignore[attr-defined]
        ink = _ink(str(token))
        for i, part in enumerate(text.split("\n")):
            if i:
                yield now
                now = []
            if part:
                now.append((part, ink))
    yield now


def _ink(token: str) -> str:
    for beginning, ink in _INKS:
        if token.startswith(beginning):
            return ink
    return ""


_INKS = (
    ("Token.Comment", "comment"), ("Token.Literal.String", "string"), ("Token.Literal.Number", "number"), ("Token.Keyword", "keyword"),
    ("Token.Operator.Word", "keyword"), ("Token.Name.Function", "call"), ("Token.Name.Class", "call"), ("Token.Name.Decorator", "call"),
    ("Token.Name.Builtin", "call"), ("Token.Name.Tag", "keyword"), ("Token.Name.Attribute", "name"),
)  # fmt: skip
