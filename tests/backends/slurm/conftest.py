"""Fixtures for jobs on a Slurm cluster."""

from __future__ import annotations

import os

import pytest

from evogit.backends.slurm import SlurmBackend


@pytest.fixture
def made(slurm, tmp_path, monkeypatch):
    """`made(**options)`: a Slurm backend whose jobs lie in `tmp_path / "jobs"`, closed after the test."""
    backends = []
    monkeypatch.setattr("evogit.backends.slurm.GONE_S", 0.2)  # this file system is no network's: it is never late
    monkeypatch.setattr("evogit.backends.slurm.LAST_S", 0.5)
    os.chmod(tmp_path, 0o755)

    def make(root=tmp_path / "jobs", **options) -> SlurmBackend:
        backends.append(SlurmBackend(root, **options))
        return backends[-1]

    yield make
    for backend in backends:
        backend.close()


@pytest.fixture
def backend(made):
    """The backend with nothing said about it."""
    return made()
