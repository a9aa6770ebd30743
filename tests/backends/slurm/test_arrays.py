"""How jobs get into Slurm's hands and what they are given there: arrays, limits, GPUs, secrets, cancelling."""

from __future__ import annotations

import json
import os
import shlex
import stat
import sys
from pathlib import Path

import pytest

from evogit.backends.slurm_folder import JobFolder
from evogit.backends.slurm_options import Options, parameters
from evogit.backends.slurm_submit import Arrays
from evogit.domain.trial import Status
from evogit.testing import output

pytestmark = pytest.mark.xdist_group("slurm")

FORKS = """
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        os.write(fd, b" daemon")
        time.sleep(60)
    os._exit(0)
time.sleep(60)
"""


def ticket(handle: str):
    return JobFolder.of(handle).ticket()


def queued(slurm, *ids: str) -> dict[str, str]:
    """Id -> state of these jobs, as squeue tells it."""
    lines = slurm.run("squeue", "-h", "-r", "-t", "all", "-o", "%i %T").splitlines()
    states = dict(line.split() for line in lines)
    return {slurm_id: states.get(slurm_id, "") for slurm_id in ids}


def told_of(slurm, slurm_id: str) -> dict[str, str]:
    """What `scontrol show job` says."""
    words = slurm.run("scontrol", "--oneliner", "show", "job", slurm_id).split()
    return dict(word.partition("=")[::2] for word in words if "=" in word)


# handing over


def test_jobs_that_start_together_are_one_array(backend, make):
    handles = [backend.start(make(f"print({n})")) for n in range(5)]

    while len(backend.wait(handles, None)) < 5:
        pass

    assert [output(backend.collect(handle)) for handle in handles] == [f"{n}\n" for n in range(5)]
    assert len({ticket(handle).name for handle in handles}) == 1
    assert [ticket(handle).id.partition("_")[2] for handle in handles] == ["0", "1", "2", "3", "4"]
    assert sorted(json.loads(handles[0])) == ["folder", "key"]  # no id of Slurm's


def test_what_was_started_is_handed_over_without_anybody_waiting(made, slurm, make, until):
    handle = made(sbatch="--hold").start(make("pass"))

    until(lambda: ticket(handle) is not None and ticket(handle).id)

    assert queued(slurm, ticket(handle).id) == {ticket(handle).id: "PENDING"}
    slurm.run("scancel", ticket(handle).id)


def test_limits_and_options_reach_slurm_and_jobs_with_other_limits_are_another_array(made, slurm, make):
    backend = made(sbatch={"hold": True, "comment": 'it\'s "quoted" $HOME'}, constraint="", setup=["export X=1"], array_max=2)
    wide = make("pass", cpus=3, memory_mib=1000, timeout_s=61.0, gpus=1, gpu_kind="H100")
    handles = [backend.start(job) for job in (make("pass"), wide, make("pass"), make("pass"))]

    backend.flush()

    ids = [ticket(handle).id for handle in handles]
    assert [slurm_id.partition("_")[2] for slurm_id in ids] == [
        "0",
        "",
        "1",
        "",
    ]  # two, then one with other limits, then the third of its like
    told = told_of(slurm, ids[1])
    assert (told["NumCPUs"], told["TimeLimit"], told["Requeue"], told["Partition"]) == ("3", "00:07:00", "0", "main")
    assert told["MinMemoryNode"] == "1350M"
    assert "gres:gpu:h100:1" in slurm.run("scontrol", "show", "job", ids[1])
    assert 'it\'s "quoted" $HOME' in slurm.run("scontrol", "show", "job", ids[1])
    for handle in handles:
        backend.cancel(handle)
    assert all(backend.collect(handle).status is Status.CANCELLED for handle in handles)


def test_a_job_that_is_handed_over_twice_runs_once(backend, make, tmp_path, until, slurm):
    job = make("import sys; open(sys.argv[1], 'a').write('ran\\n')", str(tmp_path / "artifacts" / "count"))
    folder = JobFolder.of(backend.start(job))
    arrays = Arrays(tmp_path / "jobs", Options())

    backend.flush()
    first = folder.ticket().id
    arrays.submit([folder], parameters(job, Options(), ""))
    second = folder.ticket().id
    outcome = backend.collect(folder.handle)

    until(lambda: set(queued(slurm, first, second).values()) == {"COMPLETED"}, 60)
    assert outcome.status is Status.OK
    assert (tmp_path / "artifacts" / "count").read_text() == "ran\n"
    assert backend.collect(folder.handle) == outcome


def test_values_of_the_environment_are_for_nobody_else_and_gone_once_a_node_has_them(made, make, slurm, tmp_path, monkeypatch):
    monkeypatch.setenv("EVOGIT_TEST_KEY", "open sesame")
    handle = made().start(make("import os; print(len(os.environ['TOKEN']))", env={"PATH": os.defpath, "TOKEN": "swordfish"}))
    request = JobFolder.of(handle).path / "request.json"
    mode = stat.S_IMODE(request.stat().st_mode)

    outcome = made().collect(handle)

    assert (mode, output(outcome)) == (0o600, "9\n")
    places = (tmp_path / "jobs", tmp_path / "jobs-slurm", slurm.folder / "state", slurm.folder / "spool-n1", slurm.folder / "spool-n2")
    files = [path for place in places for path in place.rglob("*") if path.is_file()]
    assert len(files) > 8
    assert not [path for path in files if b"swordfish" in path.read_bytes() or b"open sesame" in path.read_bytes()]


def test_what_is_forgotten_leaves_nothing_behind(backend, make, tmp_path):
    handles = [backend.start(make("pass")) for _ in range(2)]
    outcomes = [backend.collect(handle) for handle in handles]
    arrays = list((tmp_path / "jobs-slurm").iterdir())

    backend.forget(handles[0])
    left = list((tmp_path / "jobs-slurm").iterdir())
    backend.forget(handles[1])

    assert {outcome.status for outcome in outcomes} == {Status.OK}
    assert (len(arrays), left) == (1, arrays)
    assert list((tmp_path / "jobs-slurm").iterdir()) == []
    assert [path.name for path in (tmp_path / "jobs").iterdir() if path.is_dir()] == []


# what a job has on its node


def test_names_that_slurm_reads_as_patterns_are_only_names(made, make, tmp_path):
    root = tmp_path / "%A9 it's %2F %j grüße" / "jobs"
    backend = made(root)
    handles = [backend.start(make("pass")) for _ in range(2)]

    outcomes = [backend.collect(handle) for handle in handles]

    assert [(outcome.status, outcome.reason) for outcome in outcomes] == [(Status.OK, "")] * 2
    assert sorted(path.name for path in root.with_name("jobs-slurm").glob("*/*")) == ["0.err", "0.out", "1.err", "1.out", "tasks.json"]


@pytest.mark.skipif(
    any(name.startswith("nvidia") for name in os.listdir("/dev")), reason="GPUs are pretended here, and there are real ones"
)
def test_two_jobs_on_one_node_get_a_gpu_each_from_slurm(made, make, tmp_path):
    devices = tmp_path / "dev"
    devices.mkdir()
    (devices / "nvidia0").touch()
    (devices / "nvidia1").touch()
    python = tmp_path / "python"  # the node's interpreter, with a /dev that has GPUs in it
    pretend = f"import sys; sys.path.insert(0, sys.argv[1]); from evogit.backends import devices; devices.DEV = {str(devices)!r}"
    code = f"{pretend}; from evogit.backends.slurm_node import main; main()"
    python.write_text(f'#!/bin/sh\nshift 4\nexec {sys.executable} -c {shlex.quote(code)} "$@"\n')
    python.chmod(0o755)
    backend = made(python=str(python), gpu="h1", sbatch={"nodelist": "n1"})
    source = "import os, time; print(os.environ['CUDA_VISIBLE_DEVICES']); time.sleep(1.5)"

    handles = [backend.start(make(source, gpus=1)) for _ in range(2)]
    outcomes = [backend.collect(handle) for handle in handles]

    assert [outcome.reason for outcome in outcomes] == ["", ""]
    assert sorted(map(output, outcomes)) == ["0\n", "1\n"]


# cancelling


def test_a_job_that_waits_in_the_queue_is_cancelled_at_once(made, slurm, make, until):
    backend = made(sbatch={"hold": True})
    handle = backend.start(make("pass"))
    backend.flush()

    backend.cancel(handle)
    ended = backend.wait([handle], 0)

    assert ended == [handle]
    assert backend.collect(handle).status is Status.CANCELLED
    assert Path(backend.collect(handle).folder).is_dir()
    until(lambda: queued(slurm, ticket(handle).id)[ticket(handle).id] in ("CANCELLED", ""))


def test_cancel_ends_the_whole_tree_on_its_node(backend, make, witness):
    handle = backend.start(make(witness.hold + FORKS, witness.path))
    backend.flush()
    heard = witness.hears(60)
    while b"daemon" not in heard:
        heard += witness.hears(30)

    backend.cancel(handle)

    assert backend.wait([handle], 30) == [handle]
    assert backend.collect(handle).status is Status.CANCELLED
    assert witness.is_alone()


@pytest.mark.parametrize("begun", [True, False])
def test_scancel_by_hand_is_a_cancelled_job_and_leaves_no_process(made, slurm, make, witness, begun):
    backend = made(sbatch={"hold": not begun})
    handle = backend.start(make(witness.hold + FORKS, witness.path))
    backend.flush()
    if begun:
        heard = witness.hears(60)
        while b"daemon" not in heard:
            heard += witness.hears(30)

    slurm.run("scancel", ticket(handle).id)

    assert backend.wait([handle], 60) == [handle]
    assert (backend.collect(handle).status, backend.collect(handle).reason) == (Status.CANCELLED, "cancelled by scancel")
    assert not begun or witness.is_alone()


# the cluster


def test_resources_are_those_of_the_partition(made):
    whole, brief = made().resources(), made(partition="brief", slots=3).resources()

    assert (whole["slots"], whole["cpus"], whole["gpus"], whole["kinds"], whole["nodes"]) == (8, 8, 2, ["h100"], 2)
    assert (brief["slots"], brief["cpus"], brief["gpus"], brief["nodes"]) == (3, 4, 0, 1)
