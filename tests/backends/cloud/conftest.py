"""A Google Cloud on loopback, and a backend that talks to it."""

from __future__ import annotations

from pathlib import Path

import pytest

from evogit.backends.cloud.backend import CloudRunBackend

SPEC = """\
name: toy
project_id: loopback-project
region: loopback1
bucket: loopback-bucket
artifact_repo: images
service_account: runner@loopback-project.iam.gserviceaccount.com
image: {name: toy-runner}
"""


@pytest.fixture(scope="session")
def shared_cloud():
    """One server for a worker's tests: what starts containers takes a second to start."""
    from loopback_cloud import Cloud

    with Cloud() as cloud:
        yield cloud


@pytest.fixture
def cloud(shared_cloud):
    """The server, with nothing asked of it yet."""
    shared_cloud.reset()
    yield shared_cloud
    shared_cloud.reset()


@pytest.fixture
def spec(tmp_path) -> Path:
    """A cloud_runner.yaml; tests add to it."""
    path = tmp_path / "cloud_runner.yaml"
    path.write_text(SPEC)
    return path


@pytest.fixture
def made(cloud, spec, tmp_path):
    """`made(**options)`: a backend with its jobs in `tmp_path / "jobs"`."""

    def make(**options) -> CloudRunBackend:
        return CloudRunBackend(tmp_path / "jobs", **{"spec": str(spec), "endpoint": cloud.url, "poll_s": 0.01, **options})

    return make


@pytest.fixture
def backend(made):
    return made()
