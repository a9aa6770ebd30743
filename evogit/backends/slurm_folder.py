"""A job's folder on the file system that loop and nodes share: all that they say to each other goes through it.

    root/<key>/request.json   the job with the values of its environment, for nobody else's eyes; gone once a node has read it
               ticket.json    under which name and place in an array it was handed to Slurm, and its id once that is known
               node           a link whose text says who runs it: made once, by one task on one node, or by a loop that wants nobody to
               end            a link whose text says why it is to end before its time: "cancelled", or what Slurm said of it
               outcome.json   a link to how it ended: made once, by whoever was first
               <key>/         what the local backend keeps of it on its node

It starts nothing and asks Slurm nothing. Whoever loses a race for `node` or `outcome.json` does nothing: that is the whole agreement.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import time
from pathlib import Path
from typing import NamedTuple

import msgspec

from evogit import removal
from evogit.domain.trial import Job, Outcome, Status

NOBODY = "nobody"
CANCELLED = "cancelled"


class Ticket(msgspec.Struct, frozen=True, kw_only=True):
    """How a job was handed to Slurm: as `index` of the array called `name` (an array of 1 is a plain job)."""

    name: str
    index: int
    size: int
    id: str = ""  # "12" or "12_3"; "" until sbatch has answered


class Holder(NamedTuple):
    """Who has a job: the Slurm id of the task that runs it (or NOBODY), where, since when."""

    id: str
    node: str
    since: str


class JobFolder:
    """The files of one job. Nothing is read before it is asked for."""

    def __init__(self, path: Path) -> None:
        self.path = Path(path)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, JobFolder) and self.path == other.path

    def __hash__(self) -> int:
        return hash(self.path)

    @staticmethod
    def of(handle: str) -> JobFolder:
        """The folder that a handle leads to."""
        return JobFolder(Path(json.loads(handle)["folder"]))

    @property
    def handle(self) -> str:
        """The handle of the job: it needs no id of Slurm's."""
        return json.dumps({"key": self.key, "folder": str(self.path)})

    @property
    def key(self) -> str:
        """The job's key."""
        return self.path.name

    @property
    def inner(self) -> Path:
        """Where the local backend of the node keeps output and artifacts: the folder that an outcome names."""
        return self.path / self.key

    @property
    def is_known(self) -> bool:
        """True from a job's start until it is forgotten. An outcome that is no link was written by another backend, about a job of its own."""
        outcome = self.path / "outcome.json"
        return any(os.path.lexists(self.path / name) for name in ("request.json", "node")) or os.path.islink(outcome)

    # the job, on its way to a node

    def write_request(self, job: Job) -> None:
        """Leave the job for a node. Raises OSError."""
        self.path.mkdir(parents=True, exist_ok=True)
        self._write("request.json", msgspec.json.encode(job))

    def request(self) -> Job | None:
        """The job, which stays; None once a node has read it."""
        try:
            return msgspec.json.decode((self.path / "request.json").read_bytes(), type=Job)
        except (OSError, msgspec.DecodeError):
            return None

    def take_request(self) -> Job:
        """The job, whose request goes with that. Raises OSError, msgspec.DecodeError."""
        path = self.path / "request.json"
        job = msgspec.json.decode(path.read_bytes(), type=Job)
        path.unlink()
        return job

    def drop_request(self) -> None:
        """Nobody will read it any more."""
        (self.path / "request.json").unlink(missing_ok=True)

    def ticket(self) -> Ticket | None:
        """How it was handed to Slurm; None before that."""
        try:
            return msgspec.json.decode((self.path / "ticket.json").read_bytes(), type=Ticket)
        except (OSError, msgspec.DecodeError):
            return None

    def write_ticket(self, ticket: Ticket) -> None:
        """Raises OSError."""
        self._write("ticket.json", msgspec.json.encode(ticket))

    def drop_ticket(self) -> None:
        """It is not in Slurm's hands any more: the next loop hands it over again."""
        (self.path / "ticket.json").unlink(missing_ok=True)

    # who has it

    def claim(self, slurm_id: str) -> bool:
        """Become the one who runs this job; False if somebody has it. Raises OSError where the folder cannot be written."""
        try:
            os.symlink(f"{slurm_id} {socket.gethostname()} {now()}", self.path / "node")
        except FileExistsError:
            return False
        return True

    def holder(self) -> Holder | None:
        """Who has it; None while it is free."""
        try:
            slurm_id, node, since = os.readlink(self.path / "node").split()
        except (OSError, ValueError):
            return None
        return Holder(slurm_id, node, since)

    def ask_to_end(self, why: str = CANCELLED) -> None:
        """Have whoever runs it end it, also where no signal gets through; the first reason stands. No error if the folder is gone."""
        with contextlib.suppress(FileExistsError, FileNotFoundError):
            os.symlink(why, self.path / "end")

    @property
    def why_to_end(self) -> str:
        """Why somebody wants it ended; "" where nobody does."""
        try:
            return os.readlink(self.path / "end")
        except OSError:
            return ""

    # how it ended

    @property
    def has_ended(self) -> bool:
        """True once there is an outcome, or nothing of the job at all."""
        return os.path.lexists(self.path / "outcome.json") or not self.is_known

    def refresh(self) -> None:
        """Have a network file system look again: it remembers for half a minute which names were not there."""
        with contextlib.suppress(OSError):
            os.listdir(self.path)

    def close(self, outcome: Outcome) -> bool:
        """Write how it ended; False, and nothing written, where that stands already. Raises OSError.

        What an outcome's folder has to have is there then, whether the job ever ran or not.
        """
        (self.inner / "artifacts").mkdir(parents=True, exist_ok=True)
        for name in ("stdout", "stderr"):
            (self.inner / name).touch()
        draft = f".outcome-{socket.gethostname()}-{os.getpid()}"
        self._write(draft, msgspec.json.encode(msgspec.structs.replace(outcome, folder="")))
        try:
            os.symlink(draft, self.path / "outcome.json")
        except FileExistsError:
            return False
        return True

    def outcome(self) -> Outcome:
        """How it ended. A job of which nothing is left is INFRASTRUCTURE."""
        try:
            told = msgspec.json.decode((self.path / "outcome.json").read_bytes(), type=Outcome)
        except (OSError, msgspec.DecodeError) as error:
            told = unlived(self.key, "nothing is left of the job" if not self.is_known else f"its outcome cannot be read: {error}")
        return msgspec.structs.replace(told, folder=str(self.inner))

    def remove(self) -> None:
        """All of it, at once for whoever looks. What cannot be removed now lies under another name."""
        grave = self.path.with_name(f".forgotten-{self.key}-{os.getpid()}-{time.monotonic_ns()}")
        with contextlib.suppress(FileNotFoundError):
            os.rename(self.path, grave)
            removal.discard(grave)

    def _write(self, name: str, data: bytes) -> None:
        """A whole file, or none; for the eyes of this user alone, since values of the environment may be secrets."""
        draft = self.path / f".{name}-{socket.gethostname()}-{os.getpid()}-{time.monotonic_ns()}"
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
        os.replace(draft, self.path / name)


def unlived(key: str, reason: str, status: Status = Status.INFRASTRUCTURE, started: str = "") -> Outcome:
    """The outcome of a job that nobody measured."""
    return Outcome(
        key=key, status=status, exit_code=None, seconds=0.0, peak_rss_mib=0, started=started, folder="", reason=reason, backend="slurm"
    )


def now() -> str:
    """This moment as ISO 8601 UTC, to the second."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
