"""Several backends as one: each job goes where there is room, and away from what has just failed.

A handle says whose it is. A backend that is down rests a minute and its jobs wait for it; only when nobody takes a job is the fleet
itself down. It does not limit how many jobs run: the loop has that number.
"""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from evogit.domain.trial import SANDBOXES, Job, Outcome, Status
from evogit.errors import BackendDown, EvogitError, UserError
from evogit.seams import Backend

REST_S = 60.0  # that a backend is left alone which was down, or has lost a job
SLICE_S = 0.05  # of waiting for one backend before the next is asked


class Fleet:
    """The backends by name, in the order in which a person named them: of two that have as much room the first is taken."""

    name = "fleet"

    def __init__(self, backends: Mapping[str, Backend]) -> None:
        self.backends = dict(backends)
        self.finds_again = all(backend.finds_again for backend in self.backends.values())
        self._running: Counter[str] = Counter()
        self._counted: dict[str, str] = {}  # handle -> backend, of jobs that count as running
        self._room: dict[str, float] = {}  # how many jobs each has said that it takes
        self._rests: dict[str, float] = {}  # until when it is left alone
        self._pause = threading.Event()

    def start(self, job: Job) -> str:
        """Begin where there is most room. Raises UserError if every backend refuses the job, BackendDown if those that might take it are down."""
        if handle := self.find(job.key):
            return handle
        refusals: list[EvogitError] = []
        for name in self._by_room():
            try:
                handle = _handle(name, self.backends[name].start(job))
            except BackendDown as error:
                self._rest(name)
                refusals.append(error)
            except UserError as error:  # it has no such GPU, or not such a sandbox: another may
                refusals.append(error)
            else:
                self._count(handle, name)
                return handle
        raise next((error for error in refusals if isinstance(error, BackendDown)), refusals[0])

    def _by_room(self) -> list[str]:
        """Names, those first that have the largest share of free places, those that rest last."""

        def rank(name: str) -> tuple[bool, float]:
            if self._is_resting(name):
                return True, 0.0
            room = self._room_of(name)
            return self._is_resting(name), self._running[name] / room if room else 0.0

        return sorted(self.backends, key=rank)

    def _room_of(self, name: str) -> float:
        if name not in self._room:
            try:
                told = self.backends[name].resources()
                self._room[name] = float(told.get("slots") or told.get("cpus") or 1)
            except BackendDown:
                self._rest(name)
                return 0.0
        return self._room[name]

    def _is_resting(self, name: str) -> bool:
        return self._rests.get(name, 0.0) > time.monotonic()

    def _rest(self, name: str) -> None:
        self._rests[name] = time.monotonic() + REST_S

    def _count(self, handle: str, name: str) -> None:
        if handle not in self._counted:
            self._counted[handle] = name
            self._running[name] += 1

    def _uncount(self, handle: str) -> None:
        if name := self._counted.pop(handle, ""):
            self._running[name] -= 1

    def find(self, key: str) -> str:
        """Handle of the job that was started under this key at any of them, "" if none was. One that rests is not asked: to be told once
        more that it is down may take many seconds."""
        for name, backend in self.backends.items():
            if self._is_resting(name):
                continue
            try:
                if handle := backend.find(key):
                    self._count(_handle(name, handle), name)
                    return _handle(name, handle)
            except BackendDown:
                self._rest(name)
        return ""

    def wait(self, handles: Sequence[str], timeout_s: float | None) -> list[str]:
        """Those that have ended, at least one unless the time ran out. Asks one backend after the other, a twentieth of a second each.

        Raises BackendDown where every backend that has one of these jobs is down.
        """
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        by_name: dict[str, dict[str, str]] = {}
        for handle in handles:
            name, inner = _parts(handle)
            by_name.setdefault(name, {})[inner] = handle
        while by_name:
            left = float("inf") if deadline is None else deadline - time.monotonic()
            ended, failures = [], []
            for name, mine in by_name.items():
                share = SLICE_S if len(by_name) > 1 else (left if deadline is not None else None)
                try:
                    ended += [mine[inner] for inner in self._of(name).wait(list(mine), 0 if left <= 0 else share)]
                except BackendDown as error:
                    self._rest(name)
                    failures.append(error)
            if len(failures) == len(by_name):
                raise failures[0]
            if ended or left <= 0:
                return ended
            if failures:
                self._pause.wait(SLICE_S)
        return []

    def collect(self, handle: str) -> Outcome:
        """The outcome of a job that has ended. Who lost one is asked last for a while."""
        name, inner = _parts(handle)
        outcome = self._of(name).collect(inner)
        self._uncount(handle)
        if outcome.status is Status.INFRASTRUCTURE:
            self._rest(name)
        return outcome

    def follow(self, handle: str) -> Iterator[tuple[str, bytes]]:
        """Output as it comes."""
        name, inner = _parts(handle)
        return self._of(name).follow(inner)

    def cancel(self, handle: str) -> None:
        """End the job."""
        name, inner = _parts(handle)
        self._of(name).cancel(inner)

    def forget(self, handle: str) -> None:
        """Free what the job left behind."""
        name, inner = _parts(handle)
        self._uncount(handle)
        self._of(name).forget(inner)

    def resources(self) -> dict[str, object]:
        """What all of them have together, the weakest sandbox among theirs, and each one's own under `backends`.

        One that is down counts for nothing and is named in `down`. Raises BackendDown if all are.
        """
        told: dict[str, dict[str, object]] = {}
        down: dict[str, EvogitError] = {}
        for name, backend in self.backends.items():
            try:
                told[name] = backend.resources()
            except BackendDown as error:
                self._rest(name)
                down[name] = error
        if not told:
            raise next(iter(down.values()))
        total = {what: sum(int(one.get(what) or 0) for one in told.values()) for what in ("slots", "cpus", "gpus")}
        levels = [str(one.get("sandbox", SANDBOXES[0])) for one in told.values()]
        weakest = min(levels, key=lambda level: SANDBOXES.index(level) if level in SANDBOXES else 0)
        return {**total, "sandbox": weakest, "backends": told, "down": {name: error.message for name, error in down.items()}}

    def news(self) -> list[tuple[str, str]]:
        """What its backends have to say to a person, and what to do about it, each thing once."""
        return [told for backend in self.backends.values() for told in getattr(backend, "news", list)()]

    def close(self) -> None:
        """Let go of helpers. Running jobs go on."""
        for backend in self.backends.values():
            backend.close()

    def _of(self, name: str) -> Backend:
        """Raises UserError for a handle of a backend that this loop was not told of."""
        if name not in self.backends:
            raise UserError(
                f"a trial that still runs was started on backend {name}, which this loop does not use", hint=f"add --backend {name}"
            )
        return self.backends[name]


def _handle(name: str, inner: str) -> str:
    return json.dumps({"backend": name, "handle": inner})


def _parts(handle: str) -> tuple[str, str]:
    told = json.loads(handle)
    return told.get("backend", ""), told.get("handle", handle)


def room(resources: Mapping[str, object], cpus: int, gpus: int) -> int:
    """How many jobs that take so many CPUs and GPUs run side by side on what `resources` says; at least 1."""
    if isinstance(each := resources.get("backends"), Mapping):
        return max(1, sum(_room(one, cpus, gpus) for one in each.values()))
    return max(1, _room(resources, cpus, gpus))


def _room(told: Mapping[str, object], cpus: int, gpus: int) -> int:
    limits = [int(told.get("slots") or 0)] if told.get("slots") else []
    limits += [int(told.get("cpus") or 0) // max(1, cpus)] if told.get("cpus") else []
    limits += [int(told.get("gpus") or 0) // gpus] if gpus else []
    return min(limits, default=1)
