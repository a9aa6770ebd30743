"""Inside a Ray cluster: the clerk, an actor who knows every trial there is.

He is detached, so trials outlive the loop that started them. A key is run once, whoever asks, and the result of one execution counts,
however often Ray repeated it. He runs nothing himself (`ray_task` does), and decides nothing of what an outcome is worth.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections import OrderedDict
from typing import Any

import msgspec

from evogit.backends import ray_seed
from evogit.backends.ray_seed import Seed
from evogit.backends.ray_task import REFUSED, launch, make_ready
from evogit.backends.ray_terms import Terms, has_room, places

PROTOCOL = 4  # of the clerk's methods: a loop that speaks another one has a clerk of its own
LOG_CAP = 1 << 20  # bytes of output kept of each trial, for people who follow it; all of it comes home in the end
PARCEL_CAP = 2 << 30  # bytes of parcels kept for trials to come
TEND_S = 10.0  # between looks at what nobody else looks at
NO_ROOM_S = 60.0  # a trial that no node has room for any more waits so long for one that has
SILENT_S = 600.0  # a foreman without trials whose loop says nothing for so long goes, and an empty clerk
UNCLAIMED_S = 7 * 86400.0  # a result that nobody collects
SETTLE_S = 0.3  # after the first trial of a loop: others that begin now have workers of their own
MUSTER_S = 20.0  # that workers are waited for which are to stand by
ENDING_S = 15.0  # that a cancelled trial has to end, before it is forgotten all the same


class Entry:
    """One trial, from its start until it is forgotten."""

    def __init__(self, job: str, terms: Terms, launcher: str) -> None:
        self.job, self.terms, self.launcher = job, terms, launcher
        self.refs: list[Any] = []  # of the task: a small parcel or a word, a large parcel
        self.parcel = b""  # if it is a small one
        self.executions = 0  # begun so far
        self.is_cancelled = False
        self.has_ended = asyncio.Event()
        self.over = asyncio.Event()  # the execution that runs has to end, or has ended
        self.lost: tuple[str, str] | None = None  # status and reason, where there is no parcel
        self.log: list[tuple[str, bytes]] = []
        self.told = 0  # pieces of output that are in `log` no more
        self.heard = asyncio.Event()
        self.at = time.monotonic()  # when it was started, and then when it ended
        self.homeless_s = 0.0  # for how long no node has had room


class Clerk:
    """Keys, tasks, output and results. Every method is called from loops, or from the trials' tasks."""

    def __init__(self, seed: Seed) -> None:
        """seed: for the workers of the trials that he starts himself."""
        self._seed, self._shared = seed, None
        self._entries: dict[str, Entry] = {}
        self._parcels: OrderedDict[str, tuple[Any, int]] = OrderedDict()  # digest -> reference, bytes
        self._foremen: dict[str, Any] = {}  # id of a loop's Ray job -> its foreman
        self._heard_of: dict[str, float] = {}  # id of a loop's Ray job -> when it last asked for something
        self._ended = asyncio.Condition()
        self._missing, self._enough = 0, asyncio.Event()  # workers that are to stand by, and whether they may go
        self._enough.set()
        self._standing_by: list[Any] = []
        self._is_retired = False
        self._tending: asyncio.Task[None] | None = None
        self._minding: set[asyncio.Task[None]] = set()  # one a trial that runs; a loop itself does not hold its tasks

    # for loops

    async def hello(self, job: str) -> str:
        """The Ray job that our own tasks belong to."""
        import ray

        self._greet(job)
        return ray.get_runtime_context().get_job_id()

    async def employ(self, job: str, foreman: list[Any]) -> None:
        """From now on the loop of that Ray job starts its trials with this foreman."""
        self._greet(job)
        self._foremen[job] = foreman[0]
        foreman[0].end_with_the_clerk.remote()

    async def start(self, job: str, key: str, order: bytes, digests: list[str], parcels: dict[str, bytes], terms: bytes) -> dict[str, Any]:
        """Start a trial unless it is known. {} once it is; {"missing": digests} for parcels that are to be sent along, {"retired": True},
        {"foreman": "gone"}."""
        self._greet(job)
        if self._is_retired:
            return {"retired": True}
        if key in self._entries:
            return {}
        import ray

        for digest, data in parcels.items():
            self._parcels[digest] = (ray.put(data), len(data))
        if missing := [digest for digest in digests if digest not in self._parcels]:
            return {"missing": missing}
        if self._running(job):
            self._enough.set()
        entry = self._entries[key] = Entry(job, msgspec.msgpack.decode(terms, type=Terms), job if job in self._foremen else "")
        needed = [self._parcels[digest][0] for digest in digests]
        for digest in digests:
            self._parcels.move_to_end(digest)
        try:
            entry.refs = await self._launch(entry, key, order, digests, needed, terms)
        except ray.exceptions.RayError:
            self._foremen.pop(job, None)
            self._entries.pop(key, None)
            return {"foreman": "gone"}
        if entry.is_cancelled and not entry.executions:
            ray.cancel(entry.refs[0])
        minding = asyncio.get_running_loop().create_task(self._mind(entry))
        self._minding.add(minding)
        minding.add_done_callback(self._minding.discard)
        self._make_room()
        return {}

    async def expect(self, job: str, count: int, terms: bytes) -> None:
        """That loop will soon have so many such trials at once: workers are started for those that it does not have yet and that there is
        room for, once. None where a trial has GPUs: Ray gives it no worker that has run a task without."""
        await asyncio.sleep(SETTLE_S)
        import ray

        asked = msgspec.msgpack.decode(terms, type=Terms)
        missing = min(count, places(asked, nodes_of(ray.nodes()))) - self._running(job)
        if missing <= 0 or asked.gpus or not self._enough.is_set():
            return

        self._missing, self._enough = missing, asyncio.Event()
        asyncio.get_running_loop().call_later(MUSTER_S, self._enough.set)
        if job in self._foremen:
            await self._foremen[job].make_ready.remote(missing, terms)
        else:
            self._standing_by = make_ready(self._sown(), ray.get_runtime_context().current_actor, missing, asked)

    async def knows(self, key: str) -> bool:
        """True from the start of a trial until it is forgotten."""
        return key in self._entries

    async def queued(self, keys: list[str]) -> list[str]:
        """Those that no node has begun yet."""
        found = [(key, self._entries.get(key)) for key in keys]
        return [key for key, entry in found if entry is not None and not entry.executions and not entry.has_ended.is_set()]

    async def wait(self, job: str, keys: list[str], timeout_s: float) -> list[tuple[str, bytes]]:
        """Those that have ended or are unknown, at least one unless the time ran out, each with its parcel if that is small."""
        self._greet(job)
        deadline = time.monotonic() + timeout_s
        while True:
            found = [(key, self._entries.get(key)) for key in keys]
            ended = [(key, entry.parcel if entry else b"") for key, entry in found if entry is None or entry.has_ended.is_set()]
            left = deadline - time.monotonic()
            if ended or left <= 0:
                return ended
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._until_one_ends(), left)

    async def _until_one_ends(self) -> None:
        async with self._ended:
            await self._ended.wait()

    async def result(self, key: str) -> dict[str, Any]:
        """{"parcel": bytes, or [reference]} of a trial that has ended, {"lost": (status, reason)}, {} for one that is unknown or runs."""
        entry = self._entries.get(key)
        if entry is None or not entry.has_ended.is_set():
            return {}
        return {"lost": entry.lost} if entry.lost else {"parcel": entry.parcel or entry.refs[1:]}

    async def listen(self, job: str, key: str, at: int, timeout_s: float) -> tuple[int, list[tuple[str, bytes]], bool]:
        """Output from piece `at` on: the next `at`, the pieces, and whether there will be no more. Waits until there is some."""
        self._greet(job)
        entry = self._entries.get(key)
        if entry is None:
            return at, [], True
        if at >= entry.told + len(entry.log) and not entry.has_ended.is_set():
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(entry.heard.wait(), timeout_s)
        return entry.told + len(entry.log), entry.log[max(0, at - entry.told) :], entry.has_ended.is_set()

    async def cancel(self, key: str) -> None:
        """End a trial. One that has begun is asked to, one that waits is taken from Ray."""
        entry = self._entries.get(key)
        if entry is None or entry.has_ended.is_set():
            return
        import ray

        entry.is_cancelled = True
        entry.over.set()
        if not entry.executions and entry.refs:
            ray.cancel(entry.refs[0])

    async def forget(self, key: str) -> None:
        """Free all of a trial; one that runs is cancelled first."""
        await self.cancel(key)
        if entry := self._entries.get(key):
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(entry.has_ended.wait(), ENDING_S)
            self._drop(key)

    async def leave(self, job: str) -> bool:
        """A loop goes, and its foreman once he has no trials. True if nobody needs the clerk any more: then it takes no trial on."""
        self._heard_of.pop(job, None)
        self._dismiss(job)
        self._is_retired = not self._entries
        return self._is_retired

    # for tasks and foremen

    async def wants_more(self) -> bool:
        """True while workers are to stand by."""
        return not self._enough.is_set()

    async def muster(self) -> None:
        """One stands by. Returns when all do, or trials need them."""
        self._missing -= 1
        if self._missing <= 0:
            self._enough.set()
        await self._enough.wait()

    async def attend(self) -> None:
        """Returns never: it fails when the clerk is gone."""
        await asyncio.Event().wait()

    async def begin(self, key: str) -> int:
        """The number of this execution, from 1; 0 if there shall be none."""
        entry = self._entries.get(key)
        if entry is None or entry.is_cancelled or entry.has_ended.is_set() or entry.executions > entry.terms.retries:
            return 0
        entry.executions += 1
        entry.over.set()  # an execution before this one was lost with its node; if it was not, it ends
        entry.over = asyncio.Event()
        entry.told += len(entry.log)
        entry.log = []
        return entry.executions

    async def leash(self, key: str, execution: int) -> None:
        """Returns when that execution has to end: cancelled, forgotten, taken up by another one."""
        entry = self._entries.get(key)
        if entry is not None and execution == entry.executions > 0:
            await entry.over.wait()

    async def hear(self, key: str, execution: int, stream: str, data: bytes) -> None:
        """Output of a running execution."""
        entry = self._entries.get(key)
        if entry is None or entry.executions != execution:
            return
        entry.log.append((stream, data))
        while sum(len(piece) for _, piece in entry.log) > LOG_CAP and len(entry.log) > 1:
            entry.log.pop(0)
            entry.told += 1
        entry.heard.set()
        entry.heard = asyncio.Event()

    # within

    async def _launch(self, entry: Entry, key: str, order: bytes, digests: list[str], parcels: list[Any], terms: bytes) -> list[Any]:
        import ray

        if entry.launcher:
            return await self._foremen[entry.launcher].launch.remote(key, order, digests, parcels, terms)
        return launch(self._sown(), ray.get_runtime_context().current_actor, key, order, digests, parcels, entry.terms)

    def _sown(self) -> Any:
        self._shared = self._shared or ray_seed.shared(self._seed)
        return self._shared

    async def _mind(self, entry: Entry) -> None:
        """Wait for the task of a trial, and say how it ended where it left no parcel. Whatever becomes of the wait, the trial has an end."""
        import ray

        lost: tuple[str, str] | None = ("infrastructure", "the clerk of the Ray cluster failed while it waited for it")
        try:
            said = await entry.refs[0]
            entry.parcel = said if isinstance(said, bytes) else b""
            lost = ("infrastructure", f"it was begun {entry.executions} times, and lost each time") if said == REFUSED else None
        except ray.exceptions.TaskCancelledError:
            lost = ("infrastructure", f"no node of the Ray cluster has had room for it for {NO_ROOM_S:g} s")
        except ray.exceptions.RayError as error:
            lost = ("infrastructure", _in_words(error, entry.executions))
        finally:
            if lost and entry.is_cancelled:
                lost = ("cancelled", "cancelled" if entry.executions else "cancelled before it began")
            entry.lost, entry.at = lost, time.monotonic()
            entry.over.set()
            entry.has_ended.set()
            entry.heard.set()
            async with self._ended:
                self._ended.notify_all()

    def _running(self, job: str) -> int:
        return sum(entry.job == job and not entry.has_ended.is_set() for entry in self._entries.values())

    def _greet(self, job: str) -> None:
        self._heard_of[job] = time.monotonic()
        if self._tending is None or self._tending.done():
            self._tending = asyncio.get_running_loop().create_task(self._tend())

    def _drop(self, key: str) -> None:
        entry = self._entries.pop(key, None)
        if entry is None:
            return
        entry.over.set()
        if entry.launcher in self._foremen:
            self._foremen[entry.launcher].drop.remote(key)
            if entry.launcher not in self._heard_of:
                self._dismiss(entry.launcher)

    def _dismiss(self, job: str) -> None:
        """Let a loop's foreman go, unless he has trials still."""
        import ray

        if job in self._foremen and all(entry.launcher != job for entry in self._entries.values()):
            ray.kill(self._foremen.pop(job))

    def _make_room(self) -> None:
        """Parcels that no trial asked for lately go."""
        while len(self._parcels) > 1 and sum(size for _, size in self._parcels.values()) > PARCEL_CAP:
            self._parcels.popitem(last=False)

    async def _tend(self) -> None:
        import ray

        while True:
            await asyncio.sleep(TEND_S)
            with contextlib.suppress(ray.exceptions.RayError, OSError):  # a head that does not answer now may do so the next time
                self._look_for_room()
            now = time.monotonic()
            for key in [key for key, entry in self._entries.items() if entry.has_ended.is_set() and now - entry.at > UNCLAIMED_S]:
                self._drop(key)
            for job in [job for job, at in self._heard_of.items() if now - at > SILENT_S]:
                del self._heard_of[job]
                self._dismiss(job)
            if not self._entries and not self._heard_of:
                os._exit(0)

    def _look_for_room(self) -> None:
        """A trial that waits, and that no node could take even if it were empty, would wait for ever."""
        import ray

        waiting = [entry for entry in self._entries.values() if not entry.executions and entry.refs and not entry.has_ended.is_set()]
        nodes = nodes_of(ray.nodes()) if waiting else []
        for entry in waiting:
            is_homeless = not entry.terms.autoscaling and not has_room(entry.terms, nodes)
            entry.homeless_s = entry.homeless_s + TEND_S if is_homeless else 0.0
            if entry.homeless_s >= NO_ROOM_S:
                ray.cancel(entry.refs[0])


def nodes_of(told: list[dict[str, Any]]) -> list[dict[str, float]]:
    """What each living node has in all, of `ray.nodes()`."""
    return [node["Resources"] for node in told if node["Alive"]]


def _in_words(error: Exception, executions: int) -> str:
    """One line for people of what Ray says in many."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    kind, what = type(error).__name__, lines[-1] if "Task" in type(error).__name__ and lines else (lines or [""])[0]
    times = f" (begun {executions} times)" if executions > 1 else ""
    return f"Ray lost it: {kind}: {what[:300]}{times}"
