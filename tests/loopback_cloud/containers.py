"""Containers: each a process that runs the entrypoint in an environment that is its own, forked off one that has imported it already.

The image is this very environment: its interpreter stands for the image's.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

TOP = Path(__file__).resolve().parents[2]
ZYGOTE = Path(__file__).with_name("zygote.py")


class Containers:
    """Processes of one server."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._zygote: subprocess.Popen[str] | None = None
        self._ended: dict[int, Callable[[int], None]] = {}
        self._answers: dict[int, int] = {}
        self._condition = threading.Condition()
        self._count = 0
        self.image: dict[str, str] = {}  # variables that the image sets

    def start(self, argv: list[str], env: dict[str, str], ended: Callable[[int], None]) -> int:
        """Run `python -m MODULE ...`; `ended` is called with its exit code, negative for a signal. Returns its process id."""
        with self._condition:
            zygote = self._zygote or self._begin()
            self._count += 1
            number = self._count
            home = self._folder / f"container-{number}"
            home.mkdir()
            home.chmod(0o711)
            base = {"PATH": f"{Path(sys.executable).parent}:{os.defpath}", "HOME": str(home), "TMPDIR": str(home)}
            base |= {name: os.environ[name] for name in ("EVOGIT_SANDBOX",) if name in os.environ}
            base |= self.image
            told = {"number": number, "argv": argv[1:], "env": {**base, **env}, "log": str(home / "log")}
            zygote.stdin.write(json.dumps(told) + "\n")
            zygote.stdin.flush()
            self._condition.wait_for(lambda: number in self._answers, 60)
            pid = self._answers.pop(number)
            code = self._answers.pop(-pid, None)
            if code is None:
                self._ended[pid] = ended
                return pid
        ended(code)
        return pid

    def signal(self, pid: int, number: int) -> None:
        """Send a signal to a container's process."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)

    def logs(self, count: int) -> list[str]:
        """What the processes of the newest containers said."""
        return [(self._folder / f"container-{number}" / "log").read_text() for number in range(self._count - count + 1, self._count + 1)]

    def wait_for_all(self, seconds: float) -> bool:
        """True once no container runs any more."""
        with self._condition:
            return self._condition.wait_for(lambda: not self._ended, seconds)

    def end_all(self) -> None:
        """End all of them, and wait until they have."""
        self.image = {}
        with self._condition:
            for pid in self._ended:
                self.signal(pid, signal.SIGKILL)
            self._condition.wait_for(lambda: not self._ended, 30)

    def close(self) -> None:
        """End all of them, and what starts them."""
        self.end_all()
        if self._zygote is not None:
            self._zygote.stdin.close()
            self._zygote.wait(30)
            self._zygote.stdout.close()

    def _begin(self) -> subprocess.Popen[str]:
        env = {**os.environ, "PYTHONPATH": str(TOP)}
        self._zygote = subprocess.Popen(
            [sys.executable, str(ZYGOTE)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=env, start_new_session=True
        )
        threading.Thread(target=self._listen, args=(self._zygote,), daemon=True).start()
        return self._zygote

    def _listen(self, zygote: subprocess.Popen[str]) -> None:
        for line in zygote.stdout:
            told = json.loads(line)
            with self._condition:
                if "number" in told:
                    self._answers[told["number"]] = told["pid"]
                    self._condition.notify_all()
                    continue
                ended = self._ended.pop(told["pid"], None)
                if ended is None:
                    self._answers[-told["pid"]] = told["code"]  # it ended before its start was told
                self._condition.notify_all()
            if ended is not None:  # who is told may be waiting for another start
                threading.Thread(target=ended, args=(told["code"],), daemon=True).start()
