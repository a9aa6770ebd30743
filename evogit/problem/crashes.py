"""What a failed trial said, as a `Crash`: kind, one clean line, and where in the candidate's code.

It reads hostile text: nothing here trusts a length, an encoding or a claim. It judges nothing; a traceback that a candidate
prints on purpose only changes the words of its own record.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Sequence

from evogit.domain.trial import Crash

TAIL = 1 << 20  # bytes of an output that are looked at, from its end
_MESSAGE_MAX = 300
_ESCAPES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-Z\\-_])")
_FRAME = re.compile(r'[\s|+\-]*File "([^"\n]{1,1000})", line (\d{1,9})(?:,? in .*)?')
_ERROR = re.compile(r"[\s|+\-]*((?:[A-Za-z_]\w*\.)*[A-Za-z_]\w*)(?:: ?(.*))?")
_FATAL = re.compile(r"Fatal Python error: (.*)")


def text_of(output: bytes) -> str:
    """The last mebibyte of an output without terminal escapes; a first line that was cut is left out."""
    tail = output[-TAIL:]
    if len(output) > TAIL:
        tail = tail.partition(b"\n")[2] or tail
    return _ESCAPES.sub("", tail.decode("utf-8", "replace"))


def lines_of(text: str) -> list[str]:
    """Lines as a terminal shows them: a progress bar's carriage returns end lines too."""
    return re.split(r"[\r\n]+", text)


def clean(text: str, limit: int = _MESSAGE_MAX) -> str:
    """One line of at most `limit` characters without escapes, control or direction-changing characters."""
    short = _ESCAPES.sub("", text[: limit * 8])
    kept = (" " if char.isspace() else char for char in short if char.isspace() or unicodedata.category(char)[0] != "C")
    line = " ".join("".join(kept).split())
    return line if len(line) <= limit else line[: limit - 3] + "..."


def crash_of(stderr: bytes, stdout: bytes = b"", mutable: Callable[[str], bool] = lambda path: False, roots: Sequence[str] = ()) -> Crash:
    """Why a process that failed by itself did so.

    From a Python traceback: the exception's type, its message, and the innermost frame in mutable code as "train.py:42".
    From anything else: kind "exit" and the last line it wrote to stderr, else to stdout; "" if it wrote none.
    roots: absolute folders that a trial knows as the checkout's top; `mutable` is asked about paths below them.
    """
    for output in (stderr, stdout):
        crash = _python(lines_of(text_of(output)), mutable, roots)
        if crash is not None:
            return crash
    for output in (stderr, stdout):
        said = next((line for line in reversed([clean(line) for line in lines_of(text_of(output))[-2000:]]) if line), "")
        if said:
            return Crash(kind="exit", message=said)
    return Crash(kind="exit", message="")


def _python(lines: list[str], mutable: Callable[[str], bool], roots: Sequence[str]) -> Crash | None:
    frames = [(index, match) for index, line in enumerate(lines) if (match := _FRAME.fullmatch(line))]
    fatal = next((match for line in reversed(lines) if (match := _FATAL.match(line))), None)
    if fatal is not None:
        return Crash(kind="signal", message=clean(fatal.group(0)), where=_where([m for _, m in frames], mutable, roots))
    if not frames:
        return None
    where = _where([match for _, match in reversed(frames)], mutable, roots)
    found = _exception(lines, frames[-1][0] + 1)
    if found is None:
        return None
    kind, message = found
    return Crash(kind=clean(kind.rpartition(".")[2], 80), message=clean(message) or kind.rpartition(".")[2][:80], where=where)


def _exception(lines: list[str], after: int) -> tuple[str, str] | None:
    """Type and message of the first line behind a traceback's last frame that names an exception and is not source code."""
    for index in range(after, min(after + 200, len(lines))):
        line = lines[index]
        bare = line.lstrip(" |+-")
        indented = line.startswith("  ") and "|" not in line[: len(line) - len(bare)]
        match = None if indented or not bare else _ERROR.fullmatch(bare)
        if match is None:
            continue
        message = match.group(2) or next((more for more in lines[index + 1 : index + 6] if more.strip()), "") if ":" in bare else ""
        return match.group(1), message
    return None


def _where(frames: list[re.Match[str]], mutable: Callable[[str], bool], roots: Sequence[str]) -> str:
    """The first of `frames` (innermost first) that lies in mutable code."""
    for match in frames[:1000]:
        for path in _relative(match.group(1), roots):
            if mutable(path):
                return f"{clean(path, 200)}:{match.group(2)}"
    return ""


def _relative(path: str, roots: Sequence[str]) -> list[str]:
    path = path.replace("\\", "/")
    found = [path[len(root.rstrip("/")) + 1 :] for root in roots if root and path.startswith(root.rstrip("/") + "/")]
    return found or ([] if path.startswith(("/", "<")) else [path.removeprefix("./")])
