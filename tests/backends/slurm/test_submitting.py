"""What sbatch does not do at once, or not at all: nobody hangs on it, and what it says is told with what helps."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

import pytest

from evogit.backends import slurm_clients, slurm_queue
from evogit.backends.slurm_folder import JobFolder
from evogit.domain.trial import Status
from evogit.errors import BackendDown, UserError
from evogit.testing import output
from evogit.turns import Asking

pytestmark = pytest.mark.xdist_group("slurm")


class Gate:
    """An sbatch that says nothing until the gate is opened; then it is Slurm's own."""

    def __init__(self, folder: Path, real: str) -> None:
        folder.mkdir()
        self.begun, self.open_at = folder / "begun", folder / "gate"
        os.mkfifo(self.open_at)
        self.program = folder / "sbatch"
        self.program.write_text(f'#!/bin/bash\n: > {self.begun}\nread < {self.open_at}\nexec {real} "$@"\n')
        self.program.chmod(0o755)

    def open(self) -> None:
        with open(self.open_at, "w") as gate:
            gate.write("\n")


@pytest.fixture
def gate(slurm, tmp_path, monkeypatch) -> Gate:
    gate = Gate(tmp_path / "bin", "/usr/bin/env sbatch")
    real = os.environ["PATH"]
    gate.program.write_text(gate.program.read_text().replace("exec /usr", f"PATH={real} exec /usr"))
    monkeypatch.setenv("PATH", f"{gate.program.parent}:{real}")
    return gate


def says(folder: Path, words: str) -> None:
    """An sbatch that refuses in these words."""
    folder.mkdir()
    (folder / "words").write_text(words)
    (folder / "sbatch").write_text(f"#!/bin/sh\ncat {folder}/words >&2\nexit 1\n")
    (folder / "sbatch").chmod(0o755)


# an sbatch that does not answer


def test_who_waits_or_cancels_is_not_held_up_by_an_sbatch_that_does_not_answer(made, make, gate, until):
    backend = made()
    handles = [backend.start(make("print('ran')")) for _ in range(2)]

    ended = backend.wait(handles, 0.05)
    until(gate.begun.exists)
    backend.cancel(handles[0])
    cancelled = backend.wait(handles, 0)
    gate.open()

    assert (ended, cancelled) == ([], handles[:1])
    assert [backend.collect(handle).status for handle in handles] == [Status.CANCELLED, Status.OK]


def test_an_sbatch_that_never_answers_is_told_and_the_job_runs_once_when_it_does(made, make, gate, tmp_path, monkeypatch):
    backend = made()
    mark = tmp_path / "artifacts" / "mark"
    handle = backend.start(make("import sys; open(sys.argv[1], 'a').write('ran')", str(mark)))

    with monkeypatch.context() as patch:
        patch.setattr(slurm_clients, "SUBMIT_S", 0.3)
        with pytest.raises(BackendDown, match="sbatch has not answered") as caught:
            backend.wait([handle], None)
    left = JobFolder.of(handle).ticket()
    monkeypatch.setenv("PATH", os.environ["PATH"].partition(":")[2])

    assert "`scontrol ping`" in caught.value.hint and left.id == ""
    assert backend.collect(handle).status is Status.OK
    assert mark.read_text() == "ran"


def test_an_array_that_slurm_took_without_a_word_is_found_by_its_name(made, make, slurm, tmp_path, monkeypatch, until):
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "sbatch").write_text(f'#!/bin/bash\nPATH={os.environ["PATH"]} sbatch "$@" > /dev/null\nexec sleep 60\n')
    (folder / "sbatch").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    monkeypatch.setattr(slurm_clients, "SUBMIT_S", 3.0)
    backend = made(sbatch={"hold": True})
    handle = backend.start(make("print('ran')"))

    with pytest.raises(BackendDown, match="sbatch has not answered"):
        backend.flush()
    name = JobFolder.of(handle).ticket().name
    until(lambda: backend.wait([handle], 0.05) == [] and JobFolder.of(handle).ticket().id)

    assert JobFolder.of(handle).ticket().name == name
    slurm.run("scontrol", "release", JobFolder.of(handle).ticket().id)
    assert output(backend.collect(handle)) == "ran\n"


def test_what_others_say_while_sbatch_runs_reaches_the_terminal(made, make, gate, capsys, until):
    backend = made()
    handle = backend.start(make("pass"))
    handing = Asking(backend.flush)
    until(gate.begun.exists)

    print("a note of somebody else's", file=sys.stderr)
    gate.open()
    handing.take()

    assert capsys.readouterr().err == "a note of somebody else's\n"
    backend.cancel(handle)


def test_the_end_of_a_loop_does_not_wait_for_an_sbatch_that_does_not_answer(made, make, gate, monkeypatch, until):
    monkeypatch.setattr(slurm_queue, "LAST_S", 0.1)
    backend = made()
    handle = backend.start(make("pass"))
    backend.wait([handle], 0.05)
    until(gate.begun.exists)
    closing = Asking(backend.close)

    assert closing.wait(5)
    gate.open()
    assert made().collect(handle).status is Status.OK


# what it says


def test_a_munged_that_does_not_run_is_told_with_how_to_look(made, make, slurm, tmp_path, monkeypatch):
    config = tmp_path / "slurm.conf"
    config.write_text(re.sub(r"(?m)^AuthInfo=.*$", "AuthInfo=socket=/nowhere/munge.socket", slurm.config.read_text()))
    monkeypatch.setenv("SLURM_CONF", str(config))
    backend = made()
    handle = backend.start(make("pass"))

    with pytest.raises(BackendDown) as asked:
        backend.resources()
    with pytest.raises(BackendDown) as submitted:
        backend.wait([handle], None)

    for caught in (asked, submitted):
        assert re.search("[Mm]unge|authentic", caught.value.message) and "\n" not in caught.value.message
        assert "`munge -n | unmunge`" in caught.value.hint


@pytest.mark.parametrize("limit", ["QOSMaxSubmitJobPerUserLimit", "AssocMaxSubmitJobLimit", "AssocGrpSubmitJobsLimit", ""])
def test_a_quota_is_told_with_what_helps(made, make, tmp_path, monkeypatch, limit):
    policy = "Job violates accounting/QOS policy (job submit limit, user's size and/or time limits)"
    says(tmp_path / "bin", (f"sbatch: error: {limit}\n" if limit else "") + f"sbatch: error: Batch job submission failed: {policy}\n")
    backend = made()
    handle = backend.start(make("pass"))

    with monkeypatch.context() as patch:
        patch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")
        with pytest.raises(BackendDown) as caught:
            backend.wait([handle], None)

    assert caught.value.message == "Slurm: " + (f"{limit}; " if limit else "") + policy
    assert "fewer --workers" in caught.value.hint and "`sacctmgr show qos`" in caught.value.hint
    assert backend.collect(handle).status is Status.OK


def test_a_trial_that_is_larger_than_any_quota_is_for_a_person_to_mend(made, make, tmp_path, monkeypatch):
    policy = "Job violates accounting/QOS policy (job submit limit, user's size and/or time limits)"
    says(tmp_path / "bin", f"sbatch: error: QOSMaxWallDurationPerJobLimit\nsbatch: error: Batch job submission failed: {policy}\n")
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")
    backend = made()
    handle = backend.start(make("pass"))

    with pytest.raises(UserError, match="Slurm refuses the trials: QOSMaxWallDurationPerJobLimit; Job violates") as caught:
        backend.wait([handle], None)

    assert "[budget]" in caught.value.hint
    backend.cancel(handle)
