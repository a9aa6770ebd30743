"""Whose turn it is to touch a campaign's books: one thread at a time, and nobody keeps the turn while it waits for something slow.

The loop holds it and gives it away while it waits for trials; an agent's or reviewer's thread holds it before and after its call, not
during it. So git, memory and flights are read and written by one thread at a time without a lock of their own.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Generic, TypeVar

T = TypeVar("T")


class Turn:
    """May be taken again by the thread that has it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._holder = 0

    @property
    def is_mine(self) -> bool:
        """True if this thread has it."""
        return self._holder == threading.get_ident()

    @contextmanager
    def taken(self) -> Iterator[None]:
        """With the turn, waiting for it where another thread has it."""
        if self.is_mine:
            yield
            return
        self._take()
        try:
            yield
        finally:
            self._give()

    @contextmanager
    def away(self) -> Iterator[None]:
        """Without the turn, for something slow that touches no book; it is ours again afterwards. Nothing happens where it is not ours."""
        if not self.is_mine:
            yield
            return
        self._give()
        try:
            yield
        finally:
            self._take()

    def _take(self) -> None:
        self._lock.acquire()
        self._holder = threading.get_ident()

    def _give(self) -> None:
        self._holder = 0
        self._lock.release()


class Beside(Generic[T]):
    """Work of a hand that takes long, done in a thread of its own, while the loop goes on. The thread ends with the process."""

    def __init__(self, turn: Turn, work: Callable[[], T], bell: threading.Event) -> None:
        """Begins at once; `work` is called with the turn, and gives it away itself while it waits. `bell` is rung at its end."""
        self._turn, self._work, self._bell = turn, work, bell
        self._over = threading.Event()
        self._result: list[T] = []
        self._error: BaseException | None = None
        self._began = time.monotonic()
        self.seconds = 0.0  # that it took, once it is over
        threading.Thread(target=self._run, name="evogit-hand", daemon=True).start()

    def _run(self) -> None:
        try:
            with self._turn.taken():
                self._result.append(self._work())
        except BaseException as error:  # noqa: BLE001 - it is raised where the result is taken
            self._error = error
        self.seconds = time.monotonic() - self._began
        self._over.set()
        self._bell.set()

    @property
    def is_over(self) -> bool:
        """True once `take` gives something without waiting."""
        return self._over.is_set()

    def wait(self) -> None:
        """Until it is over. Give the turn away before."""
        self._over.wait()

    def take(self) -> T:
        """What the work gave; raises what it raised."""
        if self._error is not None:
            raise self._error
        return self._result[0]


class Pace:
    """How long candidates take to be made and to be run, as a mean that forgets: how many to prepare ahead follows from both."""

    WEIGHT = 0.2  # of the newest

    def __init__(self) -> None:
        self.made_s = 0.0
        self.run_s = 0.0

    def made(self, seconds: float) -> None:
        """A hand took so long for one."""
        self.made_s = self._mean(self.made_s, seconds)

    def ran(self, seconds: float) -> None:
        """A job took so long."""
        self.run_s = self._mean(self.run_s, seconds)

    def _mean(self, mean: float, new: float) -> float:
        return mean + self.WEIGHT * (new - mean) if mean else new

    def ahead(self, workers: int) -> int:
        """Candidates to prepare beyond those that run, so that a slot that falls free finds one ready: by Little's law as many as are
        asked for while one is made. 1 to `workers`; 0 with one slot, where each candidate is to know what became of the one before."""
        if workers < 2:
            return 0
        if not (self.made_s and self.run_s):
            return 1
        return max(1, min(workers, round(workers * self.made_s / self.run_s + 0.5)))
