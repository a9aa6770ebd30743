"""Which sandbox holds a job: the best level that works here, and what a request must say so that the job runs at it.

    bubblewrap  a file tree and namespaces of its own, no network unless declared, a plain user, system calls filtered
    landlock    files kept to the same view, no network unless declared, a plain user, system calls filtered; what it cannot keep
                is said in `landlock`
    none        limits and a process group: the job reads what its user reads

A level counts as working when a job has run at it, not when its program is installed. It builds nothing itself: `bubblewrap` says
what a job sees, `room` builds that, `landlock` fences a process in where no room can be built, `privileges` gives up the rest.
"""

from __future__ import annotations

import base64
import os
import threading
from collections.abc import Callable
from pathlib import Path

from evogit.backends import bubblewrap, landlock, syscalls
from evogit.domain.trial import SANDBOXES, Job
from evogit.errors import UserError

FORCE = "EVOGIT_SANDBOX"  # a level that is not exceeded, for tests and for people in trouble
INSTALL = "apt install bubblewrap"
FILTER = "apt install libseccomp2"

_refusals: dict[str, str] = {}  # level -> why it does not work in this process's world, "" if it does
_lock = threading.RLock()


def best(attempt: Callable[[str], str]) -> str:
    """The best level that works, at most what EVOGIT_SANDBOX says. `attempt(level)` runs a job at it: "" or why that failed.

    Each level is tried once a process, twice where the first attempt fails. Raises UserError if EVOGIT_SANDBOX is no level, and what `attempt` raises.
    """
    highest = os.environ.get(FORCE) or SANDBOXES[-1]
    if highest not in SANDBOXES:
        raise UserError(f"{FORCE}={highest} is no level of the sandbox", hint=f"write one of {', '.join(SANDBOXES)}, or unset it")
    with _lock:
        for level in reversed(SANDBOXES[1 : SANDBOXES.index(highest) + 1]):
            if level not in _refusals:
                _refusals[level] = _static_refusal(level) or (attempt(level) and attempt(level))
            if not _refusals[level]:
                return level
    return "none"


def refusals() -> dict[str, str]:
    """For people, after `best` was asked: each level that was tried -> why it does not work here, "" if it does."""
    return dict(_refusals)


def user() -> int:
    """Who trials run as where a level works: the number of another user, whose the folders that they write must be, or -1 for ours."""
    return bubblewrap.user()


def at_most(level: str, strongest: str) -> str:
    """The weaker of two levels; "" as the second is no limit."""
    return level if strongest not in SANDBOXES else min(level, strongest, key=SANDBOXES.index)


def unfiltered(level: str) -> str:
    """Why trials at this level have no filter of system calls here, "" if they have one, and at level none, which promises none."""
    return "" if level == "none" else syscalls.missing()


def demand(require: str, level: str, why: str = "", unfiltered: str = "") -> None:
    """Raise UserError where `level` is weaker than the problem requires, or has no filter of system calls, which is part of it.

    why: it is weaker, "" for what this machine says. unfiltered: why there is no filter, "" if there is one.
    """
    if require not in SANDBOXES[1:]:
        return
    if SANDBOXES.index(level) < SANDBOXES.index(require):
        why = why or _refusals.get(require) or f"{FORCE}={os.environ.get(FORCE, '')} is set"
        raise UserError(
            f'the problem requires sandbox "{require}", but "{level}" is the best here: {why}', hint=_remedy("lower [sandbox] require")
        )
    if unfiltered:
        raise UserError(f'the problem requires sandbox "{require}", and {unfiltered}', hint=f"`{FILTER}`, or lower [sandbox] require")


def warning() -> tuple[str, str]:
    """For the person whose trials run without any sandbox: what that means and why it is so, and what to do."""
    tried = "; ".join(f"{level}: {why}" for level, why in _refusals.items() if why) or f"{FORCE}=none is set"
    return f"trials run without a sandbox and can read what you can read ({tried})", _remedy("run only code that you trust")


def filter_warning(why: str) -> tuple[str, str]:
    """For the person whose trials are in a sandbox without its filter of system calls: `why`, and what to do."""
    return f"{why}: the sandbox holds trials less well", f"`{FILTER}`"


def _remedy(otherwise: str) -> str:
    if os.environ.get(FORCE):
        return f"unset {FORCE}, or {otherwise}"
    return f"install bubblewrap (`{INSTALL}`), or {otherwise}" if bubblewrap.refusal() else f"see docs/backends.md, or {otherwise}"


def confine(job: Job, level: str) -> dict[str, object]:
    """What a request says beyond the job: "sandbox", "room" (bubblewrap's arguments or none), "texts" (small files in it), "fence" (what
    Landlock keeps, or nothing), "user" (-1: ours) and "filter" (base64).

    Gives the folders that the job may write to the user that it runs as. Raises OSError where one cannot be given.
    """
    if level == "none":
        return {"sandbox": level, "room": [], "texts": {}, "fence": {}, "user": -1, "filter": ""}
    user = bubblewrap.user()
    if user >= 0:
        for folder in (job.artifact_dir, *job.view.writable):
            _give(folder, user)
    in_room = level == "bubblewrap"
    return {
        "sandbox": level,
        "room": bubblewrap.arguments(job) if in_room else [],
        "texts": bubblewrap.texts(job.network) if in_room else {},
        "fence": _fence(job, user) if level == "landlock" else {},
        "user": user,
        "filter": base64.b64encode(syscalls.filter_program()).decode(),
    }


def _fence(job: Job, user: int) -> dict[str, object]:
    """The arguments of `landlock.confine`."""
    view, readable = job.view, set(job.view.readable)
    writable = [path for path in (job.source, job.artifact_dir) if path not in readable]
    devices = [str(path) for pattern in bubblewrap.GPU_DEVICES for path in Path("/dev").glob(pattern)] if job.gpus else []
    return {
        "paths": {"readable": view.readable, "writable": (*writable, *view.writable), "frozen": view.frozen, "masked": view.masked},
        "terms": {"network": job.network, "has_namespaces": not landlock.probe(user).missing, "devices": devices},
    }


def _give(folder: str, user: int) -> None:
    """Make `folder` itself, not what is in it, the property of `user`. What does not exist is left out of every view."""
    try:
        found = os.lstat(folder)
    except FileNotFoundError:
        return
    if (found.st_uid, found.st_gid) != (user, user):
        os.chown(folder, user, user, follow_symlinks=False)


def _static_refusal(level: str) -> str:
    """What can be said before a job is tried."""
    return bubblewrap.refusal() if level == "bubblewrap" else landlock.probe(user()).refusal
