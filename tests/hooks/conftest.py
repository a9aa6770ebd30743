"""A campaign of the toy problem, and hooks called as a session calls them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from evogit.domain.options import LoopOptions
from evogit.hooks import denials
from evogit.hooks import place as places
from evogit.lab import Lab
from toys import make_toy


@pytest.fixture(scope="session")
def made(tmp_path_factory) -> Path:
    """The toy with a measured baseline, made once."""
    with pytest.MonkeyPatch.context() as patch:
        home = tmp_path_factory.mktemp("once")
        patch.setenv("HOME", str(home))
        patch.setenv("XDG_CACHE_HOME", str(home / "cache"))
        (home / ".gitconfig").write_text("[user]\n\tname = Ada\n\temail = ada@example.org\n")
        top = make_toy(home / "toy", extra={"parts/a.py": "A = 1\n"})
        lab = Lab.open(top)
        lab.start("t1")
        list(lab.baseline(2, LoopOptions()))
        return top


@pytest.fixture
def repo(made, tmp_path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "toy", symlinks=True))


@pytest.fixture
def denied(repo):
    """Why a shell command is denied in the toy's folder, "" if it is not."""

    def ask(command: str, cwd: Path | None = None) -> str:
        place = places.find(str(cwd or repo))
        return denials.of_tool("Bash", {"command": command}, str(cwd or repo), place, {"HOME": os.environ["HOME"], "TMPDIR": "/tmp"})

    return ask


@pytest.fixture
def hook(repo):
    """Call a hook as a session does: a process of its own, JSON on stdin."""

    def call(name: str, **given: Any) -> subprocess.CompletedProcess[str]:
        event = {"session_id": "abc", "transcript_path": "/tmp/t.jsonl", "cwd": str(repo), "permission_mode": "default", **given}
        return subprocess.run(
            [sys.executable, "-m", "evogit.cli", "hook", name],
            cwd=repo,
            input=json.dumps(event),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    return call


def answer(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    """What a hook said, {} for nothing."""
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout) if done.stdout.strip() else {}
