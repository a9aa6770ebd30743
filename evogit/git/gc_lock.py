"""Git's own lock against `git gc`, held while a loop runs: what a loop has written and no ref reaches yet would be pruned by it.

`git gc` leaves a repository alone whose `gc.pid` names a living process of this machine. (Measured: `git gc --prune=now` over
and over beside a loop broke the repository in most campaigns; git's manual warns of it.) It cannot keep out `git prune`,
`git gc --force` or a gc on another machine of a network disk, and it never stops one that runs: it waits for it, for a while.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from evogit.git.repository import Repository

PATIENCE_S = 30.0  # for a gc that runs already; a longer one works on a large repository, where objects of a fortnight are safe
LEFT_S = 2.0  # git and we hold `gc.pid.lock` for a millisecond: an older one was left by a process that was killed
FRESH_S = 3600.0  # git takes a gc.pid of more than twelve hours for a leftover
_POLL_S = 0.02


@contextmanager
def gc_lock(repo: Repository) -> Iterator[Callable[[], None]]:
    """Keep `git gc` out. Yields a function to call now and then: it takes the lock where it was not free, and keeps it young (5 us).

    Waits for a gc that runs, at most `PATIENCE_S`. Two loops in one repository share one lock, and who stays takes it over.
    Raises OSError where the git directory cannot be written.
    """
    path = repo.common / "gc.pid"
    deadline = time.monotonic() + PATIENCE_S
    while not _take(path) and not _is_loop(path) and time.monotonic() < deadline:
        time.sleep(_POLL_S)
    try:
        yield lambda: _keep(path)
    finally:
        if _holder(path) == os.getpid():
            path.unlink(missing_ok=True)


def _take(path: Path) -> bool:
    """Make the lock ours, as git does it: `gc.pid.lock` first, which only one can make, then rename. False if it is another's."""
    holder = _holder(path)
    if holder:
        return holder == os.getpid()
    lock = path.with_name(f"{path.name}.lock")
    try:
        fd = os.open(lock, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
    except FileExistsError:
        _remove_left(lock)
        return False
    try:
        os.write(fd, f"{os.getpid()} {os.uname().nodename}".encode())
    finally:
        os.close(fd)
    if _holder(path):
        lock.unlink()
        return False
    os.replace(lock, path)
    return True


def _remove_left(lock: Path) -> None:
    """One from the future was made before the clock was set back."""
    with suppress(FileNotFoundError):
        if not -LEFT_S < time.time() - lock.stat().st_mtime < LEFT_S:
            lock.unlink()


def _keep(path: Path) -> None:
    try:
        age = time.time() - path.stat().st_mtime
    except FileNotFoundError:
        age = FRESH_S
    if (age >= FRESH_S or _holder(path) == 0) and _take(path):
        os.utime(path)


def _holder(path: Path) -> int:
    """The living process that `gc.pid` names, by git's own rule; 0 if there is none."""
    try:
        words = path.read_text(encoding="utf-8", errors="replace").split()
        pid = int(words[0])
    except (FileNotFoundError, IndexError, ValueError):
        return 0
    if len(words) < 2 or words[1] != os.uname().nodename:
        return 0
    with suppress(ProcessLookupError):
        with suppress(PermissionError):
            os.kill(pid, 0)
        return pid
    return 0


def _is_loop(path: Path) -> bool:
    """True if the lock's holder is a loop of this repository, which may keep it all night."""
    holder = _holder(path)
    return bool(holder) and any(_names(lock, holder) for lock in (path.parent / "evogit").glob("loop-*.lock"))


def _names(lock: Path, pid: int) -> bool:
    with suppress(OSError):
        return lock.read_text(encoding="ascii", errors="replace").strip() == str(pid)
    return False
