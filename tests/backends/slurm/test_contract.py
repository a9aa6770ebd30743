"""The Slurm backend keeps what every backend promises, on a real cluster of two nodes."""

from __future__ import annotations

import pytest

from evogit.testing import BackendContract, Nodes

pytestmark = pytest.mark.xdist_group("slurm")


class TestSlurmBackend(BackendContract):
    recipe = "from pathlib import Path; from evogit.backends.slurm import SlurmBackend; backend = SlurmBackend(Path('{root}') / 'jobs')"
    overlap_s = 2.0

    @pytest.fixture
    def backend(self, made):
        return made()

    @pytest.fixture
    def nodes(self, made, slurm):
        """Two nodes with a trial each, of which the controller gives up one."""
        yield Nodes(
            made(sbatch={"exclusive": True}), 2, lambda: slurm.run("scontrol", "update", "nodename=n2", "state=down", "reason=lost")
        )
        slurm.run("scontrol", "update", "nodename=n2", "state=resume")
