"""A person at a terminal, from end to end: keys go in, letters come out, a loop in another process obeys, git has what came of it."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from evogit.lab import Lab
from toys import TOML, TRAIN, git, make_toy

PATIENCE_S = 120.0
SLOW = TRAIN.replace('if __name__ == "__main__":\n', 'if __name__ == "__main__":\n    import time\n\n    time.sleep(0.4)\n')

pytestmark = pytest.mark.skipif(shutil.which("tmux") is None, reason="tmux is not installed")


class Terminal:
    """A tmux session of its own server."""

    def __init__(
        self, folder: Path, where: Path, command: str, width: int = 120, height: int = 40, env: dict[str, str] | None = None
    ) -> None:
        self._socket = str(folder / "s")
        shown = {"TERM": "xterm-256color", "LANG": "C.UTF-8", "COLORTERM": "truecolor", **(env or {})}
        line = " ".join(
            [
                "env",
                *(part for name in ("NO_COLOR", "COLUMNS", "LINES") for part in ("-u", name)),
                *(f"{name}={shlex.quote(value)}" for name, value in shown.items()),
                command,
            ]
        )
        self._tmux("-f", os.devnull, "new-session", "-d", "-x", str(width), "-y", str(height), f"{line}; echo ENDED $?; cat", cwd=where)
        self._tmux("set-option", "-g", "escape-time", "0")

    def _tmux(self, *args: str, cwd: Path | None = None) -> str:
        done = subprocess.run(["tmux", "-S", self._socket, *args], cwd=cwd, capture_output=True, text=True, check=True, timeout=PATIENCE_S)
        return done.stdout

    def press(self, *keys: str) -> None:
        """Keys by their names."""
        self._tmux("send-keys", *keys)

    def write(self, text: str) -> None:
        """Letters as they are."""
        self._tmux("send-keys", "-l", text)

    def resize(self, width: int, height: int) -> None:
        self._tmux("resize-window", "-x", str(width), "-y", str(height))

    @property
    def text(self) -> str:
        """What stands on the screen."""
        return self._tmux("capture-pane", "-p")

    @property
    def raw(self) -> str:
        """The same with its escapes."""
        return self._tmux("capture-pane", "-p", "-e")

    def until(self, words: str | Callable[[], object]) -> str:
        """Wait until words stand there, or something is so; the screen then."""
        deadline = time.monotonic() + PATIENCE_S
        while not (words in self.text if isinstance(words, str) else words()):
            assert time.monotonic() < deadline, f"never: {words}\n{self.text}"
            time.sleep(0.05)
        return self.text

    def close(self) -> None:
        subprocess.run(["tmux", "-S", self._socket, "kill-server"], capture_output=True, check=False, timeout=PATIENCE_S)


@pytest.fixture
def terminal() -> Iterator[Callable[..., Terminal]]:
    opened: list[Terminal] = []
    with tempfile.TemporaryDirectory() as folder:  # a socket's path may be no longer than 107 bytes

        def open_(where: Path, *args: str, **more) -> Terminal:
            command = " ".join(map(shlex.quote, [sys.executable, "-m", "evogit.cli", "tui", *args]))
            opened.append(Terminal(Path(folder), where, command, **more))
            return opened[-1]

        yield open_
        for each in opened:
            each.close()


@pytest.fixture
def loop(tmp_path) -> Iterator[Callable[[Path], subprocess.Popen]]:
    started: list[subprocess.Popen] = []

    def start(where: Path) -> subprocess.Popen:
        command = [sys.executable, "-m", "evogit.cli", "loop", "--max-runs", "200"]
        with (tmp_path / "loop.log").open("w") as log:
            started.append(subprocess.Popen(command, cwd=where, stdout=log, stderr=subprocess.STDOUT))
        return started[-1]

    yield start
    for each in started:
        if each.poll() is None:
            each.send_signal(signal.SIGINT)
            each.send_signal(signal.SIGINT)
            each.wait(PATIENCE_S)


@pytest.mark.slow
def test_a_session(tmp_path, terminal, loop):
    top = make_toy(tmp_path / "toy", toml=TOML.replace("[0, 1]", "[0]"), train=SLOW)
    on = terminal(top)
    on.until("waiting for a campaign")

    searching = loop(top)
    on.until("running")
    lab = Lab.open(top)
    on.until(lambda: len(lab.runs()) >= 3 if lab.has_campaign and lab.refresh() is not None else False)
    on.until(lambda: f"{len(lab.runs())} runs" in on.text or lab.refresh() is None)

    on.press("p")
    on.until("Nothing further is begun")
    on.press("Enter")
    on.until("paused")
    assert lab.status().is_paused
    on.until(lambda: not lab.flying())
    lab.refresh()
    target = next(r for r in lab.runs() if r.generation and r.is_measured and not r.is_kept)

    on.until(f"{len(lab.runs())} runs")
    on.press("Home")
    for _ in range(len(lab.runs()) - 1 - target.seq):
        on.press("Down")
    on.press("J")
    on.until(f"judge run {target.label}")
    on.write("it is half the size")
    on.until("it is half the size")
    on.press("Enter")
    on.until(lambda: lab.refresh() is not None and lab.run(target.label).judged)
    assert lab.run(target.label).is_kept and "it is half the size" in lab.run(target.label).judged
    on.until(lambda: re.search(rf"★ +{target.label} +● keep ", on.text))

    on.press("Enter")
    on.until("prediction and outcome")
    on.press("P")
    on.until("onto main")
    on.press("Enter")
    on.until(lambda: target.summary[:30] in git(top, "log", "--format=%s", "main"))
    assert target.commit in git(top, "log", "--format=%B", "main")

    on.press("p")
    on.until("The loop begins runs again")
    on.press("Enter")
    on.until(lambda: not lab.status().is_paused)
    on.press("T")
    on.until("The loop ends once")
    on.press("Enter")
    assert searching.wait(PATIENCE_S) == 0
    on.until("no loop")

    on.resize(80, 24)
    on.press("1")
    on.until("verdict")
    on.press("q")
    on.until("ENDED 0")


def test_a_terminal_without_colour_or_unicode_gets_neither(repo, terminal):
    on = terminal(repo, env={"NO_COLOR": "1", "LANG": "C"})

    on.until("60 runs")

    assert on.text.isascii()
    codes = {code for sequence in on.raw.split("\x1b[")[1:] for code in sequence.partition("m")[0].split(";")}
    assert codes <= {"", "0", "1", "2", "3", "4", "7", "39", "49"}


def test_a_pipe_and_a_dumb_terminal_are_told_what_to_do_instead(repo):
    done = subprocess.run([sys.executable, "-m", "evogit.cli", "tui"], cwd=repo, capture_output=True, text=True, timeout=60, check=False)

    assert done.returncode == 2
    assert "this is no terminal" in done.stderr and "evogit status --watch" in done.stderr


def test_a_theme_that_there_is_not_is_refused_with_those_that_there_are(repo, terminal):
    on = terminal(repo, "--theme", "solarised")

    text = on.until("ENDED 2")

    assert "there is no theme 'solarised'" in text and "evogit-light" in text
