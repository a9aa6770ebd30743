"""Trials on this machine: each job in a folder of its own, watched by a supervisor that outlives the loop.

    root/<key>/job.json claim stdout stderr artifacts/ outcome.json

A keeper (one small process a loop) forks the supervisors, so this process never waits on a pipe and may be killed at any
moment: whoever opens the same root goes on with the handles. How a job is isolated is `sandbox`'s part. It touches no git, and
does not limit how many jobs run at once: the loop has that number.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from evogit import removal
from evogit.backends import devices, options, sandbox, tailing
from evogit.backends.keeper import LEASH
from evogit.backends.local_folder import claim_of, ending_of, has_ended, lost, pidfd, size_of, sleep_until_one_ends
from evogit.backends.patience import Patience
from evogit.domain.trial import Job, Outcome, Status
from evogit.errors import BackendDown, UserError

ANSWER_S = 30.0  # a keeper that says nothing for so long is given up
PROCESSES = 512  # of one job, threads too, beside 64 for each of its CPUs and as many again for each GPU
LAUNCH = "import sys; sys.path.append(sys.argv[1]); from evogit.backends.keeper import main; main()"
KEEPER_ENV = ("PATH", "HOME", "TMPDIR", "LANG", "LD_LIBRARY_PATH")
REQUEST = ("key", "argv", "cwd", "env", "timeout_s", "memory_mib", "gpus", "output_cap")


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """The section [backend.local]."""

    slots: options.Slots | None = None
    leash: bool = False


class LocalBackend:
    """Jobs as processes of this machine. `root` holds their folders; `slots` is the most that should run at once, default one a CPU.

    On a `leash` its jobs end with this process, or with `close`, whichever comes first: for programs that run jobs on behalf of others.
    A job that asks for GPUs waits until as many are free, and sees those alone.

    A start-to-outcome costs 5 to 15 ms on top of the job, the first one some 60 ms: the keeper starts, and a job is run to see
    which level of the sandbox works here. May be used from threads.
    """

    name = "local"
    finds_again = True
    is_quick = True

    def __init__(self, root: Path, slots: int | None = None, leash: bool = False) -> None:
        """Raises UserError for an option that is none."""
        self.root = Path(root).absolute()
        self._options = options.read(self.name, {"slots": slots, "leash": leash}, Options)
        self._patience = Patience(
            "for a GPU of this machine", f"other trials of yours have them: `fuser -v {devices.locks()}/*` names the processes"
        )
        self._keeper: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()

    @property
    def level(self) -> str:
        """The best level of the sandbox that works here, found by running a job at it, once a process."""
        return sandbox.best(self._try_level)

    def start(self, job: Job) -> str:
        """Begin, and return a handle. A key that was claimed before, by anyone, is not run again.

        Raises BackendDown if the folder cannot be written or no process can be started, UserError where the sandbox or the GPUs that
        the job requires are not here, ValueError for a key that is no name.
        """
        if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,120}", job.key):
            raise ValueError(f"job key {job.key!r} is no plain name")
        if handle := self.find(job.key):
            return handle
        level = sandbox.at_most(self.level, job.at_most)
        sandbox.demand(job.require, level, unfiltered=sandbox.unfiltered(level))
        return self._launch(job, level)

    def _launch(self, job: Job, level: str) -> str:
        folder = self.root / job.key
        handle = _handle(folder)
        try:
            _make_folder(folder, job, level)
            confined = sandbox.confine(job, level) | {"devices": _devices(job)}
        except OSError as error:
            raise _down(f"cannot write {error.filename or folder}: {error.strerror}") from error
        request = {name: getattr(job, name) for name in REQUEST} | confined
        request["processes"] = PROCESSES + 64 * job.cpus + PROCESSES * job.gpus
        request |= {"folder": str(folder), "writable": [job.artifact_dir, job.source, *job.view.writable]}
        with self._lock:
            reply = self._ask(request) or self._ask(request)  # a keeper may have died while nobody looked
        if (reply is None or "error" in reply) and not claim_of(folder):
            raise _down(reply["error"] if reply else "the process that starts jobs does not answer")
        return handle

    def _try_level(self, level: str) -> str:
        """Why no job can run at this level here, "" if one did."""
        key = f"probe-{os.getpid()}-{time.monotonic_ns()}"
        artifacts = str(self.root / key / "artifacts")
        told = {"cwd": artifacts, "source": artifacts, "artifact_dir": artifacts, "env": {"PATH": os.defpath}, "timeout_s": ANSWER_S}
        try:
            handle = self._launch(Job(key=key, label="probe", argv=("touch", f"{artifacts}/probe"), **told), level)
        except BackendDown as error:
            if getattr(error.__cause__, "errno", 0) in (errno.EPERM, errno.EINVAL):  # a root that may not give files away
                return error.message
            raise
        outcome = self.collect(handle)
        self.forget(handle)
        return outcome.reason

    def find(self, key: str) -> str:
        """Handle of a job that was claimed under this key, "" if none was. Reads one link."""
        folder = self.root / key
        return _handle(folder) if claim_of(folder) else ""

    def wait(self, handles: Sequence[str], timeout_s: float | None) -> list[str]:
        """Those handles whose job has ended, in the order given; [] only when the time ran out or nothing was asked."""
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        folders = {handle: _folder(handle) for handle in handles}
        while True:
            ended = [handle for handle, folder in folders.items() if self._is_over(folder)]
            left = None if deadline is None else deadline - time.monotonic()
            if ended or not folders or (left is not None and left <= 0):
                return ended
            sleep_until_one_ends(list(folders.values()), left)

    def collect(self, handle: str) -> Outcome:
        """How the job ended; waits if it has not. A job whose supervisor died is INFRASTRUCTURE, and what it left is killed."""
        self.wait([handle], None)
        folder = _folder(handle)
        ending = ending_of(folder)
        if ending is None:
            return lost(folder)
        status, reason = ending.status, ending.reason
        if short := [name for name, size in ending.kept.items() if size_of(folder / name) < size]:
            status, reason = Status.INFRASTRUCTURE, f"{short[0]} is shorter than when the job ended: did the machine crash?"
        return Outcome(
            key=ending.key, status=status, exit_code=ending.exit_code, seconds=ending.seconds, peak_rss_mib=ending.peak_rss_mib,
            started=ending.started, folder=str(folder), reason=reason, cpu_s=ending.cpu_s, backend=self.name, sandbox=ending.sandbox,
        )  # fmt: skip

    def follow(self, handle: str) -> Iterator[tuple[str, bytes]]:
        """Output as it comes, until the job has ended."""
        folder = _folder(handle)
        return tailing.follow(folder, lambda: self._is_over(folder))

    def _is_over(self, folder: Path) -> bool:
        is_over = has_ended(folder)
        self._patience.see([folder.name], [folder.name] if not is_over and (folder / devices.WAITS).exists() else [])
        return is_over

    def news(self) -> list[tuple[str, str]]:
        """That jobs which were asked about have waited long for a GPU, and what to do about it."""
        return self._patience.news()

    def cancel(self, handle: str) -> None:
        """Ask the job to end: SIGTERM to its tree, SIGKILL two seconds later. Returns at once; `wait` tells when it is over."""
        folder = _folder(handle)
        claim = claim_of(folder)
        if claim is None or (folder / "outcome.json").exists():
            return
        with pidfd(claim) as fd, contextlib.suppress(ProcessLookupError):
            if fd is not None:
                signal.pidfd_send_signal(fd, signal.SIGUSR1)
            elif claim.is_alive():
                os.kill(claim.pid, signal.SIGUSR1)

    def forget(self, handle: str) -> None:
        """Remove the job's folder; a job that still runs is cancelled first. What cannot be removed is tried again later."""
        folder = _folder(handle)
        if not folder.exists():
            return
        if not has_ended(folder):
            self.cancel(handle)
            self.wait([handle], 3 * ANSWER_S)
        grave = self.root / f".forgotten-{folder.name}-{os.getpid()}-{time.monotonic_ns()}"
        with contextlib.suppress(FileNotFoundError):
            os.rename(folder, grave)
            removal.discard(grave)

    def resources(self) -> dict[str, object]:
        """What is here, with the GPUs' names in `kinds`. The first call finds out which level of the sandbox works; then it costs a
        directory listing, and where there are GPUs a question to the driver. `unfiltered`: why system calls are not filtered, "" if they are."""
        cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        gpus = devices.found()
        kinds = list(dict.fromkeys(gpu.product for gpu in gpus if gpu.product))
        told = {"slots": self._options.slots or cpus, "cpus": cpus, "gpus": len(gpus), "kinds": kinds, "sandbox": self.level}
        return told | {"unfiltered": sandbox.unfiltered(self.level)}

    def close(self) -> None:
        """Let the keeper go: it leaves when its last job has ended."""
        with self._lock:
            self._let_go()

    def _ask(self, request: dict) -> dict | None:
        """One request to the keeper; None, and the keeper let go, if it does not answer."""
        try:
            keeper = self._keeper or self._start_keeper()
            keeper.stdin.write(json.dumps(request).encode() + b"\n")
            keeper.stdin.flush()
            if select.select([keeper.stdout], [], [], ANSWER_S)[0] and (line := keeper.stdout.readline()):
                return json.loads(line)
        except BrokenPipeError:
            pass
        self._let_go()
        return None

    def _start_keeper(self) -> subprocess.Popen[bytes]:
        for grave in self.root.glob(".forgotten-*"):
            removal.discard(grave)
        top = Path(__file__).resolve().parents[2]
        command = [sys.executable, "-I", "-S", "-X", "utf8", "-c", LAUNCH, str(top), *([LEASH] if self._options.leash else [])]
        env = {name: os.environ[name] for name in KEEPER_ENV if name in os.environ}
        try:
            with open(self.root / "keeper.log", "ab") as log:
                self._keeper = subprocess.Popen(
                    command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, cwd="/", env=env, start_new_session=True
                )
        except OSError as error:
            raise _down(f"cannot start a process: {error.strerror}") from error
        return self._keeper

    def _let_go(self) -> None:
        keeper, self._keeper = self._keeper, None
        if keeper is None:
            return
        with contextlib.suppress(BrokenPipeError):
            keeper.stdin.close()
        keeper.stdout.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            keeper.wait(0.5)


def _down(message: str) -> BackendDown:
    return BackendDown(message, hint="see `df -h` and keeper.log in the folder of the jobs, then resume the loop")


def _devices(job: Job) -> dict[str, object]:
    """What a supervisor is told of the GPUs that the job asks for. Raises UserError where there are not as many here."""
    if not job.gpus:
        return {}
    here = devices.found()
    fit = devices.of_kind(here, job.gpu_kind)
    if len(fit) < job.gpus:
        have = ", ".join(dict.fromkeys(gpu.product or "GPU" for gpu in here)) or "no GPU"
        wanted = f"{job.gpus} x {job.gpu_kind or 'GPU'}"
        raise UserError(
            f"a trial asks for {wanted}, and this machine has {f'{len(here)} ({have})' if here else have}",
            hint="change [budget] gpus or gpu_kind in evogit.toml, or choose a backend that has them",
        )
    return devices.request(fit, job.gpus)


def _make_folder(folder: Path, job: Job, level: str) -> None:
    """The job's folder with everything but the claim. Values of the environment may be secrets: only names are written."""
    folder.mkdir(parents=True, exist_ok=True)
    artifacts, inside = Path(job.artifact_dir), folder / "artifacts"
    artifacts.mkdir(parents=True, exist_ok=True)
    if artifacts != inside and not inside.is_symlink():
        with contextlib.suppress(FileExistsError):
            inside.symlink_to(artifacts)
    told = msgspec.to_builtins(job) | {"env": sorted(job.env), "sandbox": level}
    (folder / "job.json").write_text(json.dumps(told, indent=1), encoding="utf-8")


def _handle(folder: Path) -> str:
    return json.dumps({"key": folder.name, "folder": str(folder)})


def _folder(handle: str) -> Path:
    return Path(json.loads(handle)["folder"])
