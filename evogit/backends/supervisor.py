"""The life of one job: claim it, run it, watch the whole tree that it starts, end that tree, write how it went.

Runs in a process of its own, forked by the keeper, standard library only. On Linux it is a subreaper: whoever the job
leaves behind, daemons with two forks and sessions of their own included, becomes its child, so "no child left" means "the
tree is empty". It never decides what an outcome is worth, never reads the job's artifacts, never runs a key twice, and
leaves no process alive. Elsewhere it can only end the job's process group.
"""

from __future__ import annotations

import base64
import contextlib
import ctypes
import json
import math
import os
import select
import signal
import sys
import time

from evogit.backends import cgroups, devices, processes
from evogit.backends.capture import CHUNK, Capture
from evogit.backends.disk import DiskWatch
from evogit.backends.launching import Start, start_program
from evogit.backends.metering import MemoryMeter
from evogit.backends.paper import Paper, now
from evogit.backends.room import Room, RoomRefused

AHEAD = 10  # steps of niceness
GRACE_S = 2.0  # between SIGTERM and SIGKILL
LEFTOVER_S = 0.25  # for what still runs when the job's own process has ended: helpers that clean up after it
LOOK_S = 0.02  # between looks for them inside a room, whose first process takes in orphans without a word to us
TICK_S = 0.1  # between looks at what costs nothing to look at: the disk, and whether processes were refused
STUCK_S = 5.0  # a tree that SIGKILL does not change for so long is given up (a process inside a hung driver)
PR_SET_CHILD_SUBREAPER = 36
MEMORY_SIGNS = (
    b"MemoryError", b"std::bad_alloc", b"Cannot allocate memory", b"can't allocate memory",
    b"OutOfMemoryError", b"out of memory",
)  # fmt: skip


def supervise(told: int, ready: int, places: cgroups.Places) -> None:
    """Wait for a request, one JSON line on `told`, and run its job to its end; nothing, if `told` is closed before there is one.

    One JSON line goes to `ready`: {"claimed": true or false} or {"error": why}. Raises nothing for what the job does. Costs
    about 3 ms on top of the job, and up to 20 ms more before there is one.
    """
    signals = Signals()
    os.setsid()
    _become_subreaper()
    niceness = _go_first()
    group = cgroups.Group.enter(places)
    with open(told, "rb") as lines:
        line = lines.readline()
    if not line:
        return
    request = json.loads(line) | {"niceness": niceness}
    try:
        paper = Paper(request["folder"])
        streams = {}
        if is_ours := paper.claim():
            streams = {name: Capture(os.path.join(request["folder"], name), request["output_cap"]) for name in ("stdout", "stderr")}
        reply = {"claimed": is_ours}
    except OSError as error:
        reply = {"error": f"{error.strerror or error}: {error.filename or request['folder']}"}
    os.write(ready, json.dumps(reply).encode() + b"\n")
    os.close(ready)
    if reply.get("claimed"):
        lease = devices.Lease(request["devices"], signals.fd, signals.take, request["folder"])
        why = lease.wait()
        if lease.names:
            devices.give(request, lease.names)
        paper.write(Life(request, streams, signals, group, why).run())


def _become_subreaper() -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def _go_first() -> int:
    """Before any job where that is allowed: a fork bomb must not keep us waiting for our turn to end it. The niceness before."""
    niceness = os.getpriority(os.PRIO_PROCESS, 0)
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, 0, niceness - AHEAD)
    return niceness


class Signals:
    """Signals as bytes in a pipe: a child ended, cancel (SIGUSR1), the machine wants us gone (SIGTERM)."""

    def __init__(self) -> None:
        self.fd, write = os.pipe()
        os.set_blocking(self.fd, False)
        os.set_blocking(write, False)
        for number in (signal.SIGCHLD, signal.SIGUSR1, signal.SIGTERM):
            signal.signal(number, lambda *_: None)
        for number in (signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        signal.set_wakeup_fd(write, warn_on_full_buffer=False)

    def take(self) -> bytes:
        """The numbers of the signals that came, one byte each."""
        try:
            return os.read(self.fd, CHUNK)
        except BlockingIOError:
            return b""


class Life:
    """One process tree from its first process to the last."""

    def __init__(
        self, request: dict, streams: dict[str, Capture], signals: Signals, group: cgroups.Group, refusal: tuple[str, str]
    ) -> None:
        self.request = request
        self.group = group
        self.streams = streams
        self.signals = signals
        self.pipes: dict[int, Capture] = {}  # what is still open
        self.pid = 0
        self.room: Room | None = None
        self.status: int | None = None  # of the first process, as wait4 gives it
        self.why, self.reason = refusal  # the status that we end the tree for, "" if it ends by itself or has not begun
        self.kill_at = math.inf  # monotonic seconds
        self.peak_kib = 0
        self.cpu_s = 0.0
        self.lingering = 0  # processes that SIGKILL did not end

    def run(self) -> dict:
        """Live it; the record that goes into outcome.json."""
        started, begin = now(), time.monotonic()
        oom_kills = processes.kernel_kills()
        self.disk = DiskWatch(self.request["writable"])
        self.has_filled = False
        self.others = processes.on_machine()
        self.group.limit(self.request["memory_mib"], self.request["processes"])
        self.meter = MemoryMeter(self.request["memory_mib"], has_files="memory" not in self.group.controllers)
        timeout_s = self.request["timeout_s"]
        self.deadline = begin + timeout_s if timeout_s > 0 else math.inf
        start = self._start()
        self.pid, self.pipes = start.pid, start.pipes
        if start.refusal:
            self.why, self.reason = start.why, start.refusal
            self.kill_at = begin + GRACE_S
        self._watch()
        seconds = time.monotonic() - begin
        self._drain()
        self._judge("memory" not in self.group.controllers and processes.kernel_kills() > oom_kills)
        record = {
            "v": 1, "key": self.request["key"], "status": self.why, "exit_code": self._exit_code(), "reason": self.reason,
            "started": started, "seconds": round(seconds, 6), "cpu_s": round(self.cpu_s, 6),
            "peak_rss_mib": math.ceil(max(self.peak_kib << 10, self.meter.peak) / processes.MIB), "sandbox": self.request["sandbox"],
        }  # fmt: skip
        for capture in self.streams.values():
            capture.close()
        return record | {"kept": {name: capture.size for name, capture in self.streams.items()}}

    def _start(self) -> Start:
        """Build the room that the request asks for, if any, and start the job in it, unless it was refused before."""
        if self.why:
            return Start(0, {}, self.reason, self.why)
        try:
            if self.request["room"]:
                calls = base64.b64decode(self.request["filter"]) if self.request["user"] < 0 else None
                self.room = Room(self.request["room"], self.request["texts"], self.request["key"], calls)
            return start_program(self.request, self.streams, self.room)
        except RoomRefused as error:
            self.room = None
            return Start(0, {}, f"the sandbox could not be set up: {error}", "infrastructure")

    def _watch(self) -> None:
        """Until no process of the tree is left: pass output on, keep the limits, end what must end."""
        poll = select.poll()
        for fd in (self.signals.fd, *self.pipes):
            poll.register(fd, select.POLLIN)
        while self._reap():
            now, look_at = time.monotonic(), math.inf
            if now >= self.kill_at:
                self._sweep()
                return
            if self.room is not None and self.status is not None:
                if not self._tree():
                    self.room.end()
                    self.room = None
                    continue
                look_at = now + LOOK_S
            self._keep_limits(now)
            wake_at = min(self.deadline, self.kill_at, self.meter.next_at, look_at, now + TICK_S)
            for fd, _ in poll.poll(max(0, wake_at - now) * 1000 + 1):
                if fd == self.signals.fd:
                    self._obey(self.signals.take())
                elif not self._pass_on(fd):
                    poll.unregister(fd)

    def _tree(self) -> list[int]:
        """The job's processes: all that descend from us but those that hold its room."""
        tree = processes.descendants(os.getpid())
        return [pid for pid in tree if pid not in self.room.pids] if self.room is not None else tree

    def _reap(self) -> bool:
        """Take every child that has ended; False once none is left."""
        while True:
            try:
                pid, status, usage = os.wait4(-1, os.WNOHANG)
            except ChildProcessError:
                return False
            if pid == 0:
                return True
            self.cpu_s += usage.ru_utime + usage.ru_stime
            self.peak_kib = max(self.peak_kib, usage.ru_maxrss if sys.platform == "linux" else usage.ru_maxrss >> 10)
            if pid == self.pid:
                self.status = status
                self.kill_at = min(self.kill_at, time.monotonic() + LEFTOVER_S)

    def _keep_limits(self, now: float) -> None:
        if now >= self.deadline:
            self.deadline = math.inf
            self._end("timeout", f"ran past its {self.request['timeout_s']:g} s")
        if not self.has_filled and self.disk.is_low():
            self.has_filled = self._end("crash", "it filled the disk", grace_s=0)
        if self.group.refused_processes() or self._is_crowded():
            self._end("crash", self._too_many(), grace_s=0)
        elif now >= self.meter.next_at:
            self._look_at_memory()

    def _look_at_memory(self) -> None:
        is_over = self.meter.sample(os.getpid(), self.room.pids[1] if self.room is not None else self.pid)
        if self.group.memory_kills():
            self._end("memory", self._killed_for_memory(), grace_s=0)
        if is_over:
            self._end("memory", self._too_much(), grace_s=0)

    def _is_crowded(self) -> bool:
        """True if the tree has too many processes. A fork bomb leaves no time to walk the tree: it is counted only when the machine is full."""
        if processes.on_machine() - self.others <= self.request["processes"]:
            return False
        return (self.room.count() if self.room is not None else len(self._tree())) > self.request["processes"]

    def _too_many(self) -> str:
        return f"it started more than {self.request['processes']} processes and threads"

    def _too_much(self) -> str:
        return f"used more than its {self.request['memory_mib']} MiB"

    def _killed_for_memory(self) -> str:
        if self.request["memory_mib"] and self.group.has_hit_memory():
            return self._too_much()
        return "killed by the kernel: the machine ran out of memory"

    def _obey(self, signals: bytes) -> None:
        if signal.SIGUSR1 in signals:
            self._end("cancelled", "cancelled")
        elif signal.SIGTERM in signals:
            self._end("infrastructure", "the machine asked the job's supervisor to stop")

    def _end(self, why: str, reason: str, grace_s: float = GRACE_S) -> bool:
        """Begin to end the tree. The first reason stands; False for a job that has ended by itself, which keeps its own."""
        self.kill_at = min(self.kill_at, time.monotonic() + grace_s)
        if self.why or self.status is not None:
            return False
        self.why, self.reason = why, reason
        if grace_s == 0:  # it is killed at once, and to tell each process first could take long
            return True
        if processes.HAS_PROC:
            processes.send(self._tree(), signal.SIGTERM, signal.SIGCONT)
        else:
            os.killpg(self.pid, signal.SIGTERM)
        return True

    def _sweep(self) -> None:
        """SIGKILL to the whole tree, stopped first so that it cannot fork away, until it is empty or does not change."""
        if self.room is not None:
            self.room.end()
        before: set[int] = set()
        give_up_at = time.monotonic() + STUCK_S
        while self._reap() and time.monotonic() < give_up_at:
            if not processes.HAS_PROC:
                processes.group_gone(self.pid)
            tree = processes.descendants(os.getpid())
            processes.send(tree, signal.SIGSTOP)
            if set(tree) != before:
                before = set(tree)
                give_up_at = time.monotonic() + STUCK_S
                continue
            processes.send(tree, signal.SIGKILL)
            select.select([self.signals.fd], [], [], 0.02)
            self.signals.take()
        self.lingering = len(processes.descendants(os.getpid()))

    def _pass_on(self, fd: int) -> bool:
        """Move one chunk from a pipe into its file; False, and the pipe closed, at its end."""
        try:
            data = os.read(fd, CHUNK)
        except BlockingIOError:
            return True
        if data:
            self.pipes[fd].feed(data)
            return True
        del self.pipes[fd]
        os.close(fd)
        return False

    def _drain(self) -> None:
        """What is left in the pipes, without waiting: somebody outside the tree may hold the other end."""
        for fd in list(self.pipes):
            before = -1
            while fd in self.pipes and self.pipes[fd].total != before:
                before = self.pipes[fd].total
                self._pass_on(fd)

    def _exit_code(self) -> int | None:
        if self.status is None or self.why in ("timeout", "memory", "cancelled", "infrastructure") and self._was_ended:
            return None
        return os.WEXITSTATUS(self.status) if os.WIFEXITED(self.status) else None

    def _judge(self, kernel_killed: bool) -> None:
        """Name the end of a job that we did not end ourselves."""
        self._was_ended = bool(self.why)
        if not self.why:
            self.why, self.reason = self._own_end(kernel_killed)
        lost = next((c.error for c in self.streams.values() if c.error), "")
        if lost:
            self.why, self.reason = "infrastructure", f"output could not be kept: {lost}"
        if self.has_filled or (lost and self.disk.is_low()):
            why, reason = self.disk.verdict()
            if why == "crash" or not lost:
                self.why, self.reason = why, reason
        if self.lingering:
            self.reason = f"{self.reason}; {self.lingering} processes could not be killed".lstrip("; ")

    def _own_end(self, kernel_killed: bool) -> tuple[str, str]:
        if self.status is None:
            return "infrastructure", "the job's process was lost"
        if self.group.memory_kills():
            return "memory", self._killed_for_memory()
        if os.WIFEXITED(self.status):
            code = os.WEXITSTATUS(self.status)
            if code == 0:
                return "ok", ""
            reason = f"exit code {code}"
        else:
            code, reason = -os.WTERMSIG(self.status), f"killed by {_signal_name(os.WTERMSIG(self.status))}"
        if code in (-signal.SIGKILL, 128 + signal.SIGKILL) and kernel_killed:
            return "memory", self._killed_for_memory()
        said = self.streams["stderr"].last(2048).strip().splitlines()[-3:]
        if any(sign in line for line in said for sign in MEMORY_SIGNS):
            return "memory", f"ran out of memory ({reason})"
        return "crash", f"{self._too_many()} ({reason})" if self.group.refused_processes() else reason


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
