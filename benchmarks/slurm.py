"""What a trial costs on Slurm: `true` as a plain batch job, as evogit's job, and as evogit's jobs in one array. Asserts nothing.

    python benchmarks/slurm.py [--jobs 20] [--array 16] [--here]

Slurm itself looks for work once a second, so the plain job is the measure: what evogit adds is the difference of the two, and `on the
node`, from the start of our program there to its end. Without --here it starts a cluster of two nodes on this machine, by the tests
beside it; with it the cluster is the one that sbatch speaks to.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from evogit.backends.slurm import SlurmBackend
from evogit.testing import job_maker
from loopback_slurm import SlurmCluster


def plain() -> float:
    """Seconds from sbatch of a script that does nothing until squeue does not show it any more."""
    began = time.monotonic()
    said = subprocess.run(["sbatch", "--parsable", "--output=/dev/null", "--wrap=true"], capture_output=True, text=True, check=True)
    number = said.stdout.strip().partition(";")[0]
    while subprocess.run(["squeue", "--noheader", f"--jobs={number}"], capture_output=True, text=True, check=False).stdout.strip():
        time.sleep(0.02)
    return time.monotonic() - began


def ours(backend: SlurmBackend, make, count: int) -> tuple[float, float]:
    """Seconds from the first start to the last outcome, and of our program on its node for each job, by the times of its files."""
    began = time.monotonic()
    handles = [backend.start(make("", argv=("true",))) for _ in range(count)]
    outcomes = [backend.collect(handle) for handle in handles]
    seconds = time.monotonic() - began
    folders = [Path(outcome.folder).parent for outcome in outcomes]
    programs = [os.lstat(folder / "outcome.json").st_mtime - os.lstat(folder / "node").st_mtime for folder in folders]
    for handle in handles:
        backend.forget(handle)
    return seconds, statistics.median(programs)


def line(what: str, seconds: list[float]) -> None:
    """Median and range in milliseconds."""
    times = [1000 * s for s in seconds]
    print(f"{what:42} {statistics.median(times):8.0f} {min(times):8.0f} {max(times):8.0f}")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--jobs", type=int, default=20)
    parser.add_argument("--array", type=int, default=16)
    parser.add_argument("--here", action="store_true", help="the cluster that sbatch speaks to; temporary files go below TMPDIR")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        folder.chmod(0o755)
        if not asked.here:
            os.environ.update(stack.enter_context(SlurmCluster(folder / "cluster")).env)
        backend = stack.enter_context(contextlib.closing(SlurmBackend(folder / "jobs")))
        told, make = backend.resources(), job_maker(folder)
        ours(backend, make, 1)  # the first job of a cluster waits for more than the others
        print(f"{told['nodes']} nodes, {told['cpus']} CPUs, load {os.getloadavg()[0]:.1f}, sandbox {told['sandbox']}\n")
        print(f"{'milliseconds':42} {'median':>8} {'min':>8} {'max':>8}")
        line("a plain job", [plain() for _ in range(asked.jobs)])
        alone = [ours(backend, make, 1) for _ in range(asked.jobs)]
        line("a job of ours", [whole for whole, _ in alone])
        line("  of that on its node, once it is claimed", [program for _, program in alone])
        line(f"an array of {asked.array}, each job's share", [ours(backend, make, asked.array)[0] / asked.array for _ in range(3)])


if __name__ == "__main__":
    main()
