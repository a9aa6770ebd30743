"""A campaign whose baseline is measured: made once, copied for each story."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from toys import TOML, by_hand, evogit, git, make_toy

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


@pytest.fixture(scope="session")
def grown(measured, tmp_path_factory) -> Path:
    """Five runs by hand: 1 and 2 kept, 3 discarded, 4 discarded and off the baseline, 5 kept. Made once, copied for each story."""
    with pytest.MonkeyPatch.context() as patch:
        home = tmp_path_factory.mktemp("grown-home")
        patch.setenv("HOME", str(home))
        patch.setenv("XDG_CACHE_HOME", str(home / "cache"))
        (home / ".gitconfig").write_text("[user]\n\tname = Ada\n\temail = ada@example.org\n")
        top = tmp_path_factory.mktemp("grown") / "toy"
        shutil.copytree(measured, top, symlinks=True)
        git(top, "config", "user.name", "Ada")
        git(top, "config", "user.email", "ada@example.org")
        by_hand(top, "LR = 0.1", "LR = 0.05", "smaller steps")
        by_hand(top, "WIDTH = 8", "WIDTH = 16", "twice the width")
        by_hand(top, "0.1 * DROPOUT", "0.12 * DROPOUT", "dearer dropout")
        by_hand(top, "MOMENTUM = 0.5", "MOMENTUM = 0.6", "a little momentum", parent="baseline")
        by_hand(top, "MOMENTUM = 0.5", "MOMENTUM = 0.9", "more momentum")
        return top


@pytest.fixture
def book(grown, tmp_path) -> Path:
    """The campaign of `grown`."""
    shutil.copytree(grown, tmp_path / "toy", symlinks=True)
    return tmp_path / "toy"
