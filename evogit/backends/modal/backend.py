"""Trials in sandboxes of Modal: one container a trial, named by the job's key, which carries the order out that lies in a volume.

    root/<key>/modal.json sandbox cancelled stdout stderr artifacts outcome.json

Not exercised against the service: it was met as a loopback server that speaks its protocol. It runs nothing here, and keeps no
process of its own.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from evogit import removal
from evogit.backends import homing, parcel, tailing
from evogit.backends import options as reading
from evogit.backends.modal import asking, images, options
from evogit.backends.modal.aboard import LAUNCH, RESULT, Terms
from evogit.backends.modal.asking import patiently, within
from evogit.backends.modal.logs import logged
from evogit.backends.modal.speaking import in_our_words, library
from evogit.backends.modal.volumes import Shelves, app_name
from evogit.backends.modal.watching import Watch
from evogit.backends.order import links_of, order_of
from evogit.domain.trial import Job, Outcome, Status
from evogit.errors import BackendDown, EvogitError

MOUNTS = "/mnt/evogit"
SETUP_S = 900  # of a container's time, beyond the job's own
LONGEST_S = 24 * 3600  # that Modal gives a sandbox
BRING_S = 6 * 3600.0  # for files and data on their way there: 100 GiB at 5 MiB/s
BEGIN_S = 5400.0  # for a sandbox: its image is built, and Modal looks for a place for 21 minutes
RESULT_S = 3600.0  # for a result on its way home
LATE_S = (0.0, 0.5, 1.0, 2.0, 4.0, 8.0)  # a volume may show a result later than its container's end
HEADROOM_MIB = 1024  # of a container's memory, for what carries the job out
CAVEAT = (
    "each trial has a container of its own on Modal; which sandbox holds it in there is known when it has run",
    "docs/backends.md says what is in that container",
)
CPUS, GPUS = 64, 8  # the most that one sandbox can have


class ModalBackend:
    """Sandboxes of the workspace that `modal token new` knows. `root` holds one small folder a job.

    Options are those of `options`. May be used from threads. `start` returns once Modal has found a place for the sandbox. No call waits for
    a service that is silent for longer than half a minute or so.
    """

    name = "modal"
    finds_again = True
    brings_environment = True  # the image has the problem's packages: none need be prepared here

    def __init__(
        self, root: Path, slots: int = 8, python: str = "", apt: Sequence[str] | str = (), region: str = "", cloud: str = ""
    ) -> None:
        self.root = Path(root).absolute()
        self._options = reading.read(
            self.name, {"slots": slots, "python": python, "apt": apt, "region": region, "cloud": cloud}, options.Options
        )
        self._watch = Watch(_is_gone, _is_settled)
        self._given_up: set[str] = set()  # keys whose start took too long
        self._images: dict[str, object] = {}
        self._lock = threading.Lock()

    def start(self, job: Job) -> str:
        """Begin, and return a handle. A key that runs, or has a result, is not run again: names are unique among running sandboxes, and a
        container that finds a result runs nothing.

        Raises UserError (no token, no such GPU, the image cannot be built), BackendDown (out of reach, silent, no room), ValueError for a key
        that is no name. A sandbox that is made after this was given up is ended at once.
        """
        if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}", job.key):
            raise ValueError(f"job key {job.key!r} is no plain name")
        folder = self.root / job.key
        if (folder / "sandbox").exists():
            return _handle(folder)
        folder.mkdir(parents=True, exist_ok=True)
        with in_our_words():
            _write(folder / "modal.json", msgspec.json.encode(msgspec.structs.replace(job, env={})))  # values may be secrets
        with self._lock:
            self._given_up.discard(job.key)
        app = within(asking.ANSWER_S, asking.app)  # who says nothing to that is not told more
        shelves, project = Shelves(library()), images.project_of(job)
        terms = patiently(BRING_S, lambda: self._send(shelves, job, project))
        try:
            patiently(BEGIN_S, lambda: self._begin(app, shelves, job, terms, project))
        except BackendDown:
            with self._lock:
                if not (folder / "sandbox").exists():
                    self._given_up.add(job.key)
                    raise
        return _handle(folder)

    def _send(self, shelves: Shelves, job: Job, project: Path | None) -> Terms:
        """Everything that the container needs lies in the volumes afterwards."""
        files: dict[str, bytes] = {}

        def keep(hint: str, make) -> str:
            data = make()
            files[name := parcel.digest(data)] = data
            return name

        there = msgspec.structs.replace(job, env=images.environment_there(job, project), gpu_kind="", data="")
        order = order_of(there, keep)
        order = msgspec.structs.replace(order, job=msgspec.structs.replace(there, data=job.data))
        hub = _hub_of(job)
        terms = Terms(
            data=shelves.bring_data(job),
            caches={link: shelves.bring_cache(target, os.path.basename(link)) for link, target in links_of(job).items()},
            has_hub=bool(hub),
        )
        if hub:
            shelves.bring_hub(hub)
        shelves.put(job.key, {**files, "terms.json": msgspec.json.encode(terms), "order.json": msgspec.json.encode(order)})
        return terms

    def _begin(self, app, shelves: Shelves, job: Job, terms: Terms, project: Path | None) -> None:
        """The sandbox runs and its id is written down, or nobody waits for it any more and it was ended."""
        identity = self._create(app, shelves, job, terms, project)
        with self._lock:
            if job.key not in self._given_up:
                _write(self.root / job.key / "sandbox", identity.encode())
                return
        library().Sandbox.from_id(identity).terminate()

    def _create(self, app, shelves: Shelves, job: Job, terms: Terms, project: Path | None) -> str:
        """Id of the sandbox of that name, made now unless one runs."""
        modal = library()
        volumes = {f"{MOUNTS}/job": shelves.jobs.with_mount_options(sub_path=f"/{job.key}")}
        if terms.data or terms.caches:
            volumes[f"{MOUNTS}/data"] = shelves.data.with_mount_options(read_only=True)
        if terms.has_hub:
            volumes[f"{MOUNTS}/hub"] = shelves.hub.with_mount_options(read_only=True)
        places = [path if path in volumes else "" for path in (f"{MOUNTS}/job", f"{MOUNTS}/data", f"{MOUNTS}/hub")]
        try:
            made = modal.Sandbox.create(
                images.PYTHON, "-c", LAUNCH, images.SOURCE, *places,
                app=app, name=job.key, image=self._image(modal, project), volumes=volumes, workdir="/tmp",
                timeout=min(LONGEST_S, int(job.timeout_s) + SETUP_S) if job.timeout_s > 0 else LONGEST_S,
                gpu=f"{job.gpu_kind or 'any'}:{job.gpus}" if job.gpus else None, cpu=float(max(1, job.cpus)),
                memory=job.memory_mib + HEADROOM_MIB if job.memory_mib else None, block_network=not job.network, **self._options.where,
            )  # fmt: skip
            return made.object_id
        except modal.exception.AlreadyExistsError:
            return _running(job.key)

    def _image(self, modal, project: Path | None):
        python, apt = self._options.python, self._options.packages
        key = images.digest_of(project, python, apt)
        with self._lock:
            if key not in self._images:
                self._images[key] = images.image(modal, project, python, apt)
            return self._images[key]

    def find(self, key: str) -> str:
        """Handle of a job that was begun under this key in this root, "" if none was. Asks Modal only where a start was cut short."""
        folder = self.root / key
        if (folder / "sandbox").exists():
            return _handle(folder)
        if not (folder / "modal.json").exists():
            return ""

        def look() -> str | None:
            running = _running(key)
            return running if running or Shelves(library()).has(key, RESULT) else None

        if (running := within(asking.ANSWER_S, look)) is None:
            return ""
        with in_our_words():
            _write(folder / "sandbox", running.encode())
        return _handle(folder)

    def wait(self, handles: Sequence[str], timeout_s: float | None) -> list[str]:
        """Those handles whose sandbox has ended, in the order given; [] only when the time ran out or nothing was asked. Raises BackendDown
        after two minutes without an answer of Modal's. Costs one question a sandbox each two seconds, more at first, however often it is called.
        """
        return self._watch.until({handle: _folder(handle) for handle in handles}, timeout_s)

    def news(self) -> list[tuple[str, str]]:
        """That Modal does not answer, and what to do about it."""
        return self._watch.news()

    def collect(self, handle: str) -> Outcome:
        """How the job ended; waits if it has not. A sandbox that is gone without a result is INFRASTRUCTURE, unless it was cancelled."""
        folder = _folder(handle)
        if outcome := homing.collected(folder):
            return outcome
        self.wait([handle], None)
        if not (folder / "modal.json").exists():
            return msgspec.structs.replace(homing.lost(folder.name, "nothing is left of the job"), folder=str(folder), backend=self.name)
        job = msgspec.json.decode((folder / "modal.json").read_bytes(), type=Job)
        is_cancelled = (folder / "cancelled").exists()
        result = patiently(RESULT_S, lambda: _result(Shelves(library()), job.key, LATE_S[:3] if is_cancelled else LATE_S))
        if result is None:
            with in_our_words():
                return homing.settle(_without_result(folder, is_cancelled), job, folder, self.name)
        outcome = homing.take_home(result, job, folder, self.name)
        if outcome.status is Status.CANCELLED and not is_cancelled:
            taken = msgspec.structs.replace(outcome, status=Status.INFRASTRUCTURE, reason="Modal took the container away")
            outcome = homing.settle(taken, job, folder, self.name)
        return outcome

    def follow(self, handle: str) -> Iterator[tuple[str, bytes]]:
        """Output as it comes through Modal's logs; from where those have a gap, or end too early, it comes with the result."""
        folder = _folder(handle)
        told = dict.fromkeys(tailing.STREAMS, 0)
        if not (folder / "outcome.json").exists() and (folder / "sandbox").exists():
            for stream, offset, data in logged(lambda: _sandbox(folder), lambda: bool(self.wait([handle], 0))):
                if offset > told[stream]:
                    break
                if data := data[told[stream] - offset :]:
                    told[stream] += len(data)
                    yield stream, data
        whole = Path(self.collect(handle).folder)
        for stream in tailing.STREAMS:
            with contextlib.suppress(OSError):
                if rest := (whole / stream).read_bytes()[told[stream] :]:
                    yield stream, rest

    def cancel(self, handle: str) -> None:
        """End the sandbox and everything in it. No error if it has ended."""
        folder = _folder(handle)
        if _is_settled(folder):
            return

        def end() -> None:
            sandbox = _sandbox(folder)
            if sandbox is not None and sandbox.returncode is None:
                (folder / "cancelled").touch()
                sandbox.terminate()

        within(asking.ANSWER_S, end)
        self._watch.hurry()

    def forget(self, handle: str) -> None:
        """Remove the job's folder here and in the volume; a job that still runs is cancelled first."""
        folder = _folder(handle)
        if not folder.exists():
            return
        with contextlib.suppress(EvogitError):  # what Modal does not remove now costs little: it lies in the volume
            self.cancel(handle)
            self.wait([handle], asking.ANSWER_S)  # its container may still write there
            within(asking.ANSWER_S, lambda: Shelves(library()).remove(folder.name))
        removal.discard(folder)
        self._watch.drop(folder)

    def resources(self) -> dict[str, object]:
        """What can be had: `slots` sandboxes, each with as much as Modal gives. One question to the service, which makes the app.

        Which level of the sandbox works inside of a container is only known there; the container itself is what holds every trial.
        """
        within(asking.ANSWER_S, asking.app)
        slots = self._options.slots
        return {"slots": slots, "cpus": slots * CPUS, "gpus": slots * GPUS, "sandbox": "none", "caveat": CAVEAT}

    def close(self) -> None:
        """There is nothing to let go of."""


def _hub_of(job: Job) -> str:
    """Hugging Face's cache on this machine, if the problem asks to read it (`[sandbox] read`)."""
    place = os.path.realpath(job.env.get("HF_HOME") or os.path.expanduser("~/.cache/huggingface"))
    return place if any(os.path.realpath(path) == place for path in job.view.readable) and os.path.isdir(place) else ""


def _running(key: str) -> str:
    """Id of the sandbox of that name that runs, "" if none does."""
    modal = library()
    try:
        return modal.Sandbox.from_name(app_name(), key).object_id
    except modal.exception.NotFoundError:
        return ""


def _sandbox(folder: Path):
    """The job's sandbox as Modal knows it now, None where it knows none."""
    modal = library()
    identity = (folder / "sandbox").read_text(encoding="ascii")
    try:
        return modal.Sandbox.from_id(identity) if identity else None
    except modal.exception.NotFoundError:
        return None


def _is_settled(folder: Path) -> bool:
    """True where the end of the job is known here, or nothing of its sandbox."""
    return (folder / "outcome.json").exists() or not (folder / "sandbox").exists()


def _is_gone(folder: Path) -> bool:
    """True once its sandbox has ended. One question to Modal."""
    if _is_settled(folder):
        return True
    sandbox = _sandbox(folder)
    return sandbox is None or sandbox.returncode is not None


def _result(shelves: Shelves, key: str, waits: Sequence[float]) -> bytes | None:
    pause = threading.Event()
    for wait_s in waits:
        pause.wait(wait_s)
        if (found := shelves.get(key, RESULT)) is not None:
            return found
    return None


def _without_result(folder: Path, is_cancelled: bool) -> Outcome:
    """The outcome of a sandbox that left none: its logs are all that there is."""
    with contextlib.ExitStack() as stack:
        files = {stream: stack.enter_context(open(folder / stream, "wb")) for stream in tailing.STREAMS}
        for stream, offset, data in logged(lambda: _sandbox(folder), lambda: True):
            files[stream].seek(offset)
            files[stream].write(data)
    if is_cancelled:
        return homing.lost(folder.name, "cancelled", Status.CANCELLED)
    code, last = within(asking.ANSWER_S, lambda: _last_words(folder))
    why = {None: "Modal knows nothing of its sandbox any more", 124: "its container's time was over", 137: "Modal took the container away"}
    return homing.lost(folder.name, why.get(code, f"its container ended with code {code}") + (f": {last[:300]}" if last else ""))


def _last_words(folder: Path) -> tuple[int | None, str]:
    """The exit code of a sandbox, None for one that is gone, and the last line that it said on its own behalf."""
    sandbox, last = _sandbox(folder), ""
    if sandbox is None:
        return None, ""
    with contextlib.suppress(library().exception.Error, OSError):
        last = next((line.strip() for line in reversed(sandbox.stderr.read().splitlines()) if line.strip()), "")
    return sandbox.returncode, last


def _write(path: Path, data: bytes) -> None:
    """Whole or not at all."""
    draft = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}")
    draft.write_bytes(data)
    os.replace(draft, path)


def _handle(folder: Path) -> str:
    return json.dumps({"key": folder.name, "folder": str(folder)})


def _folder(handle: str) -> Path:
    return Path(json.loads(handle)["folder"])
