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


class Asking(Generic[T]):
    """A question that a thread of its own asks, so that nobody waits for the answer longer than they want to.

    Begun when it is made. What the asking ran into is raised where the answer is taken, and nowhere else: who has given up hears no more
    of it. It cannot be called off; the thread ends with the process.
    """

    def __init__(self, ask: Callable[[], T], name: str = "evogit-asking", bell: threading.Event | None = None) -> None:
        """`bell` is rung at its end."""
        self._ask, self._bell = ask, bell
        self._over = threading.Event()
        self._answer: T | None = None
        self._fault: BaseException | None = None
        self._began = time.monotonic()
        self.seconds = 0.0  # that it took, once it is over
        threading.Thread(target=self._run, name=name, daemon=True).start()

    def _run(self) -> None:
        try:
            self._answer = self._ask()
        except BaseException as fault:  # noqa: BLE001 - it is raised where the answer is taken
            self._fault = fault
        self.seconds = time.monotonic() - self._began
        self._over.set()
        if self._bell is not None:
            self._bell.set()

    @property
    def is_over(self) -> bool:
        """True once `take` gives something without waiting."""
        return self._over.is_set()

    def wait(self, timeout_s: float | None = None) -> bool:
        """True once it is over. Give a turn away before."""
        return self._over.wait(timeout_s)

    def take(self) -> T:
        """The answer, waited for. Raises what the asking ran into. May be taken more than once, from any thread."""
        self._over.wait()
        if self._fault is not None:
            raise self._fault
        return self._answer  # type: ignore[return-value]


class Beside(Asking[T]):
    """Work of a hand that takes long, done while the loop goes on."""

    def __init__(self, turn: Turn, work: Callable[[], T], bell: threading.Event) -> None:
        """`work` is called with the turn, and gives it away itself while it waits."""

        def in_turn() -> T:
            with turn.taken():
                return work()

        super().__init__(in_turn, "evogit-hand", bell)


class Pace:
    """How long candidates take to be made and to be run, as a mean that forgets: how many to prepare ahead follows from both."""

    WEIGHT = 0.2  # of the newest
    SHORT_S = 10.0  # a run, of which the 50 ms that a slot waits for the next candidate of a quick hand are half a percent
    MANY = 4  # slots for each candidate more that does not know what becomes of the others: it changes little

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

    def ahead(self, workers: int, is_quick: bool = False) -> int:
        """Candidates to prepare beyond those that run, so that a slot that falls free finds one ready: by Little's law as many as are
        asked for while one is made. 1 to `workers`; 0 with one slot, where each candidate is to know what became of the one before. Of a
        quick hand one for every MANY slots, where runs are short: those that fall free together wait for one another's landing else."""
        if is_quick:
            return workers // self.MANY if 0 < self.run_s < self.SHORT_S else 0
        if workers < 2:
            return 0
        if not (self.made_s and self.run_s):
            return 1
        return max(1, min(workers, round(workers * self.made_s / self.run_s + 0.5)))
