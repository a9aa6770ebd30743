"""What the folder of a job on this machine tells: who watches it, whether it waits, how it ended. It starts nothing."""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec

from evogit.backends import cgroups, processes
from evogit.domain.trial import Outcome, Status

POLL_S = 0.02  # where the system has no pidfd


class Claim(NamedTuple):
    """Who runs a job: a process of one boot of this machine. The text of the link `claim` in the job's folder."""

    pid: int
    birth: int
    boot: str
    started: str

    def is_alive(self) -> bool:
        """True while that very process lives."""
        return self.boot == processes.boot() and processes.birth(self.pid) == self.birth


def claim_of(folder: Path) -> Claim | None:
    """The claim of a job, or None if nobody ever had it."""
    try:
        pid, birth, boot, started = os.readlink(folder / "claim").split()
        return Claim(int(pid), int(birth), boot, started)
    except (OSError, ValueError):
        return None


class Ending(msgspec.Struct, frozen=True, kw_only=True):
    """outcome.json, as the supervisor wrote it."""

    key: str
    status: Status
    exit_code: int | None
    reason: str
    started: str
    seconds: float
    cpu_s: float
    peak_rss_mib: int
    kept: dict[str, int]  # stream -> bytes in its file
    sandbox: str = "none"


def ending_of(folder: Path) -> Ending | None:
    """What the supervisor wrote, or None if it is missing or was cut short by a crash of the machine."""
    try:
        return msgspec.json.decode((folder / "outcome.json").read_bytes(), type=Ending)
    except (OSError, msgspec.DecodeError):
        return None


def size_of(path: Path) -> int:
    """Bytes of a file, -1 where it is missing."""
    try:
        return path.stat().st_size
    except OSError:
        return -1


def has_ended(folder: Path) -> bool:
    """True if there is an outcome, or nobody who could still write one."""
    if (folder / "outcome.json").exists():
        return True
    claim = claim_of(folder)
    return claim is None or not claim.is_alive()


def lost(folder: Path) -> Outcome:
    """The outcome of a job without one: its supervisor was killed, the machine crashed, or the disk is full."""
    processes.end_marked(f"EVOGIT_JOB={folder.name}".encode())
    claim = claim_of(folder)
    if claim is not None and claim.boot == processes.boot():
        cgroups.remove(cgroups.places(), claim.pid, claim.birth)  # whoever has put the variable away is in the group still
    reason = "the process that watched the job died"
    if claim is None:
        reason = "nothing is left of the job"
    elif claim.boot != processes.boot():
        reason = "the machine was restarted while the job ran"
    elif shutil.disk_usage(folder).free < processes.MIB:
        reason = f"the disk is full: the outcome could not be written to {folder}"
    return Outcome(
        key=folder.name, status=Status.INFRASTRUCTURE, exit_code=None, seconds=0.0, peak_rss_mib=0,
        started=claim.started if claim else "", folder=str(folder), reason=reason,
    )  # fmt: skip


@contextlib.contextmanager
def pidfd(claim: Claim) -> Iterator[int | None]:
    """A descriptor of the supervisor that polls as readable once it has ended; None if it has, or if there are none here."""
    fd = None
    with contextlib.suppress(OSError, AttributeError):
        fd = os.pidfd_open(claim.pid)
    try:
        yield fd if fd is not None and claim.is_alive() else None
    finally:
        if fd is not None:
            os.close(fd)


def sleep_until_one_ends(folders: Sequence[Path], timeout_s: float | None) -> None:
    """Until a supervisor of these ends, or the time is over; where processes cannot be waited for, a moment."""
    poll = select.poll()
    claims = [claim for folder in folders if (claim := claim_of(folder))]
    with contextlib.ExitStack() as stack:
        fds = [stack.enter_context(pidfd(claim)) for claim in claims]
        if None in fds:
            if all(claim.is_alive() for claim in claims):  # no pidfd to be had here
                time.sleep(POLL_S if timeout_s is None else min(POLL_S, timeout_s))
            return
        for fd in fds:
            poll.register(fd, select.POLLIN)
        poll.poll(None if timeout_s is None else timeout_s * 1000 + 1)
