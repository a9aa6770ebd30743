"""The line to a process that speaks to Ray for us (`ray_driver`): Ray ends its driver's process when a cluster dies, and that is not the loop.

Frames are msgpack after eight bytes of length: a request (number, verb, arguments), an answer (number, value, failure). Any thread may
ask. A line that broke is opened again with the next request.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import queue
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import msgspec

from evogit.errors import BackendDown, UserError

CONNECT_S = 45.0  # Ray's import and a slow cluster; a port that nobody answers at is found out before
CLIENT_CONNECT_S = 200.0  # the same through a `ray://` server, which is asked again where it fails
ANSWER_S = 60.0
LAUNCH = "import sys; sys.path[0] = sys.argv[1]; from evogit.backends.ray_driver import main; main()"
ENV = {
    "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
}  # under `uv run` Ray would send the working directory to its nodes
SILENCE = "is the cluster up? `ray status` says; then resume the loop"


class Failure(NamedTuple):
    """Why a request failed: "user" (they can mend it) or "down"."""

    kind: str
    message: str
    hint: str

    def error(self) -> UserError | BackendDown:
        """As it is raised here."""
        return (UserError if self.kind == "user" else BackendDown)(self.message, hint=self.hint)


def write_frame(file: BinaryIO, frame: object, lock: threading.Lock | None = None) -> None:
    """One frame. Raises OSError where nobody reads, and waits for as long as whoever should read does something else."""
    data = msgspec.msgpack.encode(frame)
    with lock or contextlib.nullcontext():
        _write(file, data)


def _write(file: BinaryIO, data: bytes) -> None:
    file.write(len(data).to_bytes(8, "big"))
    file.write(data)
    file.flush()


def read_frame(file: BinaryIO) -> Any:
    """The next frame, None at the end."""
    head = file.read(8)
    data = file.read(int.from_bytes(head, "big")) if len(head) == 8 else b""
    return msgspec.msgpack.decode(data) if data else None


class Line:
    """`told` is what `ray_driver.Driver` needs to connect; `log` takes what Ray says."""

    def __init__(self, told: dict[str, Any], log: Path) -> None:
        self._told, self._log, self._lock = told, log, threading.Lock()
        self._peer: Peer | None = None

    def ask(self, verb: str, *arguments: Any, within_s: float = ANSWER_S) -> Any:
        """The answer. Raises BackendDown where there is none in time or the cluster is at fault, UserError where a person can mend it."""
        return self._connected().ask(verb, *arguments, within_s=within_s)

    def _connected(self) -> Peer:
        with self._lock:
            if self._peer is None or self._peer.is_gone:
                self._peer = None
                self._peer = Peer(self._told, self._log)
            return self._peer

    def close(self, farewell: str, within_s: float = 15.0) -> None:
        """Say farewell (a verb) and end the process, if there is one."""
        peer, self._peer = self._peer, None
        if peer is None or peer.is_gone:
            return
        with contextlib.suppress(BackendDown, UserError):
            peer.ask(farewell, within_s=within_s)
        peer.end()


def _patience(told: dict[str, Any]) -> float:
    """Seconds for connecting to the address that is told, or that Ray's "auto" stands for."""
    address = told.get("address", "")
    at = os.environ.get("RAY_ADDRESS", "") if address == "auto" else address
    return CLIENT_CONNECT_S if at.startswith("ray://") else CONNECT_S


class Peer:
    """One process at the other end, connected. It is never used again once `is_gone`."""

    def __init__(self, told: dict[str, Any], log: Path) -> None:
        """Raises BackendDown, UserError."""
        self.is_gone = False
        self._log = log
        self._numbers = itertools.count(1)
        self._boxes: dict[int, queue.SimpleQueue[Any]] = {0: queue.SimpleQueue()}
        self._outbox: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()  # frames on their way out; None: there will be no more
        self._process = self._start()
        for work in (self._listen, self._send):
            threading.Thread(target=work, daemon=True).start()
        self._outbox.put(msgspec.msgpack.encode(told))
        try:
            self._answer(0, _patience(told))
        except (BackendDown, UserError):
            self.end()
            raise

    def ask(self, verb: str, *arguments: Any, within_s: float) -> Any:
        """As `Line.ask`."""
        number = next(self._numbers)
        box = self._boxes[number] = queue.SimpleQueue()
        if self.is_gone:
            box.put(None)
        self._outbox.put(msgspec.msgpack.encode((number, verb, arguments)))
        return self._answer(number, within_s)

    def _answer(self, number: int, within_s: float) -> Any:
        try:
            answer = self._boxes[number].get(timeout=within_s)
        except queue.Empty:
            self.end()
            raise BackendDown(f"the Ray cluster has not answered for {within_s:g} s", hint=SILENCE) from None
        finally:
            self._boxes.pop(number, None)
        if answer is None:
            self.end()
            raise BackendDown(f"the connection to the Ray cluster broke (what Ray said is in {self._log})", hint=SILENCE)
        value, failure = answer
        if failure is not None:
            raise Failure(*failure).error()
        return value

    def _start(self) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-X", "utf8", "-c", LAUNCH, str(Path(__file__).resolve().parents[2])]
        try:
            self._log.parent.mkdir(parents=True, exist_ok=True)
            with open(self._log, "ab") as log:
                return subprocess.Popen(
                    command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, cwd="/", env={**os.environ, **ENV}, start_new_session=True
                )  # fmt: skip
        except OSError as error:
            raise BackendDown(f"cannot start a process for Ray: {error.strerror}", hint=f"see `df -h` and {self._log}") from error

    def _listen(self) -> None:
        """In a thread: hand answers to those who wait; at the end, nothing to all."""
        with contextlib.suppress(OSError, ValueError, msgspec.DecodeError):
            while (frame := read_frame(self._process.stdout)) is not None:
                number, value, failure = frame
                if box := self._boxes.get(number):
                    box.put((value, failure))
        self._hang_up()

    def _send(self) -> None:
        """In a thread: pass requests on. A process that does not read holds up this one alone; those who wait give it up in their time."""
        with contextlib.suppress(OSError), self._process.stdin as file:
            while (data := self._outbox.get()) is not None:
                _write(file, data)
        self._hang_up()

    def _hang_up(self) -> None:
        """Nothing more goes out, and nothing to all who wait."""
        self.is_gone = True
        self._outbox.put(None)
        for box in list(self._boxes.values()):
            box.put(None)

    def end(self) -> None:
        """End the process. Trials go on."""
        self.is_gone = True
        self._process.kill()
        self._process.wait()
        self._hang_up()
