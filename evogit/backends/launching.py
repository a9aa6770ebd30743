"""Turn a forked child into the job's first process: room, session, limits, streams, folder, privileges, program.

Standard library only. It gives the program exactly the environment it was told, plus EVOGIT_JOB (the job's key, by which a
tree is found again whose supervisor died), and no signal disposition or descriptor of ours. It does not watch the process.
"""

from __future__ import annotations

import base64
import ctypes
import errno
import json
import os
import resource
import signal
import sys
from typing import NamedTuple

from evogit.backends import landlock, privileges
from evogit.backends.capture import Capture
from evogit.backends.namespaces import Paths
from evogit.backends.processes import MIB
from evogit.backends.room import Room, RoomRefused

NOFILE = 16384
FSIZE = 1 << 40  # bytes of one file
MOST = (1 << 63) - 1
PR_SET_PDEATHSIG = 1


class Start(NamedTuple):
    """How it began: the job's process, the open ends of its output, and why it did not start ("" if it did)."""

    pid: int
    pipes: dict[int, Capture]
    refusal: str = ""
    why: str = "crash"  # or "infrastructure", where it is not the job's fault


def start_program(request: dict, streams: dict[str, Capture], room: Room | None = None) -> Start:
    """Fork and exec the job, inside `room` if there is one: the child is forked, and makes itself ready, while that is still being built.

    request: key, argv, cwd, env, memory_mib, gpus, processes, niceness, user, filter, fence. Raises RoomRefused, and OSError only where this
    machine can give no pipe or process.
    """
    out, out_end = os.pipe()
    err, err_end = os.pipe()
    said, say = os.pipe()
    word = os.pipe() if room is not None else (-1, -1)
    supervisor = os.getpid()
    pid = os.fork()
    if pid == 0:
        _become(request, (out_end, err_end), say, supervisor, room, word)
    for fd in (out_end, err_end, say):
        os.close(fd)
    if room is not None:
        _tell_when_ready(room, word, (out, err, said))
    heard = b""
    while data := os.read(said, 4096):  # ends at exec: the other end is closed by it
        heard += data
    os.close(said)
    for fd in (out, err):
        os.set_blocking(fd, False)
    told: dict[str, str | int] = {}
    for line in heard.splitlines():
        told |= json.loads(line)
    if room is not None and "pid" in told:
        os.waitpid(pid, 0)  # it has walked in, and left the job as ours
    return Start(int(told.pop("pid", pid)), {out: streams["stdout"], err: streams["stderr"]}, **told)


def _tell_when_ready(room: Room, word: tuple[int, int], ours: tuple[int, ...]) -> None:
    """Tell the child who holds the room once it stands; a child that hears nothing leaves. Where there is none, `ours` are closed."""
    os.close(word[0])
    try:
        room.ready()
        os.write(word[1], json.dumps(room.pids).encode())
    except BrokenPipeError:
        return  # the child died: its end tells why
    except RoomRefused:
        for fd in ours:
            os.close(fd)
        raise
    finally:
        os.close(word[1])


def _become(request: dict, ends: tuple[int, int], say: int, supervisor: int, room: Room | None, word: tuple[int, int]) -> None:
    """In the child: never returns. word: the pipe of `_tell_when_ready`."""
    program = request["argv"][0] if request["argv"] else ""
    try:
        null = os.open(os.devnull, os.O_RDONLY)
        _prefer_as_victim()
        os.setpriority(os.PRIO_PROCESS, 0, request["niceness"])
        _own_nothing_of_ours()
        _set_limits(request["memory_mib"] if request["gpus"] == 0 else 0)
        for target, fd in enumerate((null, *ends)):
            os.dup2(fd, target)
        if room is None:
            _die_with(supervisor)
        else:
            _walk_in(room, say, word)
        os.setsid()
        if room is not None or request["fence"]:
            _confine(request)
        if room is None:
            _die_with(supervisor)  # again: the kernel forgets it when a process becomes another user
        _enter(request["cwd"])
        privileges.load_filter(base64.b64decode(request["filter"]))
        os.execvpe(program, request["argv"], {**request["env"], "EVOGIT_JOB": request["key"]})
    except RoomRefused as error:
        _say(say, refusal=str(error), why="infrastructure")
    except OSError as error:
        _say(say, refusal=_refusal(error, program, request["cwd"])[:4000])
    except (ValueError, OverflowError) as error:
        _say(say, refusal=f"cannot run {program!r}: {error}"[:4000])
    finally:
        os._exit(127)


def _say(say: int, **told: str | int) -> None:
    os.write(say, json.dumps(told).encode() + b"\n")


def _die_with(supervisor: int) -> None:
    """Where no room ends the job with its supervisor, the kernel ends its first process."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != supervisor:  # it died before the line above
            os._exit(127)


def _walk_in(room: Room, say: int, word: tuple[int, int]) -> None:
    """Go on as a new process inside the room, once it stands. The one that walked in ends at once, so that the supervisor is the job's parent."""
    os.close(word[1])
    told = os.read(word[0], 4096)
    os.close(word[0])
    if not told:
        os._exit(127)
    room.enter(tuple(json.loads(told)))
    inside = os.fork()
    if inside:
        _say(say, pid=inside)
        os._exit(0)


def _confine(request: dict) -> None:
    """Give up what the job must not have. Its own limits come first: a limit that is above ours needs a privilege."""
    try:
        # It counts what the user that jobs run as has, all jobs together where they share a user namespace.
        _limit(resource.RLIMIT_NPROC, 4 * request["processes"], 4 * request["processes"])
        _limit(resource.RLIMIT_FSIZE, FSIZE, FSIZE)
        if fence := request["fence"]:
            landlock.confine(Paths(**fence["paths"]), user=request["user"], **fence["terms"])
        else:
            privileges.drop(request["user"])
    except OSError as error:
        raise RoomRefused(f"the sandbox could not be set up: {error.strerror or error}") from error


class _NoFolder(OSError):
    """The job's working folder is missing or not to be entered."""


def _enter(folder: str) -> None:
    try:
        os.chdir(folder)
    except OSError as error:
        raise _NoFolder(error.errno, error.strerror) from None


def _refusal(error: OSError, program: str, folder: str) -> str:
    if isinstance(error, _NoFolder):
        return f"cannot enter the folder {folder}: {error.strerror}"
    if error.errno in (errno.ENOENT, errno.ENOTDIR):
        if "/" in program and os.path.exists(program):
            return f"cannot run {program}: the interpreter in its first line does not exist"
        return f"command not found: {program}"
    if error.errno == errno.EACCES:
        return f"not executable: {program}"
    return f"cannot run {program}: {error.strerror or error}"


def _own_nothing_of_ours() -> None:
    """Python ignores SIGPIPE, the supervisor more, and a shell has some ignored by what it starts in the background; an
    ignored signal would stay ignored in the job."""
    signal.set_wakeup_fd(-1)
    for name in (
        "SIGPIPE", "SIGXFSZ", "SIGTERM", "SIGCHLD", "SIGUSR1", "SIGINT", "SIGHUP", "SIGQUIT", "SIGTSTP", "SIGTTIN", "SIGTTOU",
    ):  # fmt: skip
        signal.signal(getattr(signal, name), signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def _prefer_as_victim() -> None:
    """If the machine runs out of memory, the kernel should take the job and not the loop."""
    try:
        with open("/proc/self/oom_score_adj", "w") as file:
            file.write("500")
    except OSError:
        return


def _set_limits(memory_mib: int) -> None:
    """No core files, room for files, and a ceiling on writable private memory.

    The ceiling is RLIMIT_DATA, not RLIMIT_AS: memory-mapped data sets and address space that is only reserved are no
    fault. It stands above `memory_mib`, which the supervisor enforces on the tree, and stops what is too fast for it.
    """
    _limit(resource.RLIMIT_CORE, 0, 0)
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    _limit(resource.RLIMIT_NOFILE, NOFILE, hard)
    if memory_mib > 0:
        ceiling = (memory_mib + memory_mib // 4 + 512) * MIB
        _limit(resource.RLIMIT_DATA, ceiling, ceiling)


def _limit(which: int, soft: int, hard: int) -> None:
    """Set a limit, or as much of it as the present hard limit allows; one beyond what the kernel can count is none."""
    soft, hard = (resource.RLIM_INFINITY if value > MOST else value for value in (soft, hard))
    ceiling = resource.getrlimit(which)[1]
    if ceiling != resource.RLIM_INFINITY:
        hard = ceiling if hard == resource.RLIM_INFINITY else min(hard, ceiling)
    if hard != resource.RLIM_INFINITY:
        soft = hard if soft == resource.RLIM_INFINITY else min(soft, hard)
    resource.setrlimit(which, (soft, hard))
