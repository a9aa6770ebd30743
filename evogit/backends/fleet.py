"""Several backends as one: each job goes where there is room, and away from what has just failed.

A handle says whose it is. A backend that is down is asked once a minute, and its jobs wait for it, ten minutes at most; only when nobody
takes a job, or none can be reached, is the fleet itself down. It does not limit how many jobs run: the loop has that number.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections import Counter
from collections.abc import Container, Iterator, Mapping, Sequence
from pathlib import Path

from evogit.backends.outages import Outages
from evogit.domain.trial import SANDBOXES, Job, Outcome, Status
from evogit.errors import BackendDown, EvogitError, UserError
from evogit.seams import Backend

GIVEN_UP_S = 600.0  # that jobs wait for a backend which is down, before they are tried again elsewhere
SLICE_S = 0.05  # of waiting for one backend before the next is asked


class Fleet:
    """The backends by name, in the order in which a person named them: of two that have as much room the first is taken."""

    name = "fleet"

    def __init__(self, backends: Mapping[str, Backend]) -> None:
        self.backends = dict(backends)
        self.finds_again = all(backend.finds_again for backend in self.backends.values())
        self._running: Counter[str] = Counter()
        self._counted: dict[str, str] = {}  # handle -> backend, of jobs that count as running
        self._counting = threading.Lock()
        self._room: dict[str, float] = {}  # how many jobs each has said that it takes
        self._outages = Outages()
        self._said: list[tuple[str, str]] = []  # for a person, beside what begins and ends
        self._outcomes: dict[str, Outcome] = {}  # of jobs that have ended, taken home at once: until then a job has not ended
        self._pause = threading.Event()

    @property
    def is_quick(self) -> bool:
        """True while a start takes milliseconds: all of its backends are quick, and none is down."""
        return not self._outages and all(getattr(backend, "is_quick", False) for backend in self.backends.values())

    # starting --------------------------------------------------------------------------------------------------------

    def start(self, job: Job) -> str:
        """Begin where there is most room. Raises UserError if every backend refuses the job, BackendDown if those that might take it are down."""
        if handle := self.find(job.key):
            return handle
        refusals: dict[str, EvogitError] = {}
        rooms = {name: 0.0 if self._outages.is_resting(name) else self._room_of(name) for name in self.backends}
        while len(refusals) < len(self.backends):
            name = self._take_place(rooms, refusals)
            try:
                handle = _handle(name, self.backends[name].start(job), job.key)
                self._count(handle, name)
                return handle
            except BackendDown as error:
                self._fell(name, error)
                refusals[name] = error
            except UserError as error:  # it has no such GPU, or not such a sandbox: another may
                refusals[name] = error
            finally:
                with self._counting:
                    self._running[name] -= 1
        raise _refused(refusals)

    def expect(self, count: int) -> None:
        """As `Backend` may offer it, of those that do."""
        for name, backend in self.backends.items():
            if expect := getattr(backend, "expect", None):
                expect(min(count, int(self._room.get(name, 0))))  # nothing, of one that is down

    def _take_place(self, rooms: Mapping[str, float], without: Container[str]) -> str:
        """The backend with the largest share of free places, one of which is taken with that; those that rest come last.

        Taken before the start, which may last: meanwhile others look for a place as well.
        """

        def rank(name: str) -> tuple[bool, float]:
            return self._outages.is_resting(name), self._running[name] / rooms[name] if rooms[name] else 0.0

        with self._counting:
            name = min((name for name in self.backends if name not in without), key=rank)
            self._running[name] += 1
        return name

    def _room_of(self, name: str) -> float:
        """Asked anew of one that was down: who only writes a start down (Slurm) would take it all the same."""
        if name not in self._room:
            try:
                self._take(name, self.backends[name].resources())
            except BackendDown as error:
                self._fell(name, error)
                return 0.0
        return self._room[name]

    def _take(self, name: str, told: Mapping[str, object]) -> None:
        self._room[name] = float(told.get("slots") or told.get("cpus") or 1)
        self._answered(name)

    def _count(self, handle: str, name: str) -> None:
        with self._counting:
            if handle not in self._counted:
                self._counted[handle] = name
                self._running[name] += 1

    def _uncount(self, handle: str) -> None:
        with self._counting:
            if name := self._counted.pop(handle, ""):
                self._running[name] -= 1

    def find(self, key: str) -> str:
        """Handle of the job that was started under this key at any of them, "" if none was. One that is silent is not asked: where it has a
        folder of the job, the job may be there, and the handle is one of a job to be found again."""
        perhaps = ""
        for name, backend in self.backends.items():
            inner = ""
            try:
                if not self._outages.is_silent(name):
                    inner = backend.find(key)
            except BackendDown as error:
                self._fell(name, error)
            if inner:
                handle = _handle(name, inner, key)
                self._count(handle, name)
                return handle
            if name in self._outages and _has_folder(backend, key):
                perhaps = perhaps or name
        if not perhaps:
            return ""
        handle = _handle(perhaps, "", key)
        if handle not in self._counted:
            self._said.append((f"a trial that may be on backend {perhaps}, which is down, waits for it", ""))
        self._count(handle, perhaps)
        return handle

    # who answers -----------------------------------------------------------------------------------------------------

    def _fell(self, name: str, error: BackendDown) -> None:
        self._room.pop(name, None)
        self._outages.began(name, error)

    def _answered(self, name: str) -> None:
        if owed := self._outages.ended(name):
            threading.Thread(target=self._make_good, args=(name, owed), name="evogit-fleet", daemon=True).start()

    def _make_good(self, name: str, owed: Sequence[tuple[str, str]]) -> None:
        """Do at a backend that is back what could not be done while it was down."""
        for verb, handle in owed:
            self._try(verb, name, handle)

    def _try(self, verb: str, name: str, handle: str) -> None:
        """Cancel or forget a job, now or once its backend is back."""
        backend = self._of(name)
        if self._outages.is_silent(name):
            self._outages.owe(name, verb, handle)
            return
        try:
            if inner := self._inner(handle):
                (backend.cancel if verb == "cancel" else backend.forget)(inner)
        except BackendDown as error:
            self._fell(name, error)
            self._outages.owe(name, verb, handle)

    def _inner(self, handle: str) -> str:
        """The backend's own handle of a job; of one that has to be found, "" if it knows of none. Raises BackendDown."""
        told = json.loads(handle)
        return told["handle"] or self._of(told["backend"]).find(told["key"])

    def _is_down(self) -> bool:
        """True if none can be reached. Asks those whose rest is over, since one that has no jobs is asked by nobody else."""
        if len(self._outages) == len(self.backends):
            for name in [name for name in self.backends if not self._outages.is_silent(name)]:
                self._room_of(name)
        return len(self._outages) == len(self.backends)

    def news(self) -> list[tuple[str, str]]:
        """What its backends have to say to a person, and what to do about it, each thing once: an outage when it begins and when it ends."""
        told, self._said = self._said, []
        for name, error in self._outages.untold():
            count = self._running[name]
            waiting = f"; {count} trial{'s wait' if count > 1 else ' waits'} for it" if count else ""
            if error is None:
                told.append((f"backend {name} answers again", ""))
            else:
                told.append((f"backend {name} is down: {error.message}{waiting}", error.hint or "it is asked again every minute"))
        return told + [said for backend in self.backends.values() for said in getattr(backend, "news", list)()]

    # ending ----------------------------------------------------------------------------------------------------------

    def wait(self, handles: Sequence[str], timeout_s: float | None) -> list[str]:
        """Those that have ended, at least one unless the time ran out. Asks one backend after the other, a twentieth of a second each, and
        takes home what has ended: a job whose backend goes down before that has not. Jobs of one that is down wait ten minutes.

        Raises BackendDown where every backend is down.
        """
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        by_name: dict[str, list[str]] = {}
        for handle in handles:
            by_name.setdefault(_name(handle), []).append(handle)
        while by_name:
            left = float("inf") if deadline is None else max(0.0, deadline - time.monotonic())
            share = min(left, SLICE_S) if len(by_name) > 1 else (left if deadline is not None else None)
            for name, mine in by_name.items():
                if not any(handle in self._outcomes for handle in mine):
                    self._look(name, mine, share)
            ended = [handle for handle in handles if handle in self._outcomes]
            if ended or left <= 0:
                return ended
            if self._is_down():
                raise self._outages.error(next(iter(by_name)))
            if any(name in self._outages for name in by_name):
                self._pause.wait(min(left, SLICE_S))
        return []

    def _look(self, name: str, handles: Sequence[str], timeout_s: float | None) -> None:
        """Take home the outcomes of those that have ended at one backend, or give them all up where it has been down for too long."""
        backend = self._of(name)
        try:
            if not self._outages.is_silent(name):
                inner = {handle: self._inner(handle) for handle in handles}
                for handle in [handle for handle in handles if not inner[handle]]:
                    self._outcomes[handle] = self._lost(handle, "it was not started")
                if name in self._outages:  # what is owed to it comes before a long wait
                    timeout_s = 0
                over = backend.wait([each for each in inner.values() if each], timeout_s)
                for handle in [handle for handle in handles if inner[handle] in over]:
                    self._outcomes[handle] = backend.collect(inner[handle])
                self._answered(name)
        except BackendDown as error:
            self._fell(name, error)
        if self._outages.seconds(name) > GIVEN_UP_S and len(self._outages) < len(self.backends):
            for handle in handles:
                self._outages.owe(name, "cancel", handle)
                why = f"backend {name} was down for {GIVEN_UP_S / 60:.0f} minutes: {self._outages.error(name).message}"
                self._outcomes.setdefault(handle, self._lost(handle, why))

    def _lost(self, handle: str, reason: str) -> Outcome:
        """The outcome of a job that its backend cannot tell of."""
        told = json.loads(handle)
        return Outcome(
            key=told["key"], status=Status.INFRASTRUCTURE, exit_code=None, seconds=0.0, peak_rss_mib=0, started="", folder=os.devnull,
            reason=reason, backend=told["backend"],
        )  # fmt: skip

    def collect(self, handle: str) -> Outcome:
        """The outcome of a job that has ended. Who lost one is asked last for a while."""
        while handle not in self._outcomes:
            self.wait([handle], None)
        outcome = self._outcomes[handle]
        self._uncount(handle)
        if outcome.status is Status.INFRASTRUCTURE:
            self._outages.rest(_name(handle))
        return outcome

    def follow(self, handle: str) -> Iterator[tuple[str, bytes]]:
        """Output as it comes. Raises BackendDown to whoever listens."""
        return self._of(_name(handle)).follow(self._inner(handle))

    def cancel(self, handle: str) -> None:
        """End the job, once its backend answers."""
        if handle not in self._outcomes:
            self._try("cancel", _name(handle), handle)

    def forget(self, handle: str) -> None:
        """Free what the job left behind, once its backend answers."""
        self._uncount(handle)
        self._outcomes.pop(handle, None)
        self._try("forget", _name(handle), handle)

    def resources(self) -> dict[str, object]:
        """What all of them have together, the weakest sandbox among theirs, and each one's own under `backends`.

        One that is down counts for nothing and is named in `down`. Raises BackendDown if all are.
        """
        told: dict[str, dict[str, object]] = {}
        for name, backend in self.backends.items():
            if self._outages.is_silent(name):
                continue
            try:
                told[name] = backend.resources()
            except BackendDown as error:
                self._fell(name, error)
            else:
                self._take(name, told[name])
        down = {name: self._outages.error(name) for name in self.backends if name not in told}
        if not told:
            raise _refused(down)
        total = {what: sum(int(one.get(what) or 0) for one in told.values()) for what in ("slots", "cpus", "gpus")}
        levels = [str(one.get("sandbox", SANDBOXES[0])) for one in told.values()]
        weakest = min(levels, key=lambda level: SANDBOXES.index(level) if level in SANDBOXES else 0)
        return {**total, "sandbox": weakest, "backends": told, "down": {name: error.message for name, error in down.items()}}

    def close(self) -> None:
        """Let go of helpers. Running jobs go on."""
        for backend in self.backends.values():
            backend.close()

    def _of(self, name: str) -> Backend:
        """Raises UserError for a handle of a backend that this loop was not told of."""
        if name not in self.backends:
            raise elsewhere("a trial that still runs", [name])
        return self.backends[name]


def _handle(name: str, inner: str, key: str) -> str:
    """`inner` is "" for a job that has to be found at its backend."""
    return json.dumps({"backend": name, "handle": inner, "key": key})


def _name(handle: str) -> str:
    return str(json.loads(handle)["backend"])


def _has_folder(backend: Backend, key: str) -> bool:
    """True if a backend that keeps a folder for each job has one of that key: it was asked to start it, whatever came of that."""
    root = getattr(backend, "root", None)
    return root is not None and Path(root, key).is_dir()


def _refused(refusals: Mapping[str, EvogitError]) -> EvogitError:
    """One error of several: that the place is out of reach where one of them says so, and what each of them said."""
    worst = next((error for error in refusals.values() if isinstance(error, BackendDown)), next(iter(refusals.values())))
    if len(refusals) == 1:
        return worst
    said = "; ".join(f"{name}: {error.message}" for name, error in refusals.items())
    return (BackendDown if isinstance(worst, BackendDown) else UserError)(said, hint=worst.hint)


def elsewhere(what: str, names: Sequence[str]) -> UserError:
    """What to say where a loop would have to ask backends, one of these names, that it was not told to use."""
    added, minutes = " ".join(f"--backend {name}" for name in names), round(GIVEN_UP_S / 60)
    hint = f"add {added}; where that stays down the trial begins anew on another one that you name, after {minutes} minutes"
    return UserError(f"{what} was started on backend {' or '.join(names)}, which this loop does not use", hint=hint)


def place_of(handle: str) -> str:
    """The backend that a fleet's handle says that it is of, "" for one that a backend wrote itself."""
    try:
        told = json.loads(handle) if handle else None
    except ValueError:
        return ""
    return str(told["backend"]) if isinstance(told, dict) and {"backend", "handle"} <= told.keys() else ""


def as_read_by(names: Sequence[str], handle: str, key: str, was: str) -> str:
    """A handle of a job, as a loop on the backend or the fleet `was` wrote it, in the words of a loop on `names`. "" stays ""."""
    name = place_of(handle)
    inner = str(json.loads(handle)["handle"]) if name else handle
    return inner if len(names) == 1 or not handle else _handle(name or was, inner, key)


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
