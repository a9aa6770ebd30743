"""All of it -> Run: artifacts, notes, then the branch, in that order. The branch is the commit point; it judges nothing.

Each step may be repeated after a crash: artifacts and notes are keyed, and the branch moves by compare-and-swap.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from evogit.failpoint import reach
from evogit.git import artifacts, checkout, notes, refs
from evogit.git.durability import sync
from evogit.git.locks import write_lock
from evogit.git.repository import Repository

Lines = Mapping[str, Sequence[bytes]]  # run commit -> JSON lines


def record(
    repo: Repository,
    tag: str,
    run: str,
    *,
    files: Mapping[str, bytes],
    metrics: Lines,
    reviews: Lines,
    entry: Callable[[str], str],
) -> tuple[str, list[str]]:
    """Write a run (or a replicate) into the books. Returns the new tip and what a person should know of their checkout.

    entry: makes the ledger commit on top of the tip that it is given. Raises RefMoved if the branch was moved by somebody
    who does not take the write lock (a person's `git commit`): read the history again, decide again, record again.
    """
    message = f"evogit: run {run[:12]}"
    with write_lock(repo):
        if files:
            artifacts.add(repo, tag, run, files)
        reach("artifacts")
        if metrics:
            notes.add(repo, notes.METRICS, metrics, message)
        reach("metrics-note")
        if reviews:
            notes.add(repo, notes.REVIEWS, reviews, message)
        reach("reviews-note")
        return advance(repo, tag, entry)


def advance(repo: Repository, tag: str, entry: Callable[[str], str]) -> tuple[str, list[str]]:
    """Put one ledger commit on the branch, durably; called under the write lock. A checkout that is on the branch follows.

    The tip ref is left to `follow_tip`: where it is behind the branch, somebody was stopped in between, and `catch_up` ends the work.
    """
    branch = refs.branch(tag)
    old = refs.read(repo, branch)
    new = entry(old)
    sync(repo)
    reach("synced")
    refs.move(repo, branch, new, old, "evogit: decision")
    reach("branch")
    return new, checkout.follow(repo, branch, old, new)


def follow_tip(repo: Repository, tag: str, new: str) -> None:
    """The tip ref to the commit that was put on the branch: never further, so that a branch which somebody rewrote is noticed."""
    refs.move(repo, refs.tip(tag), new, refs.read(repo, refs.tip(tag)), "evogit: follows the branch")
    reach("tip")


def catch_up(repo: Repository, tag: str, *, is_ours: bool) -> list[str]:
    """After a crash between the branch's move and the tip's: checkouts follow, then the tip. Nothing to do costs two look-ups.

    is_ours: the commit at the branch's tip is an entry of the ledger. A person's own commit came from a checkout that has it.
    """
    branch, mine = refs.read(repo, refs.branch(tag)), refs.read(repo, refs.tip(tag))
    if branch is None or branch == mine:
        return []
    with write_lock(repo):
        said = checkout.follow(repo, refs.branch(tag), repo.parents(branch)[0], branch) if is_ours and mine is not None else []
        refs.move(repo, refs.tip(tag), branch, mine, "evogit: follows the branch")
    return said
