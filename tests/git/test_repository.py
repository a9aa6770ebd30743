from __future__ import annotations

import multiprocessing
import os
import subprocess
from pathlib import Path

import pytest

from evogit.errors import BadRecord, RepositoryError
from evogit.git.repository import Repository


def git(folder: Path, *args: str) -> str:
    done = subprocess.run(["git", *args], cwd=folder, check=True, capture_output=True, text=True)
    return done.stdout.strip()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("EVOGIT_CACHE", str(tmp_path / "cache"))
    work = tmp_path / "wörk space"
    git(tmp_path, "init", "-q", "-b", "main", str(work))
    git(work, "config", "user.name", "Ada")
    git(work, "config", "user.email", "ada@example.org")
    (work / "sub").mkdir()
    (work / "sub" / "train.py").write_bytes(b"lr = 1\n")
    git(work, "add", "-A")
    git(work, "commit", "-q", "-m", "first")
    return work


def test_opens_from_a_folder_below_the_top(folder: Path):
    repo = Repository.open(folder / "sub")

    assert repo.top == folder
    assert repo.common == folder / ".git"
    assert repo.home == folder / ".git" / "evogit" and repo.home.is_dir()


def test_worktrees_share_home_clone_and_cache(folder: Path, tmp_path: Path):
    git(folder, "worktree", "add", "-q", str(tmp_path / "linked"), "-b", "other")
    main, linked = Repository.open(folder), Repository.open(tmp_path / "linked")

    assert linked.top == tmp_path / "linked"
    assert (linked.common, linked.home, linked.clone, linked.cache) == (main.common, main.home, main.clone, main.cache)
    assert not str(main.cache).startswith(str(main.common))


def test_no_repository_says_git_init(tmp_path: Path):
    with pytest.raises(RepositoryError) as caught:
        Repository.open(tmp_path)

    assert "git init" in caught.value.hint


def test_a_missing_folder_is_no_repository(tmp_path: Path):
    with pytest.raises(RepositoryError):
        Repository.open(tmp_path / "nowhere")


def test_bare_repository_is_refused(tmp_path: Path):
    git(tmp_path, "init", "-q", "--bare", str(tmp_path / "bare.git"))

    with pytest.raises(RepositoryError, match="bare"):
        Repository.open(tmp_path / "bare.git")


def test_shallow_clone_is_refused_with_the_way_out(folder: Path, tmp_path: Path):
    git(folder, "commit", "-q", "--allow-empty", "-m", "second")
    git(tmp_path, "clone", "-q", "--depth=1", f"file://{folder}", str(tmp_path / "shallow"))

    with pytest.raises(RepositoryError, match="shallow") as caught:
        Repository.open(tmp_path / "shallow")
    assert "--unshallow" in caught.value.hint


def test_repository_without_a_commit_is_refused(tmp_path: Path):
    git(tmp_path, "init", "-q", str(tmp_path / "empty"))

    with pytest.raises(RepositoryError, match="no commit"):
        Repository.open(tmp_path / "empty")


def test_identity_is_the_users_own(folder: Path):
    who = Repository.open(folder).identity()

    assert (who.name, who.email) == ("Ada", "ada@example.org")


def test_identity_falls_back_where_git_knows_none(folder: Path, tmp_path: Path):
    git(folder, "config", "--unset", "user.name")
    git(folder, "config", "--unset", "user.email")
    code = f"import pygit2; pygit2.settings.search_path[pygit2.enums.ConfigLevel.GLOBAL]={str(tmp_path)!r}\n"
    code += "for l in ('SYSTEM','XDG'): pygit2.settings.search_path[pygit2.enums.ConfigLevel[l]]='/nonexistent'\n"
    code += f"from evogit.git.repository import Repository; w=Repository.open({str(folder)!r}).identity(); print(w.name, w.email)"
    done = subprocess.run([os.sys.executable, "-c", code], check=True, capture_output=True, text=True)

    assert done.stdout.split() == ["evogit", "evogit@localhost"]


def test_small_readers_answer_none_or_bad_record(folder: Path):
    repo = Repository.open(folder)
    head = git(folder, "rev-parse", "HEAD")

    assert repo.resolve("main") == repo.resolve(head[:9]) == head
    assert repo.resolve("no-such-thing") is None
    assert repo.tree_of(head) == git(folder, "rev-parse", "HEAD^{tree}")
    assert repo.parents(head) == ()
    assert repo.blob(head, "sub/train.py") == b"lr = 1\n"
    assert repo.blob(repo.tree_of(head), "sub/train.py") == b"lr = 1\n"
    assert repo.blob(head, "sub") is repo.blob(head, "nope") is repo.blob(head, "sub/train.py/x") is repo.blob(head, "") is None
    for bad in ("1" * 40, "xyz", repo.tree_of(head)):
        with pytest.raises(BadRecord):
            repo.commit(bad)


def test_objects_written_and_repacked_by_git_are_seen(folder: Path):
    repo = Repository.open(folder)
    for step in range(3):
        (folder / "a").write_bytes(b"%d" % step)
        git(folder, "add", "a")
        git(folder, "commit", "-q", "-m", str(step))
        head = git(folder, "rev-parse", "HEAD")
        assert not repo.exists("2" * 40)
        assert repo.blob(head, "a") == b"%d" % step
        git(folder, "repack", "-a", "-d", "-q")
        git(folder, "prune-packed")
        assert repo.blob(git(folder, "rev-list", "--max-parents=0", "HEAD"), "sub/train.py") == b"lr = 1\n"


def _clone_of(folder: Path, queue: multiprocessing.Queue) -> None:
    queue.put(Repository.open(folder).clone)


def test_clone_name_is_drawn_once_however_many_ask(folder: Path):
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    asking = [context.Process(target=_clone_of, args=(folder, queue)) for _ in range(6)]
    for process in asking:
        process.start()
    names = {queue.get(timeout=10) for _ in asking}
    for process in asking:
        process.join()

    assert names == {Repository.open(folder).clone}
    assert len(names.pop()) == 4
    assert [path.name for path in (folder / ".git" / "evogit").iterdir()] == ["clone"]
