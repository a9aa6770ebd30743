"""A process's own view of the machine: no network, no other process's shared memory, files outside of its view read-only or absent.

Standard library only, through plain system calls. `enter` is called in the forked child before its program begins; what it
changes is gone with the process. It needs to be root with CAP_SYS_ADMIN, or a kernel that lets everybody have namespaces:
whether it works is asked once, in a process that is thrown away (`landlock.probe`). It makes no process namespace: a job sees
the numbers and command lines of other processes, and nothing else of them.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import socket
import struct
from collections.abc import Iterable
from typing import NamedTuple

COVERED = ("/root", "/home", "/run", "/sys", "/var/tmp", "/tmp", "/dev/shm")  # people's files, the services' sockets, devices
SCRATCH = {"/tmp": "mode=1777,size=1g", "/dev/shm": "mode=1777,size=50%"}  # of these, a job gets empty ones that it can write
COVER = "mode=0755,size=1m"

CLONE_NEWNS, CLONE_NEWIPC, CLONE_NEWUSER, CLONE_NEWNET = 0x20000, 0x8000000, 0x10000000, 0x40000000
MS_RDONLY, MS_NOSUID, MS_NODEV, MS_BIND, MS_REC, MS_PRIVATE = 1, 2, 4, 4096, 16384, 1 << 18
MOUNT_SETATTR, AT_FDCWD, AT_RECURSIVE, MOUNT_ATTR_RDONLY = 442, -100, 0x8000, 1
SIOCSIFFLAGS, IFF_UP = 0x8914, 1


class Paths(NamedTuple):
    """A job's view in plain tuples of absolute paths, for processes that have nothing but the standard library."""

    readable: tuple[str, ...] = ()
    writable: tuple[str, ...] = ()
    frozen: tuple[str, ...] = ()  # files below writable folders that stay as they are
    masked: tuple[str, ...] = ()  # files and folders below the others that cannot be read

    def resolved(self) -> Paths:
        """The same without symbolic links, without what does not exist, shortest first."""
        return Paths(*(tuple(sorted({os.path.realpath(path) for path in paths if os.path.exists(path)}, key=len)) for paths in self))


def call(name: str, *arguments: object) -> int:
    """One function of libc; raises OSError with its errno where it answers -1."""
    libc = ctypes.CDLL(None, use_errno=True)
    answer = getattr(libc, name)(*(ctypes.c_long(a) if isinstance(a, int) else a for a in arguments))
    if answer == -1:
        raise OSError(ctypes.get_errno(), f"{name}: {os.strerror(ctypes.get_errno())}")
    return answer


def enter(view: Paths, network: bool) -> tuple[str, ...]:
    """Give this process namespaces of its own: files, shared memory, and the network unless `network`. Raises OSError.

    Returns which folders of SCRATCH are the job's own now. Root does it directly; others get a user namespace in which they are
    themselves. The network has a loopback device and nothing else.
    """
    flags = CLONE_NEWNS | CLONE_NEWIPC | (0 if network else CLONE_NEWNET)
    user, group = os.geteuid(), os.getegid()
    call("unshare", flags | (CLONE_NEWUSER if user else 0))
    if user:
        for name, text in (("setgroups", "deny"), ("uid_map", f"{user} {user} 1"), ("gid_map", f"{group} {group} 1")):
            with open(f"/proc/self/{name}", "wb", buffering=0) as file:
                file.write(text.encode())
    if not network:
        _raise_loopback()
    links = {path: os.path.realpath(path) for path in (*view.readable, *view.writable) if os.path.realpath(path) != path}
    scratch = _rearrange(view.resolved())
    for path, target in links.items():
        if os.path.exists(target) and not os.path.lexists(path):
            os.makedirs(os.path.dirname(path), exist_ok=True)
            os.symlink(target, path)
    _set_read_only("/", True, AT_RECURSIVE)
    for path in (*scratch, *view.resolved().writable):
        _set_read_only(path, False)
    _freeze_and_mask(view.resolved())
    return scratch


def _raise_loopback() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, SIOCSIFFLAGS, struct.pack("16sh22x", b"lo", IFF_UP))


def _rearrange(view: Paths) -> tuple[str, ...]:
    """Cover the folders of people and services, and make a mount of each writable folder; which scratch folders were made.

    What is in the view itself, or holds part of it by being above, stays. Read-only, which comes after this, matters beside
    Landlock because Landlock does not know of changes of modes, owners, times and attributes.
    """
    mount(None, "/", MS_REC | MS_PRIVATE)
    seen = (*view.readable, *view.writable)
    covered = [
        folder
        for folder in COVERED
        if os.path.realpath(folder) == folder and os.path.isdir(folder) and not any(_is_in(folder, path) for path in seen)
    ]
    for folder in covered:
        _cover(folder, [path for path in seen if _is_in(path, folder)])
    for path in sorted(seen, key=len):
        if path in view.writable or any(_is_in(path, folder) for folder in view.writable):
            mount(path, path, MS_BIND | MS_REC)  # a readable folder inside a writable one keeps its own place
    return tuple(folder for folder in covered if folder in SCRATCH)


def _freeze_and_mask(view: Paths) -> None:
    """What is masked, but holds parts of the view, comes first: the rest may lie in such a part.

    A folder above a frozen file can still be renamed: the host compares hashes afterwards.
    """
    seen = sorted({*view.readable, *view.writable}, key=len)
    inside = {path: [one for one in seen if _is_in(one, path)] for path in view.masked}
    for path in (path for path in view.masked if inside[path] and path not in seen):
        _cover(path, inside[path])
        _set_read_only(path, True)
    for path in view.frozen:
        mount(path, path, MS_BIND)
        _set_read_only(path, True)
    for path in (path for path in view.masked if not inside[path]):
        if os.path.isdir(path):
            mount("tmpfs", path, MS_NOSUID | MS_NODEV | MS_RDONLY, "tmpfs", COVER)
        else:
            mount(os.devnull, path, MS_BIND)


def _cover(folder: str, kept: Iterable[str]) -> None:
    """An empty folder in the place of one, with only `kept` (paths below it) still there."""
    held = {path: os.open(path, os.O_PATH | os.O_CLOEXEC) for path in kept}
    mount("tmpfs", folder, MS_NOSUID | MS_NODEV, "tmpfs", SCRATCH.get(folder, COVER))
    for path, fd in held.items():
        source = f"/proc/self/fd/{fd}"
        if os.path.isdir(source):
            os.makedirs(path, exist_ok=True)
        elif not os.path.exists(path):
            os.makedirs(os.path.dirname(path), exist_ok=True)
            os.close(os.open(path, os.O_CREAT | os.O_WRONLY, 0o644))
        mount(source, path, MS_BIND | MS_REC)
        os.close(fd)


def _is_in(path: str, folder: str) -> bool:
    """True if `path` is that folder or below it."""
    return path == folder or path.startswith(folder.rstrip("/") + "/")


def mount(source: str | None, target: str, flags: int, kind: str = "", options: str = "") -> None:
    """As mount(2). Raises OSError."""
    names = (None if source is None else os.fsencode(source), os.fsencode(target), kind.encode() or None)
    call("mount", *names, flags, options.encode() or None)


def _set_read_only(path: str, is_read_only: bool, flags: int = 0) -> None:
    """Of a mount, or with AT_RECURSIVE of all below it too. Needs Linux 5.12, which Landlock as we want it implies."""
    on, off = (MOUNT_ATTR_RDONLY, 0) if is_read_only else (0, MOUNT_ATTR_RDONLY)
    attributes = struct.pack("QQQQ", on, off, 0, 0)
    call("syscall", MOUNT_SETATTR, AT_FDCWD, os.fsencode(path), flags, attributes, len(attributes))
