"""One sync before the branch moves: everything that a decision rests on is on the disk before the decision can be seen.

pygit2 fsyncs nothing by default, and told to it would sync each of some 34 files a run. One syncfs(2) of the repository's file
system writes loose objects, packs, the folders that name them and the refs moved so far, in one go. It does not sync the branch's
own move: after a power failure the branch may stand one decision earlier, and the flight, which is removed later still, decides again.
It promises nothing on a disk that lies about its cache, and it is no protection against kill -9: that needs none.
"""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Callable
from functools import lru_cache

import pygit2

from evogit.git.repository import Repository


def sync(repo: Repository) -> bool:
    """Write this repository's file system to disk; False if `git config evogit.sync false` says not to. 1 to 10 ms on an SSD.

    Raises OSError if the disk fails: then nothing may be decided.
    """
    if not wanted(repo):
        return False
    fd = os.open(repo.common, os.O_RDONLY | os.O_CLOEXEC)
    try:
        _syncfs()(fd)
    finally:
        os.close(fd)
    return True


def wanted(repo: Repository) -> bool:
    """What `evogit.sync` says, true where it says nothing or nothing that git understands. 50 us."""
    try:
        return bool(repo.git.config.get_bool("evogit.sync"))
    except (KeyError, ValueError, pygit2.GitError):
        return True


@lru_cache(maxsize=1)
def _syncfs() -> Callable[[int], None]:
    """syncfs(2) where libc has it; sync(2), which writes every disk of the machine, elsewhere."""
    call = getattr(ctypes.CDLL(None, use_errno=True), "syncfs", None) if sys.platform.startswith("linux") else None
    if call is None:
        return lambda fd: os.sync()

    def syncfs(fd: int) -> None:
        if call(fd) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))

    return syncfs
