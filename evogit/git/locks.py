"""Two locks of the common git directory: `write.lock`, held for milliseconds by any writer, and one `loop` lock a campaign and clone.

They are flock(2) locks: the kernel drops them when their holder dies, however it dies, so no lock of ours is ever stale. They
order evogit's own processes only; git itself is kept out by compare-and-swap on refs.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

from evogit.errors import Busy
from evogit.git.repository import Repository

_POLL_S = 0.002
_PROBES = 10  # `loop_holder` takes a lock for microseconds to see if it is free; a loop that meets one looks again


class _WriteLock:
    """One per repository and process: threads queue on `mutex`, processes on the flock; the same thread may enter again."""

    def __init__(self) -> None:
        self.mutex = threading.RLock()
        self.depth = 0
        self.fd = -1


_held: dict[str, _WriteLock] = {}
_registry = threading.Lock()


def _forget_in_child() -> None:
    """A forked child shares its parent's flock: it must not believe that it holds it, nor keep it alive after the parent."""
    global _registry
    _registry = threading.Lock()
    for lock in _held.values():
        if lock.fd >= 0:
            os.close(lock.fd)
    _held.clear()


os.register_at_fork(after_in_child=_forget_in_child)


@contextmanager
def write_lock(repo: Repository, timeout_s: float = 30.0) -> Iterator[None]:
    """Hold the repository's write lock. Re-entrant in a thread. Raises Busy after `timeout_s`. 10 us when free."""
    path = repo.home / "write.lock"
    with _registry:
        lock = _held.setdefault(str(path), _WriteLock())
    deadline = time.monotonic() + timeout_s
    if not lock.mutex.acquire(timeout=timeout_s):
        raise _busy(path, timeout_s)
    try:
        if lock.depth == 0:
            lock.fd = _wait_for(path, deadline, timeout_s)
        lock.depth += 1
        try:
            yield
        finally:
            lock.depth -= 1
            if lock.depth == 0:
                fd, lock.fd = lock.fd, -1
                os.close(fd)
    finally:
        lock.mutex.release()


@contextmanager
def intent(repo: Repository, what: str) -> Iterator[set[str]]:
    """Hold the write lock, and say in its file what is being done, so that a successor knows what a dead writer left half done.

    Yields what the dead have said; the caller takes out what it has put in order, the rest is left for the next. 30 us.
    """
    with write_lock(repo):
        fd = _held[str(repo.home / "write.lock")].fd
        dead = set(os.pread(fd, 1 << 16, 0).decode("utf-8", "surrogateescape").split("\n")) - {""}
        _say(fd, {*dead, what})
        try:
            yield dead
        finally:
            _say(fd, dead)


def _say(fd: int, words: set[str]) -> None:
    said = "".join(f"{word}\n" for word in sorted(words)).encode("utf-8", "surrogateescape")
    os.pwrite(fd, said, 0)
    os.ftruncate(fd, len(said))


@contextmanager
def loop_lock(repo: Repository, tag: str) -> Iterator[None]:
    """Be the one loop of campaign `tag` in this clone. Does not wait: raises Busy, naming the holder's process."""
    path = _loop_path(repo, tag)
    fd = _take_loop(path, tag)
    try:
        os.ftruncate(fd, 0)
        os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.ftruncate(fd, 0)
        os.close(fd)


def loop_holder(repo: Repository, tag: str) -> int:
    """Process id of the loop that works on `tag` in this clone, 0 if there is none."""
    path = _loop_path(repo, tag)
    try:
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return 0
    try:
        return 0 if _try(fd, fcntl.LOCK_SH) else _pid(path)
    finally:
        os.close(fd)


def _loop_path(repo: Repository, tag: str) -> Path:
    name = quote(tag, safe="")
    if len(name) > 200:  # a file name has 255 bytes, and a tag in another script is quoted to nine bytes a letter
        name = name[:120] + "-" + hashlib.sha256(tag.encode("utf-8", "surrogateescape")).hexdigest()[:32]
    return repo.home / f"loop-{name}.lock"


def _take_loop(path: Path, tag: str) -> int:
    fd = _open(path)
    for _ in range(_PROBES):
        if _try(fd, fcntl.LOCK_EX):
            return fd
        time.sleep(_POLL_S)
    os.close(fd)
    holder = _pid(path)
    who = f"process {holder}" if holder else "another process"
    hint = f"watch it with `evogit status --tag {tag}`, or stop it first: `evogit stop --tag {tag}`"
    raise Busy(f"{who} runs the loop of campaign {tag} in this repository", hint=hint)


def _wait_for(path: Path, deadline: float, timeout_s: float) -> int:
    fd = _open(path)
    while not _try(fd, fcntl.LOCK_EX):
        if time.monotonic() >= deadline:
            os.close(fd)
            raise _busy(path, timeout_s)
        time.sleep(_POLL_S)
    return fd


def _open(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)


def _try(fd: int, how: int) -> bool:
    try:
        fcntl.flock(fd, how | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _pid(path: Path) -> int:
    try:
        return int(path.read_text(encoding="ascii"))
    except (ValueError, FileNotFoundError):
        return 0


def _busy(path: Path, timeout_s: float) -> Busy:
    return Busy(f"another evogit process has been writing for more than {timeout_s:g} s ({path})", hint="run `evogit doctor`")
