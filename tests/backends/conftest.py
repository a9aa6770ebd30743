"""Fixtures for jobs on this machine."""

from __future__ import annotations

import os
import select
import threading
import time
from pathlib import Path

import pytest

from evogit.backends.local import LocalBackend
from evogit.testing import job_maker


class Witness:
    """A FIFO that a job's processes hold open: its end is the proof that all of them are gone."""

    hold = "import os, sys, signal, time; fd = os.open(sys.argv[1], os.O_WRONLY); os.write(fd, b'here')\n"

    def __init__(self, path: Path) -> None:
        os.mkfifo(path)
        os.chmod(path, 0o666)  # a sandbox may run the job as another user
        self.path = str(path)
        self.fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK)

    def hears(self, seconds: float = 10.0) -> bytes:
        """The next words; b"" once nobody is left. Fails if nothing happens in time."""
        poll = select.poll()
        poll.register(self.fd, select.POLLIN | select.POLLHUP)
        assert poll.poll(seconds * 1000), "a process still holds the witness"
        return os.read(self.fd, 1 << 16)

    def is_alone(self) -> bool:
        """True if no process holds the other end now."""
        try:
            while os.read(self.fd, 1 << 16):
                pass
        except BlockingIOError:
            return False
        return True


@pytest.fixture
def witness(tmp_path):
    """A witness; its path is the first argument of a job that begins with `witness.hold`."""
    witness = Witness(tmp_path / "witness")
    yield witness
    os.close(witness.fd)


@pytest.fixture
def make(tmp_path):
    """A maker of jobs."""
    return job_maker(tmp_path)


@pytest.fixture
def backend(tmp_path):
    """The local backend with its jobs in `tmp_path / "jobs"`."""
    backend = LocalBackend(tmp_path / "jobs", slots=2)
    yield backend
    backend.close()


@pytest.fixture
def until():
    """`until(claim)` asks again and again until `claim()` is true."""

    def until(claim, seconds: float = 10.0) -> None:
        pause, give_up_at = threading.Event(), time.monotonic() + seconds
        while not claim():
            assert time.monotonic() < give_up_at, "it never came true"
            pause.wait(0.01)

    return until
