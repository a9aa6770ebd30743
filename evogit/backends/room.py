"""A room that bubblewrap builds for one job: a file tree and namespaces of its own, held open while the job runs inside.

bubblewrap runs `cat` in it: an answer from that says that the room is ready, and the room stands until it ends. A forked child
of ours then walks in (`enter`), so the job stays our own descendant: its exit status, its signals and the helpers that it leaves
behind are seen exactly as without a room. Dies with its supervisor: bubblewrap ends the room's first process, and the kernel
whoever is inside. Where its holders are of the job's own user they have the job's filter of system calls, and their folders of /proc
are covered: nobody is to work through their memory. Standard library only; it decides nothing about what the room holds.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import signal
from collections.abc import Iterator

from evogit.backends import processes
from evogit.backends.namespaces import MS_NODEV, MS_NOSUID, MS_RDONLY, call, mount

READY_S = 20.0  # a room that is not built by then never will be
NEW_USER = 0x10000000
KINDS = 0x00020000 | 0x02000000 | 0x04000000 | 0x08000000 | 0x20000000 | 0x40000000  # mounts, cgroup, uts, ipc, pid, net
NS_GET_USERNS = 0xB701
HOLDERS = (1, 2)  # bubblewrap and cat, as they are numbered inside


class RoomRefused(Exception):
    """The room could not be built or entered; the text says why. Never the candidate's fault."""


class Room:
    """A room, open from `ready` on. `pids` are the processes that hold it, which are nobody's job."""

    def __init__(self, arguments: list[str], texts: dict[str, str], key: str, calls: bytes | None = None) -> None:
        """Begin to build it, which takes 5-6 ms in processes of its own. Raises RoomRefused.

        arguments: the program bwrap (absolute), then its arguments without a command. texts: files to write: path -> text. calls: for a
        job of our own user, its filter of system calls, b"" if it has none; None for a job of another user.
        """
        self._is_covered = calls is not None
        self._builder = 0
        self._fds: list[int] = []
        self.pids: tuple[int, ...] = ()
        with self._given_up_where_refused():
            self._build(arguments, texts, key, calls or b"")

    def ready(self) -> None:
        """Wait until it stands. Raises RoomRefused."""
        with self._given_up_where_refused():
            self._wait_until_ready()
            self._meet((self._builder, *processes.descendants(self._builder)))

    def _meet(self, pids: tuple[int, ...]) -> None:
        self.pids = pids
        self._first = os.pidfd_open(pids[1])

    @contextlib.contextmanager
    def _given_up_where_refused(self) -> Iterator[None]:
        try:
            yield
        except (OSError, IndexError, RoomRefused) as error:
            self._give_up()
            raise RoomRefused(str(error) if isinstance(error, RoomRefused) else f"bubblewrap cannot be run: {error}") from error

    def _build(self, arguments: list[str], texts: dict[str, str], key: str, calls: bytes) -> None:
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
        if calls:
            given.append(_in_memory(calls))
            words += ["--seccomp", str(given[-1])]
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

    def enter(self, pids: tuple[int, ...]) -> None:
        """Join every namespace of the room; what this process forks from now on lives inside. Raises RoomRefused.

        pids: who holds it, for a child that was forked before it stood.
        """
        place = f"/proc/{pids[1]}/ns"
        try:
            self._meet(pids)
            here, there = (os.stat(f"{folder}/user").st_ino for folder in ("/proc/self/ns", place))
            if self._is_covered:
                here = self._cover_holders(place, here)
            call("setns", self._first, KINDS | (NEW_USER if here != there else 0))
        except OSError as error:
            raise RoomRefused(f"the room cannot be entered: {error.strerror or error}") from error

    def _cover_holders(self, place: str, here: int) -> int:
        """As the owner of the room's mounts, which the job never is: nothing of the holders is to be seen in /proc.

        Returns in which user namespace we are then: above the job's own, where bubblewrap made two.
        """
        mounts = os.open(f"{place}/mnt", os.O_RDONLY | os.O_CLOEXEC)
        owner = fcntl.ioctl(mounts, NS_GET_USERNS)
        number = os.fstat(owner).st_ino
        if number != here:
            call("setns", owner, NEW_USER)
        call("setns", mounts, 0)
        for holder in HOLDERS:
            mount("tmpfs", f"/proc/{holder}", MS_RDONLY | MS_NOSUID | MS_NODEV, "tmpfs", "mode=0555,size=4k")
        os.close(mounts)
        os.close(owner)
        return number

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
