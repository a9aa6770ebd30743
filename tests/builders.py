"""Nouns for tests, with everything that a test does not care about filled in."""

from __future__ import annotations

import hashlib

from evogit.domain.metric import Direction, Metric
from evogit.domain.problem import Budget, Problem
from evogit.domain.run import Run
from evogit.domain.trial import Status, TrialLine
from evogit.domain.verdict import Verdict

LOSS = Metric(name="val_loss", direction=Direction.MINIMIZE)
PARAMS = Metric(name="params", direction=Direction.MINIMIZE)


def commit_of(label: str) -> str:
    """A hash that is the same for the same label."""
    return hashlib.sha1(label.encode()).hexdigest()


def problem(**more) -> Problem:
    fields = {
        "name": "toy",
        "folder": "",
        "layout": "evogit",
        "goal": "",
        "mutable": ("train.py",),
        "command": "python train.py",
        "metrics": (LOSS, PARAMS),
        "budget": Budget(seeds=(0, 1, 2)),
    }
    return Problem(**{**fields, **more})


def run(label: str, *losses: float, parents: tuple[str, ...] = ("0",), verdict: Verdict = Verdict.DISCARD, **more) -> Run:
    """A decided run; `losses` are its readings of val_loss, one a seed. Parents are labels."""
    seq = more.pop("seq", int(label.rpartition("/")[2]))
    params = more.pop("params", ())
    commit = commit_of(label)
    readings = {"val_loss": tuple(losses), "params": tuple(params)}
    fields = {
        "commit": commit,
        "label": label,
        "campaign": "toy",
        "parents": () if label == "0" else tuple(commit_of(p) for p in parents),
        "generation": 0 if label == "0" else 1,
        "epoch": 0,
        "seq": seq,
        "verdict": verdict,
        "reason": "",
        "emitter": "baseline" if label == "0" else "local_tuner",
        "agent": "offline",
        "summary": f"change {label}",
        "incumbent": commit if verdict is Verdict.KEEP else commit_of("0"),
        "decision": commit_of(f"decision {label}"),
        "trials": tuple(trial(label, seed, value) for seed, value in enumerate(losses)),
        "readings": {name: values for name, values in readings.items() if values},
    }
    return Run(**{**fields, **more})


def trial(label: str, seed: int, loss: float) -> TrialLine:
    return TrialLine(
        id=commit_of(f"{label} {seed}")[:16],
        time="2026-01-01T00:00:00Z",
        purpose="select",
        run=commit_of(label),
        seed=seed,
        status=Status.OK,
        metrics={"val_loss": loss},
        seconds=1.0,
    )


def baseline(*losses: float, **more) -> Run:
    return run("0", *losses, verdict=Verdict.KEEP, **more)
