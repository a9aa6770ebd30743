"""What candidates are scored by in `search.py`: two made-up losses with noise, and rp/digits, really trained. It searches nothing.

Every landscape has the text of a training script to start from, `read` (what one trial reports) and `truth` (what the
search cannot see: the loss without noise, or a mean over seeds that no trial used).
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import random
import runpy
import shutil
import signal
import sys
import tempfile
import traceback
from functools import cache, lru_cache
from pathlib import Path
from typing import Protocol

from evogit.domain.metric import Direction, Metric
from evogit.domain.trial import Crash
from evogit.problem.crashes import crash_of
from evogit.search import genes

DIGITS = Path(__file__).resolve().parents[1] / "rp" / "digits"
FRESH = range(1000, 1008)  # seeds that a digits candidate is judged by in the end
TIMEOUT_S = 20  # a third of what the contract allows: a campaign is to be played in a minute

Reading = dict[str, float]


class Landscape(Protocol):
    """Where a search takes place."""

    text: str  # of train.py, before anything was tried
    metrics: tuple[Metric, ...]  # the first one is searched by
    seeds: int  # that one candidate may be read under

    def read(self, text: str, seed: int, dice: random.Random) -> Reading | Crash: ...

    def truth(self, text: str) -> float: ...


TEXT = """import torch
import torch.nn.functional as F
from torch import nn

LR = 1e-3
BATCH = 64
MOMENTUM = 0.9
WEIGHT_DECAY = 0.02
DROPOUT = 0.3
WIDTH = 48
LABEL_SMOOTHING = 0.2
NESTEROV = False
USE_BIAS = True
INIT_SCALE = 1.0


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(
            nn.Linear(64, WIDTH, bias=USE_BIAS),
            nn.ReLU(),
            nn.Dropout(DROPOUT),
            nn.Linear(WIDTH, WIDTH, bias=USE_BIAS),
            nn.ReLU(),
            nn.Linear(WIDTH, 10),
        )
        for p in self.parameters():
            p.data.mul_(INIT_SCALE)

    def forward(self, x):
        return self.body(x)


def train(batches):
    net = Net()
    optimizer = torch.optim.SGD(net.parameters(), lr=LR, momentum=MOMENTUM, weight_decay=WEIGHT_DECAY, nesterov=NESTEROV)
    for x, y in batches(BATCH):
        loss = F.cross_entropy(net(x), y, label_smoothing=LABEL_SMOOTHING)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
"""
# Constant -> where it is best, and what a doubling away from there costs (squared).
BEST = {
    "LR": (8e-3, 0.03),
    "BATCH": (32, 0.01),
    "MOMENTUM": (0.95, 0.02),
    "WEIGHT_DECAY": (1e-3, 0.005),
    "DROPOUT": (0.1, 0.02),
    "WIDTH": (128, 0.03),
    "LABEL_SMOOTHING": (0.05, 0.005),
    "INIT_SCALE": (1.0, 0.02),
}
CRASH = math.inf


class MadeUp:
    """A loss computed from the constants, components and layers that are found in a candidate's text, with normal noise."""

    text = TEXT
    metrics = (Metric(name="loss", direction=Direction.MINIMIZE),)
    seeds = 5

    def __init__(self, noise: float) -> None:
        self.noise = noise

    def read(self, text: str, seed: int, dice: random.Random) -> Reading | Crash:
        """The loss and noise, or a divergence."""
        loss = self.truth(text)
        if not math.isfinite(loss):
            return Crash(kind="ValueError", message="loss is not finite", where="train.py:45")
        return {"loss": 1 + loss + dice.gauss(0.0, self.noise)}

    def truth(self, text: str) -> float:
        """True loss above the best possible, 0 at best; CRASH where it diverges."""
        return self._loss({g.name: g.value for g in genes.find(text)}, text)

    def _loss(self, found: dict[str, object], text: str) -> float:
        raise NotImplementedError


class Smooth(MadeUp):
    """A parabola over the logarithm of each constant, plus switches, components and layers that pay or cost each by itself."""

    def _loss(self, found: dict[str, object], text: str) -> float:
        lr = found.get("LR", BEST["LR"][0])
        if not isinstance(lr, float) or lr > 0.08:
            return CRASH
        loss = sum(cost * min(_doublings(found.get(name), best), 5.0) ** 2 for name, (best, cost) in BEST.items())
        loss += 0.0 if found.get("NESTEROV") is True else 0.06
        loss += 0.0 if "nn.GELU(" in text or "nn.SiLU(" in text else 0.05
        loss += 0.04 * abs(text.count("nn.Linear(") - 4)
        return loss + (0.0 if found.get("USE_BIAS", True) is True else 0.05)


class Deceptive(Smooth):
    """`Smooth` at a third, and two changes (wider start, GELU) that cost a little alone and pay a lot together."""

    def _loss(self, found: dict[str, object], text: str) -> float:
        loss = super()._loss({**found, "INIT_SCALE": 1.0}, text.replace("nn.ReLU(", "nn.GELU("))
        scale = found.get("INIT_SCALE", 1.0)
        is_wide, is_gelu = isinstance(scale, float) and scale >= 1.5, "nn.GELU(" in text and "nn.ReLU(" not in text
        return loss / 3 + (0.0 if is_wide and is_gelu else 0.5 if is_wide == is_gelu else 0.53)


def _doublings(value: object, best: float) -> float:
    """Distance on the log scale; of the rest to 1 for shares near it. What is gone or switched off counts as small."""
    if isinstance(value, (bool, str, tuple)) or value is None or value <= 0:
        value = best / 8
    if best > 0.8 and best < 1:
        return abs(math.log2((1 - min(value, 0.9999)) / (1 - best)))
    return abs(math.log2(value / best))


class Digits:
    """rp/digits: its own programs, run in a child of this process, so that torch is loaded once and not for every trial.

    Needs the extra `torch`. A reading takes half a second or so and depends on text and seed alone.
    """

    text = (DIGITS / "train.py").read_text(encoding="utf-8")
    metrics = (
        Metric(name="val_error", direction=Direction.MINIMIZE, min_delta=0.004),
        Metric(name="params", direction=Direction.MINIMIZE),
        Metric(name="latency_ms", direction=Direction.MINIMIZE),
    )
    seeds = 3

    def __init__(self, noise: float = 0.0) -> None:
        _warm()

    def read(self, text: str, seed: int, dice: random.Random) -> Reading | Crash:
        """Trains, predicts and scores once."""
        return _trained(text, seed)

    def truth(self, text: str) -> float:
        """Mean val_error over seeds that no trial used; 1 where one of them crashes."""
        found = [_trained(text, seed) for seed in FRESH]
        return math.fsum(1.0 if isinstance(r, Crash) else r["val_error"] for r in found) / len(found)


@lru_cache(maxsize=1)
def _warm() -> Path:
    """Loads what every trial needs and makes the data once; returns their folder."""
    import torch  # noqa: F401

    folder = Path(tempfile.mkdtemp(prefix="evogit-digits-"))
    os.environ["EVOGIT_DATA_DIR"] = str(folder)
    sys.path.insert(0, str(DIGITS))
    with contextlib.redirect_stdout(None):
        runpy.run_path(str(DIGITS / "prepare.py"), run_name="__main__")
    import task

    task.begin()
    return folder


@cache
def _trained(text: str, seed: int) -> Reading | Crash:
    """One trial in a child: candidates may crash, hang or leave things behind."""
    made = Path(tempfile.mkdtemp(prefix="evogit-trial-"))
    try:
        child = os.fork()
        if not child:
            _in_child(made, text, seed)
        _, status = os.waitpid(child, 0)
        if status == 0:
            return json.loads((made / "stdout").read_text().splitlines()[-1])
        if os.WIFSIGNALED(status):
            return Crash(kind="signal", message=signal.Signals(os.WTERMSIG(status)).name)
        return crash_of((made / "stderr").read_bytes(), mutable=lambda path: path.endswith("train.py"))
    finally:
        shutil.rmtree(made, ignore_errors=True)


def _in_child(made: Path, text: str, seed: int) -> None:
    """Train, predict, score, as the contract of the problem has it; never returns."""
    signal.alarm(TIMEOUT_S)
    code = 1
    with (made / "stdout").open("w") as out, (made / "stderr").open("w") as err:
        os.dup2(out.fileno(), 1)
        os.dup2(err.fileno(), 2)
        sys.stdout, sys.stderr, sys.argv = out, err, ["train.py"]
        try:
            for name in ("task.py", "prepare.py", "predict.py", "evaluate.py"):
                shutil.copyfile(DIGITS / name, made / name)
            (made / "train.py").write_text(text, encoding="utf-8")
            os.chdir(made)
            sys.path.insert(0, str(made))
            os.environ.update(EVOGIT_SEED=str(seed), EVOGIT_ARTIFACT_DIR=str(made))
            for name in ("train.py", "predict.py", "evaluate.py"):
                runpy.run_path(name, run_name="__main__")
            code = 0
        finally:  # the child ends here whatever the candidate raised; its traceback is what the parent reads
            if code:
                traceback.print_exc()
            out.flush()
            err.flush()
            os._exit(code)


LANDSCAPES: dict[str, type[Landscape]] = {"smooth": Smooth, "deceptive": Deceptive, "digits": Digits}
