"""`evogit tui` where no screen can be drawn."""

from __future__ import annotations

import importlib.util

import pytest


def test_without_the_extra_it_says_what_to_install(invoke, monkeypatch):
    known = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *more: None if name == "textual" else known(name, *more))

    done = invoke("tui")

    assert done.exit_code == 2
    assert done.stderr.splitlines() == ["error: the package textual is not installed", "hint: pip install 'evogit[tui]'"]


def test_in_a_pipe_it_names_the_command_for_pipes(invoke):
    pytest.importorskip("textual")

    done = invoke("tui")

    assert done.exit_code == 2
    assert "evogit status --watch" in done.stderr and done.stdout == ""
