"""A trial and what becomes of it: the job a backend gets, the outcome it gives, the line history keeps."""

from __future__ import annotations

from enum import Enum

import msgspec

SANDBOXES = ("none", "landlock", "bubblewrap")  # levels of isolation, the weakest first
NOBODY = 65534  # the user and group that trials run as where evogit itself is root


class Status(str, Enum):
    """How a job ended. INFRASTRUCTURE is the backend's fault: tried again, never counted against a candidate."""

    OK = "ok"
    CRASH = "crash"
    TIMEOUT = "timeout"
    MEMORY = "memory"
    CANCELLED = "cancelled"
    INFRASTRUCTURE = "infrastructure"


class View(msgspec.Struct, frozen=True, kw_only=True):
    """What of this machine a job may see beside the system's programs. Absolute paths; those that do not exist are left out.

    A job's `source` and `artifact_dir` are writable unless they are named as readable. Kept where the sandbox has a file tree of
    its own; level "none" shows everything.
    """

    writable: tuple[str, ...] = ()
    readable: tuple[str, ...] = ()
    frozen: tuple[str, ...] = ()  # files below writable folders that are read-only all the same
    masked: tuple[str, ...] = ()  # files and folders below the others that cannot be opened


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """One process tree to run to its end. Starting the same key twice runs it once."""

    key: str  # hash of campaign, candidate, arm, seed, attempt and step: 24 hex digits
    label: str  # for people: "3 seed 0 train"
    argv: tuple[str, ...]
    cwd: str  # absolute; the problem's folder in a clean checkout
    source: str  # absolute: the checkout's top, for backends that ship it elsewhere
    env: dict[str, str]  # the whole environment, nothing is inherited
    artifact_dir: str  # absolute; the job may write here, it is collected
    timeout_s: float
    memory_mib: int = 0
    cpus: int = 1
    gpus: int = 0
    gpu_kind: str = ""  # part of a device's name, as its maker writes it ("H100"); "" takes any
    network: bool = False
    output_cap: int = 4 << 20  # bytes kept of stdout and of stderr, each: head and tail
    view: View = View()
    require: str = ""  # the weakest of SANDBOXES that will do; a backend that has less refuses the job
    at_most: str = ""  # the strongest of SANDBOXES that holds it, where a person asked for less; "" takes the best that works
    tree: str = ""  # git tree that `source` holds and nothing else, so that a backend ships it once; "" where a job has worked in it
    data: str = ""  # absolute, the prepared data; "" if the problem declares none
    artifact_cap: int = 2 << 30  # bytes of artifacts that come back from another machine; what is beyond is named, not sent


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """How a job ended. Every failure of a candidate is one of these, never an exception."""

    key: str
    status: Status
    exit_code: int | None  # None if it did not exit by itself
    seconds: float  # wall time of the process tree
    peak_rss_mib: int
    started: str  # ISO 8601 UTC
    folder: str  # absolute: holds stdout, stderr and artifacts/ until the job is forgotten
    reason: str = ""  # one line for people where status is not ok
    cpu_s: float = 0.0
    backend: str = "local"
    sandbox: str = "none"  # the level that held it, one of SANDBOXES


class Crash(msgspec.Struct, frozen=True, kw_only=True):
    """Why a trial has no number."""

    kind: str  # exception type, "tampered", "timeout", "memory", "no-metric", "bad-metric", "status", "signal"
    message: str  # one line, control characters removed
    where: str = ""  # "train.py:42" of the innermost frame in mutable code, if known


class TrialLine(msgspec.Struct, frozen=True, kw_only=True):
    """One line of `refs/notes/evogit/metrics`, and verbatim of a decision's body. See git/FORMAT.md."""

    v: int = 1
    id: str  # hash of run, purpose, arm, seed, attempt: writing it twice is writing it once
    time: str  # ISO 8601 UTC, when the trial began
    purpose: str  # "select", "replicate", "certify" or "smoke"; only "select" enters a verdict
    run: str  # full hash of the run commit
    seed: int
    arm: str = ""
    attempt: int = 1
    status: Status
    metrics: dict[str, float] = {}
    seconds: float = 0.0
    peak_rss_mib: int = 0
    cost_usd: float = 0.0
    crash: Crash | None = None
    source: str = ""  # who reported: evaluator, metrics.json, json-line, summary, metric-line
    backend: str = "local"
    sandbox: str = "none"
    imports: str = ""  # sha256 over the project's files that were really imported; "" if unknown


class Measurement(msgspec.Struct, frozen=True, kw_only=True):
    """What the ruler said of one run. NaN never enters: `stages.measure` refuses it first."""

    values: dict[str, tuple[float, ...]]  # metric -> one reading per seed that succeeded, in the problem's unit
    trials: tuple[TrialLine, ...]

    @property
    def crash(self) -> Crash | None:
        """The first failed trial's reason, or None if every trial gave numbers."""
        return next((t.crash for t in self.trials if t.crash is not None), None)

    def mean(self, metric: str) -> float | None:
        """Mean over seeds, or None if nothing was read."""
        readings = self.values.get(metric, ())
        return sum(readings) / len(readings) if readings else None

    @property
    def means(self) -> dict[str, float]:
        """Mean over seeds of every metric that was read."""
        return {name: mean for name in self.values if (mean := self.mean(name)) is not None}
