"""Trials as executions of Cloud Run jobs. `CloudRunBackend` is what the loop sees; `watching` knows when they are over.

    root/<key>/job.json handle.json stdout stderr logs/ artifacts outcome.json

A start writes the ticket, asks for an execution, and writes down that it did, in that order. Killed between any two of them, the next
start finds the execution or asks for another one, and whichever container comes second leaves. It touches no git, and does not limit
how many run at once.
"""

from __future__ import annotations

import hashlib
import re
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path

import msgspec

from evogit import removal
from evogit.backends import homing, parcel
from evogit.backends.cloud import selecting, shipping
from evogit.backends.cloud.settings import Settings
from evogit.backends.cloud.storage import FRESH, Store, quietly
from evogit.backends.cloud.ticket import Claim, Ending, Names, Ticket
from evogit.backends.cloud.watching import Handle, Watch
from evogit.backends.order import Order, order_of
from evogit.domain.trial import Job, Outcome, Status
from evogit.errors import BackendDown, UserError
from evogit.failpoint import reach

SLOTS, GPU_SLOTS = 8, 3  # a new project may hold three L4s in a region
CPUS = 8  # the most that a container without a GPU has
ENDING_S = 30.0  # how long `forget` waits for a job that still runs
CAVEAT = (
    "trials run in containers of their own on Cloud Run, and nothing is known to hold them there: one can act as the service account",
    "docs/backends.md says what that account should be allowed; say sandbox under [backend.cloud-run] where the image holds trials",
)


class CloudRunBackend:
    """Jobs as executions. `root` holds what comes home; `slots` is the most that should run at once. Options: see `settings.Options`.

    May be used from threads. A start costs three or four requests, a look at any number of running jobs one or two.
    """

    name = "cloud-run"
    finds_again = True

    def __init__(
        self,
        root: Path,
        slots: int | None = None,
        *,
        problem_folder: str = "",
        spec: str = "cloud_runner.yaml",
        dataset: str = "",
        env: Mapping[str, object] | None = None,
        keep: str = "failures",
        poll_s: float = 1.0,
        sandbox: str = "none",
        endpoint: str = "",
    ) -> None:
        """Raises UserError for an option that is none."""
        self.root = Path(root).absolute()
        self.settings = Settings(
            {
                "slots": slots, "problem_folder": problem_folder, "spec": spec, "dataset": dataset, "env": {} if env is None else env,
                "keep": keep, "poll_s": poll_s, "sandbox": sandbox, "endpoint": endpoint,
            }
        )  # fmt: skip
        self._cancelled: set[str] = set()  # keys of jobs whose end was asked for: a loop asks several times a second
        self._shelf: dict[str, tuple[tuple[str, str], float]] = {}  # hint -> digest and address of a bundle in the bucket, and until when

    # jobs out --------------------------------------------------------------------------------------------------------

    def start(self, job: Job) -> str:
        """Begin, and return a handle. Raises BackendDown, UserError; a checkout that `files` of the spec refuses is a crash."""
        if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,120}", job.key):
            raise ValueError(f"job key {job.key!r} is no plain name")
        if handle := self._known_here(job.key):
            return handle.text
        chosen = selecting.names(self.settings.spec.files, job)
        handle = Handle(key=job.key, folder=str(self.root / job.key), at=self._store.url, job="")
        if why := selecting.refusal(self.settings.spec.files, job, chosen):
            self._write_down(handle, job)
            homing.settle(homing.lost(job.key, why, Status.CRASH), job, handle.path, self.name)
            return handle.text
        size = self.settings.spec.size(job)
        handle = msgspec.structs.replace(handle, job=self.settings.executions.ensure(size))
        names = Names(job.key)
        ticket = self._ticket(shipping.fitted(job, self.settings.spec, size), handle, chosen)
        if not self._store.create(names.ticket, msgspec.json.encode(ticket)):
            if before := self.find(job.key):
                self._write_down(Handle.read(before), job)
                return before
            handle = msgspec.structs.replace(handle, job=self._ticket_there(names).job)
        env = shipping.place_env(self.settings.spec) | shipping.dataset_env(self.settings.spec)
        execution = self.settings.executions.run(handle.job, job.key, f"{self._store.url}/{names.ticket}", env, size.timeout_s)
        reach("launched")
        self._note(names, execution)
        self._write_down(handle, job)
        return handle.text

    def _ticket(self, job: Job, handle: Handle, chosen: list[str] | None) -> Ticket:
        addresses: dict[str, str] = {}
        data = self.settings.spec.dataset

        def keep(hint: str, make: Callable[[], bytes]) -> str:
            if hint.startswith("tree-") and chosen is not None:  # of one tree each job may need other files
                hint += hashlib.sha256("\0".join(chosen).encode()).hexdigest()
            digest, address = self._shelve(hint, make, Names(job.key))
            addresses[digest] = address
            return digest

        try:
            order: Order = order_of(job, keep, data.container_dir if data else "", names=chosen)
        except ValueError as error:
            raise UserError(str(error), hint="put it into the bucket, and name it as dataset.uri in cloud_runner.yaml") from error
        look_s = 5 * self.settings.poll_s
        return Ticket(
            job=handle.job, order=order, parcels=addresses, nonce=uuid.uuid4().hex, look_s=look_s, tell_s=2 * self.settings.poll_s,
            dataset=data,
        )  # fmt: skip

    def _ticket_there(self, names: Names) -> Ticket:
        """The ticket that an earlier start wrote."""
        text = self._store.get(names.ticket)
        if text is None:
            raise BackendDown("a job was forgotten while it was started", hint="start the loop again")
        return msgspec.json.decode(text, type=Ticket)

    def _shelve(self, hint: str, make: Callable[[], bytes], names: Names) -> tuple[str, str]:
        """Digest and address of a parcel that lies in the bucket now: what never changes once for all jobs, the rest for one."""
        found, until = self._shelf.get(hint, (("", ""), 0.0))
        if found[0] and time.monotonic() < until:
            return found
        data = make()
        digest = parcel.digest(data)
        if not hint:
            self._store.create(names.parcels + digest, data)
            return digest, f"{self._store.url}/{names.parcels}{digest}"
        if not self._shelf:
            with quietly():
                self._sources.sweep()
        self._sources.refresh(digest, data)
        found = digest, f"{self._sources.url}/{digest}"
        self._shelf[hint] = found, time.monotonic() + FRESH.total_seconds()
        return found

    def _note(self, names: Names, execution: str) -> None:
        """Write down that an execution was asked for. One whose name was not told is found by the key in its environment."""
        self._store.create(names.launched + (execution.rpartition("/")[2] or "unnamed"), execution.encode())

    def _write_down(self, handle: Handle, job: Job) -> None:
        """The job's folder. Values of the environment may be secrets: only names are written."""
        try:
            handle.path.mkdir(parents=True, exist_ok=True)
            told = msgspec.structs.replace(job, env=dict.fromkeys(job.env, ""))
            (handle.path / "job.json").write_bytes(msgspec.json.encode(told))
            (handle.path / "handle.json").write_text(handle.text, encoding="utf-8")
        except OSError as error:
            raise BackendDown(f"cannot write {error.filename or handle.folder}: {error.strerror}", hint="see `df -h`") from error

    def find(self, key: str) -> str:
        """Handle of a job for which an execution was asked, by whichever process. One request where this machine knows nothing of it."""
        if handle := self._known_here(key):
            return handle.text
        names = Names(key)
        there = self._store.names(names.folder)
        if names.ticket not in there:
            return ""
        text = self._store.get(names.ticket)
        if text is None:
            return ""
        ticket = msgspec.json.decode(text, type=Ticket)
        if not any(name == names.claim or name.startswith(names.launched) for name in there):
            mine = [seen for seen in self.settings.executions.listing(ticket.job, {key}) if seen.key == key]
            if not mine:
                return ""  # a start was cut short before it asked for an execution, or nobody can see it yet
            self._note(names, mine[0].name)
        return Handle(key=key, folder=str(self.root / key), at=self._store.url, job=ticket.job).text

    def _known_here(self, key: str) -> Handle | None:
        try:
            return Handle.read((self.root / key / "handle.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None

    # outcomes in -----------------------------------------------------------------------------------------------------

    def wait(self, handles: Sequence[str], timeout_s: float | None) -> list[str]:
        """Those handles whose job is over, in the order given; [] only when the time ran out or nothing was asked."""
        told = {text: Handle.read(text) for text in handles}
        ended = self._watch.until(list(told.values()), timeout_s)
        return [text for text, handle in told.items() if handle.key in ended]

    def collect(self, handle: str) -> Outcome:
        """How the job ended; waits if it has not. What came of it is fetched once, and lies in the job's folder then."""
        told = Handle.read(handle)
        self._watch.until([told], None)
        if (outcome := homing.collected(told.path)) is not None:
            return outcome
        names, store = Names(told.key), self._watch.store(told)
        job = self._job(told, store)
        if job is None:
            return msgspec.structs.replace(homing.lost(told.key, "nothing is left of the job"), folder=told.folder, backend=self.name)
        text = store.get(names.ended)
        ending = msgspec.json.decode(text, type=Ending) if text else self._watch.lost(told)
        self._log(told, ending)
        if ending.is_cancelled:
            return homing.settle(homing.lost(told.key, "cancelled", Status.CANCELLED), job, told.path, self.name)
        result = None if ending.lost else store.get(names.result)
        if result is None:
            why = ending.lost or "its result is not in the bucket any more"
            status = Status.MEMORY if "memory limit" in why.lower() else Status.INFRASTRUCTURE
            return homing.settle(homing.lost(told.key, why, status), job, told.path, self.name)
        return homing.take_home(result, job, told.path, self.name)

    def _job(self, handle: Handle, store: Store) -> Job | None:
        """The job as this machine knows it, else as its ticket says; None if it was forgotten."""
        try:
            return msgspec.json.decode((handle.path / "job.json").read_bytes(), type=Job)
        except (OSError, msgspec.DecodeError):
            text = store.get(Names(handle.key).ticket)
            return msgspec.json.decode(text, type=Ticket).order.job if text else None

    def _log(self, handle: Handle, ending: Ending) -> None:
        """What happened beside the output, a file an event."""
        lines: dict[str, list[str]] = {}
        for happening in ending.happenings:
            lines.setdefault(re.sub(r"\W", "_", happening.event), []).append(f"{happening.time} {happening.line}\n")
        for event, told in lines.items():
            path = handle.path / "logs" / f"{event}.log"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("".join(told), encoding="utf-8")

    def follow(self, handle: str) -> Iterator[tuple[str, bytes]]:
        """Output as it comes, in the pieces that the container hands over every few seconds."""
        told = Handle.read(handle)
        names, store, last = Names(told.key), self._watch.store(told), ""
        while True:
            is_over = bool(self._watch.until([told], 0))
            for name in store.names(names.logs, after=last):
                last = name
                data = store.get(name)
                if data is not None:
                    yield name.rpartition("-")[2], data
            if is_over:
                return
            self._watch.until([told], 2 * self.settings.poll_s)

    # ends ------------------------------------------------------------------------------------------------------------

    def cancel(self, handle: str) -> None:
        """End the job. One that no container has claimed is claimed here, and never runs; a container is told, and has ten seconds."""
        told = Handle.read(handle)
        if told.key in self._cancelled or homing.collected(told.path) is not None:
            return
        names, store = Names(told.key), self._watch.store(told)
        if not store.exists(names.ticket) or store.exists(names.ended):
            return
        store.create(names.cancel, b"")
        if store.create(names.claim, msgspec.json.encode(Claim(execution="", nonce=uuid.uuid4().hex))):
            store.create(names.ended, msgspec.json.encode(Ending(is_cancelled=True)))
        for execution in self._watch.asked_for(told):
            self.settings.executions.cancel(execution)
        self._cancelled.add(told.key)

    def forget(self, handle: str) -> None:
        """Remove what the job left, here and in the bucket. Of one that failed, output and result stay there, and its execution, unless
        `keep` says otherwise; what cannot be removed now stays."""
        told = Handle.read(handle)
        outcome = homing.collected(told.path)
        with quietly():
            if outcome is None:
                self.cancel(handle)
                self._watch.until([told], ENDING_S)
            store, names = self._watch.store(told), Names(told.key)
            is_kept = self.settings.keep == "all" or (self.settings.keep == "failures" and outcome is not None and _has_failed(outcome))
            if told.job and not is_kept:
                for execution in self._watch.asked_for(told):
                    self.settings.executions.delete(execution)
            kept = (names.result, names.logs) if is_kept else ()
            store.remove([names.ticket, *(n for n in store.names(names.folder) if not n.startswith(kept or ("\0",))), names.ended])
        self._watch.drop(told.key)
        removal.discard(told.path)

    def news(self) -> list[tuple[str, str]]:
        """That jobs which were asked about have waited long for a container, and what to do about it."""
        return self._watch.patience.news()

    # what is here ----------------------------------------------------------------------------------------------------

    def resources(self) -> dict[str, object]:
        """What Cloud Run gives, as far as the spec tells; credentials and libraries are looked for, and the service is not asked."""
        spec = self.settings.spec
        _ = self.settings.clients.storage
        gpu = 1 if spec.cloud_run.gpu is None else spec.cloud_run.gpu  # the budget decides where nothing is said: one is to be had
        slots = self.settings.slots or (GPU_SLOTS if spec.cloud_run.gpu else SLOTS)
        cpus = max(1, int(float(spec.cloud_run.cpu or CPUS)))
        said = {"caveat": CAVEAT} if self.settings.sandbox == "none" else {}
        kinds = [spec.cloud_run.gpu_type] if spec.cloud_run.gpu_type else []
        found = {"slots": slots, "cpus": slots * cpus, "gpus": slots * gpu, "kinds": kinds, "sandbox": self.settings.sandbox}
        return {**found, "place": f"{spec.project_id} in {spec.region}", **said}

    def close(self) -> None:
        """Nothing of this process stays behind; executions go on."""

    @cached_property
    def _store(self) -> Store:
        return Store(self.settings.clients, self.settings.spec.artifacts.gcs_prefix)

    @cached_property
    def _sources(self) -> Store:
        return Store(self.settings.clients, self.settings.spec.source.gcs_prefix)

    @cached_property
    def _watch(self) -> Watch:
        return Watch(self.settings)


def _has_failed(outcome: Outcome) -> bool:
    return outcome.status not in (Status.OK, Status.CANCELLED)
