"""What a cluster, or a machine, does not have: one line, a hint, and the job stays for the next loop."""

from __future__ import annotations

import re
import sys
import time

import pytest

from evogit import registry
from evogit.backends import slurm as module
from evogit.backends.slurm import SlurmBackend
from evogit.backends.slurm_folder import JobFolder
from evogit.domain.trial import Status
from evogit.errors import BackendDown, UserError

pytestmark = pytest.mark.xdist_group("slurm")


@pytest.fixture
def deserted(tmp_path, slurm_cluster, monkeypatch):
    """Slurm's clients are told of a controller that is not there."""
    text = slurm_cluster.config.read_text()
    text = re.sub(r"(?m)^SlurmctldPort=.*$", "SlurmctldPort=1", text)
    path = tmp_path / "slurm.conf"
    path.write_text(re.sub(r"(?m)^MessageTimeout=.*$", "MessageTimeout=2", text))
    for name, value in {**slurm_cluster.env, "SLURM_CONF": str(path)}.items():
        monkeypatch.setenv(name, value)


# before anything is started


def test_the_backend_has_its_name_in_the_registry():
    assert registry.find("backends", "slurm") is SlurmBackend


def test_an_unknown_partition_is_named_with_those_that_exist(made):
    with pytest.raises(UserError, match="no partition 'gpus'") as caught:
        made(partition="gpus").resources()

    assert "main, brief, blind, urgent" in caught.value.hint


def test_a_controller_that_is_away_is_told_within_seconds(deserted, tmp_path):
    backend, began = SlurmBackend(tmp_path / "jobs"), time.monotonic()

    with pytest.raises(BackendDown, match="Slurm: .*controller") as caught:
        backend.resources()

    assert time.monotonic() - began < 20
    assert caught.value.hint
    assert "\n" not in caught.value.message


def test_a_job_stays_where_the_controller_is_away_until_it_is_back(deserted, tmp_path, make, slurm_cluster, monkeypatch):
    backend = SlurmBackend(tmp_path / "jobs")
    handle = backend.start(make("pass"))

    with pytest.raises(BackendDown, match="Slurm: .*controller"):
        backend.wait([handle], None)
    monkeypatch.setenv("SLURM_CONF", str(slurm_cluster.config))

    assert backend.collect(handle).status is Status.OK
    backend.close()


def test_missing_packages_and_programs_are_one_line(made, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "submitit", None)
        with pytest.raises(UserError, match="needs submitit") as no_package:
            made().resources()
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError, match="sbatch, squeue, scancel, sinfo, srun are not installed here") as no_program:
        made().resources()

    assert no_package.value.hint == "`pip install 'evogit[slurm]'`"
    assert "choose another backend" in no_program.value.hint


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"partiton": "main"}, "partiton"),
        ({"partition": 3}, "partition"),
        ({"array_max": 0}, "array_max"),
        ({"slots": 0}, "slots"),
        ({"slots": 1.5}, "slots"),
        ({"slots": "x"}, "slots"),
        ({"sbatch": ["-p", "main"]}, "'-p' is no option"),
        ({"sbatch": ["--array=1-3"]}, "evogit sets --array itself"),
        ({"sbatch": {"job_name": "x"}}, "evogit sets --job-name itself"),
        ({"sbatch": {"comment": "a\nrm -rf"}}, "'comment'"),
        ({"sbatch": 3}, "sbatch"),
        ({"sbatch": "--comment='a"}, "sbatch"),
    ],
)
def test_a_wrong_option_is_named(tmp_path, options, said):
    with pytest.raises(UserError, match=r"\[backend\.slurm\]") as caught:
        SlurmBackend(tmp_path / "jobs", **options)

    assert said in caught.value.message
    assert caught.value.hint


# once there are jobs


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"partition": "nowhere"}, "invalid partition specified: nowhere"),
        ({"constraint": "a100"}, "Invalid feature specification"),
        ({"sbatch": {"gres": "gpu:b200:1"}}, "Requested node configuration is not available"),
        ({"sbatch": ["--no-such-option"]}, "unrecognized option"),
    ],
)
def test_what_sbatch_refuses_is_for_a_person_to_mend_and_the_job_stays(made, make, options, said):
    backend = made(**options)
    handle = backend.start(job := make("pass"))

    with pytest.raises(UserError, match="Slurm refuses the trials") as caught:
        backend.wait([handle], None)

    assert said in caught.value.message
    assert "[backend.slurm]" in caught.value.hint
    assert made().find(job.key) == handle
    backend.cancel(handle)


def test_a_kind_of_gpu_that_the_cluster_lacks_is_told_before_anything_waits(made, make):
    with pytest.raises(UserError, match="no GPU of kind 'B200'") as caught:
        made().start(make("pass", gpus=1, gpu_kind="B200"))

    assert "it has h100" in caught.value.hint


def test_a_job_that_can_never_start_ends_the_wait_and_goes_into_the_queue_again_under_other_options(made, make, monkeypatch):
    monkeypatch.setattr(module, "STUCK_S", 0.5)
    strict = made(partition="brief")
    handle = strict.start(make("pass", timeout_s=600))

    with pytest.raises(
        UserError, match=r"can never start a trial: Partition(TimeLimit|Config)$"
    ) as caught:  # the latter until it has looked
        strict.wait([handle], None)
    ticket = JobFolder.of(handle).ticket()

    assert "[backend.slurm]" in caught.value.hint
    assert ticket is None
    assert made(partition="main").collect(handle).status is Status.OK


def test_why_a_job_waits_is_told_once(made, make, until):
    backend = made(sbatch={"hold": True})
    handle = backend.start(make("pass"))
    told = []

    until(lambda: backend.wait([handle], 0.05) == [] and (told.extend(backend.news()) or told), 30)

    assert [message for message, _ in told] == ["trials wait in Slurm's queue: JobHeldUser"]
    backend.cancel(handle)
    assert backend.news() == []
