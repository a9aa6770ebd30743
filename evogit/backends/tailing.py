"""Output of a job as it comes: two files that somebody else appends to, read until the job has ended."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

PAUSE_S = 0.05  # between looks at a file that did not grow
STREAMS = ("stdout", "stderr")


class Tail:
    """What was appended to a job's `stdout` and `stderr` since it was asked last."""

    def __init__(self, folder: Path) -> None:
        self._at = {name: 0 for name in STREAMS}
        self._folder = folder

    def new(self) -> Iterator[tuple[str, bytes]]:
        """(stream, bytes), nothing where there is nothing new. What the cap on output cut out before it was read is missing."""
        for name in STREAMS:
            with contextlib.suppress(OSError), open(self._folder / name, "rb") as file:
                file.seek(min(self._at[name], os.fstat(file.fileno()).st_size))
                while data := file.read(1 << 16):
                    yield name, data
                self._at[name] = file.tell()


def follow(folder: Path, has_ended: Callable[[], bool]) -> Iterator[tuple[str, bytes]]:
    """From the beginning until the job has ended and all was told. Looks twenty times a second."""
    tail, pause = Tail(folder), threading.Event()
    while True:
        is_over = has_ended()
        told = False
        for piece in tail.new():
            told = True
            yield piece
        if is_over:
            return
        if not told:
            pause.wait(PAUSE_S)
