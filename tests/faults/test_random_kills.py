"""kill -9 at random moments over one campaign: the books stay whole, and every trial that ran to its end is in them once."""

from __future__ import annotations

import random
import subprocess
import time

import pytest

from faults.runner import Shot


def _kill_often(shot: Shot, kills: int, seed: int) -> int:
    """Loops that are killed at moments drawn from `seed`: during start-up, recovery or any step of a run; returns how many died so.

    A machine that has much else to do gets longer: a loop that is always killed while it starts tells little.
    """
    began = time.monotonic()
    shot.loop("--max-runs", "1")
    slowness = max(1.0, time.monotonic() - began)
    choice, died = random.Random(seed), 0
    for _ in range(kills):
        loop = shot.spawn("--max-runs", "1000", "--workers", str(choice.choice((1, 2))))
        try:
            _, said = loop.communicate(timeout=slowness * choice.uniform(0.2, 1.6))
            raise AssertionError(f"it ended by itself with {loop.returncode}: {said}")
        except subprocess.TimeoutExpired:
            loop.kill()
            loop.communicate()
            died += 1
    return died


@pytest.mark.parametrize("kills", [10, pytest.param(25, marks=pytest.mark.slow)])
def test_random_kills_lose_no_finished_trial_and_record_none_twice(tmp_path, kills):
    shot = Shot(tmp_path / "toy")

    assert _kill_often(shot, kills, seed=kills) == kills
    shot.loop("--max-runs", "3")

    shot.check()
    assert len(shot.lab().campaign.history.runs) > kills // 4
