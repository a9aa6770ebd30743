"""Record the pictures of the README from a real campaign: `python docs/pictures/record.py`, or with --repo and --tag of one that is there.

Without --repo it clones this repository into a temporary folder and runs the demo campaign in it (minutes). Each picture is what
one command printed, in a terminal of its own, drawn as SVG. Nothing is made up, shortened or coloured by hand.
"""

from __future__ import annotations

import argparse
import fcntl
import io
import os
import pty
import struct
import subprocess
import sys
import tempfile
import termios
import time
from pathlib import Path

from rich.console import Console
from rich.terminal_theme import TerminalTheme
from rich.text import Text

TOP = Path(__file__).resolve().parent.parent.parent
CAP = 100_000  # bytes of one picture
PATIENCE_S = 60.0
ROWS = 200  # of the terminal: more than any command prints, so that none opens a pager

# name -> columns of the terminal, command. {tag}, {base} are filled in.
PICTURES = {
    "tui": (110, "evogit tui --tag {tag}"),
    "tui-run": (110, "evogit tui --tag {tag}"),
    "git-log": (104, "git log --graph --oneline {base}..autoresearch/{tag}"),
    "log": (110, "evogit log --tag {tag}"),
    "frontier": (96, "evogit frontier --tag {tag}"),
}

# Those that fill the screen: rows; words that are waited for and keys that are pressed then, in turns; words that stand there in the end.
SCREENS: dict[str, tuple[int, list[tuple[str, list[str]]], str]] = {
    "tui": (30, [], "no loop"),
    "tui-run": (30, [("no loop", ["s"]), ("by val", ["Home", "Enter"])], "prediction and outcome"),
}

THEME = TerminalTheme(
    (24, 26, 31),
    (208, 211, 217),
    [(60, 64, 72), (232, 104, 104), (126, 200, 120), (226, 190, 98), (104, 160, 232), (196, 132, 220), (92, 194, 200), (208, 211, 217)],
    [
        (122, 128, 140),
        (240, 130, 130),
        (150, 220, 144),
        (240, 208, 126),
        (134, 182, 244),
        (214, 158, 236),
        (120, 214, 220),
        (240, 242, 245),
    ],
)

NORMAL, BRIGHT = THEME.ansi_colors._colors[:8], THEME.ansi_colors._colors[8:]
SCREEN_THEME = TerminalTheme((13, 18, 24), (205, 214, 224), NORMAL, BRIGHT)  # the ground of evogit-dark

# rich's own frame would load a font from the network: this one takes the reader's.
FRAME = """\
<svg viewBox="0 0 {width} {height}" xmlns="http://www.w3.org/2000/svg">
<style>
.{unique_id}-matrix {{ font-family: ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", "Liberation Mono", monospace;
  font-size: {char_height}px; line-height: {line_height}px; white-space: pre }}
.{unique_id}-title {{ font: bold 18px system-ui, sans-serif }}
{styles}
</style>
<defs><clipPath id="{unique_id}-clip-terminal"><rect x="0" y="0" width="{terminal_width}" height="{terminal_height}"/></clipPath>
{lines}
</defs>
{chrome}
<g transform="translate({terminal_x}, {terminal_y})" clip-path="url(#{unique_id}-clip-terminal)">
{backgrounds}
<g class="{unique_id}-matrix">
{matrix}
</g></g></svg>
"""


def main() -> int:
    """Command line. Exit code 1 if a picture is too large."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--repo", type=Path, help="a repository with a campaign; default: a temporary clone, where one is run")
    parser.add_argument("--tag", default="demo", help="name of the campaign")
    parser.add_argument("--base", default="main", help="what the campaign started from")
    parser.add_argument("--out", type=Path, default=Path(__file__).resolve().parent, help="folder of the pictures")
    parser.add_argument("--only", default="", metavar="WORD", help="pictures whose name holds this word; default: all")
    asked = parser.parse_args()
    if asked.repo is not None:
        return record(asked.repo, asked.tag, asked.base, asked.out, asked.only)
    with tempfile.TemporaryDirectory(prefix="evogit-pictures-") as folder:
        campaign(Path(folder), asked.tag)
        return record(Path(folder), asked.tag, asked.base, asked.out, asked.only)


def campaign(where: Path, tag: str) -> None:
    """The campaign of `make demo`, in a fresh clone whose branch is called main."""
    commands = [
        ["git", "clone", "--quiet", str(TOP), "."],
        ["git", "checkout", "--quiet", "-B", "main"],
        ["git", "remote", "remove", "origin"],
        ["evogit", "start", tag, "--problem", "rp/digits"],
        ["evogit", "loop", "--tag", tag, "--max-runs", "12", "--workers", "2"],
    ]
    for command in commands:
        subprocess.run(command, cwd=where, env=terminal(80), check=True)


def record(repo: Path, tag: str, base: str, out: Path, only: str = "") -> int:
    """Every picture, or those whose name holds a word, from commands run in `repo`."""
    too_large = 0
    for name, (columns, command) in PICTURES.items():
        if only not in name:
            continue
        line = command.format(tag=tag, base=base)
        shown = screen(line, repo, columns, *SCREENS[name]) if name in SCREENS else capture(line.split(), repo, columns)
        picture = draw(line, shown, columns, name, SCREEN_THEME if name in SCREENS else THEME)
        path = out / f"{name}.svg"
        path.write_text(picture, encoding="utf-8")
        size = len(picture.encode())
        too_large += size > CAP
        print(f"{path.name}: {size:,} bytes" + (f", more than {CAP:,}" if size > CAP else ""))
    return 1 if too_large else 0


def terminal(columns: int) -> dict[str, str]:
    """The environment of a colour terminal with nothing of the user's settings; the `evogit` beside this Python comes first."""
    own = {name: os.environ[name] for name in ("HOME", "EVOGIT_CACHE", "XDG_CACHE_HOME", "PYTHONPATH") if name in os.environ}
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    shown = {"TERM": "xterm-256color", "LANG": "C.UTF-8", "COLUMNS": str(columns), "LINES": str(ROWS)}
    plain = {"PAGER": "cat", "GIT_PAGER": "cat", "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
    return {**own, **shown, **plain, "PATH": path}


def capture(command: list[str], where: Path, columns: int) -> str:
    """What a command prints on a terminal of that width. Raises CalledProcessError."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, columns, 0, 0))
    process = subprocess.Popen(command, cwd=where, env=terminal(columns), stdin=subprocess.DEVNULL, stdout=theirs, stderr=theirs)
    os.close(theirs)
    read = b""
    with open(ours, "rb", buffering=0) as stream:
        try:
            while data := stream.read(65536):
                read += data
        except OSError:  # Linux's way to say that the other end is closed
            pass
    if process.wait() != 0:
        raise subprocess.CalledProcessError(process.returncode, command, read)
    return read.decode().replace("\r\n", "\n").rstrip("\n")


def screen(line: str, where: Path, columns: int, rows: int, turns: list[tuple[str, list[str]]], last: str) -> str:
    """What a command that fills the screen shows in the end, as tmux has it. Raises TimeoutError where words never come."""
    with tempfile.TemporaryDirectory() as folder:

        def tmux(*args: str) -> str:
            command = ["tmux", "-S", f"{folder}/s", *args]
            own = {**terminal(columns), "COLORTERM": "truecolor", "TERM": "tmux-256color"}
            own.pop("COLUMNS"), own.pop("LINES")
            return subprocess.run(command, cwd=where, env=own, capture_output=True, text=True, check=True).stdout

        def wait_for(words: str) -> None:
            deadline = time.monotonic() + PATIENCE_S
            while words not in tmux("capture-pane", "-p"):
                if time.monotonic() > deadline:
                    raise TimeoutError(f"{line!r} never showed {words!r}")
                time.sleep(0.1)

        tmux("-f", os.devnull, "new-session", "-d", "-x", str(columns), "-y", str(rows), line)
        try:
            for words, keys in turns:
                wait_for(words)
                tmux("send-keys", *keys)
            wait_for(last)
            time.sleep(1.0)  # what else comes in
            return tmux("capture-pane", "-p", "-e", "-N").rstrip("\n")
        finally:
            subprocess.run(["tmux", "-S", f"{folder}/s", "kill-server"], capture_output=True, check=False)


def draw(command: str, output: str, columns: int, name: str, theme: TerminalTheme = THEME) -> str:
    """A picture of a command and its output, as SVG text."""
    lines = [Text.from_ansi(line) for line in output.split("\n")]
    width = min(columns, max(len(command) + 2, *(line.cell_len for line in lines)))
    console = Console(record=True, width=width, file=io.StringIO(), force_terminal=True, color_system="truecolor", legacy_windows=False)
    console.print(Text.assemble(("$ ", "bright_black"), (command, "bold")))
    for line in lines:
        console.print(line, no_wrap=True, crop=True, overflow="ignore")
    return console.export_svg(title=command.split()[0], theme=theme, code_format=FRAME, unique_id=f"evogit-{name}")


if __name__ == "__main__":
    sys.exit(main())
