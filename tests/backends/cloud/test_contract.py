"""What every backend promises, kept by Cloud Run's over real clients and a service on loopback."""

from __future__ import annotations

import pytest

from evogit.testing import BackendContract, output, run


class TestCloudRunBackend(BackendContract):
    @pytest.fixture(autouse=True)
    def _recipe(self, cloud, spec):
        options = f"spec={str(spec)!r}, endpoint={cloud.url!r}, poll_s=0.01"
        self.recipe = (
            "from evogit.backends.cloud.backend import CloudRunBackend; from pathlib import Path;"
            f"backend = CloudRunBackend(Path({{root!r}}) / 'jobs', {options})"
        )


def test_a_trial_that_is_held_sees_its_data_and_cannot_write_there(made, spec, cloud, make, tmp_path_factory):
    folder = tmp_path_factory.mktemp("container") / "dataset"
    cloud.storage.write("loopback-bucket", "data/words.txt", b"words")
    spec.write_text(spec.read_text() + f"dataset: {{uri: 'gs://loopback-bucket/data/', container_dir: {folder}}}\n")
    source = "import os; path = os.environ['DATASET_DIR'] + '/words.txt'; print(open(path).read(), os.access(path, os.W_OK))"

    outcome = run(made(), make(source))

    assert (output(outcome), outcome.reason) == (f"words {outcome.sandbox == 'none'}\n", "")
