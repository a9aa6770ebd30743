"""What becomes of jobs when a loop, a node's program, a slurmd, a whole node or the controller dies under them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from evogit.backends import processes
from evogit.backends.slurm_folder import JobFolder
from evogit.domain.trial import Status
from evogit.testing import output

pytestmark = pytest.mark.xdist_group("slurm")

LOOP = """
import os, sys, msgspec
from pathlib import Path
from evogit.backends.slurm import SlurmBackend
from evogit.domain.trial import Job
backend = SlurmBackend(Path({root!r}))
print(backend.start(msgspec.json.decode(sys.stdin.buffer.read(), type=Job)), flush=True)
{then}
"""


def die_after(root: Path, job, then: str, **env: str) -> str:
    """A loop that starts a job, and then something happens to it; the handle that it got."""
    program = LOOP.format(root=str(root), then=then)
    done = subprocess.run(
        [sys.executable, "-c", program],
        input=msgspec.json.encode(job),
        stdout=subprocess.PIPE,
        env={**os.environ, **env},
        timeout=60,
        check=False,
    )
    assert done.returncode == -signal.SIGKILL
    return done.stdout.decode().strip()


def program_of(handle: str) -> int:
    """The process id of the program that Slurm runs for a job."""
    path = str(JobFolder.of(handle).path.parent) + "-slurm"
    words = (path.encode(), b"slurm_node")
    found = [
        int(name) for name in os.listdir("/proc") if name.isdigit() and all(w in processes.read(f"/proc/{name}/cmdline") for w in words)
    ]
    assert len(found) == 1
    return found[0]


@pytest.fixture
def once(make, tmp_path):
    """A job that leaves a mark each time it runs, and how often it did."""
    marks = tmp_path / "artifacts" / "marks"
    job = make("import sys; open(sys.argv[1], 'a').write('ran\\n'); print('done')", str(marks))
    return job, lambda: marks.read_text().count("ran")


# loops


def test_a_job_whose_loop_was_killed_before_slurm_had_it_is_handed_over_by_the_next(backend, once, tmp_path):
    job, count = once
    handle = die_after(tmp_path / "jobs", job, "os.kill(os.getpid(), 9)")
    untouched = JobFolder.of(handle).ticket()

    found = backend.find(job.key)
    outcome = backend.collect(handle)

    assert (untouched, found, backend.start(job)) == (None, handle, handle)
    assert (outcome.status, count()) == (Status.OK, 1)


def test_a_job_whose_loop_was_killed_once_slurm_had_it_is_found_in_the_queue(backend, once, slurm, tmp_path):
    job, count = once
    handle = die_after(tmp_path / "jobs", job, "backend.wait([], None)", EVOGIT_FAILPOINT="slurm-submitted")
    ticket = JobFolder.of(handle).ticket()

    outcome = backend.collect(handle)

    assert (ticket.id, outcome.status, count()) == ("", Status.OK, 1)
    assert slurm.run("squeue", "-h", "-t", "all", "-n", ticket.name, "-o", "%T").count("\n") == 1


# nodes


def test_a_job_survives_the_slurmd_of_its_node(made, make, witness, slurm):
    backend = made(sbatch={"nodelist": "n2"})
    go = Path(witness.path).parent / "artifacts" / "go"
    handle = backend.start(
        make(witness.hold + "while not os.path.exists(sys.argv[2]): time.sleep(0.05)\nprint('done')", witness.path, str(go))
    )
    backend.flush()
    witness.hears(60)

    slurm.stop("n2", signal.SIGKILL)
    quiet = backend.wait([handle], 1)
    go.touch()
    outcome = backend.collect(handle)
    slurm.start("n2")

    assert quiet == []
    assert (outcome.status, output(outcome)) == (Status.OK, "done\n")


@pytest.mark.parametrize("last_s", [30.0, 0.0])
def test_a_job_whose_node_slurm_gave_up_is_ended_there_and_has_one_outcome(made, make, witness, slurm, monkeypatch, last_s):
    backend = made(sbatch={"nodelist": "n2"})
    monkeypatch.setattr("evogit.backends.slurm.LAST_S", last_s)  # for the node's program to say so itself
    handle = backend.start(make(witness.hold + "print('half', flush=True)\ntime.sleep(60)", witness.path))
    backend.flush()
    witness.hears(60)

    slurm.stop("n2", signal.SIGKILL)
    slurm.run("scontrol", "update", "nodename=n2", "state=down", "reason=lost")
    outcome = backend.collect(handle)
    is_alone = witness.is_alone()
    rest = witness.hears(30)
    slurm.start("n2")

    assert (outcome.status, rest) == (Status.INFRASTRUCTURE, b"")
    assert is_alone or not last_s
    assert "NODE_FAIL" in outcome.reason
    assert output(outcome) == "half\n"
    assert backend.collect(handle) == outcome


def test_cancel_reaches_a_node_that_no_signal_reaches(made, make, witness, slurm):
    backend = made(sbatch={"nodelist": "n2"})
    handle = backend.start(make(witness.hold + "time.sleep(60)", witness.path))
    backend.flush()
    witness.hears(60)

    slurm.stop("n2", signal.SIGKILL)
    backend.cancel(handle)
    outcome = backend.collect(handle)
    slurm.start("n2")

    assert outcome.status is Status.CANCELLED
    assert witness.is_alone()


def test_a_job_dies_with_the_program_that_runs_it_on_its_node(backend, make, witness):
    handle = backend.start(make(witness.hold + "time.sleep(60)", witness.path))
    backend.flush()
    witness.hears(60)

    os.kill(program_of(handle), signal.SIGKILL)
    outcome = backend.collect(handle)

    assert witness.hears(30) == b""
    assert outcome.status is Status.INFRASTRUCTURE
    assert outcome.reason


def test_an_outcome_that_the_nodes_program_had_no_time_to_pass_on_counts(backend, make, witness, until):
    handle = backend.start(make(witness.hold + "os.read(os.open(sys.argv[2], os.O_RDONLY), 1)", witness.path, witness.path + ".go"))
    os.mkfifo(witness.path + ".go")
    os.chmod(witness.path + ".go", 0o666)
    backend.flush()
    witness.hears(60)
    inner = JobFolder.of(handle).inner / "outcome.json"

    program = program_of(handle)
    os.kill(program, signal.SIGSTOP)
    Path(witness.path + ".go").write_text("!")
    until(inner.exists)
    os.kill(program, signal.SIGKILL)
    outcome = backend.collect(handle)

    assert (outcome.status, outcome.backend, outcome.folder) == (Status.OK, "slurm", str(inner.parent))


@pytest.mark.skipif(os.getuid() != 0, reason="only root gives a node a file tree of its own")
def test_a_node_that_does_not_see_the_folder_is_told_so(made, make, slurm):
    slurm.start("n3")
    backend = made(slurm.hidden / "jobs", partition="blind")
    handle = backend.start(make("pass"))

    outcome = backend.collect(handle)
    slurm.stop("n3")

    assert outcome.status is Status.INFRASTRUCTURE
    assert "do the nodes share this file system?" in outcome.reason


def test_a_node_that_cannot_run_our_program_is_told_so(made, make):
    bare = os.path.realpath(sys.executable)
    if not subprocess.run([bare, "-c", "import msgspec"], stderr=subprocess.DEVNULL, check=False).returncode:
        pytest.skip("the interpreter below the virtual environment has our packages too")
    backends = [made(python=python) for python in ("/no/such/python", bare)]
    handles = [backend.start(make("pass")) for backend in backends]

    outcomes = [backend.collect(handle) for backend, handle in zip(backends, handles)]

    assert {outcome.status for outcome in outcomes} == {Status.INFRASTRUCTURE}
    assert "/no/such/python" in outcomes[0].reason
    assert "No module named 'msgspec'" in outcomes[1].reason
    assert "\n" not in outcomes[0].reason + outcomes[1].reason


def test_a_sandbox_that_a_node_lacks_is_told_so(made, make, monkeypatch):
    monkeypatch.setenv("EVOGIT_SANDBOX", "none")
    backend = made()

    outcome = backend.collect(backend.start(make("pass", require="bubblewrap")))

    assert outcome.status is Status.INFRASTRUCTURE
    assert 'requires sandbox "bubblewrap"' in outcome.reason


# what Slurm ends


def test_a_trial_that_slurm_preempts_is_tried_again_and_says_so(made, make, slurm):
    backend = made(sbatch={"nodelist": "n2"})
    handle = backend.start(make("import time; print('begun', flush=True); time.sleep(60)", cpus=4))
    backend.flush()
    first = next(backend.follow(handle))

    slurm.run("sbatch", "--partition=urgent", "--nodelist=n2", "--cpus-per-task=4", "--output=/dev/null", "--wrap=true")
    outcome = backend.collect(handle)

    assert first == ("stdout", b"begun\n")
    assert (outcome.status, outcome.reason) == (Status.INFRASTRUCTURE, "Slurm ended the job: preemption")
    assert output(outcome) == "begun\n"


@pytest.mark.slow  # Slurm looks at time limits twice a minute
def test_a_trial_that_slurm_ends_for_its_time_is_tried_again_and_says_so(backend, make, slurm):
    handle = backend.start(make("import time; print('begun', flush=True); time.sleep(100)"))
    backend.flush()
    first = next(backend.follow(handle))

    slurm.run("scontrol", "update", f"jobid={JobFolder.of(handle).ticket().id}", "EndTime=now+1")
    outcome = backend.collect(handle)

    assert first == ("stdout", b"begun\n")
    assert (outcome.status, outcome.reason) == (Status.INFRASTRUCTURE, "Slurm ended the job: time limit")


def test_a_signal_of_slurms_that_reaches_the_trial_before_its_program_is_no_crash_of_the_trial(made, make, until, monkeypatch):
    monkeypatch.setenv("EVOGIT_SANDBOX", "none")  # its process ids are those that we see
    backend = made()
    handle = backend.start(make("import os, time; print(os.getpid(), flush=True); time.sleep(60)"))
    backend.flush()
    trial, program = int(next(backend.follow(handle))[1]), program_of(handle)

    os.kill(trial, signal.SIGTERM)
    until((JobFolder.of(handle).inner / "outcome.json").exists)
    os.kill(program, signal.SIGTERM)
    outcome = backend.collect(handle)

    assert (outcome.status, outcome.reason) == (Status.CANCELLED, "cancelled by scancel")


# the controller


def test_a_job_that_ends_while_the_controller_is_away_is_noticed(backend, make, witness, slurm):
    handle = backend.start(make(witness.hold + "os.read(os.open(sys.argv[2], os.O_RDONLY), 1)", witness.path, witness.path + ".go"))
    os.mkfifo(witness.path + ".go")
    os.chmod(witness.path + ".go", 0o666)
    backend.flush()
    witness.hears(60)

    slurm.stop("slurmctld")
    Path(witness.path + ".go").write_text("!")
    outcome = backend.collect(handle)
    slurm.start("slurmctld")

    assert (json.loads(handle)["key"], outcome.status) == (outcome.key, Status.OK)
