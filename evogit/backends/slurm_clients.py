"""Slurm's own programs, asked politely: few calls, each for many jobs, and their complaints in one line.

States come from squeue, which knows a job for some minutes after its end where accounting is off. What an answer means for a job is
not decided here.
"""

from __future__ import annotations

import getpass
import re
import shutil
import subprocess
import time
from collections.abc import Collection, Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from evogit.backends.slurm_options import HINT
from evogit.errors import BackendDown, EvogitError, UserError

ANSWER_S = 8.0  # a client that waits longer has no controller to speak to
SUBMIT_S = 60.0  # for sbatch, which tries again by itself where the controller is busy
PROGRAMS = ("sbatch", "squeue", "scancel", "sinfo", "srun")  # submitit asks whether there is an srun; nobody calls it
FIRST_S, LONGEST_S = 0.25, 5.0  # between two looks at the queue
PATIENCE_S = 120.0  # without a word from the controller, while jobs that end are noticed all the same
OVER = frozenset(
    {"COMPLETED", "FAILED", "TIMEOUT", "NODE_FAIL", "PREEMPTED", "OUT_OF_MEMORY", "CANCELLED", "BOOT_FAIL", "DEADLINE", "REVOKED", ""}
)  # "": Slurm knows it no more
NEVER = re.compile(
    r"BadConstraints|PartitionConfig|PartitionTimeLimit|PartitionNodeLimit|Invalid(Account|QOS)|(QOS|Account)NotAllowed|DependencyNeverSatisfied"
    r"|\w+PerJob(Limit)?|\w+MaxWallDuration\w+"
)
ORDINARY = frozenset({"None", "Priority", "Resources", "BeginTime", "Cleaning", "Prolog", ""})  # that is what a queue is
MENDABLE = re.compile(
    r"[Ii]nvalid|unrecognized option|not available|denied|can not be satisfied|requested than permitted|ambiguous|requires an argument"
)
KEYS = re.compile(r"[Mm]unge|[Aa]uthentic")
POLICY = "accounting/QOS policy"
TOO_MUCH = re.compile(r"\w+(PerJob|WallDuration)\w*")  # of the policy's limits: no job of that size is ever taken
QUOTA = (
    "wait until jobs of yours have ended, or take fewer --workers: `sacctmgr show qos` and `sacctmgr show assoc` have the limits; "
    "runs stay in flight, and `evogit loop` goes on with them"
)
GOES_ON = "see {}; runs stay in flight, and `evogit loop` goes on with them"


class State(NamedTuple):
    """What Slurm says of a job: "" where it does not know it."""

    name: str = ""
    reason: str = ""
    node: str = ""


def ask(*command: str) -> str:
    """What a client of Slurm answers. Raises BackendDown where it fails, UserError where it is not installed."""
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", timeout=ANSWER_S, check=False
        )
    except FileNotFoundError as error:
        raise UserError(
            f"{command[0]} is not installed here", hint="run evogit where sbatch and squeue work, or choose another backend"
        ) from error
    except subprocess.TimeoutExpired as error:
        raise down("its controller does not answer") from error
    if done.returncode:
        raise down(_line(done.stderr or done.stdout) or f"{command[0]} gave exit code {done.returncode}")
    return done.stdout


class Unanswered(BackendDown):
    """sbatch did not come back: whether Slurm has the jobs is not known."""


def submit(script: Path, env: Mapping[str, str]) -> str:
    """The number that Slurm gave to a batch script. Raises UserError or BackendDown where it was refused, Unanswered after a minute.

    A Ctrl-C in the terminal does not reach sbatch.
    """
    try:
        done = subprocess.run(
            ["sbatch", str(script)], env=dict(env), stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace",
            timeout=SUBMIT_S, check=False, start_new_session=True,
        )  # fmt: skip
    except OSError as error:
        raise down(f"sbatch cannot be run: {error.strerror}") from error
    except subprocess.TimeoutExpired as error:
        raise Unanswered(
            f"Slurm: sbatch has not answered for {SUBMIT_S:g} s", hint=GOES_ON.format("`scontrol ping` and `sinfo`")
        ) from error
    if done.returncode:
        raise refused(done.stderr or done.stdout or f"sbatch gave exit code {done.returncode}")
    if (number := re.search(r"job (\d+)", done.stdout)) is None:
        raise down(f"sbatch gave no number: {_line(done.stdout) or 'it said nothing'}")
    return number[1]


def down(message: str) -> BackendDown:
    """Slurm itself is at fault, or what it leans on."""
    if KEYS.search(message):
        return BackendDown(f"Slurm: {message}", hint=GOES_ON.format("whether munged runs here: `munge -n | unmunge`"))
    if POLICY in message:
        return BackendDown(f"Slurm: {message}", hint=QUOTA)
    return BackendDown(f"Slurm: {message}", hint=GOES_ON.format("`scontrol ping` and `sinfo`"))


def refused(said: str) -> EvogitError:
    """Why sbatch took nothing, as what a person can mend in evogit.toml where it is that, else as what the cluster has to."""
    line = _line(said)
    if POLICY in line and TOO_MUCH.search(line):
        return UserError(f"Slurm refuses the trials: {line}", hint=f"ask for less in [budget], or for another partition or qos: {HINT}")
    is_mendable = MENDABLE.search(line) and POLICY not in line and not KEYS.search(line)
    return UserError(f"Slurm refuses the trials: {line}", hint=HINT) if is_mendable else down(line)


def _line(said: str) -> str:
    """A client's complaint: the last thing it said, with what it said before in front of it."""
    words = [re.sub(r"^\w+: (error: )?", "", line.strip()) for line in said.splitlines() if line.strip() and "--help" not in line]
    words = [re.sub(r"^(Batch job submission failed|\w+ error): ", "", line) for line in words]
    return "; ".join(dict.fromkeys(words[-2:]))


def check_installed() -> None:
    """Raise UserError where Slurm's clients or submitit are missing."""
    import importlib.util

    if absent := [name for name in PROGRAMS if shutil.which(name) is None]:
        raise UserError(
            f"Slurm's {', '.join(absent)} {'is' if len(absent) == 1 else 'are'} not installed here",
            hint="run evogit on a machine of the cluster that submits jobs, or choose another backend",
        )
    if importlib.util.find_spec("submitit") is None:
        raise UserError("the backend slurm needs submitit", hint="`pip install 'evogit[slurm]'`")


def end(*words: str) -> str:
    """scancel, and why it could not be heard, "" if it was. What is gone already is no error."""
    try:
        ask("scancel", *words)
    except EvogitError as error:
        return "" if "nvalid job id" in error.message or "already completing" in error.message else error.message
    return ""


def named(name: str) -> dict[int, str]:
    """Place in the array of that name -> Slurm's id; {} if Slurm knows none."""
    text = ask("squeue", "--noheader", "--array", "--states=all", f"--user={getpass.getuser()}", f"--name={name}", "--format=%i|%K")
    pairs = [line.split("|") for line in text.splitlines() if "|" in line]
    return {int(place) if place.isdigit() else 0: slurm_id for slurm_id, place in pairs}


def states(ids: Iterable[str]) -> dict[str, State]:
    """Each job -> its state, by one squeue. A job that Slurm has forgotten has an empty one."""
    wanted = set(ids)
    numbers = ",".join(sorted({slurm_id.partition("_")[0] for slurm_id in wanted}))
    try:
        text = ask("squeue", "--noheader", "--array", "--states=all", f"--jobs={numbers}", "--format=%i|%T|%r|%N")
    except BackendDown as error:
        if "Invalid job id" not in error.message:  # what it says where it knows none of them
            raise
        text = ""
    told = {words[0]: State(*words[1:4]) for line in text.splitlines() if len(words := line.split("|")) >= 4}
    return {slurm_id: told.get(slurm_id, State()) for slurm_id in wanted}


class Watch:
    """The queue, looked at by a thread: nobody waits for squeue. The looks grow rarer while nothing changes."""

    def __init__(self) -> None:
        self._pool: ThreadPoolExecutor | None = None
        self._asked: Future[dict[str, State]] | None = None
        self._pause, self._next_at = FIRST_S, 0.0
        self._deaf_since = 0.0  # monotonic; 0 while the controller answers
        self.trouble = ""  # why there was no answer

    def hurry(self) -> None:
        """Something changed: look soon."""
        self._pause, self._next_at = FIRST_S, min(self._next_at, time.monotonic() + FIRST_S)

    @property
    def is_due(self) -> bool:
        """True if it is time for another look."""
        return self._asked is None and time.monotonic() >= self._next_at

    def ask(self, ids: Collection[str]) -> None:
        """Begin a look at these jobs if it is time for one."""
        if ids and self.is_due:
            self._pool = self._pool or ThreadPoolExecutor(max_workers=1, thread_name_prefix="evogit-squeue")
            self._asked = self._pool.submit(states, frozenset(ids))

    def hear(self) -> dict[str, State]:
        """An answer that came since it was asked last, {} mostly. Raises BackendDown after two minutes without one."""
        if self._asked is None or not self._asked.done():
            return {}
        asked, self._asked = self._asked, None
        self._next_at = time.monotonic() + self._pause
        self._pause = min(2 * self._pause, LONGEST_S)
        try:
            found = asked.result()
        except EvogitError as error:
            self._deaf_since = self._deaf_since or time.monotonic()
            self.trouble = error.message
            if time.monotonic() - self._deaf_since > PATIENCE_S:
                raise
            return {}
        self._deaf_since, self.trouble = 0.0, ""
        return found

    def close(self) -> None:
        """Let the thread go once its squeue has answered."""
        if self._pool is not None:
            self._pool.shutdown(wait=False)


class Cluster(NamedTuple):
    """What sinfo says of the nodes that trials may use."""

    nodes: int
    cpus: int
    gpus: int
    kinds: tuple[str, ...]  # types of its GPUs


def cluster(partition: str) -> Cluster:
    """The nodes of a partition, of the default one for "". Raises UserError if there is none of that name, BackendDown."""
    rows = [line.split("|") for line in ask("sinfo", "--noheader", "--format=%P|%D|%C|%G").splitlines() if line.count("|") == 3]
    wanted = set(partition.split(",")) if partition else {row[0].rstrip("*") for row in rows if row[0].endswith("*")}
    here = [row for row in rows if row[0].rstrip("*") in wanted]
    if not here and rows:
        names = ", ".join(dict.fromkeys(row[0].rstrip("*") for row in rows))
        what = f"no partition {partition!r}" if partition else "no default partition"
        raise UserError(f"Slurm has {what}", hint=f"[backend.slurm] partition in evogit.toml: one of {names}")
    cpus = [[int(part) for part in row[2].split("/")] for row in here]  # allocated, idle, other, total
    gres = [(int(row[1]), *found) for row in here for found in re.findall(r"gpu:(?:([^:,()]+):)?(\d+)", row[3])]
    return Cluster(
        nodes=sum(int(row[1]) for row in here),
        cpus=sum(total - other for _, _, other, total in cpus),
        gpus=sum(nodes * int(count) for nodes, _, count in gres),
        kinds=tuple(dict.fromkeys(kind for _, kind, _ in gres if kind)),
    )
