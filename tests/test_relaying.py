"""A command that is followed to its end: what a person hears when the backend is at fault. Faults are of backends; their jobs are real."""

from __future__ import annotations

import os
import signal

import pytest

from evogit import relaying
from evogit.backends.local import LocalBackend
from evogit.domain.trial import Status
from evogit.errors import BackendDown
from evogit.relaying import relay
from evogit.testing import job_maker

SLEEP = "import time; print('begun', flush=True); time.sleep(60)"


class Mute(LocalBackend):
    """A backend with a bug: output of a stream that there is not."""

    def follow(self, handle):
        yield from ((f"{stream}?", data) for stream, data in super().follow(handle))


class Away(LocalBackend):
    """A backend that is down when it is first asked to cancel; the person who asks has just pressed Ctrl-C."""

    def __init__(self, root) -> None:
        super().__init__(root)
        self.refusals = 2

    def follow(self, handle):
        for piece in super().follow(handle):
            os.kill(os.getpid(), signal.SIGINT)
            yield piece

    def cancel(self, handle):
        self.refusals -= 1
        if self.refusals >= 0:
            raise BackendDown("nobody answers", hint="look")
        super().cancel(handle)

    def news(self):
        return [("it has waited", "wait")] if self.refusals == 2 else []


@pytest.fixture
def make(tmp_path):
    return job_maker(tmp_path)


@pytest.fixture
def told():
    """What was told to the person."""
    return []


def test_a_bug_of_a_backend_ends_the_command_and_is_raised_where_it_was_waited_for(tmp_path, make, told):
    backend, job = Mute(tmp_path / "jobs"), make(SLEEP)

    with pytest.raises(KeyError, match="stdout"):
        relay(backend, job, lambda *words: told.append(words))

    handle = backend.find(job.key)
    assert backend.wait([handle], 30) == [handle]
    assert backend.collect(handle).status is Status.CANCELLED
    assert told == []
    backend.close()


def test_a_cancel_that_fails_is_told_once_and_tried_again(tmp_path, make, told, monkeypatch):
    monkeypatch.setattr(relaying, "AGAIN_S", 1.1)
    backend = Away(tmp_path / "jobs")

    ended = relay(backend, make(SLEEP), lambda *words: told.append(words))

    assert (ended.outcome.status, ended.heard, backend.refusals) == (Status.CANCELLED, signal.SIGINT, -1)
    assert [words for words in told if words[0] != "it has waited"] == [
        ("it could not be cancelled, and may run on: nobody answers", "look")
    ]
    backend.close()


def test_what_a_backend_has_to_say_is_told_while_the_command_runs(tmp_path, make, told):
    class Slow(LocalBackend):
        def news(self):
            return [("a trial has waited", "look")] if not told else []

    backend = Slow(tmp_path / "jobs")

    relay(backend, make("import time; time.sleep(1.5)"), lambda *words: told.append(words))

    assert told == [("a trial has waited", "look")]
    backend.close()
