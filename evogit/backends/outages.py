"""Which backends of a fleet are down, since when and why, what people are told of it, and what is still to be done there.

It asks no backend anything: whoever asked one says here what came of it.
"""

from __future__ import annotations

import threading
import time
from typing import NamedTuple

from evogit.errors import BackendDown

REST_S = 60.0  # that a backend is left alone which was down, or has lost a job


class Outage(NamedTuple):
    """A backend that could not be reached, from the first time that it could not."""

    since: float  # time.monotonic()
    error: BackendDown  # the newest


class Outages:
    """What is known of the backends by name. May be used from threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._outages: dict[str, Outage] = {}
        self._rests: dict[str, float] = {}  # until when it is given no job
        self._untold: list[tuple[str, BackendDown | None]] = []  # what began, or (None) ended, and was not told yet
        self._owed: dict[str, list[tuple[str, str]]] = {}  # "cancel" or "forget", and the backend's handle

    def began(self, name: str, error: BackendDown) -> None:
        """It is down, or still is: it rests a minute from now."""
        with self._lock:
            known = self._outages.get(name)
            self._outages[name] = Outage(known.since if known else time.monotonic(), error)
            self._rests[name] = time.monotonic() + REST_S
            if known is None:
                self._untold.append((name, error))

    def ended(self, name: str) -> list[tuple[str, str]]:
        """It has answered. Returns what was to be done there meanwhile, which is the caller's to do now."""
        if name not in self._outages:  # nearly always
            return []
        with self._lock:
            if self._outages.pop(name, None) is None:
                return []
            self._rests.pop(name, None)
            self._untold.append((name, None))
            return self._owed.pop(name, [])

    def rest(self, name: str) -> None:
        """It lost a job: others go before it for a minute. What runs there is waited for."""
        self._rests[name] = time.monotonic() + REST_S

    def owe(self, name: str, verb: str, handle: str) -> None:
        """To be done once it is back."""
        with self._lock:
            owed = self._owed.setdefault(name, [])
            if (verb, handle) not in owed:
                owed.append((verb, handle))

    def __contains__(self, name: str) -> bool:
        return name in self._outages

    def __len__(self) -> int:
        return len(self._outages)

    def is_resting(self, name: str) -> bool:
        """True while it is to get no job if another takes it."""
        return self._rests.get(name, 0.0) > time.monotonic()

    def is_silent(self, name: str) -> bool:
        """True while asking it would only tell once more that it is down, which may take many seconds."""
        return name in self._outages and self.is_resting(name)

    def seconds(self, name: str) -> float:
        """For how long it has been down, 0 where it is not."""
        known = self._outages.get(name)
        return time.monotonic() - known.since if known else 0.0

    def error(self, name: str) -> BackendDown:
        """Why it is down. Raises KeyError where it is not."""
        return self._outages[name].error

    def untold(self) -> list[tuple[str, BackendDown | None]]:
        """What began, or ended (None), since this was asked last; an outage that was over before anybody was told of it is left out."""
        with self._lock:
            told, self._untold = self._untold, []
        begun = [name for name, error in told if error is not None]
        over = [name for name, error in told if error is None]
        brief = {name for name in over if name in begun and name not in self._outages}
        return [(name, error) for name, error in told if name not in brief]
