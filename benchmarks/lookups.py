"""How long people wait for the plain commands at a long campaign, as whole processes. Prints a table, asserts nothing.

    python benchmarks/lookups.py [--runs 10000] [--repeat 5] [--repo FOLDER]

The campaign is made up by make_history.py. "first" is the first command ever, which reads the whole branch; "later" is the median of those
that find what it kept. `--version` reads nothing: what Python and the package take.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE)]

import make_history

from evogit.git import snapshot
from evogit.git.repository import Repository

TAG = "big"
COMMANDS = ("--version", "status", "log --limit 20", "log --json", "leaderboard", "frontier", "show {run}", "diff {run} incumbent",
            "lineage {run}", "search dropout", "cost", "emitters", "memory")  # fmt: skip


def seconds(repo: Path, command: str) -> float:
    """Wall-clock time of one process, its output read through a pipe."""
    began = time.perf_counter()
    subprocess.run([sys.executable, "-m", "evogit.cli", *command.split()], cwd=repo, check=True, capture_output=True)
    return time.perf_counter() - began


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--runs", type=int, default=10_000)
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--repo", type=Path, help="a repository with such a campaign; default: one is made up")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="evogit-lookups-") as folder:
        repo = asked.repo or Path(folder, "repo")
        if asked.repo is None:
            list(make_history.make(repo, asked.runs, TAG, 0))
        os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
        os.environ |= {"PYTHONPATH": str(HERE.parent), "PYTHONPYCACHEPREFIX": str(Path(folder, "bytecode")), "XDG_CACHE_HOME": folder}
        seconds(repo, "--version")
        seconds(repo, "status")
        print(f"{asked.runs:,} runs, Python {sys.version.split()[0]}, {os.cpu_count()} CPUs, load {os.getloadavg()[0]:.1f}\n")
        print(f"{'evogit':24} {'first':>7} {'later':>7} s")
        for command in (name.format(run=asked.runs // 2) for name in COMMANDS):
            snapshot.place(Repository.open(repo), TAG).unlink(missing_ok=True)
            first = seconds(repo, command)
            seconds(repo, "status")
            later = statistics.median(seconds(repo, command) for _ in range(asked.repeat))
            print(f"{command:24} {first:7.2f} {later:7.2f}", flush=True)


if __name__ == "__main__":
    main()
