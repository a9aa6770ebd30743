"""Trials on a Ray cluster: its scheduler, its object store and its nodes; the sandbox of a node holds them there as at home.

    root/<key>/shipped.json, and once it has come home: stdout stderr artifacts/ outcome.json

A trial is Ray's from its start until its outcome is home: it outlives the loop, and any loop with the same `root` goes on with the handle.
This process holds no connection (`ray_line` does, in another one) and starts no cluster.
"""

from __future__ import annotations

import json
import os
import re
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec

from evogit import removal
from evogit.backends import homing, parcel, ray_terms, tailing
from evogit.backends.order import order_of
from evogit.backends.patience import Patience
from evogit.backends.ray_line import ANSWER_S, Line
from evogit.backends.sandbox import FORCE
from evogit.domain.trial import Job, Outcome, Status
from evogit.errors import BackendDown, UserError

SHIPPED = "shipped.json"
WAIT_S = 30.0  # one request's; a cluster that dies meanwhile is noticed soon after
LOOK_S = 20.0  # between looks at Ray's queue
COLLECT_S = 900.0  # artifacts may be large
KNOWN = 1000  # parcels whose digests are remembered


class RayBackend:
    """Jobs as tasks of a Ray cluster, which is there already. Options: [backend.ray] in evogit.toml, see `ray_terms.Options`.

    A start-to-outcome costs some 50 ms beyond the job once a node's worker is warm, a second the first time on each slot of a node.
    May be used from threads.
    """

    name = "ray"
    finds_again = True

    def __init__(self, root: Path, slots: int | None = None, address: str = "auto", **options: object) -> None:
        """Raises UserError for an option that is none. Connects with the first question."""
        self.root = Path(root).absolute()
        self._options = ray_terms.options_of({"slots": slots, "address": address, **options})
        self._patience = Patience(
            "in the queue of the Ray cluster", "other trials, or other users, have what they ask for: see `ray status`"
        )
        self._next_look = 0.0  # at the queue
        told: dict[str, Any] = {name: getattr(self._options, name) for name in ("address", "namespace")}
        told["env"] = {FORCE: os.environ[FORCE]} if os.environ.get(FORCE) else {}
        self._line = Line(told, self.root / "ray.log")
        self._digests: dict[str, str] = {}  # what never changes -> the digest of its parcel
        self._arrived: dict[str, bytes] = {}  # key -> its small parcel, which came with the news that it has ended
        self._lock = threading.Lock()
        self._resources: dict[str, object] = {}
        self._expected = 0  # trials that may soon run at once, until the cluster has been told

    def expect(self, count: int) -> None:
        """With the first trial, so many workers of the nodes are started and made ready: half a second of a core each."""
        self._expected = min(count, self._options.slots or count)

    def start(self, job: Job) -> str:
        """Begin, and return a handle. A key that the cluster knows is not run again.

        Raises BackendDown where the cluster is out of reach, UserError where no node could ever run it, ValueError for a key that is no name.
        """
        if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,120}", job.key):
            raise ValueError(f"job key {job.key!r} is no plain name")
        folder = self.root / job.key
        if homing.collected(folder) is not None:
            return _handle(folder)
        terms = ray_terms.terms_of(job, self._options)
        makers: dict[str, Callable[[], bytes]] = {}
        parcels: dict[str, bytes] = {}
        try:
            # Which devices it gets is Ray's choice, and the kind with it: on the node there are no others to be seen.
            order = order_of(msgspec.structs.replace(job, gpu_kind=""), self._keeper(makers, parcels), data_at=self._options.data)
            _write_shipped(folder, job)
        except ValueError as error:
            raise UserError(str(error), hint='put it on the nodes, and write where: data = "/path" under [backend.ray]') from error
        except OSError as error:
            raise BackendDown(
                f"cannot ship {error.filename or folder}: {error.strerror}", hint="see `df -h`, then resume the loop"
            ) from error
        self._send(job.key, msgspec.msgpack.encode(order), makers, parcels, terms)
        return _handle(folder)

    def _keeper(self, makers: dict[str, Callable[[], bytes]], parcels: dict[str, bytes]) -> Callable[[str, Callable[[], bytes]], str]:
        """`keep` for `order_of`: what is new goes into `parcels`, how to make again what the cluster should have into `makers`."""

        def keep(hint: str, make: Callable[[], bytes]) -> str:
            digest = self._digests.get(hint, "") if hint else ""
            if not digest:
                data = make()
                digest = parcel.digest(data)
                parcels[digest] = data
            if hint:
                with self._lock:
                    self._digests[hint] = digest
                    while len(self._digests) > KNOWN:
                        del self._digests[next(iter(self._digests))]
            makers[digest] = make
            return digest

        return keep

    def _send(
        self, key: str, order: bytes, makers: dict[str, Callable[[], bytes]], parcels: dict[str, bytes], terms: ray_terms.Terms
    ) -> None:
        while True:
            told = self._line.ask(
                "start", key, order, list(makers), parcels, terms, self._expected, within_s=COLLECT_S if parcels else ANSWER_S
            )
            if refused := told.get("refused"):
                raise UserError(refused[0], hint=refused[1])
            missing = [digest for digest in told.get("missing", ()) if digest not in parcels]
            if not missing:
                self._expected = 0
                return
            parcels = {digest: makers[digest]() for digest in missing}

    def find(self, key: str) -> str:
        """Handle of a job that was started under this key here, "" if none was, or the cluster has lost it."""
        folder = self.root / key
        if not (folder / SHIPPED).exists():
            return ""
        return _handle(folder) if homing.collected(folder) is not None or self._line.ask("knows", key) else ""

    def wait(self, handles: Sequence[str], timeout_s: float | None) -> list[str]:
        """Those handles whose job has ended, in the order given; [] only when the time ran out or nothing was asked."""
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        folders = {handle: _folder(handle) for handle in handles}
        while folders:
            ended = {handle for handle, folder in folders.items() if _is_home(folder)}
            left = WAIT_S if deadline is None else max(0.0, min(WAIT_S, deadline - time.monotonic()))
            away = {folder.name: handle for handle, folder in folders.items() if handle not in ended}
            if away:
                pause = 0.0 if ended else left
                for key, parcelled in self._line.ask("wait", list(away), pause, within_s=pause + ANSWER_S):
                    ended.add(away[key])
                    self._arrived |= {key: parcelled} if parcelled else {}
                self._look_at_queue(list(away))
            self._patience.see((folders[handle].name for handle in ended), ())
            if ended or (deadline is not None and time.monotonic() >= deadline):
                return [handle for handle in handles if handle in ended]
        return []

    def _look_at_queue(self, keys: list[str]) -> None:
        """Which of these wait for their turn, asked a few times a minute."""
        now = time.monotonic()
        if now >= self._next_look:
            self._next_look = now + LOOK_S
            self._patience.see(keys, self._line.ask("queued", keys))

    def news(self) -> list[tuple[str, str]]:
        """That jobs which were asked about have waited long in Ray's queue, and what to do about it."""
        return self._patience.news()

    def collect(self, handle: str) -> Outcome:
        """How the job ended; waits if it has not. Takes home what came of it. A job that the cluster has lost is INFRASTRUCTURE."""
        folder = _folder(handle)
        if (outcome := homing.collected(folder)) is not None:
            return outcome
        job = _shipped(folder)
        if job is None:
            return msgspec.structs.replace(homing.lost(folder.name, "nothing is left of the job"), folder=str(folder), backend=self.name)
        if job.key not in self._arrived:
            self.wait([handle], None)
        arrived = self._arrived.pop(job.key, None)
        told = {"parcel": arrived} if arrived else self._line.ask("result", job.key, within_s=COLLECT_S)
        if lost := told.get("lost"):
            return homing.settle(homing.lost(job.key, lost[1], Status(lost[0])), job, folder, self.name)
        return homing.take_home(told["parcel"], job, folder, self.name)

    def follow(self, handle: str) -> Iterator[tuple[str, bytes]]:
        """Output as it comes, until the job has ended. Of a job that printed very much, the beginning may be missing."""
        folder, at, is_over = _folder(handle), 0, False
        while not is_over:
            at, pieces, is_over = self._line.ask("listen", folder.name, at, LOOK_S, within_s=LOOK_S + ANSWER_S)
            self._look_at_queue([folder.name])
            yield from ((stream, data) for stream, data in pieces)
        if at == 0:
            yield from tailing.follow(folder, lambda: True)

    def cancel(self, handle: str) -> None:
        """Ask the job to end, on its node or in Ray's queue. Returns at once; `wait` tells when it is over."""
        folder = _folder(handle)
        if not _is_home(folder):
            self._line.ask("cancel", folder.name)

    def forget(self, handle: str) -> None:
        """Free what the cluster holds of the job, and its folder here; a job that still runs is cancelled first."""
        folder = _folder(handle)
        self._arrived.pop(folder.name, None)
        self._patience.see([folder.name], ())
        if (folder / SHIPPED).exists():
            self._line.ask("forget", folder.name)
            removal.discard(folder)

    def resources(self) -> dict[str, object]:
        """What the cluster has, its kinds of GPUs by Ray's names, and the weakest sandbox of its nodes. Asked once: a few seconds, for
        a probe runs on the nodes."""
        if not self._resources:
            told: dict[str, Any] = self._line.ask("resources", within_s=2 * ANSWER_S)
            self._resources = {"slots": self._options.slots or max(1, told["cpus"]), **told}
        return dict(self._resources)

    def close(self) -> None:
        """Hang up. Trials go on; where there are none the clerk leaves the cluster."""
        self._line.close("leave")


def _handle(folder: Path) -> str:
    return json.dumps({"key": folder.name, "folder": str(folder)})


def _folder(handle: str) -> Path:
    return Path(json.loads(handle)["folder"])


def _is_home(folder: Path) -> bool:
    """True if nothing is to be asked of the cluster: the outcome is here, or the job was forgotten."""
    return (folder / "outcome.json").exists() or not (folder / SHIPPED).exists()


def _write_shipped(folder: Path, job: Job) -> None:
    """What is needed to take the job home. Values of its environment may be secrets, and are not."""
    folder.mkdir(parents=True, exist_ok=True)
    draft = folder / f".{SHIPPED}.{os.getpid()}.{threading.get_ident()}"
    draft.write_bytes(msgspec.json.encode(msgspec.structs.replace(job, env={})))
    os.replace(draft, folder / SHIPPED)


def _shipped(folder: Path) -> Job | None:
    try:
        return msgspec.json.decode((folder / SHIPPED).read_bytes(), type=Job)
    except (OSError, msgspec.DecodeError):
        return None
