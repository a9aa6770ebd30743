"""Trials on the nodes of a Slurm cluster that share this file system: each is carried out by the local backend of its node.

A start leaves the job in its folder; all that were left become one array at the next `wait`, or half a second later. Who runs a
job, and how it ended, is agreed on through the folder (`slurm_folder`), so that nothing depends on this process, on Slurm's memory
of a job, or on accounting. It ships no files, and asks nothing of a node but the shared folders and evogit's own packages.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from evogit.backends import slurm_clients as clients
from evogit.backends import slurm_options, tailing
from evogit.backends.local import LocalBackend
from evogit.backends.slurm_clients import State
from evogit.backends.slurm_folder import CANCELLED, NOBODY, JobFolder, Ticket, unlived
from evogit.backends.slurm_queue import Queue
from evogit.backends.slurm_submit import Arrays, disk_in_words
from evogit.domain.trial import Job, Outcome, Status
from evogit.errors import UserError

POLL_S = 0.02, 0.25  # between looks for outcomes: at first, at last
GONE_S = 2.0  # between a job's leaving the queue and taking it for lost: a network file system is late
LAST_S = 4.0  # then, for a program that still runs on a node which Slurm gave up: it ends its tree before the trial begins elsewhere
STUCK_S = 60.0  # a reason for which a job can never start stands for so long before we believe it: a controller that just began gives some
DEAF_S = 15.0  # a task that does not end for so long after it was asked is cancelled by Slurm, which kills it
CLUSTER_S = 60.0  # for so long an answer of sinfo is good
SLOTS = 64  # at once unless a person says otherwise: partitions have thousands of CPUs, and each slot has a checkout
ENDINGS = {"CANCELLED": (Status.CANCELLED, "cancelled by scancel"), "OUT_OF_MEMORY": (Status.MEMORY, "Slurm killed it for memory")}


class SlurmBackend:
    """Jobs as tasks of Slurm. `root` holds their folders, on a file system of the nodes too; options are those of `slurm_options`.

    A start-to-outcome costs some 0.3 s on top of what Slurm itself takes, which looks for work once a second. May be used from threads.
    """

    name = "slurm"
    finds_again = True
    is_quick = True  # a start is written down: Slurm is asked by whoever waits

    def __init__(self, root: Path, slots: int | None = None, **options: object) -> None:
        self.root = Path(root).absolute()
        self._options = slurm_options.read(options if slots is None else {"slots": slots, **options})
        self._arrays = Arrays(self.root, self._options)
        self._watch = clients.Watch()
        self._queue = Queue(self._arrays, self._options.array_max, self._watch.hurry)
        self._since: dict[tuple[JobFolder, str], float] = {}  # what is the case with a job, and since when (monotonic)
        self._news: list[tuple[str, str]] = []
        self._told: set[str] = set()
        self._cluster: tuple[float, clients.Cluster] | None = None

    # starting --------------------------------------------------------------------------------------------------------

    def start(self, job: Job) -> str:
        """Leave the job for the next array, and return its handle. A key that is known, whoever started it, is not run again.

        Raises BackendDown if the folder cannot be written or Slurm's GPUs not be told, UserError for a kind of GPU that the cluster does not have, ValueError for a
        key that is no name.
        """
        if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,120}", job.key):
            raise ValueError(f"job key {job.key!r} is no plain name")
        folder = JobFolder(self.root / job.key)
        if folder.is_known:
            return folder.handle
        limits = slurm_options.parameters(job, self._options, self._gpu_type(job))
        with disk_in_words():
            folder.write_request(job)
        self._queue.add(folder, limits)
        return folder.handle

    def _gpu_type(self, job: Job) -> str:
        """The type in Slurm's gres that is meant by the kind of GPU that a job wants; "" for any."""
        kind = job.gpu_kind or self._options.gpu
        if not job.gpus or not kind:
            return ""
        kinds = self._nodes().kinds
        found = next((name for name in kinds if kind.lower() in name.lower()), "")
        if not found:
            raise UserError(
                f"Slurm has no GPU of kind {kind!r} here", hint=f"it has {', '.join(kinds) or 'no named kinds'}; {slurm_options.HINT}"
            )
        return found

    def find(self, key: str) -> str:
        """Handle of a job that was started under this key, handed to Slurm or not; "" if none was."""
        folder = JobFolder(self.root / key)
        return folder.handle if folder.is_known else ""

    def flush(self) -> None:
        """Hand over what was started, one array for all jobs with the same limits. Raises BackendDown, UserError; what Slurm did not take
        stays queued. Takes as long as sbatch does, at most a minute an array."""
        self._queue.flush()

    # waiting ---------------------------------------------------------------------------------------------------------

    def wait(self, handles: Sequence[str], timeout_s: float | None) -> list[str]:
        """Those handles whose job has ended, in the order given; [] only when the time ran out, or once all was handed over for no handles.

        Has what was started handed over, by a thread. Raises BackendDown where Slurm or the disk is out of reach, UserError where it refuses
        a job or can never start it; the job then stays, to be handed over again by the next one who waits.
        """
        if not handles:
            self._queue.flush_in_passing()
            return []
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        folders = {handle: JobFolder.of(handle) for handle in handles}
        pause = POLL_S[0]
        while True:
            ended = [handle for handle, folder in folders.items() if folder.has_ended]
            if not ended:
                self._queue.hurry()
                self._look_after(list(folders.values()))
            left = None if deadline is None else deadline - time.monotonic()
            if ended or (left is not None and left <= 0):
                return ended
            time.sleep(pause if left is None else min(pause, left))
            pause = min(1.5 * pause, POLL_S[1])

    def _look_after(self, folders: list[JobFolder]) -> None:
        """What becomes of these jobs in Slurm's hands, as far as the answers that are there by now tell."""
        found = self._watch.hear()
        if not folders or not (found or self._watch.is_due):
            return
        with disk_in_words():
            ids = {slurm_id: folder for folder in folders if (slurm_id := self._id_of(folder))}
            for slurm_id, state in found.items():
                if slurm_id in ids and not ids[slurm_id].has_ended:
                    self._judge(ids[slurm_id], slurm_id, state)
        self._watch.ask(ids)
        if self._watch.trouble:
            self._tell("the controller", f"{self._watch.trouble}; trials that run go on", "see `scontrol ping`")

    def _id_of(self, folder: JobFolder) -> str:
        """What Slurm calls the task that has the job, or may get it; "" where none does. A job in nobody's hands is taken up."""
        holder = folder.holder()
        if holder is not None and holder.id != NOBODY:
            return holder.id
        if holder is not None and not folder.has_ended:  # whoever wanted nobody to run it was killed before saying so
            folder.close(unlived(folder.key, "cancelled before it began", Status.CANCELLED))
            return ""
        is_queued = folder in self._queue  # asked first: the ticket of one that has just left has an id
        ticket = folder.ticket()
        if ticket is not None and ticket.id:
            return ticket.id
        if not is_queued and not folder.has_ended:
            self._adopt(folder, ticket)
        return ""

    def _adopt(self, folder: JobFolder, ticket: Ticket | None) -> None:
        """A job whose loop was killed: before sbatch, or between that and the answer."""
        if ticket is not None and (slurm_id := clients.named(ticket.name).get(ticket.index, "")):
            folder.write_ticket(Ticket(name=ticket.name, index=ticket.index, size=ticket.size, id=slurm_id))
            return
        job = folder.request()
        if job is None:  # a node has read it this very moment
            return
        self._queue.add(folder, slurm_options.parameters(job, self._options, self._gpu_type(job)))

    def _judge(self, folder: JobFolder, slurm_id: str, state: State) -> None:
        if state.name == "PENDING":
            self._judge_pending(folder, slurm_id, state.reason)
        if folder.why_to_end == CANCELLED and self._age(folder, "asked to end") > DEAF_S:
            self._scancel(slurm_id)
            if self._age(folder, "asked to end") > 3 * DEAF_S:
                self._give_up(folder, slurm_id, State("CANCELLED"))
        if state.name not in clients.OVER:
            self._since.pop((folder, "gone"), None)
        else:
            self._watch.hurry()
            folder.refresh()
            age = self._age(folder, "gone")
            if age > GONE_S and not folder.has_ended:
                if folder.holder() is not None:
                    folder.ask_to_end(self._why(folder, slurm_id, state))
                if folder.holder() is None or age > GONE_S + LAST_S:
                    self._give_up(folder, slurm_id, state)

    def _judge_pending(self, folder: JobFolder, slurm_id: str, reason: str) -> None:
        if not clients.NEVER.fullmatch(reason):
            self._since.pop((folder, "stuck"), None)
        elif self._age(folder, "stuck") > STUCK_S:
            self._scancel(slurm_id)
            folder.drop_ticket()
            raise UserError(f"Slurm can never start a trial: {reason}", hint=f"`sinfo` shows what there is; {slurm_options.HINT}")
        if reason not in clients.ORDINARY:
            self._tell(reason, f"trials wait in Slurm's queue: {reason}", f"`scontrol show job {slurm_id}` says more")

    def _age(self, folder: JobFolder, what: str) -> float:
        """For how many seconds that has been so; the first time it is asked, 0."""
        return time.monotonic() - self._since.setdefault((folder, what), time.monotonic())

    def _give_up(self, folder: JobFolder, slurm_id: str, state: State) -> None:
        """The job left the queue without an outcome: nobody will run it any more, and this is how it ended."""
        holder = folder.holder()
        if holder is None and not folder.claim(NOBODY):  # a node has it this very moment
            return
        inner = folder.inner / "outcome.json"
        if inner.exists():  # the node's program was killed, the job's supervisor was not
            told = LocalBackend(folder.path).collect(json.dumps({"key": folder.key, "folder": str(folder.inner)}))
            folder.close(msgspec.structs.replace(told, backend=self.name))
            return
        status, reason = ENDINGS.get(state.name, (Status.INFRASTRUCTURE, ""))
        if folder.why_to_end == CANCELLED:
            status, reason = Status.CANCELLED, CANCELLED
        folder.close(unlived(folder.key, reason or self._why(folder, slurm_id, state), status, holder.since if holder else ""))
        folder.drop_request()

    def _why(self, folder: JobFolder, slurm_id: str, state: State) -> str:
        """One line for people on a job that left no outcome."""
        said = f"Slurm says {state.name}" if state.name else f"job {slurm_id} has left Slurm's queue"
        where = f" on {state.node}" if state.node else ""
        ticket = folder.ticket()
        words = self._arrays.last_words(ticket) if ticket is not None else ""
        if words is None and state.name == "FAILED":
            return f"{said}{where}, and nothing of it is in {self._arrays.root}: do the nodes share this file system?"
        return f"{said}{where}: {words}" if words else f"{said}{where}, and the job left no outcome"

    def _tell(self, about: str, message: str, hint: str) -> None:
        if about not in self._told:
            self._told.add(about)
            self._news.append((message, hint))

    def news(self) -> list[tuple[str, str]]:
        """What a person should know of the queue, and what to do about it, each thing once."""
        told, self._news = self._news, []
        return told

    # ending ----------------------------------------------------------------------------------------------------------

    def collect(self, handle: str) -> Outcome:
        """How the job ended; waits if it has not. What left Slurm's queue without an outcome is INFRASTRUCTURE, in Slurm's own word."""
        self.wait([handle], None)
        return JobFolder.of(handle).outcome()

    def follow(self, handle: str) -> Iterator[tuple[str, bytes]]:
        """Output as it comes, until the job has ended; read from the shared folder."""
        return tailing.follow(JobFolder.of(handle).inner, lambda: bool(self.wait([handle], 0)))

    def cancel(self, handle: str) -> None:
        """Ask the job to end. One that waits in the queue has ended with that; of one that runs the whole tree is ended on its node."""
        folder = JobFolder.of(handle)
        if folder.has_ended:
            return
        self._queue.drop(folder)
        with disk_in_words():
            folder.ask_to_end()
            is_mine = folder.claim(NOBODY)
            if is_mine:
                folder.close(unlived(folder.key, "cancelled before it began", Status.CANCELLED))
                folder.drop_request()
        holder, ticket = folder.holder(), folder.ticket()
        if is_mine and ticket is not None and ticket.id:
            self._scancel(ticket.id)
        elif not is_mine and holder is not None and holder.id != NOBODY:
            self._scancel("--batch", "--signal=USR1", holder.id)

    def _scancel(self, *words: str) -> None:
        """Have Slurm end or signal a task. What is gone is no error; while the controller is away the link `end` has to do."""
        if not self._watch.trouble:
            self._watch.trouble = clients.end(*words)

    def forget(self, handle: str) -> None:
        """Remove the job's folder; a job that still runs is cancelled first."""
        folder = JobFolder.of(handle)
        if not folder.has_ended:
            self.cancel(handle)
            self.wait([handle], 4 * DEAF_S)
        ticket = folder.ticket()
        folder.remove()
        if ticket is not None:
            self._arrays.tidy(ticket.name)
        for known in [known for known in self._since if known[0] == folder]:
            del self._since[known]

    # the cluster -----------------------------------------------------------------------------------------------------

    def resources(self) -> dict[str, object]:
        """What the partition has, as sinfo tells. `sandbox` is the level of this machine: what holds on a node stands in each outcome.

        Raises UserError where Slurm, submitit or the partition are missing, BackendDown where the controller does not answer.
        """
        clients.check_installed()
        here = self._nodes()
        local = LocalBackend(self.root)
        try:
            level = local.level
        finally:
            local.close()
        return {
            "slots": self._options.slots or max(1, min(SLOTS, here.cpus)), "cpus": here.cpus, "gpus": here.gpus, "kinds": list(here.kinds),
            "nodes": here.nodes, "sandbox": level,
        }  # fmt: skip

    def _nodes(self) -> clients.Cluster:
        if self._cluster is None or time.monotonic() - self._cluster[0] > CLUSTER_S:
            self._cluster = (time.monotonic(), clients.cluster(self._options.partition))
        return self._cluster[1]

    def close(self) -> None:
        """Hand over what was started, and let go of the queue's watch."""
        self._queue.close()
        self._watch.close()
