from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from evogit.errors import EvogitError, ServiceDown
from evogit.git import objects, porcelain
from evogit.git.repository import Repository


def git(folder: Path, *args: str) -> str:
    who = ["-c", "user.name=a", "-c", "user.email=a@b"]
    return subprocess.run(["git", *who, *args], cwd=folder, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def repo(tmp_path: Path) -> Repository:
    folder = tmp_path / "größe und so"
    git(tmp_path, "init", "-q", "-b", "main", str(folder))
    (folder / "train.py").write_bytes(b"lr = 1\n")
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "-m", "first")
    return Repository.open(folder)


def hook(repo: Repository, name: str, text: str) -> Path:
    marker = repo.top.parent / f"{name}-ran"
    path = repo.common / "hooks" / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"#!/bin/sh\ntouch '{marker}'\n{text}\n")
    path.chmod(0o755)
    return marker


def test_output_comes_back_to_the_byte(repo: Repository):
    blob = objects.write_blob(repo, b"a\xff\r\n\n")

    assert porcelain.git(repo, "cat-file", "blob", blob) == b"a\xff\r\n\n"


def test_input_of_any_size_reaches_git(repo: Repository):
    data = b"\x00\xff\n" * 1_000_000

    assert porcelain.git(repo, "hash-object", "-w", "--stdin", input=data).decode().strip() == objects.write_blob(repo, data)
    assert porcelain.git(repo, "hash-object", "--stdin").decode().strip() == objects.write_blob(repo, b"")


def test_a_failure_carries_gits_own_first_line(repo: Repository):
    with pytest.raises(EvogitError, match="^git rev-parse: Needed a single revision$"):
        porcelain.git(repo, "rev-parse", "--verify", "nothing")

    done = porcelain.attempt(repo, "rev-parse", "--verify", "nothing")
    assert done.status == 128 and done.stdout == b"" and "Needed a single revision" in done.complaint
    assert porcelain.git(repo, "rev-parse", "--verify", "nothing", check=False) == b""


def test_the_environment_of_a_hook_does_not_lead_it_elsewhere(repo: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    git(tmp_path, "init", "-q", str(tmp_path / "elsewhere"))
    for name in ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY", "GIT_COMMON_DIR", "GIT_NAMESPACE"):
        monkeypatch.setenv(name, str(tmp_path / "elsewhere" / ".git"))

    assert porcelain.git(repo, "log", "--format=%s") == b"first\n"
    assert porcelain.git(repo, "ls-files") == b"train.py\n"


def test_another_index_and_work_tree_can_be_named(repo: Repository, tmp_path: Path):
    slot = tmp_path / "slot"
    slot.mkdir()
    porcelain.git(repo, "read-tree", "-u", "--reset", "HEAD", index=tmp_path / "index", work_tree=slot)
    (slot / "train.py").write_bytes(b"lr = 2\n")

    assert porcelain.git(repo, "diff", "--name-only", index=tmp_path / "index", work_tree=slot) == b"train.py\n"
    assert porcelain.git(repo, "diff", "--name-only") == b""


def test_users_hooks_and_conversions_stay_out_unless_asked_for(repo: Repository, tmp_path: Path):
    marker = hook(repo, "post-checkout", "")
    git(repo.top, "config", "core.autocrlf", "true")
    git(repo.top, "config", "core.fsmonitor", "/bin/false")
    (repo.top / "train.py").unlink()
    porcelain.git(repo, "checkout", "HEAD", "--", "train.py")
    assert (repo.top / "train.py").read_bytes() == b"lr = 1\n"
    porcelain.git(repo, "checkout", "-q", "--detach")
    assert not marker.exists()
    (repo.top / "train.py").unlink()
    porcelain.git(repo, "checkout", "HEAD", "--", "train.py", as_user=True)

    assert (repo.top / "train.py").read_bytes() == b"lr = 1\r\n"
    assert marker.exists()


def test_a_linked_worktree_uses_its_own_index(repo: Repository, tmp_path: Path):
    git(repo.top, "worktree", "add", "-q", "--detach", str(tmp_path / "linked"))
    linked = Repository.open(tmp_path / "linked")
    (linked.top / "new").write_bytes(b"")
    porcelain.git(linked, "add", "new")

    assert porcelain.git(linked, "ls-files") == b"new\ntrain.py\n"
    assert porcelain.git(repo, "ls-files") == b"train.py\n"


def test_a_command_that_takes_too_long_is_ended(repo: Repository):
    began = time.monotonic()
    done = porcelain.attempt(repo, "-c", "alias.wait=!exec sleep 30", "wait", timeout_s=0.3)

    assert done.status != 0 and "Timeout" in done.complaint
    assert time.monotonic() - began < 10


def test_version_is_a_tuple_of_numbers():
    assert porcelain.version() >= (2, 0)


def test_a_missing_git_is_said_in_plain_words(repo: Repository):
    code = "from evogit.git import porcelain\nfrom evogit.errors import UserError\ntry: porcelain.version()\n"
    code += "except UserError as fault: print(fault.message, fault.hint)"
    done = subprocess.run([sys.executable, "-c", code], check=False, env={"PATH": "/nonexistent"}, capture_output=True, text=True)

    assert "git program was not found" in done.stdout and "install git" in done.stdout


def test_push_and_fetch_move_refs_and_run_the_users_hook(repo: Repository, tmp_path: Path):
    git(tmp_path, "init", "-q", "--bare", str(tmp_path / "remote.git"))
    git(repo.top, "remote", "add", "origin", str(tmp_path / "remote.git"))
    marker = hook(repo, "pre-push", "")
    porcelain.push(repo, "origin", ["refs/heads/main:refs/heads/main", "HEAD:refs/notes/evogit/metrics"])
    assert marker.exists()
    porcelain.fetch(repo, "origin", ["refs/notes/evogit/metrics:refs/evogit-remote/metrics"])

    head = git(repo.top, "rev-parse", "HEAD")
    assert git(tmp_path / "remote.git", "rev-parse", "main", "refs/notes/evogit/metrics").split() == [head, head]
    assert git(repo.top, "rev-parse", "refs/evogit-remote/metrics") == head
    assert not (repo.common / "FETCH_HEAD").exists()


def test_a_push_that_the_remote_refuses_says_why_and_moves_nothing(repo: Repository, tmp_path: Path):
    git(tmp_path, "init", "-q", "--bare", str(tmp_path / "remote.git"))
    remote = str(tmp_path / "remote.git")
    porcelain.push(repo, remote, ["HEAD:refs/heads/main"])
    other = git(repo.top, "commit-tree", "HEAD^{tree}", "-m", "unrelated")
    with pytest.raises(EvogitError, match="non-fast-forward|rejected"):
        porcelain.push(repo, remote, [f"{other}:refs/heads/main", "HEAD:refs/heads/second"])

    assert git(Path(remote), "for-each-ref", "--format=%(refname)") == "refs/heads/main"


def test_a_remote_out_of_reach_is_a_service_that_is_down(repo: Repository):
    with pytest.raises(ServiceDown):
        porcelain.push(repo, str(repo.top / "nowhere"), ["HEAD:refs/heads/main"])
    with pytest.raises(ServiceDown):
        porcelain.fetch(repo, "http://127.0.0.1:9/none.git", ["refs/heads/main"], timeout_s=20)


def test_fsck_is_silent_on_a_whole_history_and_names_what_is_lost(repo: Repository):
    objects.write_blob(repo, b"nothing points here")
    assert porcelain.fsck(repo) == []
    blob = git(repo.top, "rev-parse", "HEAD:train.py")
    os.unlink(repo.common / "objects" / blob[:2] / blob[2:])

    assert any(blob in line for line in porcelain.fsck(repo))
