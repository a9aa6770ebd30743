"""The keeper: a small process that starts a supervisor for each job it is told of, and outlives whoever started it.

Started once by `LocalBackend` in a session of its own, standard library only, so that a fork costs about a millisecond and
a terminal's Ctrl-C passes it by; one supervisor is always forked ahead, so that no job waits for that. Requests are JSON
lines on stdin, one answer line each on stdout. When stdin closes it starts nothing more, waits for its children and leaves; on a
leash it ends them first, and the kernel does where it is killed itself.
It knows nothing of jobs but how to fork.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import json
import os
import select
import signal
import sys

from evogit.backends import cgroups, processes
from evogit.backends.launching import PR_SET_PDEATHSIG
from evogit.backends.supervisor import Signals, supervise

STDIN, STDOUT = 0, 1
LEASH = "--leash"  # jobs end with the process that asked for them


def main() -> None:
    """Serve until stdin is closed and every child has ended."""
    gc.disable()  # nothing here makes cycles, and a collection in a child would copy every page
    signals = Signals()
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    places = cgroups.places()
    cgroups.sweep(places)
    poll = select.poll()
    poll.register(STDIN, select.POLLIN)
    poll.register(signals.fd, select.POLLIN)
    pending, is_open, spare = b"", True, _spare(signals, places)
    while _reap(places) or is_open:
        for fd, _ in poll.poll():
            if fd == signals.fd:
                signals.take()
                continue
            data = os.read(STDIN, 1 << 16)
            *lines, pending = (pending + data).split(b"\n")
            is_open = bool(data)
            for line in lines:
                is_open = is_open and _answer(line, spare, signals, places)
                spare = _spare(signals, places) if is_open else None
            if not is_open:
                poll.unregister(STDIN)
                if spare is not None:
                    spare.dismiss()
                if LEASH in sys.argv:
                    processes.send(processes.children(os.getpid()), signal.SIGTERM)


def _reap(places: cgroups.Places) -> bool:
    """Take the children that ended, and their groups; True while one is left."""
    while True:
        try:
            pid = os.waitpid(-1, os.WNOHANG)[0]
        except ChildProcessError:
            return False
        if pid == 0:
            return True
        cgroups.remove(places, pid)


class Spare:
    """A supervisor without a job, forked while nobody waits, so that a request costs a message and no fork.

    It ends when it hears that nobody can ask it any more: it outlives neither its keeper nor its use.
    """

    def __init__(self, signals: Signals, places: cgroups.Places) -> None:
        """Raises OSError where no process can be started."""
        told, self._ask = os.pipe()
        self._ready, say = os.pipe()
        keeper = os.getpid()
        try:
            if os.fork() == 0:
                if LEASH in sys.argv:
                    _end_with(keeper)
                os.close(self._ask)
                os.close(self._ready)
                _be_supervisor(told, say, signals, places)
        except OSError:
            self.dismiss()
            raise
        finally:
            os.close(told)
            os.close(say)

    def take(self, line: bytes) -> bytes:
        """Give it its job. Its own first line; b"" if it died before that."""
        with contextlib.suppress(BrokenPipeError), open(self._ask, "wb") as ask:
            ask.write(line + b"\n")
        reply = b""
        while data := os.read(self._ready, 4096):
            reply += data
        os.close(self._ready)
        return reply

    def dismiss(self) -> None:
        """It is not needed."""
        os.close(self._ask)
        os.close(self._ready)


def _spare(signals: Signals, places: cgroups.Places) -> Spare | None:
    """The next one, or None where there is no room for a process now: then it is tried again when there is a job."""
    try:
        return Spare(signals, places)
    except OSError:
        return None


def _answer(line: bytes, spare: Spare | None, signals: Signals, places: cgroups.Places) -> bool:
    """Start what the line asks for and answer; False if nobody listens any more.

    A spare that died is asked again in a new one: a key runs once, whoever claims it.
    """
    reply = spare.take(line) if spare is not None else b""
    try:
        reply = reply or Spare(signals, places).take(line) or b'{"error": "the supervisor of the job died at once"}\n'
    except OSError as error:
        reply = json.dumps({"error": f"no process can be started: {error.strerror}"}).encode() + b"\n"
    try:
        os.write(STDOUT, reply)
    except BrokenPipeError:
        return False
    return True


def _end_with(keeper: int) -> None:
    """In the child: the kernel asks it to end its job when the keeper dies, which nobody else could."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
        if os.getppid() != keeper:  # it died before the line above
            os._exit(0)


def _be_supervisor(told: int, say: int, signals: Signals, places: cgroups.Places) -> None:
    """In the child: never returns into the keeper's loop, whatever happens."""
    code = 1
    try:
        os.close(signals.fd)
        null = os.open(os.devnull, os.O_RDWR)
        os.dup2(null, STDIN)
        os.dup2(null, STDOUT)
        os.close(null)
        supervise(told, say, places)
        code = 0
    finally:
        if sys.exc_info()[0] is not None:
            sys.excepthook(*sys.exc_info())  # stderr is the keeper's log
        os._exit(code)
