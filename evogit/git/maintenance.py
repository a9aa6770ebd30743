"""Keeping the object store small beside a running loop: how many loose objects there are, and a repack that waits for nobody.

It never prunes and never rewrites a pack that exists: `git repack -d` without `-a` puts loose objects that refs reach into a new
pack and drops those copies alone, so whatever a loop writes meanwhile is safe.
"""

from __future__ import annotations

import fcntl
import os
import shutil

from evogit.git import porcelain
from evogit.git.repository import Repository

_SAMPLE = "17"  # the folder that git gc looks at, for the same reason: hashes are even, one folder of 256 tells


def loose_objects(repo: Repository) -> int:
    """About how many loose objects the repository holds, as git gc guesses it. 50 us."""
    try:
        names = os.listdir(repo.common / "objects" / _SAMPLE)
    except FileNotFoundError:
        return 0
    return 256 * sum(1 for name in names if len(name) == 38)


def repack_in_background(repo: Repository) -> int:
    """Start `git repack -d` at low priority and return its process id at once; 0 if one runs already.

    Call it every few hundred runs. The repack inherits `repack.lock` and frees it by ending, however it ends. It may outlive us.
    """
    fd = os.open(repo.home / "repack.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return 0
        nice = shutil.which("nice")
        wrapper = [nice, "-n", "19"] if nice else []
        return porcelain.start(repo, "repack", "-d", "-q", wrapper=wrapper, keep_open=[fd])
    finally:
        os.close(fd)


def repack_runs(repo: Repository) -> bool:
    """True while a repack that this or another process started is at work."""
    try:
        fd = os.open(repo.home / "repack.lock", os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False
