"""The Slurm backend on a real cluster of two nodes: the contract, and what becomes of jobs when something dies."""

from __future__ import annotations

import pytest

from evogit.backends.slurm import SlurmBackend
from evogit.testing import BackendContract
from loopback_slurm import SlurmCluster, missing

pytestmark = pytest.mark.xdist_group("slurm")


@pytest.fixture(scope="session")
def cluster(tmp_path_factory):
    """One cluster for all tests: they leave it as they found it."""
    if absent := missing():
        pytest.skip(f"no {absent[0]} here: apt install slurm-wlm munge")
    with SlurmCluster(tmp_path_factory.mktemp("slurm") / "cluster") as cluster:
        yield cluster


@pytest.fixture(autouse=True)
def at_hand(cluster, monkeypatch):
    """Slurm's clients speak to the cluster."""
    for name, value in cluster.env.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def backend(tmp_path):
    backend = SlurmBackend(tmp_path / "jobs")
    yield backend
    backend.close()


class TestSlurmBackend(BackendContract):
    recipe = "from pathlib import Path; from evogit.backends.slurm import SlurmBackend; backend = SlurmBackend(Path('{root}') / 'jobs')"
    overlap_s = 4.0

    @pytest.fixture
    def backend(self, tmp_path):
        backend = SlurmBackend(tmp_path / "jobs")
        yield backend
        backend.close()
