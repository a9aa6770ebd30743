"""Text that candidates or models wrote, made into data: no control characters, capped, and inside a fence that it cannot close.

Two fences. `quote` puts a bar before every line: whatever a line says, it cannot become a line without one. `verbatim`
keeps text to the letter (code has to be repeated exactly in an edit) between tags that carry a hash of the text itself,
which the text cannot contain. It judges nothing: what a text asks for is not looked at.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata

BAR = "| "
_ESCAPE = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|[\]PX^_][^\x07\x1b]{0,4096}(?:\x07|\x1b\\)?|.)?", re.DOTALL)  # what a terminal would obey
_LINE_ENDS = re.compile("\r\n|[\n\r\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029]")
_HIDDEN = {"Cc", "Cf", "Cs", "Co", "Cn"}


def plain(text: str) -> str:
    r"""The text without escape sequences and without control, format and unassigned characters; \n and blanks stay. O(text)."""
    text = _LINE_ENDS.sub("\n", _ESCAPE.sub("", text)).expandtabs(4)
    if text.isascii() and text.replace("\n", "").isprintable():
        return text
    return "".join(c for c in text if c == "\n" or unicodedata.category(c) not in _HIDDEN)


def one_line(text: str, cap: int) -> str:
    """`plain` as one line of at most `cap` characters, cut with "..."."""
    line = " ".join(plain(text[: 8 * cap]).split())
    return line if len(line) <= cap else f"{line[: cap - 3]}..."


def tail(text: str, cap: int) -> str:
    """`plain`, the last `cap` characters at most and whole lines where that is possible: a stack trace says at its end what went wrong."""
    text = plain(text[-8 * cap :]).strip("\n")
    if len(text) <= cap:
        return text
    kept = text[-cap:]
    return "[...]\n" + (kept.partition("\n")[2] or kept)


def quote(text: str) -> str:
    """The text with a bar before every line."""
    return "\n".join(f"{BAR}{line}".rstrip() for line in plain(text).split("\n"))


def verbatim(path: str, text: str) -> str:
    """A file to the letter between tags that it cannot close."""
    mark = hashlib.sha256(f"{path}\0{text}".encode("utf-8", "replace")).hexdigest()[:12]
    end = "" if text.endswith("\n") or not text else "\n"
    return f'<file path="{one_line(path, 200)}" mark="{mark}">\n{text}{end}</file mark="{mark}">'
