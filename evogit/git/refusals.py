"""A disk that refuses, in a person's words: what the system and libgit2 raise then becomes one `RepositoryError`.

libgit2 gives no error number, only the system's own text somewhere in its message. Any other fault goes through as it is.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager

import pygit2

from evogit.errors import BadRecord, EvogitError, RepositoryError, WorkFailed
from evogit.git.repository import Repository

_HINTS = {
    errno.ENOSPC: "make room, then run the same command again: what was measured is kept, and the run goes on",
    errno.EDQUOT: "make room, then run the same command again: what was measured is kept, and the run goes on",
    errno.EROFS: "mount it for writing, then run the same command again",
    errno.EACCES: "grant it, then run the same command again",
}
LEAST = 1 << 14  # bytes


@contextmanager
def disk_in_words(repo: Repository) -> Iterator[None]:
    """Raises RepositoryError where the disk below refuses (full, over quota, read-only, no permission)."""
    try:
        yield
    except (OSError, pygit2.GitError, EvogitError) as fault:
        number = _number(fault) or (errno.ENOSPC if isinstance(fault, BadRecord) and _is_full(repo) else 0)
        if not number or (isinstance(fault, EvogitError) and fault.exit_code != 1 and not isinstance(fault, RepositoryError)):
            raise
        place = getattr(fault, "filename", None) or repo.common
        raise RepositoryError(f"{os.fsdecode(place)}: {os.strerror(number).lower()}", hint=_HINTS[number]) from fault


def _is_full(repo: Repository) -> bool:
    """True if nothing more fits where the objects are: libgit2 was seen to write one there without a word, and then not to find it."""
    room = os.statvfs(repo.common)
    return room.f_bavail * room.f_frsize < LEAST


def _number(fault: BaseException) -> int:
    """Which of `_HINTS` it is about, 0 for none. A `WorkFailed` says what a candidate printed: its text is not read."""
    if isinstance(fault, WorkFailed):
        return _number(fault.__cause__) if fault.__cause__ is not None else 0
    known = getattr(fault, "errno", None)
    if known in _HINTS:
        return known
    return next((number for number in _HINTS if os.strerror(number) in str(fault)), 0)
