"""Screens in tests: nothing moves by itself, and the tester's own terminal has no say."""

from __future__ import annotations

import importlib.util
import shutil
import sys
from pathlib import Path

import pytest

collect_ignore_glob = ["test_*.py"] if importlib.util.find_spec("textual") is None else []  # the extra `tui` is not installed
TOP = Path(__file__).resolve().parent.parent.parent


@pytest.fixture(autouse=True)
def still(monkeypatch):
    """Nothing moves by itself, and no terminal of the tester's has a say."""
    for name in ("NO_COLOR", "COLORFGBG", "COLORTERM"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")


@pytest.fixture(scope="session")
def made(tmp_path_factory) -> Path:
    """A real campaign of sixty made-up runs. Copied for each story."""
    spec = importlib.util.spec_from_file_location("make_history", TOP / "benchmarks/make_history.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["make_history"] = module
    spec.loader.exec_module(module)
    top = tmp_path_factory.mktemp("made") / "repo"
    list(module.make(top, 60, "big", 3, artifacts=True))
    return top


@pytest.fixture
def repo(made, tmp_path) -> Path:
    """The campaign of `made`."""
    shutil.copytree(made, tmp_path / "repo", symlinks=True)
    return tmp_path / "repo"
