"""A running job's output, heard by a thread of its own and kept to its last bytes: for screens, which must not wait for a backend.

It disturbs nothing: it neither waits for the job nor ends it, and who is not listened to any more is let go with the next bytes.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

import pygit2

from evogit.errors import EvogitError
from evogit.seams import Backend

KEPT = 256 << 10  # bytes of each stream
STREAMS = ("stdout", "stderr")
LOOK_S = 2.0  # between two questions for a job that has not begun
# What a backend may raise while its machines come and go; pygit2's stands here because opening a problem for one reads git.
FAULTS = (EvogitError, OSError, ValueError, LookupError, pygit2.GitError)


class Overheard:
    """One job, by the key that it was started with. `open_backend` is called by the thread: it may take seconds."""

    def __init__(self, open_backend: Callable[[], Backend], key: str, handle: str = "") -> None:
        """handle: where one was written; otherwise the backend is asked for it, until the job has begun."""
        self.key, self._handle = key, handle
        self.is_over = False  # the job has ended, or cannot be heard any more
        self.fault = ""  # why it cannot, in words
        self._open, self._dropped = open_backend, threading.Event()
        self._kept = {name: bytearray() for name in STREAMS}
        self._whole = dict.fromkeys(STREAMS, 0)
        self._lock = threading.Lock()
        threading.Thread(target=self._listen, name="evogit-overhearing", daemon=True).start()

    def tail(self, stream: str, size: int) -> tuple[bytes, int]:
        """The last bytes of a stream as far as they came, and how many came in all."""
        with self._lock:
            return bytes(self._kept[stream][-size:]), self._whole[stream]

    def drop(self) -> None:
        """Nobody listens any more."""
        self._dropped.set()

    def _listen(self) -> None:
        try:
            backend = self._open()
            try:
                while not (handle := self._handle or backend.find(self.key)):
                    if self._dropped.wait(LOOK_S):
                        return
                for stream, data in backend.follow(handle):
                    if self._dropped.is_set():
                        break
                    self._take(stream, data)
            finally:
                backend.close()
        except FAULTS as fault:
            self.fault = fault.message if isinstance(fault, EvogitError) else f"{type(fault).__name__}: {fault}"
        finally:
            self.is_over = True

    def _take(self, stream: str, data: bytes) -> None:
        with self._lock:
            kept = self._kept[stream]
            kept += data
            del kept[:-KEPT]
            self._whole[stream] += len(data)
