"""The program that Slurm starts on a node: one task of an array carries out one job with the local backend of that node.

    python -c LAUNCH <evogit's folder> <the array's folder>

So sandbox, limits, output and outcome are the same as on one machine. It runs a job that nobody has, and no other; a task that comes
second leaves without a word. SIGUSR1, or the link `end`, is a loop that wants the job ended; SIGTERM is Slurm.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import msgspec

from evogit.backends.local import LocalBackend
from evogit.backends.slurm_folder import CANCELLED, JobFolder, unlived
from evogit.domain.trial import Outcome, Status
from evogit.errors import EvogitError

# The loop's own evogit, where the node can see it, and the packages of the node's interpreter before those beside that evogit.
LAUNCH = (
    "import sys; top = sys.argv[1]; sys.path.insert(0, top); import evogit; sys.path.remove(top); sys.path.append(top); "
    "from evogit.backends.slurm_node import main; main()"
)
TASKS = "tasks.json"  # in the array's folder: the folders of its jobs, in order
LOOK_S = 0.25
LATE_S = 2.0  # that our own signal may come after the trial's
BY_SIGTERM = (None, 128 + signal.SIGTERM)  # where Slurm's SIGTERM reaches the job before its supervisor
DUE_TO = re.compile(rb"CANCELLED AT \S+ DUE TO ([A-Z ]+)")  # slurmstepd writes that to the task's stderr before it sends SIGTERM


class Stop(NamedTuple):
    """Why the job is to end before its time."""

    status: Status
    reason: str


class Signals:
    """What was heard: SIGUSR1 and SIGTERM are remembered, nothing is done at once."""

    def __init__(self) -> None:
        self.heard: set[int] = set()
        for number in (signal.SIGUSR1, signal.SIGTERM):
            signal.signal(number, lambda number, _: self.heard.add(number))


def main() -> None:
    """Find the job of this task and carry it out. Exits with a line on stderr where it cannot be found."""
    signals = Signals()
    array, here = Path(sys.argv[2]), socket.gethostname()
    try:
        folders = json.loads((array / TASKS).read_bytes())
        folder = JobFolder(folders[int(os.environ.get("SLURM_ARRAY_TASK_ID", "0"))])
    except (OSError, ValueError, IndexError) as error:
        sys.exit(f"{array} cannot be read on node {here} ({error}): do the nodes share this file system?")
    if not folder.path.is_dir():
        sys.exit(f"{folder.path} is not there on node {here}: do the nodes share this file system?")
    if not folder.has_ended and folder.claim(slurm_id()):
        folder.close(carry_out(folder, signals))


def slurm_id() -> str:
    """What Slurm calls this task."""
    array = os.environ.get("SLURM_ARRAY_JOB_ID", "")
    return f"{array}_{os.environ['SLURM_ARRAY_TASK_ID']}" if array else os.environ.get("SLURM_JOB_ID", "0")


def carry_out(folder: JobFolder, signals: Signals) -> Outcome:
    """Run the job to its end. Whatever this node lacks is an outcome too."""
    local = LocalBackend(folder.path, leash=True)
    try:
        job = msgspec.structs.replace(folder.take_request(), gpu_kind="")  # Slurm has seen to that
        with _own_devices() if job.gpus else contextlib.nullcontext():
            return _watched(local, local.start(job), folder, signals)
    except (EvogitError, OSError, ValueError) as error:  # msgspec's errors are ValueErrors
        return unlived(folder.key, f"node {socket.gethostname()}: {getattr(error, 'message', error)}")
    finally:
        local.close()


@contextlib.contextmanager
def _own_devices() -> Iterator[None]:
    """The GPUs that Slurm gave this task are nobody else's, whatever numbers they have here: their locks are ours alone."""
    with tempfile.TemporaryDirectory(prefix="evogit-") as own:
        tempfile.tempdir = own
        try:
            yield
        finally:
            tempfile.tempdir = None


def _watched(local: LocalBackend, handle: str, folder: JobFolder, signals: Signals) -> Outcome:
    stop = None
    while not local.wait([handle], LOOK_S):
        if stop is None and (stop := _stop(folder, signals)) is not None:
            local.cancel(handle)
    outcome = msgspec.structs.replace(local.collect(handle), backend="slurm")
    if outcome.status in (Status.OK, Status.TIMEOUT, Status.MEMORY) or outcome.exit_code not in BY_SIGTERM:
        return outcome
    late = time.monotonic() + LATE_S  # Slurm signals every process of a task, and may reach the trial before us
    while (stop := stop or _stop(folder, signals)) is None and time.monotonic() < late:
        time.sleep(LOOK_S)
    if stop is None:
        return outcome
    return msgspec.structs.replace(outcome, status=stop.status, reason=stop.reason, exit_code=None)


def _stop(folder: JobFolder, signals: Signals) -> Stop | None:
    """What wants the job ended; None if nothing does. An outcome that stands already was written by a loop that had given the job up."""
    why = folder.why_to_end
    if signal.SIGUSR1 in signals.heard or why == CANCELLED:
        return Stop(Status.CANCELLED, CANCELLED)
    if why:
        return Stop(Status.INFRASTRUCTURE, why)
    if signal.SIGTERM in signals.heard:
        cause = _slurms_cause()
        return Stop(Status.INFRASTRUCTURE, f"Slurm ended the job: {cause}") if cause else Stop(Status.CANCELLED, "cancelled by scancel")
    if folder.has_ended:
        return Stop(Status.INFRASTRUCTURE, "the loop had given the job up")
    return None


def _slurms_cause() -> str:
    """ "time limit", "preemption", "node failure"; "" where somebody cancelled the job."""
    try:
        with open("/proc/self/fd/2", "rb") as log:
            log.seek(max(0, os.fstat(log.fileno()).st_size - (1 << 16)))
            found = DUE_TO.findall(log.read())
    except OSError:  # stderr is no file
        return ""
    return found[-1].strip().decode().lower() if found else ""
