"""What a briefing costs after N runs: gathering, reading the parent, rendering. Prints a table; asserts nothing.

    python benchmarks/briefing.py [--runs 100,1000,10000] [--times 20]

The history is made by `make_history` in a temporary folder: real git, nothing is trained. Folding memory is left out: a loop has done
that already. The budget at 10,000 runs is 50 ms, and a packet is never longer than `packet.TOTAL` tokens.
"""

from __future__ import annotations

import argparse
import random
import statistics
import tempfile
import time
from pathlib import Path

from make_history import make

from evogit import registry
from evogit.agents.packet import TOTAL, render
from evogit.lab import Lab
from evogit.stages import choose, propose


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--runs", default="100,1000,10000")
    parser.add_argument("--times", type=int, default=20)
    asked = parser.parse_args()
    print(f"{'runs':>8}  {'brief, ms':>10}  {'render, ms':>10}  {'tokens':>7} of {TOTAL}")
    for runs in map(int, asked.runs.split(",")):
        with tempfile.TemporaryDirectory() as folder:
            for _ in make(Path(folder) / "repo", runs, "big", 0, artifacts=False):
                pass
            brief_ms, render_ms, tokens = measure(Path(folder) / "repo", asked.times)
        print(f"{runs:>8}  {brief_ms:>10.1f}  {render_ms:>10.1f}  {tokens:>7}", flush=True)


def measure(repo: Path, times: int) -> tuple[float, float, int]:
    """Median milliseconds of both parts, and the packet's tokens."""
    lab = Lab.open(repo, tag="big")
    memory = lab.memory()
    emitters = [registry.find("emitters", name)() for name in registry.names("emitters")]
    plan = choose.choose(memory, emitters, registry.find("policies", registry.DEFAULT_POLICY)(), random.Random(0))
    spent: list[tuple[float, float]] = []
    for _ in range(times):
        began = time.perf_counter()
        briefing = propose.brief(lab.campaign, memory, plan, "12 runs")
        briefed = time.perf_counter()
        packet = render(briefing)
        spent.append((briefed - began, time.perf_counter() - briefed))
    brief_ms, render_ms = (1e3 * statistics.median(column) for column in zip(*spent))
    return brief_ms, render_ms, packet.tokens


if __name__ == "__main__":
    main()
