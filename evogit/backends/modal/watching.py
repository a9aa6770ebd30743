"""Which sandboxes have ended: a thread looks, with growing pauses, whoever waits and however often.

Nobody waits for Modal longer than they want to. While it does not answer, trials go on in their containers: that is news after the first
time, and BackendDown after two minutes.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from evogit.backends.modal import asking
from evogit.errors import BackendDown
from evogit.turns import Asking

LOOK_S = (0.25, 2.0)  # between two looks, at first and at last
HASTE_S = 1.0  # that even who has no time waits for the first look at a sandbox
TICK_S = 0.25  # between looks at what a look has found so far
PATIENCE_S = 120.0  # without an answer


class Watch:
    """`has_ended(folder)` asks Modal, and may take its time; `is_settled(folder)` reads what is known here."""

    def __init__(self, has_ended: Callable[[Path], bool], is_settled: Callable[[Path], bool]) -> None:
        self._has_ended, self._is_settled = has_ended, is_settled
        self._wanted: set[Path] = set()  # that somebody waits for, or has waited for
        self._over: set[Path] = set()
        self._look: Asking[bool] | None = None
        self._heard_at = 0.0  # monotonic, of the last answer
        self._pause_s, self._next_at = LOOK_S[0], 0.0
        self._deaf_since = 0.0  # monotonic; 0 while Modal answers
        self._news: list[tuple[str, str]] = []
        self._lock = threading.Lock()

    def until(self, folders: Mapping[str, Path], timeout_s: float | None) -> list[str]:
        """Those names whose sandbox has ended, at least one unless the time runs out. Raises BackendDown, UserError."""
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        haste = HASTE_S if self._want(folders) else 0.0
        while True:
            ended = [name for name, folder in folders.items() if folder in self._over or self._is_settled(folder)]
            if ended or not folders:
                return ended
            look, left = self._turn(), float("inf") if deadline is None else deadline - time.monotonic()
            if look is not None and (left > 0 or haste):
                look.wait(max(haste, min(left, TICK_S)))
                haste = 0.0
            elif left <= 0:
                return []
            else:
                threading.Event().wait(max(0.0, min(left, self._next_at - time.monotonic())))

    def _want(self, folders: Mapping[str, Path]) -> bool:
        """True if nobody asked about one of them before: it may be over already, so it is looked at now."""
        with self._lock:
            if new := {folder for folder in folders.values() if not self._is_settled(folder)} - self._wanted - self._over:
                self._wanted |= new
                self._pause_s, self._next_at = LOOK_S[0], 0.0
        return bool(new)

    def hurry(self) -> None:
        """Something happened: look now."""
        with self._lock:
            self._pause_s, self._next_at = LOOK_S[0], 0.0

    def drop(self, folder: Path) -> None:
        """The job was forgotten."""
        with self._lock:
            self._wanted.discard(folder)
            self._over.discard(folder)

    def _turn(self) -> Asking[bool] | None:
        """The look that is under way, after what the last one ran into was heard."""
        with self._lock:
            if self._look is not None and (self._look.is_over or time.monotonic() - self._heard_at > asking.ANSWER_S):
                self._hear(self._look)
            if self._look is None and time.monotonic() >= self._next_at:
                waiting = [folder for folder in self._wanted - self._over if not self._is_settled(folder)]
                self._wanted, self._heard_at = set(waiting), time.monotonic()
                self._look = asking.begin(lambda: self._look_at(waiting))
            return self._look

    def _look_at(self, folders: list[Path]) -> bool:
        """In a thread: one question a sandbox. True if one of them has ended."""
        before = len(self._over)
        for folder in folders:
            if self._has_ended(folder):
                self._over.add(folder)
            self._heard_at = time.monotonic()
        return len(self._over) > before

    def _hear(self, look: Asking[bool]) -> None:
        self._look = None
        self._pause_s = min(2 * self._pause_s, LOOK_S[1])
        self._next_at = time.monotonic() + self._pause_s
        try:
            if not look.is_over:
                raise asking.silence(asking.ANSWER_S)
            if look.take():
                self._pause_s = LOOK_S[0]
            self._deaf_since = 0.0
        except BackendDown as error:
            if not self._deaf_since:
                self._deaf_since = time.monotonic()
                self._news.append((f"{error.message}; trials that run go on", error.hint))
            if time.monotonic() - self._deaf_since > PATIENCE_S:
                raise

    def news(self) -> list[tuple[str, str]]:
        """That Modal does not answer, once each time that it stops."""
        told, self._news = self._news, []
        return told
