"""How much memory a tree of processes holds that cannot be dropped: anonymous and shared pages, each counted once.

File pages are left out, so that a memory-mapped data set is no fault. Standard library only, as in `processes`. Where no control group
counts for us, files that are memory count too, though nobody maps them: those of `memfd_create` that a process has open, and what
lies in a /tmp and /dev/shm of the job's own. It is a sum of what can be seen: whoever closes such a file and keeps it mapped, untouched,
hides it, and so does System V's shared memory that nobody has attached.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterable

from evogit.backends.processes import MIB, descendants, read

PAGE = os.sysconf("SC_PAGE_SIZE")
LONG_S = 0.25  # for one look at a tree's memory
SCRATCH = ("/tmp", "/dev/shm")
WORTH = 16 * MIB  # less is not looked at closely


class MemoryMeter:
    """How many processes a tree has, and how much memory it holds.

    The cheap sum counts pages that forks share once each; so only when it reaches a new height or the limit are the pages walked
    (about 1 ms for 100 MiB), and a walk is followed by a rest of twenty times its length. Files are looked for once the machine's
    shared memory has grown.
    """

    def __init__(self, limit_mib: int, has_files: bool) -> None:
        """has_files: count files that are memory."""
        self.limit = limit_mib * MIB
        self.peak = 0  # bytes
        self.count = 0  # processes, when it last looked
        self._walked = 0
        self._has_files = has_files
        self._shared = _shared_on_machine()  # bytes, the least that was seen
        self._pause = 0.1 if limit_mib else 0.5  # seconds between samples
        self.next_at = time.monotonic() + self._pause / 2

    def sample(self, root: int, inside: int = 0) -> bool:
        """Look now; True if the tree is above its limit. `inside`: a process that sees the job's own /tmp and /dev/shm, 0 for none."""
        began = time.monotonic()
        pids = descendants(root)
        self.count = len(pids)
        files = self._files(pids, inside, began)
        estimate = _quick(pids) + files
        over = False
        if estimate > max(self._walked * 1.05, WORTH) or (self.limit and estimate > self.limit):
            held, is_whole = self._held(pids, files, began)
            if is_whole:
                self._walked = max(self._walked, estimate)
            self.peak = max(self.peak, held)
            over = 0 < self.limit < held
        now = time.monotonic()
        self.next_at = now + max(self._pause, 20 * (now - began))
        return over

    def _held(self, pids: list[int], files: int, began: float) -> tuple[int, bool]:
        """Bytes that these processes hold; False where it took too long to ask them all: a fork bomb keeps its own memory locked.

        What of a file is mapped is shared memory too, and counts once.
        """
        own, shared = 0, 0
        for pid in pids:
            if time.monotonic() - began > LONG_S:
                return own + max(shared, files), False
            anonymous, mapped = _mapped(pid)
            own, shared = own + anonymous, shared + mapped
        return own + max(shared, files), True

    def _files(self, pids: list[int], inside: int, began: float) -> int:
        """Bytes of files that are memory, as far as they are found in time."""
        if not self._has_files:
            return 0
        now = _shared_on_machine()
        self._shared = min(self._shared, now)
        return _scratch(inside) + _open_files(pids, began) if now - self._shared > WORTH else 0


def _quick(pids: Iterable[int]) -> int:
    fields = [read(f"/proc/{pid}/statm").split() for pid in pids]
    pages = [(int(f[1]), int(f[2])) for f in fields if len(f) > 2]
    return PAGE * (sum(resident - shared for resident, shared in pages) + max((shared for _, shared in pages), default=0))


def _mapped(pid: int) -> tuple[int, int]:
    """Proportional anonymous and shared memory of one process, in bytes."""
    sizes = {line.split(b":")[0]: int(line.split()[1]) << 10 for line in read(f"/proc/{pid}/smaps_rollup").splitlines()[1:]}
    if b"Pss_Anon" in sizes:
        return sizes[b"Pss_Anon"], sizes.get(b"Pss_Shmem", 0)
    return sizes.get(b"Pss", 0), 0


def _shared_on_machine() -> int:
    """Bytes of shared memory and files in memory on this machine, 0 where nobody says."""
    _, _, after = read("/proc/meminfo").partition(b"\nShmem:")
    return int(after.split()[0]) << 10 if after else 0


def _scratch(pid: int) -> int:
    """Bytes in those of SCRATCH that the process has and we have not."""
    held = 0
    for folder in SCRATCH if pid else ():
        try:
            theirs = f"/proc/{pid}/root{folder}"
            if os.stat(theirs).st_dev != os.stat(folder).st_dev:
                state = os.statvfs(theirs)
                held += (state.f_blocks - state.f_bfree) * state.f_frsize
        except OSError:
            continue
    return held


def _open_files(pids: Iterable[int], began: float) -> int:
    """Bytes of the files of `memfd_create` that these processes have open, each file once."""
    sizes: dict[tuple[int, int], int] = {}
    for path in (path for pid in pids for path in _descriptors(pid)):
        if time.monotonic() - began > LONG_S:
            break
        with contextlib.suppress(OSError):  # closed meanwhile
            if os.readlink(path).startswith("/memfd:"):
                state = os.stat(path)
                sizes[state.st_dev, state.st_ino] = state.st_blocks * 512
    return sum(sizes.values())


def _descriptors(pid: int) -> list[str]:
    try:
        return [f"/proc/{pid}/fd/{number}" for number in os.listdir(f"/proc/{pid}/fd")]
    except OSError:
        return []
