"""Turn a forked child into the job's first process: session, limits, streams, folder, program.

Standard library only. It gives the program exactly the environment it was told, plus EVOGIT_JOB (the job's key, by which a
tree is found again whose supervisor died), and no signal disposition or descriptor of ours. It does not watch the process.
"""

from __future__ import annotations

import ctypes
import errno
import os
import resource
import signal
import sys
from collections.abc import Callable

from evogit.backends.capture import Capture
from evogit.backends.processes import MIB

NOFILE = 16384
PR_SET_PDEATHSIG = 1


def start_program(request: dict, streams: dict[str, Capture]) -> tuple[int, dict[int, Capture], str]:
    """Fork and exec the job: its process id, the open ends of its output, and why it could not start ("" if it did).

    request: key, argv, cwd, env, memory_mib, gpus. Raises OSError only where this machine can give no pipe or process.
    """
    out, out_end = os.pipe()
    err, err_end = os.pipe()
    said, say = os.pipe()
    supervisor = os.getpid()
    prctl = ctypes.CDLL(None).prctl if sys.platform == "linux" else None
    pid = os.fork()
    if pid == 0:
        _become(request, (out_end, err_end), say, supervisor, prctl)
    for fd in (out_end, err_end, say):
        os.close(fd)
    refusal = b""
    while data := os.read(said, 4096):  # ends at exec: the other end is closed by it
        refusal += data
    os.close(said)
    for fd in (out, err):
        os.set_blocking(fd, False)
    return pid, {out: streams["stdout"], err: streams["stderr"]}, refusal.decode(errors="replace")


def _become(request: dict, ends: tuple[int, int], say: int, supervisor: int, prctl: Callable[..., int] | None) -> None:
    """In the child: never returns."""
    program = request["argv"][0] if request["argv"] else ""
    try:
        os.setsid()
        _own_nothing_of_ours()
        if prctl is not None:
            prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
            if os.getppid() != supervisor:  # it died before the line above
                os._exit(127)
            _prefer_as_victim()
        _set_limits(request["memory_mib"] if request["gpus"] == 0 else 0)
        null = os.open(os.devnull, os.O_RDONLY)
        for target, fd in enumerate((null, *ends)):
            os.dup2(fd, target)
        _enter(request["cwd"])
        os.execvpe(program, request["argv"], {**request["env"], "EVOGIT_JOB": request["key"]})
    except OSError as error:
        os.write(say, _refusal(error, program, request["cwd"]).encode(errors="replace")[:4000])
    except ValueError as error:
        os.write(say, f"cannot run {program!r}: {error}".encode(errors="replace")[:4000])
    finally:
        os._exit(127)


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
    """Python ignores SIGPIPE and the supervisor ignores more; an ignored signal would stay ignored in the job."""
    signal.set_wakeup_fd(-1)
    for name in ("SIGPIPE", "SIGXFSZ", "SIGINT", "SIGHUP", "SIGTERM", "SIGCHLD", "SIGUSR1"):
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
    """Set a limit, or as much of it as the present hard limit allows."""
    ceiling = resource.getrlimit(which)[1]
    if ceiling != resource.RLIM_INFINITY:
        hard = ceiling if hard == resource.RLIM_INFINITY else min(hard, ceiling)
    if hard != resource.RLIM_INFINITY:
        soft = min(soft, hard)
    resource.setrlimit(which, (soft, hard))
