"""Trials here tell an observer outside what they did, in a diary that no sandbox would let them write: they run without one."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def trials_are_not_held(monkeypatch):
    monkeypatch.setenv("EVOGIT_SANDBOX", "none")
