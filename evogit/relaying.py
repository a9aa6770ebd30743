"""A job followed to its end by the process that a person watches: its bytes go to our stdout and stderr, our signals end it.

It prints nothing of its own: what a person has to hear is told to whoever called.
"""

from __future__ import annotations

import contextlib
import errno
import os
import select
import signal
import threading
from collections.abc import Callable, Iterator
from typing import NamedTuple

from evogit.domain.trial import Job, Outcome
from evogit.errors import BackendDown, EvogitError
from evogit.seams import Backend
from evogit.turns import Asking

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
AGAIN_S = 2.0  # between tries to cancel a job on a backend that is down
DESCRIPTORS = {"stdout": 1, "stderr": 2}


class Ended(NamedTuple):
    """How a job ended, and the signal for which we cancelled it, 0 for none."""

    handle: str
    outcome: Outcome
    heard: int


class _Relay:
    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._ending, self._over = threading.Event(), threading.Event()
        self._news: list[tuple[str, str]] = []
        self._untold = 0  # place in `_news` of what was not told yet
        self.heard = 0

    def hear(self, number: int, frame: object) -> None:
        """The first signal asks the job to end, the second ends us."""
        if self.heard:
            os._exit(128 + number)
        self.heard = number
        self._ending.set()

    def pass_on(self, handle: str) -> None:
        """Every byte in its order, until the job has ended. Nobody who reads any more is a wish to end it."""
        deaf: set[int] = set()
        for stream, data in self._backend.follow(handle):
            descriptor = DESCRIPTORS[stream]
            if descriptor not in deaf and not _write_all(descriptor, data):
                deaf.add(descriptor)
                self.heard = self.heard or signal.SIGPIPE
                self._ending.set()

    def cancel_when_asked(self, handle: str) -> None:
        """Wait for a signal, then cancel. In a thread: a handler may interrupt the backend anywhere."""
        self._ending.wait()
        if self.heard:
            while not self.cancel(handle) and not self._over.wait(AGAIN_S):
                pass

    def cancel(self, handle: str) -> bool:
        """False where the backend is down, and trying again may help. What went wrong is news, once."""
        try:
            self._backend.cancel(handle)
            return True
        except EvogitError as error:
            said = (f"it could not be cancelled, and may run on: {error.message}", error.hint)
            if said not in self._news:
                self._news.append(said)
            return not isinstance(error, BackendDown)

    def tell_news(self, tell: Callable[[str, str], None]) -> None:
        """What there is to say by now, each thing once."""
        for message, hint in getattr(self._backend, "news", list)():
            tell(message, hint)
        while self._untold < len(self._news):
            self._untold += 1
            tell(*self._news[self._untold - 1])

    def release(self) -> None:
        self._ending.set()
        self._over.set()


def relay(backend: Backend, job: Job, tell: Callable[[str, str], None]) -> Ended:
    """Start the job, pass its output on as it comes, and wait for its end.

    While it runs, the first SIGINT, SIGTERM or SIGHUP cancels it, the second ends this process at once with 128+n. `tell` is called
    with a message and a hint where the job waits long, or cannot be cancelled. Raises BackendDown, and what else `follow` of the backend
    raises, once the job was asked to end. Must be called from the main thread.
    """
    told = _Relay(backend)
    with _handling(told):
        handle = backend.start(job)
        canceller = threading.Thread(target=told.cancel_when_asked, args=(handle,), daemon=True)
        canceller.start()
        bell, was_heard = threading.Event(), False
        follower = Asking(lambda: told.pass_on(handle), "evogit-follower", bell)
        try:
            while not follower.is_over:
                bell.wait(1.0)  # the main thread stays free for signals
                told.tell_news(tell)
            follower.take()
            was_heard = True
        finally:
            if not was_heard:
                told.cancel(handle)
                told.tell_news(tell)
        while not backend.wait([handle], 1.0):
            pass
        heard = told.heard
        told.release()
        return Ended(handle, backend.collect(handle), heard)


@contextlib.contextmanager
def _handling(told: _Relay) -> Iterator[None]:
    heeded = [number for number in SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]  # `nohup`, or `&` in a script
    before = {number: signal.signal(number, told.hear) for number in heeded}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _write_all(descriptor: int, data: bytes) -> bool:
    """False once nobody reads."""
    view = memoryview(data)
    while view:
        try:
            view = view[os.write(descriptor, view) :]
        except BlockingIOError:
            select.select([], [descriptor], [])
        except OSError as error:
            if error.errno in (errno.EPIPE, errno.EBADF, errno.EIO):
                return False
            raise
    return True
