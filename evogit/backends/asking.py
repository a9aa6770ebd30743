"""A question that is asked by a thread of its own, so that nobody waits for the answer longer than they want to.

What the asking ran into is raised where the answer is fetched, and nowhere else: who has given up hears no more of it. It cannot be
called off; the thread does not keep this process alive.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from types import TracebackType
from typing import Generic, TypeVar

T = TypeVar("T")


class Asking(Generic[T]):
    """Begun when it is made. May be waited for from any thread, and more than once."""

    def __init__(self, ask: Callable[[], T], name: str = "evogit-asking") -> None:
        self._over = threading.Event()
        self._answer: T | None = None
        self._fault: BaseException | None = None
        threading.Thread(target=self._go, args=(ask,), name=name, daemon=True).start()

    def _go(self, ask: Callable[[], T]) -> None:
        with self:
            self._answer = ask()

    def __enter__(self) -> None: ...

    def __exit__(self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None) -> bool:
        self._fault = fault
        self._over.set()
        return True

    def wait(self, timeout_s: float | None = None) -> bool:
        """True once there is an answer, or a fault."""
        return self._over.wait(timeout_s)

    @property
    def is_over(self) -> bool:
        """True if there is an answer, or a fault."""
        return self._over.is_set()

    def answer(self) -> T:
        """The answer, waited for. Raises what the asking ran into."""
        self._over.wait()
        if self._fault is not None:
            raise self._fault
        return self._answer  # type: ignore[return-value]
