"""The user's checkout is theirs: where a campaign's branch is checked out, files and index follow the branch, uncommitted work stays.

It refuses to overwrite or to merge: where git will not take the step, that work tree's HEAD is detached where it was, which
changes no file, and the user is told. It moves no branch.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import NamedTuple

import pygit2

from evogit.git import porcelain
from evogit.git.repository import Repository

_PATIENCE_S = 0.5  # a `git status` holds the index for less
_QUIET = ("-c", "core.hooksPath=/dev/null")


class Worktree(NamedTuple):
    """A work tree, main or linked, and its own git directory (which holds its HEAD and index)."""

    folder: Path
    git_dir: Path


def follow(repo: Repository, branch: str, old: str, new: str) -> list[str]:
    """Bring every work tree that has `branch` (a full ref name) checked out from commit `old` to `new`; say what did not go.

    Files that the user changed keep their bytes: `git read-tree -m -u old new`. Where that is refused (the step changes the same
    file, a merge is under way, another program holds the index), HEAD is detached at `old`: the work tree stays as it is, and what
    is committed there goes to no ledger.

    Call it right AFTER the branch moved, under the write lock, and again with the same two commits when recovery finds the branch
    moved and its flight still there. It is repeatable: a work tree that is at `new` already stays so. The other order would leave,
    after a crash, a step in the index that the branch never took and that a later, different step could not build on.

    Returns one line for people per work tree that was detached, [] if all followed. Costs reads of HEAD files (0.1 ms) where the
    branch is not checked out or the trees are equal (a discard), else 3 ms a work tree. Raises BadRecord.
    """
    if repo.tree_of(old) == repo.tree_of(new):
        return []
    return [line for worktree in worktrees(repo, branch) if (line := _step(repo, worktree, branch, old, new))]


def dirty(repo: Repository, branch: str) -> list[str]:
    """Tracked files with uncommitted changes where `branch` is checked out, sorted: what a person should commit or stash first.

    Below the work tree that `repo` was opened from relative to it, elsewhere absolute. Untracked files are no change. [] if the
    branch is checked out nowhere. Raises EvogitError if git does.
    """
    found: list[str] = []
    for worktree in worktrees(repo, branch):
        status = ("status", "--porcelain", "-z", "--untracked-files=no", "--no-renames", "--ignore-submodules=dirty")
        listed = porcelain.git(repo, *status, as_user=True, work_tree=worktree.folder, index=worktree.git_dir / "index", env=_env(worktree))
        paths = [os.fsdecode(record[3:]) for record in listed.split(b"\0") if record]
        found += paths if worktree.folder == repo.top else [str(worktree.folder / path) for path in paths]
    return sorted(found)


def view_paths(repo: Repository, branch: str) -> list[Path]:
    """Tops of the work trees where `branch` is checked out."""
    return [worktree.folder for worktree in worktrees(repo, branch)]


def worktrees(repo: Repository, branch: str) -> list[Worktree]:
    """The work trees, main one first, whose HEAD is `branch` and whose folder is there. Reads one small file each."""
    found: list[Worktree] = []
    if _has(repo.common, branch) and (folder := _main_folder(repo)) is not None:
        found.append(Worktree(folder, repo.common))
    linked = repo.common / "worktrees"
    for git_dir in sorted(linked.iterdir()) if linked.is_dir() else ():
        if _has(git_dir, branch) and (folder := _linked_folder(git_dir)) is not None:
            found.append(Worktree(folder, git_dir))
    return found


def _has(git_dir: Path, branch: str) -> bool:
    try:
        return (git_dir / "HEAD").read_bytes().rstrip() == b"ref: " + os.fsencode(branch)
    except OSError:
        return False


def _main_folder(repo: Repository) -> Path | None:
    """None for a bare repository that only has linked work trees."""
    main = repo.git if Path(repo.git.path).resolve() == repo.common else pygit2.Repository(str(repo.common))
    return Path(main.workdir).resolve() if main.workdir else None


def _linked_folder(git_dir: Path) -> Path | None:
    try:
        pointer = git_dir / os.fsdecode((git_dir / "gitdir").read_bytes().rstrip(b"\n"))
    except OSError:
        return None
    return pointer.parent.resolve() if pointer.exists() else None


def _env(worktree: Worktree) -> dict[str, str]:
    return {"GIT_DIR": str(worktree.git_dir)}


def _step(repo: Repository, worktree: Worktree, branch: str, old: str, new: str) -> str:
    """Take one work tree along; "" if it went, else a line for people."""
    done = _read_tree(repo, worktree, old, new)
    if done.status == 0:
        return ""
    note = ("-m", f"evogit: {branch} went on to {new}")
    detached = _run(repo, worktree, "update-ref", "--no-deref", *note, "HEAD", old)
    name = branch.removeprefix("refs/heads/")
    if detached.status != 0:
        return f"{worktree.folder} could not follow {name} ({done.complaint}) and stays as it was: `git reset {new[:12]}` there keeps your files"
    return (
        f"{worktree.folder} has changes that stand in the way of {name} ({done.complaint}); they are untouched, and HEAD there is now "
        f"detached at {old[:12]}: commit or stash them, then `git switch {name}`"
    )


def _read_tree(repo: Repository, worktree: Worktree, old: str, new: str) -> porcelain.Done:
    # A file whose time stamp alone changed would be refused as modified: look at its bytes first, as `git switch` does.
    deadline = time.monotonic() + _PATIENCE_S
    while True:
        _run(repo, worktree, "update-index", "-q", "--refresh")
        done = _run(repo, worktree, "read-tree", "-m", "-u", old, new)
        if done.status == 0 or "index.lock" not in done.stderr or time.monotonic() > deadline:
            return done
        time.sleep(0.05)


def _run(repo: Repository, worktree: Worktree, *args: str) -> porcelain.Done:
    """As the user, whose line endings and filters these files have, but without their hooks."""
    return porcelain.attempt(
        repo, *_QUIET, *args, as_user=True, work_tree=worktree.folder, index=worktree.git_dir / "index", env=_env(worktree)
    )
