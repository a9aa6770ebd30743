from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from evogit.git import durability
from evogit.git.repository import Repository


def git(folder: Path, *args: str) -> None:
    subprocess.run(["git", "-c", "user.name=a", "-c", "user.email=a@b", *args], cwd=folder, check=True, capture_output=True)


@pytest.fixture
def repo(tmp_path: Path) -> Repository:
    git(tmp_path, "init", "-q")
    git(tmp_path, "commit", "-q", "--allow-empty", "-m", "first")
    return Repository.open(tmp_path)


def test_syncs_unless_told_otherwise(repo: Repository):
    assert durability.sync(repo) is True


@pytest.mark.parametrize(("value", "synced"), [("false", False), ("no", False), ("true", True), ("perhaps", True)])
def test_evogit_sync_is_obeyed_as_git_reads_it(repo: Repository, value: str, synced: bool):
    git(repo.top, "config", "evogit.sync", value)

    assert durability.wanted(repo) is durability.sync(repo) is synced


@pytest.mark.skipif(not shutil.which("strace"), reason="strace shows what the kernel was asked")
def test_one_syncfs_is_all_that_the_kernel_is_asked(repo: Repository, tmp_path: Path):
    trace = tmp_path / "trace"
    code = "import sys; from evogit.git import durability; from evogit.git.repository import Repository; "
    code += "durability.sync(Repository.open(sys.argv[1]))"
    command = ["strace", "-f", "-e", "trace=syncfs,sync,fsync,fdatasync", "-o", str(trace), sys.executable, "-c", code, str(repo.top)]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode != 0 and "ptrace" in done.stderr:
        pytest.skip("tracing is not allowed here")

    calls = [line for line in trace.read_text().splitlines() if "sync" in line]
    assert len(calls) == 1 and "syncfs(" in calls[0] and calls[0].endswith("= 0")
