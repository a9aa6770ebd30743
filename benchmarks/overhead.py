"""What the engine costs a run: all of its wall time but the candidate's own. Prints a table; asserts nothing.

    python benchmarks/overhead.py [--runs 300] [--agent offline] [--no-sync] [--profile]

The problem costs nothing to run: 20 files, one seed, a script that prints its metric. A run's overhead is the time from
one verdict to the next, less the wall time of its processes as the backend measured it. No model is called, durability
is on (one sync before the branch moves) unless --no-sync, and the disk is named, since a sync is most of what varies.
"""

from __future__ import annotations

import argparse
import cProfile
import os
import pstats
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from evogit.domain import event as ev
from evogit.domain.options import LoopOptions
from evogit.lab import Lab

TOML = """\
[problem]
name = "noop"
mutable = ["train.py"]
command = "python -S -E train.py"
[[metric]]
name = "val_loss"
direction = "minimize"
[budget]
timeout_s = 20
seeds = [0]
"""
CONSTANTS = ("LR", "WEIGHT_DECAY", "BETA", "WIDTH", "DEPTH", "BATCH", "WARMUP", "DROPOUT", "MOMENTUM", "SCALE", "CLIP", "GAMMA")


def make_problem(where: Path) -> None:
    """A repository of 20 files whose training script only reads its own constants."""
    values = [0.013, 0.0007, 0.91, 48, 5, 96, 130, 0.17, 0.83, 1.7, 0.9, 0.3]
    lines = [f"{name} = {value}" for name, value in zip(CONSTANTS, values)]
    total = " + ".join(f"abs({name}) % 1" for name in CONSTANTS)
    (where / "evogit.toml").write_text(TOML)
    (where / "train.py").write_text("\n".join(lines) + f"\n\nprint('METRIC val_loss=%r' % ({total}))\n")
    for n in range(18):
        (where / f"module_{n:02}.py").write_text(f'"""Frozen file {n}."""\n' + "\n".join(f"VALUE_{i} = {i}" for i in range(40)) + "\n")
    git = ["git", "-c", "user.name=b", "-c", "user.email=b@example.org"]
    for args in (["init", "-q", "-b", "main"], ["add", "-A"], ["commit", "-q", "-m", "noop"]):
        subprocess.run([*git, *args], cwd=where, check=True)


def measure(lab: Lab, runs: int, agent: str) -> list[float]:
    """Overhead of each run in milliseconds."""
    found, spent, began = [], 0.0, time.perf_counter()
    for event in lab.loop(LoopOptions(max_runs=runs, agent=agent)):
        if isinstance(event, ev.TrialEnded):
            spent += event.seconds
        elif isinstance(event, (ev.Decided, ev.Replicated)):
            now = time.perf_counter()
            found.append(1000 * (now - began - spent))
            spent, began = 0.0, now
    return found[1:]  # the baseline opens workspaces and environments


def disk_of(path: Path) -> str:
    """Device and file system that hold a path."""
    done = subprocess.run(["df", "--output=source,fstype", str(path)], capture_output=True, text=True, check=False)
    return " ".join(done.stdout.splitlines()[-1].split()) if done.returncode == 0 else "unknown disk"


def sync_ms(path: Path) -> float:
    """What one fsync of a small new file costs here: median of 20."""
    times = []
    for n in range(20):
        began = time.perf_counter()
        with (path / f"sync-{n}").open("wb") as file:
            file.write(b"x" * 4096)
            file.flush()
            os.fsync(file.fileno())
        times.append(1000 * (time.perf_counter() - began))
        (path / f"sync-{n}").unlink()
    return statistics.median(times)


def create_ms(path: Path) -> float:
    """What making one empty file costs here: median of 100. A run makes some fifty, so a disk that is slow at it is all that is measured."""
    times = []
    for n in range(100):
        began = time.perf_counter()
        os.close(os.open(path / f"new-{n}", os.O_WRONLY | os.O_CREAT | os.O_EXCL))
        times.append(1000 * (time.perf_counter() - began))
    for n in range(100):
        (path / f"new-{n}").unlink()
    return statistics.median(times)


def main() -> None:
    """Run the campaign and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--runs", type=int, default=300)
    parser.add_argument("--agent", default="offline")
    parser.add_argument("--no-sync", action="store_true")
    parser.add_argument("--profile", action="store_true")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="evogit-overhead-", dir=os.environ.get("TMPDIR")) as folder:
        where = Path(folder, "repo")
        where.mkdir()
        make_problem(where)
        os.environ["EVOGIT_CACHE"] = str(Path(folder, "cache"))
        if asked.no_sync:
            subprocess.run(["git", "config", "evogit.sync", "false"], cwd=where, check=True)
        sync, create = sync_ms(where), create_ms(where / ".git" / "objects")
        lab = Lab.open(where)
        lab.start("overhead")
        profile = cProfile.Profile()
        if asked.profile:
            profile.enable()
        times = measure(lab, asked.runs, asked.agent)
        profile.disable()
        where_words = f"{disk_of(where)}, one fsync {sync:.1f} ms, one new file {create:.3f} ms, sync {'off' if asked.no_sync else 'on'}"
        print(f"{len(times)} runs, agent {asked.agent}, Python {sys.version.split()[0]}, {where_words}")
        print("engine overhead a run, milliseconds")
        print(f"{'runs':>12} {'median':>8} {'p90':>8} {'max':>8}")
        step = max(1, len(times) // 6)
        for start in range(0, len(times), step):
            part = times[start : start + step]
            print(
                f"{start + 1:>5}-{start + len(part):<6} {statistics.median(part):8.1f} {sorted(part)[int(0.9 * (len(part) - 1))]:8.1f} {max(part):8.1f}"
            )
        print(f"{'all':>12} {statistics.median(times):8.1f} {sorted(times)[int(0.9 * (len(times) - 1))]:8.1f} {max(times):8.1f}")
        if asked.profile:
            pstats.Stats(profile).sort_stats("tottime").print_stats(30)
            pstats.Stats(profile).sort_stats("cumtime").print_stats("evogit", 60)


if __name__ == "__main__":
    main()
