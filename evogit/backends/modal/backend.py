"""Trials in sandboxes of Modal: one container a trial, named by the job's key, which carries the order out that lies in a volume.

    root/<key>/job.json sandbox cancelled stdout stderr artifacts outcome.json

Not exercised against the service: it was met as a loopback server that speaks its protocol. It runs nothing here, and keeps no
process of its own.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from evogit.backends import homing, parcel, tailing
from evogit.backends.modal import images
from evogit.backends.modal.aboard import LAUNCH, RESULT, Terms, untold
from evogit.backends.modal.speaking import in_our_words, library
from evogit.backends.modal.volumes import Shelves, app_name
from evogit.backends.order import links_of, order_of
from evogit.domain.trial import Job, Outcome, Status
from evogit.errors import BackendDown, EvogitError

MOUNTS = "/mnt/evogit"
SETUP_S = 900  # of a container's time, beyond the job's own
LONGEST_S = 24 * 3600  # that Modal gives a sandbox
LOOK_S = (0.25, 2.0)  # between looks at running sandboxes, the first and the longest
ANSWER_S = 30.0  # for the first word of the service
LATE_S = (0.0, 0.5, 1.0, 2.0, 4.0, 8.0)  # a volume may show a result later than its container's end
HEADROOM_MIB = 1024  # of a container's memory, for what carries the job out
CAVEAT = (
    "each trial has a container of its own on Modal; which sandbox holds it in there is known when it has run",
    "docs/backends.md says what is in that container",
)
CPUS, GPUS = 64, 8  # the most that one sandbox can have


class ModalBackend:
    """Sandboxes of the workspace that `modal token new` knows. `root` holds one small folder a job.

    slots: the most jobs at once; python: "3.12", "" for what the project asks for; apt: further Debian packages of the image;
    region, cloud: where, "" for anywhere. May be used from threads. `start` returns once Modal has found a place for the sandbox.
    """

    name = "modal"
    finds_again = True
    brings_environment = True  # the image has the problem's packages: none need be prepared here

    def __init__(
        self, root: Path, slots: int = 8, python: str = "", apt: Sequence[str] | str = (), region: str = "", cloud: str = ""
    ) -> None:
        self.root = Path(root).absolute()
        self._slots, self._python = slots, str(python)
        self._apt = tuple(name for name in (apt.split(",") if isinstance(apt, str) else apt) if name)
        self._where = {name: value for name, value in (("region", region), ("cloud", cloud)) if value}
        self._images: dict[str, object] = {}
        self._lock = threading.Lock()

    def start(self, job: Job) -> str:
        """Begin, and return a handle. A key that runs, or has a result, is not run again: names are unique among running sandboxes, and a
        container that finds a result runs nothing.

        Raises UserError (no token, no such GPU, the image cannot be built), BackendDown (out of reach, no room), ValueError for a key that
        is no name.
        """
        if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}", job.key):
            raise ValueError(f"job key {job.key!r} is no plain name")
        folder = self.root / job.key
        if (folder / "sandbox").exists():
            return _handle(folder)
        folder.mkdir(parents=True, exist_ok=True)
        with in_our_words():
            _write(folder / "job.json", msgspec.json.encode(msgspec.structs.replace(job, env={})))  # values may be secrets
            shelves, project = Shelves(library()), images.project_of(job)
            terms = self._send(shelves, job, project)
            _write(folder / "sandbox", self._create(shelves, job, terms, project).encode())
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

    def _create(self, shelves: Shelves, job: Job, terms: Terms, project: Path | None) -> str:
        """Id of the sandbox of that name, made now unless one runs."""
        modal = library()
        app = modal.App.lookup(app_name(), create_if_missing=True)
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
                memory=job.memory_mib + HEADROOM_MIB if job.memory_mib else None, block_network=not job.network, **self._where,
            )  # fmt: skip
            return made.object_id
        except modal.exception.AlreadyExistsError:
            return _running(job.key)

    def _image(self, modal, project: Path | None):
        key = images.digest_of(project, self._python, self._apt)
        with self._lock:
            if key not in self._images:
                self._images[key] = images.image(modal, project, self._python, self._apt)
            return self._images[key]

    def find(self, key: str) -> str:
        """Handle of a job that was begun under this key in this root, "" if none was. Asks Modal only where a start was cut short."""
        folder = self.root / key
        if (folder / "sandbox").exists():
            return _handle(folder)
        if not (folder / "job.json").exists():
            return ""
        with in_our_words():
            running = _running(key)
            if not running and Shelves(library()).get(key, RESULT) is None:
                return ""
        _write(folder / "sandbox", running.encode())
        return _handle(folder)

    def wait(self, handles: Sequence[str], timeout_s: float | None) -> list[str]:
        """Those handles whose sandbox has ended, in the order given; [] only when the time ran out or nothing was asked. One question to
        Modal a handle and look."""
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        pause, idle = LOOK_S[0], threading.Event()
        while True:
            ended = [handle for handle in handles if self._has_ended(_folder(handle))]
            left = pause if deadline is None else min(pause, deadline - time.monotonic())
            if ended or not handles or left <= 0:
                return ended
            idle.wait(left)
            pause = min(2 * pause, LOOK_S[1])

    def _has_ended(self, folder: Path) -> bool:
        if (folder / "outcome.json").exists() or not (folder / "sandbox").exists():
            return True
        with in_our_words():
            sandbox = _sandbox(folder)
            return sandbox is None or sandbox.returncode is not None

    def collect(self, handle: str) -> Outcome:
        """How the job ended; waits if it has not. A sandbox that is gone without a result is INFRASTRUCTURE, unless it was cancelled."""
        folder = _folder(handle)
        if outcome := homing.collected(folder):
            return outcome
        self.wait([handle], None)
        if not (folder / "job.json").exists():
            return msgspec.structs.replace(homing.lost(folder.name, "nothing is left of the job"), folder=str(folder), backend=self.name)
        job = msgspec.json.decode((folder / "job.json").read_bytes(), type=Job)
        is_cancelled = (folder / "cancelled").exists()
        with in_our_words():
            result = _result(Shelves(library()), job.key, LATE_S[:3] if is_cancelled else LATE_S)
            if result is None:
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
            for stream, offset, data in _logged(folder):
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
        if self._has_ended(folder):
            return
        (folder / "cancelled").touch()
        with in_our_words():
            sandbox = _sandbox(folder)
            if sandbox is not None:
                sandbox.terminate()

    def forget(self, handle: str) -> None:
        """Remove the job's folder here and in the volume; a job that still runs is cancelled first."""
        folder = _folder(handle)
        if not folder.exists():
            return
        with contextlib.suppress(EvogitError):  # what Modal does not remove now costs little: it lies in the volume
            self.cancel(handle)
            self.wait([handle], ANSWER_S)  # its container may still write there
            with in_our_words():
                Shelves(library()).remove(folder.name)
        shutil.rmtree(folder, ignore_errors=True)

    def resources(self) -> dict[str, object]:
        """What can be had: `slots` sandboxes, each with as much as Modal gives. One question to the service, which makes the app.

        Which level of the sandbox works inside of a container is only known there; the container itself is what holds every trial.
        """
        told: list[EvogitError | None] = []
        asking = threading.Thread(target=lambda: told.append(_ask()), daemon=True)
        asking.start()
        asking.join(ANSWER_S)
        if not told:
            raise BackendDown(f"Modal did not answer in {ANSWER_S:g} s", hint="is the network up? see https://status.modal.com")
        if told[0] is not None:
            raise told[0]
        return {"slots": self._slots, "cpus": self._slots * CPUS, "gpus": self._slots * GPUS, "sandbox": "none", "caveat": CAVEAT}

    def close(self) -> None:
        """There is nothing to let go of."""


def _ask() -> EvogitError | None:
    try:
        with in_our_words():
            library().App.lookup(app_name(), create_if_missing=True)
    except EvogitError as error:
        return error
    return None


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


def _result(shelves: Shelves, key: str, waits: Sequence[float]) -> bytes | None:
    pause = threading.Event()
    for wait_s in waits:
        pause.wait(wait_s)
        if (found := shelves.get(key, RESULT)) is not None:
            return found
    return None


def _logged(folder: Path) -> Iterator[tuple[str, int, bytes]]:
    """What the job said, as Modal's logs have it: (stream, offset, bytes), until they end or fail."""
    modal = library()
    with contextlib.suppress(modal.exception.Error, OSError):
        sandbox = _sandbox(folder)
        for line in sandbox.stdout if sandbox is not None else ():
            if (told := untold(line)) is not None:
                yield told


def _without_result(folder: Path, is_cancelled: bool) -> Outcome:
    """The outcome of a sandbox that left none: its logs are all that there is."""
    modal, sandbox, last = library(), _sandbox(folder), ""
    with contextlib.ExitStack() as stack:
        files = {stream: stack.enter_context(open(folder / stream, "wb")) for stream in tailing.STREAMS}
        for stream, offset, data in _logged(folder):
            files[stream].seek(offset)
            files[stream].write(data)
    if is_cancelled:
        return homing.lost(folder.name, "cancelled", Status.CANCELLED)
    with contextlib.suppress(modal.exception.Error, OSError):
        lines = sandbox.stderr.read().splitlines() if sandbox is not None else []
        last = next((line.strip() for line in reversed(lines) if line.strip()), "")
    code = sandbox.returncode if sandbox is not None else None
    why = {None: "Modal knows nothing of its sandbox any more", 124: "its container's time was over", 137: "Modal took the container away"}
    return homing.lost(folder.name, why.get(code, f"its container ended with code {code}") + (f": {last[:300]}" if last else ""))


def _write(path: Path, data: bytes) -> None:
    """Whole or not at all."""
    draft = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}")
    draft.write_bytes(data)
    os.replace(draft, path)


def _handle(folder: Path) -> str:
    return json.dumps({"key": folder.name, "folder": str(folder)})


def _folder(handle: str) -> Path:
    return Path(json.loads(handle)["folder"])
