"""Run one program to its end: text in, bytes out, a clean environment, a clock, and nothing of it left afterwards.

It gives the program no variable that was not named, keeps no more of its output than the caps say, and does not judge what
came back. A program that cannot be started is the person's to mend (`UserError`); everything else is an `Ended`.
"""

from __future__ import annotations

import atexit
import hashlib
import os
import selectors
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import msgspec

from evogit.backends.processes import HAS_PROC, descendants, end_marked, send
from evogit.errors import UserError
from evogit.programs.confining import confined

MARK = "EVOGIT_PROGRAM"  # in the environment of all that a program starts: how what outlived it is found
STDOUT_CAP = 16 << 20  # bytes; a whole file may come back in it
STDERR_CAP = 256 << 10
CHUNK = 1 << 16
LINGER_S = 2.0  # how long pipes are emptied that somebody still holds after everything was killed

LET_THROUGH = (
    "PATH", "VIRTUAL_ENV", "LD_LIBRARY_PATH", "LANG", "LANGUAGE", "LC_ALL", "LC_CTYPE", "TZ",
    "HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY", "NO_PROXY", "https_proxy", "http_proxy", "all_proxy", "no_proxy",
    "SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "NODE_EXTRA_CA_CERTS",
)  # fmt: skip

_at_work: dict[str, subprocess.Popen[bytes]] = {}  # by the mark of what it started


class Ended(msgspec.Struct, frozen=True, kw_only=True):
    """How a program ended, and what it wrote."""

    code: int | None  # exit code, below 0 the signal that ended it; None where we ended it because its time was over
    stdout: bytes
    stderr: bytes
    cut: int = 0  # bytes of stdout that the cap took out of its middle
    seconds: float

    @property
    def how(self) -> str:
        """Its end in words, "" if it ended well."""
        if self.code is None:
            return f"it was ended after {self.seconds:.0f} s"
        if self.code < 0:
            with suppress(ValueError):
                return f"it died of {signal.Signals(-self.code).name}"
        return f"exit code {self.code}" if self.code else ""


def run(
    argv: Sequence[str],
    *,
    stdin: str,
    cwd: Path,
    env: Mapping[str, str],
    timeout_s: float,
    stdout_cap: int = STDOUT_CAP,
    stderr_cap: int = STDERR_CAP,
    room: Path | None = None,
) -> Ended:
    """Run to the end, at most `timeout_s` seconds, and kill all that it started. Raises UserError if it cannot be started.

    room: its private folder, if it is to be confined to that and to `cwd` where this machine can (`confining`).

    What a killed loop left at work in the same folder is ended first. About 5 ms more than the program itself.
    """
    mark = hashlib.sha256(os.fsencode(cwd.resolve())).hexdigest()[:20]
    end_marked(f"{MARK}={mark}".encode())
    began = time.monotonic()
    try:
        process = subprocess.Popen(
            confined(argv, cwd, room) if room is not None else list(argv),
            cwd=cwd,
            env={**env, MARK: mark},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
            start_new_session=True,
        )
    except (OSError, ValueError) as error:
        raise UserError(f"{argv[0]} cannot be started: {getattr(error, 'strerror', None) or error}", hint="is it a program?") from error
    _see_off(process, mark)
    pipes = _Pipes(process, stdin.encode("utf-8", "surrogateescape"), stdout_cap, stderr_cap)
    try:
        is_late = pipes.follow(began + timeout_s)
    finally:
        _end(process, mark)
        _at_work.pop(mark, None)
        pipes.drain()
    return Ended(
        code=None if is_late else process.returncode,
        stdout=pipes.out.value(),
        stderr=pipes.err.value(),
        cut=pipes.out.cut,
        seconds=time.monotonic() - began,
    )


@contextmanager
def private_home() -> Iterator[Path]:
    """A fresh folder with `home` and `tmp` in it, gone afterwards with all that a program left there."""
    with tempfile.TemporaryDirectory(prefix="evogit-program-", ignore_cleanup_errors=True) as folder:
        top = Path(folder).resolve()
        (top / "home").mkdir()
        (top / "tmp").mkdir()
        yield top


def clean_env(home: Path, names: Iterable[str] = ()) -> dict[str, str]:
    """What a program needs to find its way, and the variables of those names that are set. `home` is `private_home`'s folder."""
    env = {name: os.environ[name] for name in LET_THROUGH if name in os.environ}
    env.setdefault("LANG", "C.UTF-8")
    env |= {"HOME": str(home / "home"), "TMPDIR": str(home / "tmp"), "TERM": "dumb", "NO_COLOR": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    return env | {name: os.environ[name] for name in names if name in os.environ}


def _see_off(process: subprocess.Popen[bytes], mark: str) -> None:
    """A third Ctrl-C ends this process while the thread that waits for the program is at work: the program goes too."""
    if not _at_work:
        atexit.unregister(_end_all)
        atexit.register(_end_all)
    _at_work[mark] = process


def _end_all() -> None:
    for mark, process in list(_at_work.items()):
        _end(process, mark)


def _end(process: subprocess.Popen[bytes], mark: str) -> None:
    """Kill the program, what descends from it, its group, and what left all three but carries the mark."""
    if process.poll() is None:
        send(descendants(process.pid), signal.SIGSTOP, signal.SIGKILL)
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    if HAS_PROC:
        end_marked(f"{MARK}={mark}".encode())
    process.wait()


class _Pipes:
    """The three pipes of a program, emptied and filled side by side so that neither end waits for the other."""

    def __init__(self, process: subprocess.Popen[bytes], stdin: bytes, stdout_cap: int, stderr_cap: int) -> None:
        self.process = process
        self.out, self.err = Kept(stdout_cap), Kept(stderr_cap)
        self._left = memoryview(stdin)
        self._selector = selectors.DefaultSelector()
        for stream, events, kept in (
            (process.stdin, selectors.EVENT_WRITE, None),
            (process.stdout, selectors.EVENT_READ, self.out),
            (process.stderr, selectors.EVENT_READ, self.err),
        ):
            os.set_blocking(stream.fileno(), False)
            self._selector.register(stream, events, kept)

    def follow(self, until: float) -> bool:
        """Until the program has ended, whoever else holds its pipes; True if its time was over first."""
        while self._selector.get_map():
            left = until - time.monotonic()
            if left <= 0:
                return self.process.poll() is None
            self._turn(min(left, 0.1))
            if self.process.poll() is not None:
                return False  # what it wrote last is drained
        try:
            self.process.wait(max(0.0, until - time.monotonic()))
        except subprocess.TimeoutExpired:
            return True
        return False

    def drain(self) -> None:
        """What is left in the pipes once everybody was killed; then they are closed."""
        until = time.monotonic() + LINGER_S
        with self._selector:
            while self._selector.get_map() and time.monotonic() < until:
                self._turn(0.1)
        for stream in (self.process.stdin, self.process.stdout, self.process.stderr):
            with suppress(OSError):
                stream.close()

    def _turn(self, seconds: float) -> None:
        for key, _ in self._selector.select(seconds):
            is_over = self._write() if key.data is None else self._read(key.fd, key.data)
            if is_over:
                self._selector.unregister(key.fileobj)
                with suppress(OSError):
                    key.fileobj.close()

    def _write(self) -> bool:
        if self._left:
            try:
                self._left = self._left[os.write(self.process.stdin.fileno(), self._left[:CHUNK]) :]
            except BlockingIOError:
                return False
            except OSError:
                return True  # it does not read what it is told, which is its own affair
        return not self._left

    def _read(self, fd: int, kept: Kept) -> bool:
        try:
            data = os.read(fd, CHUNK)
        except BlockingIOError:
            return False
        except OSError:
            return True
        kept.feed(data)
        return not data


class Kept:
    """The beginning and the end of a stream, `cap` bytes in all."""

    def __init__(self, cap: int) -> None:
        self._half = max(1, cap // 2)
        self._head, self._tail = bytearray(), bytearray()
        self.cut = 0  # bytes that were left out between the two

    def feed(self, data: bytes) -> None:
        """Take some more."""
        room = self._half - len(self._head)
        self._head += data[:room] if room > 0 else b""
        self._tail += data[max(0, room) :]
        if len(self._tail) > 2 * self._half:
            self.cut += len(self._tail) - self._half
            del self._tail[: -self._half]

    def value(self) -> bytes:
        """What was kept; a line of its own says what is missing."""
        if len(self._tail) > self._half:
            self.cut += len(self._tail) - self._half
            del self._tail[: -self._half]
        marker = f"\n[evogit: {self.cut} bytes cut here]\n".encode() if self.cut else b""
        return bytes(self._head) + marker + bytes(self._tail)
