"""The Slurm backend keeps what every backend promises, on a real cluster of two nodes."""

from __future__ import annotations

import pytest

from evogit.testing import BackendContract

pytestmark = pytest.mark.xdist_group("slurm")


class TestSlurmBackend(BackendContract):
    recipe = "from pathlib import Path; from evogit.backends.slurm import SlurmBackend; backend = SlurmBackend(Path('{root}') / 'jobs')"
    overlap_s = 2.0

    @pytest.fixture
    def backend(self, made):
        return made()
