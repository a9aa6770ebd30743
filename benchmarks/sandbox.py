"""What isolation costs: `/bin/true` from start to outcome at each level of the sandbox, interleaved. Prints a table; asserts nothing.

    python benchmarks/sandbox.py [--jobs 200] [--frozen 10]

The levels take turns, so that a busy moment falls on all of them. Levels that do not work here are named and left out. The view is
that of an ordinary trial: a checkout, a home, artifacts, an interpreter's folders, some frozen files.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

import msgspec

from evogit.backends.local import LocalBackend
from evogit.backends.sandbox import FORCE, refusals
from evogit.domain.trial import SANDBOXES, Job, View


def make_job(where: Path, frozen: int) -> Job:
    """A job as a trial has it, that does nothing."""
    for name in ("tree", "home", "artifacts"):
        (where / name).mkdir()
    files = [where / "tree" / f"frozen_{n}.py" for n in range(frozen)]
    for file in files:
        file.write_text("VALUE = 1\n")
    view = View(
        writable=(str(where / "home"),),
        readable=tuple(dict.fromkeys(os.path.realpath(path) for path in (sys.prefix, sys.base_prefix))),
        frozen=tuple(map(str, files)),
    )
    return Job(
        key="", label="true", argv=("/bin/true",), cwd=str(where / "tree"), source=str(where / "tree"),
        artifact_dir=str(where / "artifacts"), env={"PATH": os.defpath}, timeout_s=20.0, view=view,
    )  # fmt: skip


def once(backend: LocalBackend, job: Job, level: str, number: int) -> float:
    """Milliseconds from start to a collected outcome."""
    os.environ[FORCE] = level
    job = msgspec.structs.replace(job, key=f"{level}-{number}")
    began = time.perf_counter()
    handle = backend.start(job)
    outcome = backend.collect(handle)
    took = time.perf_counter() - began
    if (outcome.status.value, outcome.sandbox) != ("ok", level):
        sys.exit(f"{level}: {outcome}")
    backend.forget(handle)
    return took * 1000


def main() -> None:
    """Print medians and what each level costs beyond `none`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=200, help="jobs at each level")
    parser.add_argument("--frozen", type=int, default=10, help="frozen files in the checkout")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        backend = LocalBackend(Path(folder, "jobs"))
        levels = []
        for level in SANDBOXES:
            os.environ[FORCE] = level
            levels += [level] if backend.level == level else []
        job = make_job(Path(folder), options.frozen)
        times: dict[str, list[float]] = {level: [] for level in levels}
        for number in range(options.jobs):
            for level in levels:
                times[level].append(once(backend, job, level, number))
        backend.close()
    print("| level | median ms | tenth best | beyond none |\n|---|---|---|---|")
    for level in levels:
        middle, best = statistics.median(times[level]), statistics.quantiles(times[level], n=10)[0]
        print(f"| {level} | {middle:.1f} | {best:.1f} | {middle - statistics.median(times['none']):+.1f} |")
    for level, why in refusals().items():
        if why:
            print(f"{level} does not work here: {why}")


if __name__ == "__main__":
    main()
