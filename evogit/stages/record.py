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
    """Put one ledger commit on the branch, durably; called under the write lock. The checkout of a person who is on the branch follows."""
    branch = refs.branch(tag)
    old = refs.read(repo, branch)
    new = entry(old)
    sync(repo)
    reach("synced")
    said = checkout.follow(repo, branch, old, new)
    refs.move(repo, branch, new, old, "evogit: decision")
    reach("branch")
    mine = refs.read(repo, refs.tip(tag))
    refs.move(repo, refs.tip(tag), new, mine, "evogit: follows the branch")
    reach("tip")
    return new, said
