"""A job followed to its end by the process that a person watches: its bytes go to our stdout and stderr, our signals end it.

It prints nothing of its own.
"""

from __future__ import annotations

import contextlib
import errno
import os
import select
import signal
import threading
from collections.abc import Iterator
from typing import NamedTuple

from evogit.domain.trial import Job, Outcome
from evogit.errors import EvogitError
from evogit.seams import Backend

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
DESCRIPTORS = {"stdout": 1, "stderr": 2}


class Ended(NamedTuple):
    """How a job ended, and the signal for which we cancelled it, 0 for none."""

    handle: str
    outcome: Outcome
    heard: int


class _Relay:
    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._handle = ""
        self._ending = threading.Event()
        self.heard = 0
        self.fault: EvogitError | None = None

    def hear(self, number: int, frame: object) -> None:
        """The first signal asks the job to end, the second ends us."""
        if self.heard:
            os._exit(128 + number)
        self.heard = number
        self._ending.set()

    def pass_on(self, handle: str) -> None:
        """Every byte in its order, until the job has ended. Nobody who reads any more is a wish to end it."""
        self._handle = handle
        deaf: set[int] = set()
        try:
            for stream, data in self._backend.follow(handle):
                descriptor = DESCRIPTORS[stream]
                if descriptor not in deaf and not _write_all(descriptor, data):
                    deaf.add(descriptor)
                    self.heard = self.heard or signal.SIGPIPE
                    self._ending.set()
        except EvogitError as error:
            self.fault = error

    def cancel_when_asked(self, handle: str) -> None:
        """Wait for a signal, then cancel. In a thread: a handler may interrupt the backend anywhere."""
        self._ending.wait()
        if self.heard:
            with contextlib.suppress(EvogitError):
                self._backend.cancel(handle)

    def release(self) -> None:
        self._ending.set()


def relay(backend: Backend, job: Job) -> Ended:
    """Start the job, pass its output on as it comes, and wait for its end.

    While it runs, the first SIGINT, SIGTERM or SIGHUP cancels it, the second ends this process at once with 128+n. Raises
    BackendDown. Must be called from the main thread.
    """
    told = _Relay(backend)
    with _handling(told):
        handle = backend.start(job)
        canceller = threading.Thread(target=told.cancel_when_asked, args=(handle,), daemon=True)
        canceller.start()
        follower = threading.Thread(target=told.pass_on, args=(handle,), daemon=True)
        follower.start()
        while follower.is_alive():
            follower.join(1.0)  # the main thread stays free for signals
        if told.fault is not None:
            with contextlib.suppress(EvogitError):
                backend.cancel(handle)
            raise told.fault
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
