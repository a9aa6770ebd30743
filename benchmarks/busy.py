"""Whether the loop keeps its slots busy: trials of a fixed length, and the share of slot time in which one ran. Asserts nothing.

    python benchmarks/busy.py [--trials 64] [--seconds 2] [--workers 2 8 32] [--agent-s 0] [--backend local]

Each candidate sleeps, so that cores are no limit and what is missing from 1.00 is the loop's own work; none is better than the baseline, so
that there are as many trials as were asked for and none reads an incumbent again. Slot time is the number of
slots times the time from the first trial's start to the last one's start: filling the slots counts against us, and that the last round
has fewer trials than there are slots does not. The last column leaves out the first round, in which a backend may start helpers: it begins
when the trials that were begun first, one a slot, have ended.
With --agent-s an agent takes that long for each candidate: with --prefetch 0 a slot waits for it, by default a candidate is ready.
"""

from __future__ import annotations

import argparse
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
name = "sleep"
mutable = ["train.py"]
command = "python -S -E train.py"
[[metric]]
name = "val_loss"
direction = "minimize"
[budget]
timeout_s = 60
seeds = [0]
"""
NAMES = ("LR", "WEIGHT_DECAY", "BETA", "WIDTH", "DEPTH", "BATCH", "WARMUP", "DROPOUT", "MOMENTUM", "SCALE", "CLIP", "GAMMA")
AGENT = """\
import json, random, re, sys, time
time.sleep({seconds})
told = json.load(sys.stdin)
text = told["current_model"]
name, value = random.choice(re.findall(r"^([A-Z_]+) = ([0-9.]+)$", text, re.M))
text = text.replace(f"{{name}} = {{value}}", f"{{name}} = {{round(float(value) * random.uniform(0.5, 1.5), 6)}}")
print(json.dumps({{"mutation_summary": f"another {{name}}", "hypothesis": "it may help", "model_py": text}}))
"""


def make_problem(where: Path, seconds: float) -> None:
    """A repository whose training script sleeps and prints the same number always."""
    values = [0.013, 0.0007, 0.91, 48, 5, 96, 130, 0.17, 0.83, 1.7, 0.9, 0.3]
    lines = [f"{name} = {value}" for name, value in zip(NAMES, values)]
    (where / "evogit.toml").write_text(TOML)
    (where / "train.py").write_text("import time\n" + "\n".join(lines) + f"\n\ntime.sleep({seconds})\nprint('METRIC val_loss=1.0')\n")
    git = ["git", "-c", "user.name=b", "-c", "user.email=b@example.org"]
    for args in (["init", "-q", "-b", "main"], ["add", "-A"], ["commit", "-q", "-m", "sleep"]):
        subprocess.run([*git, *args], cwd=where, check=True)


def measure(where: Path, options: LoopOptions) -> tuple[int, float, float, float]:
    """Trials, seconds from the first start to the last, and the share of slot time in which one ran, at first and without the first round.
    The baseline is left out."""
    began: dict[str, float] = {}
    ended: dict[str, float] = {}
    for event in Lab.open(where).loop(options):
        if isinstance(event, ev.TrialStarted) and event.run != "0":
            began[event.run] = time.perf_counter()
        elif isinstance(event, ev.TrialEnded) and event.run != "0":
            ended[event.run] = began[event.run] + event.seconds
    first, last = min(began.values()), max(began.values())
    warm = max(ended[run] for run in sorted(ended, key=began.__getitem__)[: options.workers])

    def share(since: float) -> float:
        ran = sum(max(0.0, min(ended[run], last) - max(began[run], since)) for run in ended)
        return ran / (options.workers * (last - since)) if last > since else 0.0

    return len(ended), last - first, share(first), share(warm)


def main() -> None:
    """Measure each number of slots in a repository of its own and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--workers", type=int, nargs="+", default=[2, 8, 32])
    parser.add_argument("--agent-s", type=float, default=0.0)
    parser.add_argument("--prefetch", type=int, default=-1)
    parser.add_argument("--backend", default="local")
    parser.add_argument("--backend-option", nargs="*", default=[], metavar="KEY=VALUE")
    asked = parser.parse_args()
    chosen = {asked.backend: dict(pair.split("=", 1) for pair in asked.backend_option)} if asked.backend_option else {}
    print(f"{asked.trials} trials of {asked.seconds:g} s, backend {asked.backend}, agent {asked.agent_s:g} s\n")
    print(f"{'slots':>6} {'trials':>7} {'seconds':>8} {'busy':>6} {'later':>6}")
    for workers in asked.workers:
        with tempfile.TemporaryDirectory() as folder:
            where = Path(folder, "repo")
            where.mkdir()
            make_problem(where, asked.seconds)
            agent = {}
            if asked.agent_s:
                Path(folder, "agent.py").write_text(AGENT.format(seconds=asked.agent_s))
                agent = {"agent": "command", "agent_options": {"command": f"{sys.executable} {folder}/agent.py"}}
            options = LoopOptions(
                max_runs=asked.trials, workers=workers, prefetch=asked.prefetch, backend=asked.backend, backend_options=chosen,
                emitters=("local_tuner",), **agent,
            )  # fmt: skip
            ran, took, busy, later = measure(where, options)
            print(f"{workers:>6} {ran:>7} {took:>8.1f} {busy:>6.2f} {later:>6.2f}", flush=True)


if __name__ == "__main__":
    main()
