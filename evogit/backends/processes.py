"""What the kernel says of processes: who descends from whom, who still lives.

Standard library only, because the keeper runs without site-packages. It never raises for a process that is gone: between
two reads of /proc any process may end. Without /proc it knows only whether a process id answers.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterable

HAS_PROC = os.path.exists("/proc/self/stat")
MIB = 1 << 20


def read(path: str) -> bytes:
    """The bytes of a file in /proc, b"" if the process is gone or not ours to read."""
    try:
        with open(path, "rb", buffering=0) as file:
            return file.read()
    except OSError:
        return b""


def _stat(pid: int) -> list[bytes]:
    """Fields of /proc/<pid>/stat from `state` on; [] if it is gone. The name before them may hold any byte, `)` too."""
    return read(f"/proc/{pid}/stat").rpartition(b") ")[2].split()


def birth(pid: int) -> int | None:
    """When the process began, in clock ticks since boot, so that a reused id is told apart. None if it is dead or a zombie."""
    if not HAS_PROC:
        return 0 if _answers(pid) else None
    fields = _stat(pid)
    if len(fields) < 20 or fields[0] in (b"Z", b"X"):
        return None
    return int(fields[19])


def _answers(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def boot() -> str:
    """Eight letters that name this boot of the machine, "-" where there are none: ticks of another boot mean nothing."""
    return read("/proc/sys/kernel/random/boot_id")[:8].decode() or "-"


def kernel_kills() -> int:
    """How many processes the kernel has killed for memory since boot; 0 if it does not say."""
    for line in read("/proc/vmstat").splitlines():
        if line.startswith(b"oom_kill "):
            return int(line.split()[1])
    return 0


def descendants(root: int) -> list[int]:
    """Everything below `root`, zombies included, parents before children. [] where there is no /proc.

    Costs one read a thread of the tree. A process that changes its parent during the walk can be missed: walk again.
    """
    if not HAS_PROC:
        return []
    listed = os.path.exists(f"/proc/{root}/task/{root}/children")
    children = _children if listed else _table().__getitem__
    found, queue = [], [root]
    while queue:
        try:
            below = children(queue.pop())
        except KeyError:
            continue
        found += below
        queue += below
    return found


def children(pid: int) -> list[int]:
    """The processes whose parent is `pid`. [] where there is no /proc."""
    if not HAS_PROC:
        return []
    return _children(pid) if os.path.exists(f"/proc/{pid}/task/{pid}/children") else _table().get(pid, [])


def _children(pid: int) -> list[int]:
    try:
        threads = os.listdir(f"/proc/{pid}/task")
    except OSError:
        return []
    return [int(child) for thread in threads for child in read(f"/proc/{pid}/task/{thread}/children").split()]


def _table() -> dict[int, list[int]]:
    """Parent -> children, for kernels that do not list children."""
    table: dict[int, list[int]] = {}
    for name in filter(str.isdigit, os.listdir("/proc")):
        fields = _stat(int(name))
        if len(fields) > 1:
            table.setdefault(int(fields[1]), []).append(int(name))
    return table


def send(pids: Iterable[int], *signals: int) -> None:
    """Each signal to each process; the dead and those of other users are passed over."""
    for pid in pids:
        for number in signals:
            try:
                os.kill(pid, number)
            except (ProcessLookupError, PermissionError):
                break


def marked(marker: bytes) -> list[int]:
    """Processes that were started with `marker` (NAME=value) in their environment, as far as we may read it. Scans all of /proc."""
    if not HAS_PROC:
        return []
    pids = [int(name) for name in os.listdir("/proc") if name.isdigit()]
    return [pid for pid in pids if pid != os.getpid() and marker in read(f"/proc/{pid}/environ").split(b"\0")]


def end_marked(marker: bytes, rounds: int = 50) -> int:
    """Kill what `marked` finds until nothing is found; how many were killed. For trees whose supervisor died."""
    killed: set[int] = set()
    for _ in range(rounds):
        living = [pid for pid in marked(marker) if birth(pid) is not None]
        if not living:
            break
        send(living, signal.SIGSTOP)
        send(living, signal.SIGKILL)
        killed.update(living)
    return len(killed)


def on_machine() -> int:
    """How many processes there are, ours and others', with some twenty too many; 0 where there is no /proc. One system call."""
    return os.stat("/proc").st_nlink if HAS_PROC else 0


def group_gone(group: int) -> bool:
    """SIGKILL to a process group, for systems without /proc; True once nobody is left in it."""
    try:
        os.killpg(group, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        return True
    return False
