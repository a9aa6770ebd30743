"""What a job may see, as arguments for bubblewrap: the smallest file tree in which programs and the job's own folders work.

The system's programs read-only, a few harmless files of /etc, the folders of the job's `View`, fresh /tmp, /dev and /proc. Not there:
home folders, the repository, other trials, /sys, /run, /var, sockets of services. It starts nothing but `bwrap --help`, once.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

from evogit.backends import devices
from evogit.domain.trial import NOBODY, Job

TMP_BYTES = 1 << 30  # of /tmp, which is memory: TMPDIR of a trial lies on the disk
ETC = ("ld.so.cache", "alternatives")  # each mount costs 0.15 ms: what can be written anew, or linked, is
ETC_NETWORK = ("resolv.conf", "host.conf", "gai.conf", "ssl/certs", "ssl/openssl.cnf", "ca-certificates", "pki/tls")
ETC_GPU = ("OpenCL", "vulkan")
SYSTEM = ("bin", "sbin", "lib", "lib32", "lib64", "libx32")
STORES = ("/nix/store", "/gnu/store")  # where some systems keep every program
SEALED = ("--remount-ro", "/dev", "--remount-ro", "/")  # memory that bubblewrap gives no size, and gives to a plain user
GPU_DEVICES = ("nvidia*", "dri", "kfd", "dxg")


def refusal() -> str:
    """Why bubblewrap cannot even be tried here, "" if it can. A look along PATH."""
    if not hasattr(os, "memfd_create"):
        return "bubblewrap needs Linux"
    return "" if shutil.which("bwrap") else "bubblewrap is not installed"


def user() -> int:
    """Who a job runs as: NOBODY where we are root, -1 for ourselves elsewhere, and where root is all that a container has."""
    return NOBODY if os.geteuid() == 0 and _has_user(NOBODY) else -1


def _has_user(number: int) -> bool:
    try:
        ranges = [line.split() for line in Path("/proc/self/uid_map").read_text().splitlines()]
    except OSError:
        return True
    return any(int(first) <= number < int(first) + int(count) for first, _, count in ranges)


def texts(network: bool) -> dict[str, str]:
    """Small files of /etc that are written for each room: path -> text. They name nobody but the job's user."""
    number, group = (user(), user()) if user() >= 0 else (os.geteuid(), os.getegid())
    found = {
        "/etc/passwd": f"root:x:0:0:root:/root:/bin/sh\nevogit:x:{number}:{group}:trial:/tmp:/bin/sh\n",
        "/etc/group": f"root:x:0:\nevogit:x:{group}:\n",
        "/etc/nsswitch.conf": f"passwd: files\ngroup: files\nhosts: files{' dns' if network else ''}\nservices: files\nprotocols: files\n",
        "/etc/hosts": "127.0.0.1\tlocalhost\n::1\tlocalhost\n",
    }
    if network:
        with contextlib.suppress(OSError):
            found["/etc/hosts"] += Path("/etc/hosts").read_text(encoding="utf-8", errors="replace")
    return found


def arguments(job: Job, further: Sequence[str] = ()) -> list[str]:
    """The program and its arguments for a room in which `job` can run, but for `texts`.

    further: arguments that add to its tree, before what is no folder of the job's becomes read-only. Costs one look at each path of the view; what follows from the same paths is worked out once.
    """
    view = job.view
    kinds = dict.fromkeys((job.source, job.artifact_dir), "--bind") | dict.fromkeys(view.readable, "--ro-bind")
    kinds |= dict.fromkeys(view.writable, "--bind") | dict.fromkeys(view.frozen, "freeze") | dict.fromkeys(view.masked, "mask")
    folders: dict[str, str] = {}
    for path, kind in list(kinds.items()):  # what is named by way of a link is looked for at its real place as well
        above, name = os.path.split(path)
        real = folders.setdefault(above, os.path.realpath(above))
        real = os.path.realpath(path) if kind != "freeze" else os.path.join(real, name)
        kinds.setdefault(real, kind)
    seen = tuple(sorted((path.split("/"), kind) for path, kind in kinds.items() if _is_plain(path)))
    shown = _shown(tuple(("/".join(parts), kind) for parts, kind in seen))
    return [*_namespaces(job.network), *_system(job.network, job.gpus > 0), *_sizes(job.memory_mib), *shown, *further, *SEALED]


@lru_cache(maxsize=2)
def _namespaces(network: bool) -> tuple[str, ...]:
    """All of them are new; without the network, only a loopback device is in it."""
    program = shutil.which("bwrap") or "bwrap"
    found = [program, "--unshare-pid", "--unshare-ipc", "--unshare-uts", "--unshare-cgroup-try", "--hostname", "localhost"]
    if not network:
        found.append("--unshare-net")
    if os.geteuid() == 0:
        found += ["--cap-drop", "ALL"]
    else:
        found.append("--unshare-user")
        if b"--disable-userns" in subprocess.run([program, "--help"], capture_output=True, check=False).stdout:
            found.append("--disable-userns")
    return (*found, "--die-with-parent", "--new-session", "--chdir", "/")


@lru_cache(maxsize=4)
def _system(network: bool, gpus: bool) -> tuple[str, ...]:
    """The part of the tree that every job has."""
    found = ["--ro-bind", "/usr", "/usr"]
    for name in SYSTEM:
        path = f"/{name}"
        if os.path.islink(path):
            found += ["--symlink", os.readlink(path), path]
        elif os.path.isdir(path):
            found += ["--ro-bind", path, path]
    for store in STORES:
        if os.path.isdir(store):
            found += [*_parents(store), "--ro-bind", store, store]
    found += ["--perms", "0755", "--dir", "/etc"]
    if os.path.islink("/etc/localtime"):
        found += ["--symlink", os.path.realpath("/etc/localtime"), "/etc/localtime"]
    for name in (*ETC, *(ETC_NETWORK if network else ()), *(ETC_GPU if gpus else ())):
        path = f"/etc/{name}"
        if os.path.exists(path):
            found += [*_parents(path), "--ro-bind", path, path]
    found += ["--proc", "/proc", "--dev", "/dev"]
    if gpus:
        found += ["--ro-bind-try", "/sys", "/sys"]
        for device in (str(path) for pattern in GPU_DEVICES for path in sorted(Path("/dev").glob(pattern))):
            found += [devices.DEV_BIND, device, device]
    return tuple(found)


def _sizes(memory_mib: int) -> list[str]:
    """Folders that are memory: /tmp, and /dev/shm, through which the workers of a data loader hand their batches."""
    whole = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    shared = min(whole // 2, memory_mib << 20) if memory_mib else whole // 2
    found = []
    for size, path in ((min(TMP_BYTES, whole // 4), "/tmp"), (shared, "/dev/shm")):
        found += ["--perms", "1777", "--size", str(size), "--tmpfs", path]
    return found


@lru_cache(maxsize=64)
def _shown(paths: tuple[tuple[str, str], ...]) -> tuple[str, ...]:
    """The job's own folders, in their order, each parent before what lies in it: (path, kind) as mounts.

    What has the same kind as the folder around it needs no mount; what is frozen or masked needs one only where it could be seen.
    """
    bound: dict[str, str] = {"/usr": "--ro-bind", **{f"/{name}": "--ro-bind" for name in SYSTEM}}
    found: list[str] = []
    last: list[str] = []
    made: set[str] = set()
    for path, kind in paths:
        above = next((bound[str(up)] for up in Path(path).parents if str(up) in bound), "")
        if kind == above or (kind in ("freeze", "mask") and above in ("", "mask")) or (kind, above) == ("freeze", "--ro-bind"):
            continue
        bound[path] = kind
        if above in ("", "mask"):
            found += [one for up in _above(path) if up not in made for one in ("--perms", "0755", "--dir", up)]
            made.update(_above(path))
        if kind == "mask" and os.path.isdir(path):
            found += ["--perms", "0755", "--size", "65536", "--tmpfs", path]
            last += ["--remount-ro", path]
        elif kind == "mask":
            found += ["--ro-bind", os.devnull, path]  # a device where none may be used: it cannot be opened
        else:
            found += ["--ro-bind" if kind == "freeze" else kind, path, path]
    return (*found, *last)


def _is_plain(path: str) -> bool:
    """True for what can be shown at its own place."""
    return os.path.isabs(path) and os.path.normpath(path) == path != "/" and os.path.exists(path)


def _above(path: str) -> list[str]:
    """Folders above `path`, the outermost first, without the root."""
    return [str(up) for up in reversed(Path(path).parents)][1:]


def _parents(path: str) -> list[str]:
    """bubblewrap makes missing folders with mode 0700, which an unprivileged user cannot pass."""
    return [one for up in _above(path) for one in ("--perms", "0755", "--dir", up)]
