"""Killed at each step of a flight, alone or beside another one: the next loop goes on, and nothing is lost or done twice."""

from __future__ import annotations

import os

import pytest

from evogit.failpoint import POINTS
from faults.runner import EVER_BETTER, KEEPING_A_DIARY, Shot

# Run 0, the baseline, is planned, made and pinned when the campaign starts, so a loop meets these at run 1 only.
AT_START = {"planned", "candidate", "pinned"}
# A point with which a second loop dies, other than the first one's, so that states meet in many ways.
LATER = {point: POINTS[(n * 4 + 7) % len(POINTS)] for n, point in enumerate(POINTS)}


@pytest.fixture
def shot(tmp_path, point):
    """Where outcomes are the matter, every run has two of them: the only outcome of a discard goes straight into the ledger."""
    return Shot(tmp_path / "toy", train=EVER_BETTER if "outcome" in (point, LATER[point]) else KEEPING_A_DIARY)


@pytest.mark.parametrize("point", POINTS)
def test_a_loop_killed_there_twice_is_resumed_and_loses_nothing(shot, point):
    shot.killed_at(point, "--max-runs", "3")
    shot.killed_at(f"{point}:2", "--max-runs", "3")

    shot.loop("--max-runs", "2")

    shot.check()
    assert len(shot.lab().campaign.history.runs) >= 3


@pytest.mark.parametrize("point", POINTS)
def test_two_flights_at_different_steps_are_both_resumed(shot, point):
    two = ("--workers", "2", "--emitter", "local_tuner")
    shot.killed_at(f"{point}:{_reached_by_run_2(point)}", *two, "--max-runs", "4", hold="1")
    assert "1" in shot.in_flight()  # its trial waits at the gate, and has not heard of it
    shot.killed_at(LATER[point], *two, "--max-runs", "4", hold="1")
    gate = shot.open_gate()

    shot.loop(*two, "--max-runs", "2")

    os.close(gate)
    shot.check()
    assert shot.diary("begin").count(("1", 0)) == 1


@pytest.mark.slow
@pytest.mark.parametrize("point", POINTS)
def test_four_flights_at_different_steps_are_all_resumed(shot, point):
    """Run 1 waits at its gate; the other three workers go through all steps until one of them meets the point, twice."""
    four = ("--workers", "4", "--emitter", "local_tuner", "--emitter", "simplifier", "--emitter", "contrarian")
    shot.killed_at(f"{point}:{_reached_by_run_2(point) + 3}", *four, "--max-runs", "20", hold="1")
    assert shot.in_flight()["1"] == "running"
    shot.killed_at(f"{point}:2", *four, "--max-runs", "20", hold="1")
    gate = shot.open_gate()

    shot.loop(*four, "--max-runs", "4")

    os.close(gate)
    shot.check()
    assert shot.diary("begin").count(("1", 0)) == 1
    assert len(shot.lab().campaign.history.runs) > 5


def _reached_by_run_2(point: str) -> int:
    """How often the point was reached by then: by the baseline (two trials) and by run 1, whose first trial is held."""
    if point in AT_START:
        return 2
    return {"intended": 4, "started": 4, "finished": 3, "outcome": 3}.get(point, 2)
