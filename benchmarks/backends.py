"""What a trial costs on each backend that this machine has, and what the loss of a node costs on Ray. Prints tables; asserts nothing.

    python benchmarks/backends.py [--trials 50] [--only local] [--node-loss]

The trial is `true`: its time from `start` to a collected outcome is all overhead but the milliseconds of the process itself. The backends take
turns, so that a busy machine is busy for all of them, and each has run some trials before: the ratios are of one run. Ray is two real nodes
on loopback, begun and ended here; Slurm is asked where `sinfo` answers. --node-loss kills one of two nodes while eight trials run.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parents[1] / "tests")]

from evogit import registry
from evogit.domain.trial import Status
from evogit.seams import Backend
from evogit.testing import MakeJob, job_maker
from loopback_ray import MISSING, RayCluster

WARM_UP = 8


@contextlib.contextmanager
def places(folder: Path, only: list[str]) -> Iterator[dict[str, Backend]]:
    """The backends that can be had here, by name."""
    with contextlib.ExitStack() as stack:
        found: dict[str, Backend] = {}
        for name in registry.BUILT_IN["backends"]:
            options = _options(name, stack) if not only or name in only else None
            if options is not None:
                found[name] = registry.find("backends", name)(folder / name, **options)
                stack.callback(found[name].close)
        yield found


def _options(name: str, stack: contextlib.ExitStack) -> dict[str, object] | None:
    """What a backend is made with, None where it cannot be had; what it needs is begun, and ended with `stack`."""
    if name == "ray" and not MISSING:
        cluster = RayCluster()
        stack.callback(cluster.close)
        cluster.add()
        return {"address": cluster.wait().address}
    if name == "slurm" and shutil.which("sinfo"):
        answers = subprocess.run(["sinfo", "--noheader"], capture_output=True, check=False, timeout=20)
        return {} if answers.returncode == 0 and answers.stdout else None
    return {} if name == "local" else None


def one(backend: Backend, make: MakeJob) -> tuple[float, float]:
    """Milliseconds from start to a collected outcome, and those of the job's own process tree."""
    job = make("", argv=("true",))
    began = time.perf_counter()
    handle = backend.start(job)
    backend.wait([handle], None)
    outcome = backend.collect(handle)
    took = 1000 * (time.perf_counter() - began)
    backend.forget(handle)
    if outcome.status is not Status.OK:
        raise SystemExit(f"{backend.name}: {outcome.status.value}: {outcome.reason}")
    return took, 1000 * outcome.seconds


def overhead(found: dict[str, Backend], make: MakeJob, trials: int) -> None:
    """The table of overheads."""
    for backend in found.values():
        backend.resources()
        for _ in range(WARM_UP):
            one(backend, make)
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in found}
    for _ in range(trials):
        for name, backend in found.items():
            times[name].append(one(backend, make))
    base = statistics.median(took for took, _ in times[next(iter(times))])
    print(
        f"a `true` trial from start to its collected outcome, milliseconds, {trials} each, warm; load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores"
    )
    print(f"{'backend':>10} {'sandbox':>11} {'median':>8} {'p90':>8} {'max':>8} {'own':>8} {'ratio':>7}")
    for name, pairs in times.items():
        took = sorted(pair[0] for pair in pairs)
        median, own = statistics.median(took), statistics.median(pair[1] for pair in pairs)
        sandbox = str(found[name].resources()["sandbox"])
        print(
            f"{name:>10} {sandbox:>11} {median:8.1f} {took[int(0.9 * (len(took) - 1))]:8.1f} {took[-1]:8.1f} {own:8.1f} {median / base:7.2f}"
        )


def node_loss(folder: Path, make: MakeJob) -> None:
    """Eight trials of four seconds on two nodes with four places each, undisturbed and with one node killed after a second."""
    from evogit.backends.ray import RayBackend

    cluster = RayCluster('--resources={"place": 0}')
    try:
        cluster.add('--resources={"place": 4}')
        victim = cluster.add('--resources={"place": 4}')
        backend = RayBackend(folder / "loss", address=cluster.wait().address, resources={"place": 1}, cpus=0)
        for words, is_killed in (("undisturbed", False), ("one node of two killed", True)):
            began = time.perf_counter()
            handles = [backend.start(make("import time; print('begun', flush=True); time.sleep(4); print('ended')")) for _ in range(8)]
            for handle in handles:
                next(iter(backend.follow(handle)), None)
            if is_killed:
                victim.kill()
            outcomes = [backend.collect(handle) for handle in handles]
            ended = [Path(outcome.folder, "stdout").read_text().count("ended") for outcome in outcomes]
            ok = sum(outcome.status is Status.OK for outcome in outcomes)
            print(
                f"{words:>24}: {ok} of 8 ok, {ended.count(1)} recorded once, {sum(n > 1 for n in ended)} twice, {time.perf_counter() - began:.1f} s"
            )
            for reason in sorted({outcome.reason for outcome in outcomes} - {""}):
                print(f"{'':>24}  {reason}")
            for handle in handles:
                backend.forget(handle)
        backend.close()
    finally:
        cluster.close()


def main() -> None:
    """Measure, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--trials", type=int, default=50)
    parser.add_argument("--only", action="append", default=[], choices=list(registry.BUILT_IN["backends"]))
    parser.add_argument("--node-loss", action="store_true")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="evogit-backends-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        make = job_maker(folder)
        if asked.node_loss:
            node_loss(folder, make)
        else:
            with places(folder, asked.only) as found:
                overhead(found, make, asked.trials)


if __name__ == "__main__":
    main()
