"""A campaign whose trials run on Modal, met as a loopback service that is away for a while."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import grpclib
import pytest
from grpclib.const import Status as Code

from loopback_modal import serving
from toys import evogit

THERE = ("loop", "--backend", "modal", "--max-runs", "1", "--json")
AWAY = grpclib.GRPCError(Code.UNAVAILABLE, "we are deploying")


@pytest.fixture
def service(tmp_path, monkeypatch):
    with serving(tmp_path / "modal") as (service, env):
        for name, value in env.items():
            monkeypatch.setenv(name, value)
        service.environment = {"EVOGIT_SANDBOX": "none", "PATH": f"{Path(sys.executable).parent}:{os.defpath}"}
        yield service


def until(claim) -> None:
    pause, give_up_at = threading.Event(), time.monotonic() + 60
    while not claim():
        assert time.monotonic() < give_up_at, "it never came true"
        pause.wait(0.01)


def trials(repo: Path, run: str) -> list[dict]:
    return json.loads(evogit(repo, "show", run, "--json").stdout)["trials"]


def test_a_loop_goes_on_when_a_service_is_back_that_was_away_while_its_trial_ran(repo, service):
    command = [sys.executable, "-m", "evogit.cli", *THERE]
    with subprocess.Popen(command, cwd=repo, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as loop:
        until(lambda: service.containers)
        service.faults["*"] = AWAY
        seen = len(service.calls)
        until(lambda: sum(call.startswith("SandboxWait") for call in service.calls[seen:]) > 6)  # its client tries four times
        service.faults.clear()
        said, complaints = loop.communicate(timeout=120)

    assert (loop.returncode, "Traceback" in complaints) == (0, False), complaints
    assert "Modal is out of reach: we are deploying; trials that run go on" in said + complaints
    assert [(trial["backend"], trial["attempt"]) for trial in trials(repo, "1")] == [("modal", 1)]
    assert len(service.containers) == 1


def test_a_run_whose_service_was_away_when_it_should_begin_is_gone_on_with_by_the_next_loop(repo, service):
    service.faults["SandboxCreateV2"] = AWAY
    away = evogit(repo, *THERE, check=False)
    service.faults.clear()
    evogit(repo, *THERE)

    assert (away.returncode, "Traceback" in away.stderr) == (3, False)
    assert "Modal is out of reach: we are deploying" in away.stderr
    assert [(trial["backend"], trial["attempt"]) for trial in trials(repo, "1")] == [("modal", 1)]
    assert len(service.containers) == 1
