"""A campaign whose trials run on a Slurm cluster."""

from __future__ import annotations

import json

import pytest

from toys import evogit

pytestmark = pytest.mark.xdist_group("slurm")


def test_a_loop_keeps_a_cluster_busy_once_its_partition_is_named_right(repo, slurm):
    there = ("loop", "--backend", "slurm", "--workers", "3", "--max-runs", "3", "--json")
    wrong = evogit(repo, *there, "--backend-option", "slurm.partition=gpus", check=False)
    right = evogit(repo, *there, "--backend-option", "slurm.partition=main")

    assert wrong.returncode == 2
    assert "Slurm has no partition 'gpus'" in wrong.stderr
    events = [json.loads(line) for line in right.stdout.splitlines()]
    runs = [json.loads(evogit(repo, "show", str(n), "--json").stdout) for n in (1, 2, 3)]
    assert [event["backend"] for event in events if event["event"] == "campaign"] == ["slurm"]
    assert {trial["backend"] for run in runs for trial in run["trials"]} == {"slurm"}
    assert all(run["metrics"]["val_loss"] for run in runs)
