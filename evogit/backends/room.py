"""A room that bubblewrap builds for one job: a file tree and namespaces of its own, held open while the job runs inside.

bubblewrap runs `cat` in it: an answer from that says that the room is ready, and the room stands until it ends. A forked child
of ours then walks in (`enter`), so the job stays our own descendant: its exit status, its signals and the helpers that it leaves
behind are seen exactly as without a room. Dies with its supervisor: bubblewrap ends the room's first process, and the kernel
whoever is inside. Standard library only; it decides nothing about what the room holds.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import signal

from evogit.backends import processes

READY_S = 20.0  # a room that is not built by then never will be
NEW_USER = 0x10000000
KINDS = 0x00020000 | 0x02000000 | 0x04000000 | 0x08000000 | 0x20000000 | 0x40000000  # mounts, cgroup, uts, ipc, pid, net


class RoomRefused(Exception):
    """The room could not be built or entered; the text says why. Never the candidate's fault."""


class Room:
    """An open room. `pids` are the processes that hold it, which are nobody's job."""

    def __init__(self, arguments: list[str], texts: dict[str, str], key: str) -> None:
        """Build it: 5-6 ms. Raises RoomRefused.

        arguments: the program bwrap (absolute), then its arguments without a command. texts: files to write: path -> text.
        """
        self._builder = 0
        self._fds: list[int] = []
        try:
            self._build(arguments, texts, key)
            self._wait_until_ready()
            self.pids = (self._builder, *processes.descendants(self._builder))
            self._first = os.pidfd_open(self.pids[1])
        except (OSError, IndexError, RoomRefused) as error:
            self._give_up()
            raise RoomRefused(str(error) if isinstance(error, RoomRefused) else f"bubblewrap cannot be run: {error}") from error

    def _build(self, arguments: list[str], texts: dict[str, str], key: str) -> None:
        """Start bubblewrap. Its arguments go through a file, since the job can read the command line of the room's first process."""
        ask, self._ask = os.pipe()
        self._told, tell = os.pipe()
        self._complaint, complain = os.pipe()
        self._fds = [self._ask, self._told, self._complaint]
        given = [ask, tell, complain]
        words: list[str] = []
        for path, text in texts.items():  # before what the job is shown, which may lie on top of them
            given.append(_in_memory(text.encode()))
            words += ["--perms", "0755", "--dir", os.path.dirname(path), "--perms", "0444", "--file", str(given[-1]), path]
        words += arguments[1:]
        given.append(_in_memory(b"".join(os.fsencode(word) + b"\0" for word in words)))
        try:
            self._builder = os.posix_spawn(
                arguments[0],
                ["bwrap", "--args", str(given[-1]), "cat"],
                {"EVOGIT_JOB": key, "PATH": "/usr/bin:/bin"},
                file_actions=[(os.POSIX_SPAWN_DUP2, fd, n) for n, fd in enumerate((ask, tell, complain))],
                setsid=True,
                setsigmask=(),
                setsigdef=(signal.SIGINT, signal.SIGHUP, signal.SIGPIPE, signal.SIGXFSZ),
            )
        finally:
            for fd in given:
                os.close(fd)

    def _wait_until_ready(self) -> None:
        with contextlib.suppress(BrokenPipeError):
            os.write(self._ask, b"\n")
        ready = select.poll()
        ready.register(self._told, select.POLLIN)
        if not ready.poll(READY_S * 1000):
            raise RoomRefused(f"bubblewrap built no room in {READY_S:g} s")
        if os.read(self._told, 1) != b"\n":
            said = os.read(self._complaint, 4096).decode(errors="replace").strip().splitlines()
            raise RoomRefused(said[-1] if said else "bubblewrap ended without a word")

    def enter(self) -> None:
        """Join every namespace of the room; what this process forks from now on lives inside. Raises RoomRefused."""
        flags = KINDS
        if os.stat(f"/proc/{self.pids[1]}/ns/user").st_ino != os.stat("/proc/self/ns/user").st_ino:
            flags |= NEW_USER
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.setns(self._first, flags):
            raise RoomRefused(f"the room cannot be entered: {os.strerror(ctypes.get_errno())}")

    def count(self) -> int:
        """How many processes are inside: one listing, however many they are."""
        try:
            return sum(name.isdigit() for name in os.listdir(f"/proc/{self.pids[1]}/root/proc"))
        except OSError:
            return 0

    def end(self) -> None:
        """SIGKILL to everybody inside, at once: the kernel ends a process namespace with its first process. Repeatable."""
        try:
            signal.pidfd_send_signal(self._first, signal.SIGKILL)
        except ProcessLookupError:
            return

    def _give_up(self) -> None:
        for fd in self._fds:
            os.close(fd)
        if self._builder:
            processes.send([self._builder], signal.SIGKILL)


def _in_memory(data: bytes) -> int:
    """Descriptor of a file that holds `data` and nowhere lies; a program that is started has it too."""
    fd = os.memfd_create("room", 0)
    os.write(fd, data)
    os.lseek(fd, 0, os.SEEK_SET)
    return fd
