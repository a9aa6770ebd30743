"""A campaign whose baseline is measured: made once, copied for each story."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from toys import TOML, evogit, make_toy

ONE_SEED = TOML.replace("[0, 1]", "[0]")


@pytest.fixture(scope="session")
def measured(tmp_path_factory) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        home = tmp_path_factory.mktemp("measured-home")
        patch.setenv("HOME", str(home))
        patch.setenv("XDG_CACHE_HOME", str(home / "cache"))
        (home / ".gitconfig").write_text("[user]\n\tname = Ada\n\temail = ada@example.org\n")
        top = make_toy(tmp_path_factory.mktemp("measured") / "toy", toml=ONE_SEED)
        evogit(top, "start", "t1")
        evogit(top, "baseline", "--seeds", "1", "--tag", "t1")
        return top


@pytest.fixture
def repo(measured, tmp_path) -> Path:
    """A campaign with a baseline and nothing else."""
    shutil.copytree(measured, tmp_path / "toy", symlinks=True)
    return tmp_path / "toy"
