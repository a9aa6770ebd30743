"""What every backend promises, kept by Cloud Run's over real clients and a service on loopback."""

from __future__ import annotations

import pytest

from evogit.testing import BackendContract


class TestCloudRunBackend(BackendContract):
    @pytest.fixture(autouse=True)
    def _recipe(self, cloud, spec):
        options = f"spec={str(spec)!r}, endpoint={cloud.url!r}, poll_s=0.01"
        self.recipe = (
            "from evogit.backends.cloud.backend import CloudRunBackend; from pathlib import Path;"
            f"backend = CloudRunBackend(Path({{root!r}}) / 'jobs', {options})"
        )
