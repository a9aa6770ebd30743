"""A sign of life while a model answers: what of it has come so far, for a face to show. Nothing is kept, nothing depends on it.

One conversation a process at a time has it; a second one at once only makes the words less true.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

_pieces = 0


@contextlib.contextmanager
def beating() -> Iterator[Callable[[str], None]]:
    """While it lasts, a call of what it yields counts one piece of an answer."""
    global _pieces
    _pieces = 0

    def beat(_kind: str) -> None:
        global _pieces
        _pieces += 1

    try:
        yield beat
    finally:
        _pieces = 0


def so_far() -> str:
    """ "the model answers, 120 pieces so far", or "" while none does."""
    return f"the model answers, {_pieces} pieces so far" if _pieces else ""
