"""A process that has imported what a container runs, and forks one off for each line on stdin: an import costs a second, a fork ten milliseconds."""

from __future__ import annotations

import json
import os
import runpy
import selectors
import signal
import sys

import google.cloud.storage  # noqa: F401 - this is what the fork saves

import evogit.backends.cloud.entrypoint
import evogit.backends.local  # noqa: F401


def say(**told: object) -> None:
    os.write(1, (json.dumps(told) + "\n").encode())


def become(request: dict) -> None:
    """In the child: what a container is. Ends as the program ends."""
    os.setsid()
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    log = os.open(request["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    nowhere = os.open(os.devnull, os.O_RDONLY)
    for source, target in ((nowhere, 0), (log, 1), (log, 2)):
        os.dup2(source, target)
    os.closerange(3, 64)
    os.environ.clear()
    os.environ.update(request["env"])
    os.chdir(request["env"]["HOME"])
    sys.stdin, sys.stdout, sys.stderr = os.fdopen(0), os.fdopen(1, "w", buffering=1), os.fdopen(2, "w", buffering=1)
    _, module, *arguments = request["argv"]
    sys.argv = [module, *arguments]
    sys.modules.pop(module, None)
    runpy.run_module(module, run_name="__main__", alter_sys=True)


def serve() -> dict | None:
    """Fork until a child comes back from it with its request, or nobody asks any more."""
    ended, wake = os.pipe()
    os.set_blocking(wake, False)
    os.set_blocking(ended, False)
    signal.set_wakeup_fd(wake)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    waiting = selectors.DefaultSelector()
    waiting.register(0, selectors.EVENT_READ)
    waiting.register(ended, selectors.EVENT_READ)
    text = b""
    while True:
        for key, _ in waiting.select():
            data = os.read(key.fd, 1 << 16)
            if key.fd == ended:
                reap()
                continue
            if not data:
                return None
            *lines, text = (text + data).split(b"\n")
            for line in lines:
                request = json.loads(line)
                pid = os.fork()
                if pid == 0:
                    return request
                say(number=request["number"], pid=pid)


def reap() -> None:
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            return
        say(pid=pid, code=os.waitstatus_to_exitcode(status))


if __name__ == "__main__" and (request := serve()) is not None:
    become(request)
