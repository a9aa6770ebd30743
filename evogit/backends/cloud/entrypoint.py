"""What runs in the container: take a ticket, claim it, carry the job out, hand in what came of it.

    python -m evogit.backends.cloud.entrypoint gs://BUCKET/PATH/jobs/KEY/ticket.json

Who finds the claim made by another, or no ticket any more, leaves without running anything. Exit code 0: the trial succeeded, or was
not ours; 1: it did not succeed; 2: nothing could be done.
"""

from __future__ import annotations

import io
import os
import signal
import sys
import tarfile
import time
import uuid
import zlib
from collections.abc import Callable
from types import FrameType

import msgspec

from evogit.backends import outpost
from evogit.backends.cloud import dataset
from evogit.backends.cloud.clients import Clients
from evogit.backends.cloud.executions import STORAGE
from evogit.backends.cloud.storage import Store, split
from evogit.backends.cloud.telling import Voice
from evogit.backends.cloud.ticket import Claim, Ending, Names, Ticket
from evogit.backends.order import Order
from evogit.domain.trial import Outcome, Status
from evogit.errors import EvogitError

SUCCEEDED, FAILED, UNABLE = 0, 1, 2
PATHS = ("PATH", "LD_LIBRARY_PATH")
OF_IMAGE = (*PATHS, "CUDA_HOME", "CUDA_VERSION", "NVIDIA_VISIBLE_DEVICES", "NVIDIA_DRIVER_CAPABILITIES")  # what an image knows better


class Stay:
    """One stay of one job in this container."""

    def __init__(self, address: str) -> None:
        self._is_evicted = False
        before, _ = split(address)
        root, self._key = before.rsplit("/jobs/", 1)
        self._names = Names(self._key)
        self._clients = Clients(os.environ.get("GOOGLE_CLOUD_PROJECT", ""), os.environ.get(STORAGE, ""))
        self._store = Store(self._clients, root)
        self._execution = os.environ.get("CLOUD_RUN_EXECUTION", "")

    def evict(self, _number: int = 0, _frame: FrameType | None = None) -> None:
        """SIGTERM: somebody cancels the execution, or the machine goes. Ten seconds are left."""
        self._is_evicted = True

    def serve(self) -> int:
        """Carry the job out, if it is ours. Raises EvogitError where the bucket cannot be used."""
        text = self._store.get(self._names.ticket)
        if text is None:
            return _leave("the job was withdrawn")
        ticket = msgspec.json.decode(text, type=Ticket)
        claim = Claim(execution=self._execution, nonce=uuid.uuid4().hex)
        if not self._store.create(self._names.claim, msgspec.json.encode(claim)):
            return _leave("another execution has claimed the job")
        voice = Voice(self._store, self._names, ticket)
        voice.say("claimed", f"{ticket.order.job.label} by {self._execution or 'a process outside Cloud Run'}")
        try:
            self._prepare(ticket, voice)
            result = outpost.carry_out(
                _as_image_says(ticket.order), self._fetcher(ticket), hear=voice.hear, is_cancelled=self._watcher(ticket, voice)
            )
        except (OSError, ValueError, EvogitError) as error:
            return self._give_up(voice, f"the container could not prepare the job: {error}")
        voice.flush()
        return self._hand_in(voice, result)

    def _prepare(self, ticket: Ticket, voice: Voice) -> None:
        if ticket.dataset is not None:
            voice.say("dataset", dataset.prepare(ticket.dataset, self._clients))
        voice.say("command", " ".join(ticket.order.job.argv))

    def _fetcher(self, ticket: Ticket) -> Callable[[str], bytes]:
        def fetch(digest: str) -> bytes:
            place, name = split(ticket.parcels[digest])
            data = Store(self._clients, place).get(name)
            if data is None:
                raise ValueError(f"{ticket.parcels[digest]} is gone")
            return data

        return fetch

    def _watcher(self, ticket: Ticket, voice: Voice) -> Callable[[], bool]:
        """Asked several times a second whether the job is to end."""
        next_look = time.monotonic()

        def is_cancelled() -> bool:
            nonlocal next_look
            voice.tick()
            if self._is_evicted:
                return True
            if time.monotonic() < next_look:
                return False
            next_look = time.monotonic() + ticket.look_s
            try:
                return self._store.exists(self._names.cancel)
            except EvogitError:
                return False

        return is_cancelled

    def _hand_in(self, voice: Voice, result: bytes) -> int:
        outcome = _outcome(result)
        if outcome.status is Status.CANCELLED and not self._store.exists(self._names.cancel):
            return self._give_up(voice, "the execution was ended from outside while the trial ran")
        self._store.create(self._names.result, result)
        voice.say("ended", f"{outcome.status.value}{f': {outcome.reason}' if outcome.reason else ''}; {len(result):,} bytes handed in")
        self._end(Ending(execution=self._execution, happenings=tuple(voice.happenings)))
        return SUCCEEDED if outcome.status is Status.OK else FAILED

    def _give_up(self, voice: Voice, why: str) -> int:
        voice.say("ended", why)
        self._end(Ending(execution=self._execution, lost=why, happenings=tuple(voice.happenings)))
        return UNABLE

    def _end(self, ending: Ending) -> None:
        self._store.create(self._names.ended, msgspec.json.encode(ending))


def _as_image_says(order: Order) -> Order:
    """The order, its job's PATH led by the image's, where the interpreter with the requirements is, and told where the GPU's libraries are."""
    job, env = order.job, dict(order.job.env)
    for name in OF_IMAGE:
        if name in os.environ:
            env[name] = os.pathsep.join(filter(None, (os.environ[name], env.get(name, "")))) if name in PATHS else os.environ[name]
    if job.env.get("PATH", "") == os.defpath:  # that one is nobody's machine in particular
        env["PATH"] = os.defpath
    return msgspec.structs.replace(order, job=msgspec.structs.replace(job, env=env))


def _outcome(result: bytes) -> Outcome:
    with tarfile.open(fileobj=io.BytesIO(zlib.decompress(result)), mode="r:") as tar:
        file = tar.extractfile("outcome.json")
        return msgspec.json.decode(file.read() if file else b"", type=Outcome)


def _leave(why: str) -> int:
    print(msgspec.json.encode({"severity": "INFO", "event": "left", "message": why}).decode(), flush=True)
    return SUCCEEDED


def main(arguments: list[str]) -> int:
    """Serve the ticket that the command line names."""
    if len(arguments) != 1 or "/jobs/" not in arguments[0]:
        print("usage: python -m evogit.backends.cloud.entrypoint gs://BUCKET/PATH/jobs/KEY/ticket.json", file=sys.stderr)
        return UNABLE
    try:
        stay = Stay(arguments[0])
        signal.signal(signal.SIGTERM, stay.evict)
        return stay.serve()
    except EvogitError as error:
        print(msgspec.json.encode({"severity": "ERROR", "event": "unable", "message": error.message}).decode(), flush=True)
        return UNABLE


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
