"""Jobs that were started and wait for their turn: since when, and what a person is told once that takes long.

It asks nobody: a backend says which of its jobs wait. It ends no wait.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Collection, Iterable

TOLD_S = 60.0  # a wait that is shorter is nobody's business
AGAIN_S = 3600.0  # until a wait that goes on is told of once more


class Patience:
    """What the jobs of one backend wait for. May be used from threads.

    what: "for a GPU of this machine"; hint: what a person can look at.
    """

    def __init__(self, what: str, hint: str) -> None:
        self._what, self._hint = what, hint
        self._since: dict[str, float] = {}  # key -> when it was first seen to wait
        self._told_at = float("-inf")
        self._why = ""
        self._lock = threading.Lock()

    def see(self, asked: Iterable[str], waiting: Collection[str], why: str = "") -> None:
        """Of the jobs that were asked about (keys) these wait. `why`: their place's own word for it, "" if it has none."""
        now = time.monotonic()
        with self._lock:
            for key in asked:
                if key in waiting:
                    self._since.setdefault(key, now)
                else:
                    self._since.pop(key, None)
            self._why = why or self._why

    def waited_s(self, key: str) -> float:
        """Seconds that a job has been seen to wait for, 0 if it does not."""
        now = time.monotonic()
        with self._lock:
            return now - self._since.get(key, now)

    def news(self) -> list[tuple[str, str]]:
        """(message, hint) once a job has waited for a minute, and again each hour that one does."""
        now = time.monotonic()
        with self._lock:
            long = [now - since for since in self._since.values() if now - since >= TOLD_S]
            if not long or now - self._told_at < AGAIN_S:
                return []
            self._told_at = now
            who = f"{len(long)} trials have" if len(long) > 1 else "a trial has"
            why = f": {self._why}" if self._why else ""
            return [(f"{who} waited {max(long) / 60:.0f} min {self._what}{why}", self._hint)]
