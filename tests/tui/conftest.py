"""Screens in tests: nothing moves by itself, and the tester's own terminal has no say."""

from __future__ import annotations

import pytest

pytest.importorskip("textual", reason="the extra `tui` is not installed")


@pytest.fixture(autouse=True)
def still(monkeypatch):
    """Nothing moves by itself, and no terminal of the tester's has a say."""
    for name in ("NO_COLOR", "COLORFGBG", "COLORTERM"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
