"""How fast the full screen is at a long campaign: first paint, a run from its verdict to the screen, scrolling, memory. Prints a table.

    python benchmarks/tui.py [--runs 10000] [--repeat 10] [--repo FOLDER]

The campaign is made up by make_history.py. Three ways: headless (the app in this process, no terminal), pty (`evogit tui` in a process
of its own, what it writes is read as a terminal would), tmux (the same in a tmux session, what stands on its screen is looked at).
Nothing is asserted: a time depends on the machine and on its load, which the heading names.
"""

from __future__ import annotations

import argparse
import asyncio
import fcntl
import os
import pty
import select
import shutil
import signal
import statistics
import struct
import subprocess
import sys
import tempfile
import termios
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE)]

import make_history

from evogit.domain.plan import Forecast
from evogit.domain.verdict import Decision, Verdict
from evogit.git import ledger, refs
from evogit.git.messages import RunMessage
from evogit.lab import Lab

if TYPE_CHECKING:
    from rich.console import RenderableType
    from textual.screen import Screen

    from evogit.tui.app import EvogitApp

COLUMNS, ROWS = 120, 40
PATIENCE_S = 60.0
SHOWN = "Frontier"  # is on the first frame
NEWEST = "the newest"  # is there while the rest is read
HELD_S = 3.0  # how long a key is held down
KEYS_S = 60  # keys a second of a keyboard's repeat
BUDGETS = {"first paint": 0.5, "a run on screen": 0.25, "frames a second": 30.0, "memory": 250.0}


class Writer:
    """Decides runs, as a loop of another process would: one compare-and-swap of the branch is the verdict."""

    def __init__(self, repo: Path) -> None:
        lab = Lab.open(repo)
        history = lab.campaign.history
        self.repo, self.tag, self.seq = lab.repo, lab.tag, history.next_seq
        self.tip, self.incumbent = history.tip, history.incumbent
        self.number = 1 + max(history.numbers.values())
        self.like = next(r for r in reversed(history.runs) if r.verdict is Verdict.DISCARD and r.trials)

    def land(self) -> tuple[str, float]:
        """Decide one more run; its label, and the moment of the verdict (time.perf_counter)."""
        import msgspec

        label = str(self.number)
        said = RunMessage(
            label=label, campaign=self.tag, emitter="contrarian", agent="offline", summary=f"landed {label} now", hypothesis="it shows at once",
            change="reversal", forecast=Forecast(mean=0.1, spread=0.01), sources=f"{self.number:064x}",
        )  # fmt: skip
        run = ledger.write_run(self.repo, tree=self.repo.tree_of(self.incumbent), parents=(self.incumbent,), run=said)
        lines = [msgspec.json.encode(msgspec.structs.replace(t, run=run, id=f"{self.number:012x}{t.seed:04x}")) for t in self.like.trials]
        tip = ledger.write_decision(
            self.repo, tip=self.tip, run=run, label=label, incumbent=self.incumbent, seq=self.seq, campaign=self.tag,
            decision=Decision(verdict=Verdict.DISCARD, reason="no better", gain=-0.01), lines=lines,
        )  # fmt: skip
        refs.move(self.repo, refs.branch(self.tag), tip, self.tip, "decided")
        at = time.perf_counter()
        self.tip, self.seq, self.number = tip, self.seq + 1, self.number + 1
        return label, at


# a process of its own -----------------------------------------------------------------------------------------------------------


class Pty:
    """`evogit tui` on a pseudo-terminal."""

    def __init__(self, repo: Path) -> None:
        self.began = time.perf_counter()
        self.pid, self._fd = pty.fork()
        if self.pid == 0:
            os.chdir(repo)
            os.environ.update({"TERM": "xterm-256color", "COLORTERM": "truecolor", "LANG": "C.UTF-8"})
            os.execv(sys.executable, [sys.executable, "-m", "evogit.cli", "tui"])
        fcntl.ioctl(self._fd, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
        self._read = b""

    def press(self, keys: str) -> None:
        os.write(self._fd, keys.encode())

    def until(self, words: str) -> float:
        """Wait until words were written; the moment."""
        deadline = time.perf_counter() + PATIENCE_S
        while words.encode() not in self._read:
            if time.perf_counter() > deadline:
                raise TimeoutError(f"never on the screen: {words}")
            self.take(0.5)
        return time.perf_counter()

    def take(self, wait_s: float) -> bytes:
        """What was written since, at most that long waited for."""
        ready, _, _ = select.select([self._fd], [], [], wait_s)
        data = os.read(self._fd, 1 << 20) if ready else b""
        self._read += data
        return data

    def forget(self) -> None:
        while self.take(0.3):
            pass
        self._read = b""

    def frames(self) -> float:
        """Frames a second while a key is held down: how often the first row of the table was written anew."""
        self.forget()
        began, sent, read = time.perf_counter(), 0, b""
        while (now := time.perf_counter()) - began < HELD_S:
            if (now - began) * KEYS_S > sent:
                self.press("\x1b[B")
                sent += 1
            read += self.take(0.002)
        return frames_of(read) / HELD_S

    def memory_mib(self) -> float:
        return memory_of(self.pid)

    def close(self) -> None:
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        os.close(self._fd)


class Tmux:
    """The same in a tmux session of its own server."""

    def __init__(self, repo: Path, folder: Path) -> None:
        self._socket, self._piped = str(folder / "s"), folder / "piped"
        self.close()
        command = f"exec env TERM=tmux-256color COLORTERM=truecolor LANG=C.UTF-8 {sys.executable} -m evogit.cli tui"
        self.began = time.perf_counter()
        self._tmux("-f", os.devnull, "new-session", "-d", "-x", str(COLUMNS), "-y", str(ROWS), command, cwd=repo)
        self.pid = int(self._tmux("list-panes", "-F", "#{pane_pid}"))

    def _tmux(self, *args: str, cwd: Path | None = None) -> str:
        return subprocess.run(["tmux", "-S", self._socket, *args], cwd=cwd, capture_output=True, text=True, check=True).stdout

    def press(self, keys: str) -> None:
        self._tmux("send-keys", "-l", keys)

    def until(self, words: str) -> float:
        deadline = time.perf_counter() + PATIENCE_S
        while words not in self._tmux("capture-pane", "-p"):
            if time.perf_counter() > deadline:
                raise TimeoutError(f"never on the screen: {words}")
            time.sleep(0.01)  # a look is a process: it must not take the processor from what is looked at
        return time.perf_counter()

    def forget(self) -> None:
        time.sleep(0.5)

    def frames(self) -> float:
        self._piped.write_bytes(b"")
        self._tmux("pipe-pane", f"cat >> {self._piped}")
        began, sent = time.perf_counter(), 0
        while (now := time.perf_counter()) - began < HELD_S:
            due = int((now - began) * KEYS_S) - sent
            if due > 0:
                self._tmux("send-keys", "-N", str(due), "Down")
                sent += due
            time.sleep(0.01)
        self._tmux("pipe-pane")
        time.sleep(0.3)
        return frames_of(self._piped.read_bytes()) / HELD_S

    def memory_mib(self) -> float:
        return memory_of(self.pid)

    def close(self) -> None:
        subprocess.run(["tmux", "-S", self._socket, "kill-server"], capture_output=True, check=False)


def frames_of(written: bytes) -> int:
    """How often the row in the middle of the table was written."""
    row = ROWS - 8
    return written.count(b"\x1b[%d;1H" % row)


def memory_of(pid: int) -> float:
    """Resident MiB of a process."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    return 0.0


def installed(folder: Path) -> None:
    """The environment of an installed program: its bytecode is kept, and nothing of the tester's terminal has a say."""
    for name in ("NO_COLOR", "COLUMNS", "LINES", "PYTHONDONTWRITEBYTECODE"):
        os.environ.pop(name, None)
    os.environ |= {"PYTHONPATH": str(HERE.parent), "PYTHONPYCACHEPREFIX": str(folder)}


def measure(open_: Callable[[], Pty | Tmux], writer: Writer, runs: int, repeat: int) -> dict[str, list[float]]:
    """First paints of fresh processes; then one of them is worked with."""
    found: dict[str, list[float]] = {"first paint": [], "newest runs": [], "all runs": []}
    total = f"{writer.seq:,} runs"
    on = open_()  # the first one compiles
    on.until(total)
    on.close()
    for n in range(repeat):
        on = open_()
        try:
            found["first paint"].append(on.until(SHOWN) - on.began)
            found["newest runs"].append(on.until("discard") - on.began)
            found["all runs"].append(on.until(total) - on.began)
            if n == repeat - 1:
                found |= worked_with(on, writer, repeat)
        finally:
            on.close()
    return found


def worked_with(on: Pty | Tmux, writer: Writer, repeat: int) -> dict[str, list[float]]:
    on.forget()
    landed = []
    for _ in range(2 * repeat):
        time.sleep(0.15)
        label, at = writer.land()
        landed.append(on.until(f"landed {label}") - at)
    frames = [on.frames()]
    loaded = on.memory_mib()
    for key in "23451":
        on.press(key)
        on.forget()
    time.sleep(max(1.0, writer.seq / 2000))  # the portfolio is folded
    return {"a run on screen": landed, "frames a second": frames, "memory": [loaded, on.memory_mib()]}


# in this process ------------------------------------------------------------------------------------------------------------------


def painted_app(repo: Path) -> tuple[EvogitApp, asyncio.Event]:
    """The app, and what is set by each of its frames once that is made into what a terminal is sent.

    Without a terminal Textual leaves that last step out; and its pilot cannot time a frame, since `pause` sleeps 20 ms and more on its own.
    """
    from textual._compositor import CompositorUpdate

    from evogit.tui.app import EvogitApp

    drawn = asyncio.Event()

    class Painted(EvogitApp):
        def _display(self, screen: Screen, renderable: RenderableType | None) -> None:
            super()._display(screen, renderable)
            if isinstance(renderable, CompositorUpdate) and renderable.render_segments(self.console):
                drawn.set()

    return Painted(lambda tag: Lab.open(repo, tag=tag or None)), drawn


async def headless(repo: Path, writer: Writer, repeat: int) -> dict[str, list[float]]:
    """The app without a terminal: every frame is laid out, rendered and made into what a terminal is sent; none is written."""
    from evogit.tui.widgets.runtable import RunTable

    app, drawn = painted_app(repo)
    landed: list[float] = []
    async with app.run_test(size=(COLUMNS, ROWS)):
        while app.book is None or not app.book.is_whole or app.status is None:
            await asyncio.sleep(0.01)
        table = app.screen.query_one(RunTable)
        for _ in range(2 * repeat):
            await asyncio.sleep(0.15)
            label, at = writer.land()
            while not shows(app, f"landed {label}"):
                drawn.clear()
                await drawn.wait()
            landed.append(time.perf_counter() - at)
        began, frames = time.perf_counter(), 300
        for n in range(frames):
            drawn.clear()
            table.scroll_to(y=n * 7 % table.max_scroll_y, animate=False)
            await drawn.wait()
        rate = frames / (time.perf_counter() - began)
    return {"a run on screen": landed, "frames a second": [rate], "memory": [memory_of(os.getpid())]}


def shows(app: EvogitApp, words: str) -> bool:
    """True if a line of the screen, as it was drawn last, has the words."""
    return any(words in strip.text for strip in app.screen._compositor.render_strips())


# the table ------------------------------------------------------------------------------------------------------------------------


def rows(found: dict[str, dict[str, list[float]]]) -> list[str]:
    names = ("first paint", "newest runs", "all runs", "a run on screen", "frames a second", "memory")
    lines = [f"{'':<18}" + "".join(f"{way:>26}" for way in found) + f"{'budget':>14}"]
    for name in names:
        budget = BUDGETS.get(name)
        said = "" if budget is None else f"{budget:g} {'s' if budget < 1 else '/s' if name == 'frames a second' else 'MiB'}"
        lines.append(f"{name:<18}" + "".join(f"{cell(name, ways.get(name, [])):>26}" for ways in found.values()) + f"{said:>14}")
    return lines


def cell(name: str, values: list[float]) -> str:
    if not values:
        return "-"
    if name == "frames a second":
        return f"{values[0]:.0f} /s"
    if name == "memory":
        return f"{max(values):.0f} MiB"
    return f"{statistics.median(values):.3f} s, worst {max(values):.3f}"


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--runs", type=int, default=10_000, help="of the campaign that is read")
    parser.add_argument("--repeat", type=int, default=10, help="processes that are started; twice as many runs land")
    parser.add_argument("--repo", type=Path, help="a repository with such a campaign; default: one is made up")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="evogit-tui-") as folder:
        repo = asked.repo or Path(folder) / "repo"
        if asked.repo is None:
            list(make_history.make(repo, asked.runs, "big", 0))
        installed(Path(folder) / "bytecode")
        writer = Writer(repo)
        load = os.getloadavg()[0]
        print(f"{writer.seq:,} runs, {COLUMNS} x {ROWS}, Python {sys.version.split()[0]}, {os.cpu_count()} CPUs, load {load:.1f} before\n")
        found = {"headless": asyncio.run(headless(repo, writer, asked.repeat))}
        found["pty"] = measure(lambda: Pty(repo), writer, asked.runs, asked.repeat)
        if shutil.which("tmux"):
            with tempfile.TemporaryDirectory() as sockets:
                found["tmux"] = measure(lambda: Tmux(repo, Path(sockets)), writer, asked.runs, asked.repeat)
        print("\n".join(rows(found)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
