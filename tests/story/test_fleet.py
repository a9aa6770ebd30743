"""Campaigns on two backends: one goes down and comes back, one is slow to start, a loop is killed, and the next one is told too little."""

from __future__ import annotations

import json
import signal
import threading

import pytest

import far_places
from evogit.backends import outages
from evogit.domain import event as ev
from evogit.domain.options import LoopOptions
from evogit.lab import Lab
from evogit.stopping import Stopper
from toys import evogit

BOTH = ("--backend", "far", "--backend", "local")


@pytest.fixture
def way(tmp_path, monkeypatch):
    """The backend `far` is there; see `far_places`."""
    return far_places.install(tmp_path / "far", monkeypatch)


def trials_of(repo, *runs: str) -> list[tuple[str, int, str]]:
    """Run, attempt and backend of each of the runs' own trials: what was read of them again is left out."""
    told = [(run, json.loads(evogit(repo, "show", run, "--tag", "t1", "--json").stdout)) for run in runs]
    return [(run, trial["attempt"], trial["backend"]) for run, said in told for trial in said["trials"] if trial["attempt"] < 1000]


def killed_once_started(repo, *args: str) -> None:
    done = evogit(repo, "loop", "--tag", "t1", "--max-runs", "1", *args, env={"EVOGIT_FAILPOINT": "started"}, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr


def test_a_backend_that_goes_down_and_comes_back_costs_no_trial_and_is_told_of(repo, way, monkeypatch):
    monkeypatch.setattr(outages, "REST_S", 0.2)
    warned, decided, fell = [], [], False

    for event in Lab.open(repo, tag="t1").loop(LoopOptions(backend="far+local", workers=2, max_runs=4)):
        if isinstance(event, ev.TrialStarted) and (way / "started").exists() and not fell:
            fell = True
            (way / "down").touch()
        elif isinstance(event, ev.Warned) and "far" in event.message:
            warned.append(event.message)
        elif isinstance(event, ev.Decided):
            decided.append(event.run)
            if warned:  # the other backend went on alone, and a person was told why
                (way / "down").unlink(missing_ok=True)

    found = trials_of(repo, *decided)  # a number among theirs may be a reading's
    assert len(set(decided)) == 4
    assert {backend for _, _, backend in found} == {"far", "local"}
    assert {attempt for _, attempt, _ in found} == {1}
    assert warned[0] == "backend far is down: far does not answer; 1 trial waits for it"
    assert "backend far answers again" in warned


def test_trials_end_and_are_decided_while_a_backend_takes_long_to_start_one(repo, way):
    (way / "slow").touch()
    decided = []

    for event in Lab.open(repo, tag="t1").loop(LoopOptions(backend="far+local", workers=2, max_runs=2)):
        if not isinstance(event, ev.Decided):
            continue
        decided.append(event.run)
        if len(decided) == 1:
            assert (way / "stuck").exists() and not (way / "started").exists()
            (way / "slow").unlink()

    assert {backend for _, _, backend in trials_of(repo, *decided)} == {"far", "local"}


def test_a_trial_that_is_stopped_while_it_is_being_started_is_cancelled_and_tried_again(repo, way):
    (way / "slow").touch()
    stopper, pause = Stopper(), threading.Event()

    def stop_once_stuck() -> None:
        while not (way / "stuck").exists():
            pause.wait(0.01)
        stopper.request()
        stopper.request()
        (way / "slow").unlink()

    threading.Thread(target=stop_once_stuck, daemon=True).start()
    events = list(Lab.open(repo, tag="t1").loop(LoopOptions(backend="far", max_runs=1), stopper))

    assert isinstance(events[-1], ev.Stopped)
    assert events[-1].resume == "evogit loop --tag t1 --backend far"
    assert [flying.run for flying in Lab.open(repo, tag="t1").flying()] == ["1"]
    evogit(repo, "loop", "--tag", "t1", "--max-runs", "1", "--backend", "far")
    assert {backend for _, _, backend in trials_of(repo, "1")} == {"far"}


def test_a_trial_on_a_backend_that_the_next_loop_leaves_out_is_not_begun_a_second_time(repo, way):
    killed_once_started(repo, "--backend", "far")
    told = evogit(repo, "status", "--tag", "t1").stdout

    refused = evogit(repo, "loop", "--tag", "t1", "--max-runs", "1", check=False)
    evogit(repo, "loop", "--tag", "t1", "--max-runs", "1", *BOTH)

    assert "evogit loop --tag t1 --backend far" in told
    assert refused.returncode == 2
    assert "run 1's trial, which may still run, was started on backend far, which this loop does not use" in refused.stderr
    assert "add --backend far; " in refused.stderr
    assert trials_of(repo, "1") == [("1", 1, "far")]


def test_a_trial_that_a_fleet_started_is_taken_up_by_a_loop_on_that_backend_alone(repo, way):
    (way / "down").touch()
    killed_once_started(repo, *BOTH)
    (way / "down").unlink()

    evogit(repo, "loop", "--tag", "t1", "--max-runs", "1")

    assert trials_of(repo, "1")[0] == ("1", 1, "local")


def test_a_trial_that_ended_while_its_backend_is_down_waits_for_it_and_is_not_run_elsewhere(repo, way, monkeypatch):
    monkeypatch.setattr(outages, "REST_S", 0.2)
    killed_once_started(repo, "--backend", "far")
    (way / "down").touch()
    warned = []

    for event in Lab.open(repo, tag="t1").loop(LoopOptions(backend="far+local", max_runs=1)):
        if isinstance(event, ev.Warned) and "far" in event.message:
            warned.append(event.message)
        if len(warned) > 1:
            (way / "down").unlink(missing_ok=True)

    assert "a trial that may be on backend far, which is down, waits for it" in warned
    assert trials_of(repo, "1")[0] == ("1", 1, "far")


@pytest.mark.slow
@pytest.mark.xdist_group("slurm")
def test_a_trial_that_ran_here_while_slurm_was_down_is_not_run_again_when_slurm_is_back(repo, slurm):
    there = ("--backend", "slurm", "--backend", "local")
    slurm.stop("slurmctld")
    try:
        killed_once_started(repo, *there)
    finally:
        slurm.start("slurmctld")

    evogit(repo, "loop", "--tag", "t1", "--max-runs", "1", *there)

    assert trials_of(repo, "1")[0] == ("1", 1, "local")
