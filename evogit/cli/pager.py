"""The pager, chosen as git chooses it: GIT_PAGER, core.pager, PAGER, less. Text is handed to it whole; what it does with it is its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

QUIET = {"LESS": "FRX", "LV": "-c"}  # what git sets, where nobody else did


def show(text: str, directory: str = ".") -> bool:
    """Page a text; returns when the person has left the pager. False, and nothing is printed, where no pager is wanted or none can be run."""
    command = chosen(directory)
    if command in ("", "cat"):
        return False
    env = {**QUIET, **os.environ}
    sys.stdout.flush()
    before = signal.signal(signal.SIGINT, lambda *_: None)  # Ctrl-C is the pager's, which does not inherit a handler
    try:
        with subprocess.Popen(command, shell=True, stdin=subprocess.PIPE, env=env) as pager:
            try:
                pager.stdin.write(text.encode(sys.stdout.encoding or "utf-8", "backslashreplace"))
                pager.stdin.close()
            except BrokenPipeError:  # it was left before the end, or could not begin
                pass
        return pager.returncode not in (126, 127)  # the shell's words for "cannot be run" and "not found"
    finally:
        signal.signal(signal.SIGINT, before)


def chosen(directory: str = ".") -> str:
    """The command of the pager, "" for none. One question to git, 4 ms."""
    try:
        done = subprocess.run(["git", "-C", directory, "var", "GIT_PAGER"], capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return os.environ.get("PAGER", "less")
    return done.stdout.strip() if not done.returncode else os.environ.get("PAGER", "less")
