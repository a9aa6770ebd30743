"""What every test stands on: a private home, a private cache, git without anybody's settings."""

from __future__ import annotations

import os
import sys

import hypothesis
import pytest

# Thousands of processes import evogit here. As a person's do, they find it compiled: half a second each where nobody may write that down.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

hypothesis.settings.register_profile("evogit", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])  # the load decides
hypothesis.settings.load_profile("evogit")


@pytest.fixture(scope="session", autouse=True)
def private_state(tmp_path_factory):
    """What is made once a session, before any test has a home of its own, writes into nobody's state folder either."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
        yield


@pytest.fixture(autouse=True)
def private_home(tmp_path_factory, monkeypatch):
    """No test reads a person's git configuration or writes in their cache."""
    home = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("XDG_CACHE_HOME", str(home / "cache"))
    monkeypatch.setenv("XDG_STATE_HOME", str(home / "state"))
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    for name in ("EVOGIT_CACHE", "EVOGIT_FAILPOINT", "GIT_DIR", "GIT_WORK_TREE", "XDG_CONFIG_HOME"):
        monkeypatch.delenv(name, raising=False)
    (home / ".gitconfig").write_text("[user]\n\tname = Ada\n\temail = ada@example.org\n[init]\n\tdefaultBranch = main\n[gc]\n\tauto = 0\n")
    return home


@pytest.fixture
def unheld(monkeypatch):
    """Trials and programs that tell somebody outside what they do, where no sandbox would let them."""
    monkeypatch.setenv("EVOGIT_SANDBOX", "none")


@pytest.fixture
def loopback(monkeypatch):
    """Model services on 127.0.0.1, with keys for them in the environment; see `tests/loopback`."""
    from loopback import Loopback

    with Loopback() as server:
        for name, value in server.env.items():
            monkeypatch.setenv(name, value)
        yield server


@pytest.fixture(scope="session")
def slurm_cluster(tmp_path_factory):
    """A real Slurm on 127.0.0.1, see `tests/loopback_slurm.py`: one for all tests that carry `xdist_group("slurm")`."""
    from loopback_slurm import SlurmCluster, missing

    pytest.importorskip("submitit")
    if absent := missing():
        pytest.skip(f"{', '.join(absent)} not installed: apt install slurm-wlm munge")
    with SlurmCluster(tmp_path_factory.mktemp("slurm") / "cluster") as cluster:
        yield cluster


@pytest.fixture
def slurm(slurm_cluster, monkeypatch):
    """Slurm's clients speak to that cluster."""
    for name, value in slurm_cluster.env.items():
        monkeypatch.setenv(name, value)
    return slurm_cluster
