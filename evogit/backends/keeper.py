"""The keeper: a small process that starts a supervisor for each job it is told of, and outlives whoever started it.

Started once by `LocalBackend` in a session of its own, standard library only, so that a fork costs about a millisecond and
a terminal's Ctrl-C passes it by. Requests are JSON lines on stdin, one answer line each on stdout. When stdin closes it
starts nothing more, waits for its children and leaves. It knows nothing of jobs but how to fork.
"""

from __future__ import annotations

import gc
import json
import os
import select
import signal
import sys

from evogit.backends.supervisor import Signals, supervise

STDIN, STDOUT = 0, 1


def main() -> None:
    """Serve until stdin is closed and every child has ended."""
    gc.disable()  # nothing here makes cycles, and a collection in a child would copy every page
    signals = Signals()
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    poll = select.poll()
    poll.register(STDIN, select.POLLIN)
    poll.register(signals.fd, select.POLLIN)
    pending, is_open = b"", True
    while _reap() or is_open:
        for fd, _ in poll.poll():
            if fd == signals.fd:
                signals.take()
                continue
            data = os.read(STDIN, 1 << 16)
            *lines, pending = (pending + data).split(b"\n")
            if not data or not all(_answer(line, signals) for line in lines):
                is_open = False
                poll.unregister(STDIN)


def _reap() -> bool:
    """Take the children that ended; True while one is left."""
    while True:
        try:
            if os.waitpid(-1, os.WNOHANG)[0] == 0:
                return True
        except ChildProcessError:
            return False


def _answer(line: bytes, signals: Signals) -> bool:
    """Start what the line asks for and answer; False if nobody listens any more."""
    reply = _fork(json.loads(line), signals)
    try:
        os.write(STDOUT, reply)
    except BrokenPipeError:
        return False
    return True


def _fork(request: dict, signals: Signals) -> bytes:
    """A supervisor for `request`; its own first line, or an error line if it died before that."""
    ready, say = os.pipe()
    try:
        child = os.fork()
    except OSError as error:
        os.close(ready)
        os.close(say)
        return json.dumps({"error": f"no process can be started: {error.strerror}"}).encode() + b"\n"
    if child == 0:
        _be_supervisor(request, ready, say, signals)
    os.close(say)
    reply = b""
    while data := os.read(ready, 4096):
        reply += data
    os.close(ready)
    return reply or b'{"error": "the supervisor of the job died at once"}\n'


def _be_supervisor(request: dict, ready: int, say: int, signals: Signals) -> None:
    """In the child: never returns into the keeper's loop, whatever happens."""
    code = 1
    try:
        os.close(ready)
        os.close(signals.fd)
        null = os.open(os.devnull, os.O_RDWR)
        os.dup2(null, STDIN)
        os.dup2(null, STDOUT)
        os.close(null)
        supervise(request, say)
        code = 0
    finally:
        if sys.exc_info()[0] is not None:
            sys.excepthook(*sys.exc_info())  # stderr is the keeper's log
        os._exit(code)
