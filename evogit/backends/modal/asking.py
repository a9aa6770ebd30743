"""Questions to Modal, none of which is waited for without an end: its client has limits for few of its calls.

    within(30.0, ask)         a question with a short answer
    patiently(3600.0, ask)    one that takes as long as it takes: as long as Modal answers others meanwhile

They raise as `in_our_words` does, and BackendDown for silence. A call that was given up goes on unheard.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from evogit.backends.modal.speaking import in_our_words, library
from evogit.backends.modal.volumes import app_name
from evogit.errors import BackendDown
from evogit.turns import Asking

ANSWER_S = 30.0  # for the answer to a question
PULSE_S = 30.0  # of a long call, before Modal is asked whether it is there at all

T = TypeVar("T")


def begin(ask: Callable[[], T]) -> Asking[T]:
    """The question, on its way. Its faults are in our words."""

    def spoken() -> T:
        with in_our_words():
            return ask()

    return Asking(spoken, "evogit-modal")


def within(seconds: float, ask: Callable[[], T]) -> T:
    """The answer, which has to come in time."""
    asking = begin(ask)
    if not asking.wait(seconds):
        raise silence(seconds)
    return asking.take()


def patiently(longest_s: float, ask: Callable[[], T]) -> T:
    """The answer, however late, up to `longest_s`. Costs one question more each half a minute."""
    asking, deadline = begin(ask), time.monotonic() + longest_s
    while not asking.wait(max(0.0, min(PULSE_S, deadline - time.monotonic()))):
        if time.monotonic() >= deadline:
            raise silence(longest_s)
        within(ANSWER_S, app)
    return asking.take()


def app():
    """Our app there, made where it is missing: the cheapest question that there is."""
    return library().App.lookup(app_name(), create_if_missing=True)


def silence(seconds: float) -> BackendDown:
    """Modal said nothing."""
    return BackendDown(f"Modal did not answer in {seconds:g} s", hint="is the network up? see https://status.modal.com")
