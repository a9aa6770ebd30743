"""Small problems in real repositories, for stories that take milliseconds a trial."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

TOML = """\
[problem]
name = "toy"
goal = "program.md"
mutable = ["train.py"]
command = "python train.py"

[[metric]]
name = "val_loss"
direction = "minimize"
[[metric]]
name = "params"
direction = "minimize"

[budget]
timeout_s = 20
seeds = [0, 1]
"""

# Its best constants are known: LR 0.01, WIDTH 32, DROPOUT 0. The noise between seeds is 0.002.
TRAIN = '''\
"""Train a pretended network: the loss is a bowl in three constants."""

import math
import os
import random

LR = 0.1
WIDTH = 8
DROPOUT = 0.3
MOMENTUM = 0.5


def loss(seed):
    noise = random.Random(f"{seed}/{LR}/{WIDTH}/{DROPOUT}").gauss(0, 0.002)
    bowl = 0.05 * (math.log10(LR) + 2) ** 2 + 0.02 * (math.log2(WIDTH) - 5) ** 2
    return 0.1 + bowl + 0.1 * DROPOUT + 0.05 * (MOMENTUM - 0.9) ** 2 + noise


if __name__ == "__main__":
    print("METRIC val_loss=%r" % loss(int(os.environ.get("EVOGIT_SEED", "0"))))
    print("METRIC params=%d" % (WIDTH * 10))
'''


def git(where: Path, *args: str, check: bool = True) -> str:
    """Run git as a person would; returns stdout."""
    done = subprocess.run(["git", *args], cwd=where, capture_output=True, text=True, check=False)
    if check and done.returncode:
        raise AssertionError(f"git {' '.join(args)}: {done.stderr}")
    return done.stdout


def make_toy(where: Path, *, toml: str = TOML, train: str = TRAIN, folder: str = "", extra: dict[str, str] | None = None) -> Path:
    """A committed problem in a new repository at `where`; returns the repository's top."""
    home = where / folder if folder else where
    home.mkdir(parents=True, exist_ok=True)
    git(where, "init", "-q", "-b", "main")
    files = {"evogit.toml": toml, "train.py": train, "program.md": "Make val_loss small.\n", "README.md": "A toy.\n", **(extra or {})}
    for name, text in files.items():
        path = home / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    git(where, "add", "-A")
    git(where, "commit", "-q", "-m", "the problem")
    return where


def evogit(
    where: Path, *args: str, env: dict[str, str] | None = None, check: bool = True, timeout: float = 240
) -> subprocess.CompletedProcess[str]:
    """Run the command line in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "evogit.cli", *args],
        cwd=where,
        env={**os.environ, **(env or {})},
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    if check and done.returncode:
        raise AssertionError(f"evogit {' '.join(args)} gave {done.returncode}\n{done.stdout}\n{done.stderr}")
    return done


def unlike_their_record(repo: Path, runs: Iterable[dict], *options: str) -> list[str]:
    """Of runs as `log --json` tells them: those whose candidate `evogit replay` does not make again to the byte. Refused ones left out."""
    made = (run for run in runs if run["parents"] and run["verdict"] != "reject")
    return [run["run"] for run in made if evogit(repo, "replay", run["run"], *options, check=False).returncode]


def by_hand(repo: Path, old: str, new: str, summary: str, *, parent: str = "incumbent", tag: str = "t1") -> None:
    """A run of a person's own: the parent's train.py with one text replaced, measured. The working tree is as before afterwards."""
    from evogit.lab import Lab

    script = repo / "train.py"
    before, text = script.read_text(), git(repo, "show", f"{Lab.open(repo, tag=tag).run(parent).commit}:train.py")
    assert old in text
    script.write_text(text.replace(old, new))
    evogit(repo, "run", "--tag", tag, "--parent", parent, "-m", summary, "--hypothesis", f"{new} is nearer to the best")
    script.write_text(before)


def dig(top: Path, levels: int = 4000) -> None:
    """Folders in folders below `top`, by default deeper than Python recurses and longer than the system's longest path."""
    folder = os.open(top, os.O_RDONLY)
    for _ in range(levels):
        os.mkdir("d", dir_fd=folder)
        inner = os.open("d", os.O_RDONLY, dir_fd=folder)
        os.close(folder)
        folder = inner
    os.close(folder)
