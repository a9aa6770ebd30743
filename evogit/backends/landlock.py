"""The second level of isolation: Landlock keeps a process from all files but those of its view, where bubblewrap does not work.

Standard library only, through plain system calls; Linux alone. `confine` runs in the forked child just before its program does
and goes one way: for the child and everything that it starts. Landlock is a list of permissions that belong to folders, so a
masked file is kept out by permitting all its neighbours one by one.

Where namespaces can be had (root, or a kernel that lets everybody have them) the job has no network, empty folders in place of
/tmp, /run, /home and /root, and frozen and masked files are mounts. Where they cannot, there are no internet sockets at all, not
even on loopback; frozen files, and readable folders inside writable ones, are NOT kept from writes (the host compares hashes
afterwards); a file that a job makes beside a masked one cannot be read back by that job; /dev/shm is everybody's; and modes, owners, times and attributes of files outside can be changed, if the user
may, and sockets that have a path be connected to: Landlock does not know of those. It never hides that other processes exist.
"""

from __future__ import annotations

import errno
import os
import struct
import sys
from functools import lru_cache
from typing import NamedTuple

from evogit.backends import privileges
from evogit.backends.namespaces import Paths, call, enter

CREATE_RULESET, ADD_RULE, RESTRICT_SELF, PATH_BENEATH = 444, 445, 446, 1
EXECUTE, WRITE_FILE, READ_FILE, READ_DIR, MAKE_CHAR, MAKE_BLOCK, TRUNCATE, IOCTL_DEV = (1 << n for n in (0, 1, 2, 3, 6, 11, 14, 15))
RIGHTS = {3: (1 << 15) - 1, 5: (1 << 16) - 1}  # version -> every right to files that it knows
TCP, SCOPES = 3, 3  # bind and connect, since 4; abstract sockets and signals, since 6
OF_FILES = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE | IOCTL_DEV  # the others are of folders
READ = EXECUTE | READ_FILE | READ_DIR
DEVICE = READ_FILE | WRITE_FILE | IOCTL_DEV
LEAST = 3  # before it, everybody's files could be cut to nothing

SYSTEM = (
    "/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/nix/store", "/gnu/store", "/proc", "/sys/devices/system", "/etc/ld.so.cache",
    "/etc/ld.so.conf", "/etc/ld.so.conf.d", "/etc/passwd", "/etc/group", "/etc/nsswitch.conf", "/etc/localtime", "/etc/alternatives",
    "/etc/mime.types", "/etc/ssl", "/etc/ca-certificates", "/etc/pki/tls",
)  # fmt: skip
NETWORK = ("/etc/hosts", "/etc/resolv.conf", "/etc/host.conf", "/etc/gai.conf", "/etc/services")
DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom")
ARCHITECTURES = {"x86_64": (0xC000003E, 41), "aarch64": (0xC00000B7, 198), "riscv64": (0xC00000F3, 198)}  # its name, its `socket`
IO_URING_SETUP, X32, AF_UNIX = 425, 0x40000000, 1
LAUNCH = "import sys; sys.path.append(sys.argv[1]); from evogit.backends.landlock import try_out; try_out(sys.argv[2], int(sys.argv[3]))"
PROBE_S = 20.0


class Support(NamedTuple):
    """What of this level works here. `refusal`: why nothing does, "" if it does; `missing`: what must be done without, "" if nothing."""

    refusal: str
    missing: str


@lru_cache(maxsize=2)
def probe(user: int = -1) -> Support:
    """Try it in a process of its own that really is confined, as `user` (-1: as ourselves). Costs 60 ms, once a process."""
    import subprocess

    if sys.platform != "linux":
        return Support("Landlock is a part of Linux", "")
    top = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    answers = []
    for what in ("namespaces", "files"):
        command = [sys.executable, "-I", "-S", "-c", LAUNCH, top, what, str(user)]
        try:
            ended = subprocess.run(
                command, check=False, cwd="/", env={}, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=PROBE_S
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            return Support(f"it cannot be tried: {error}", "")
        said = (ended.stdout + ended.stderr).strip().splitlines()
        answers.append("" if ended.returncode == 0 else said[-1] if said else f"exit code {ended.returncode}")
        if what == "namespaces" and not answers[0]:
            return Support("", "")
    return Support(answers[1], answers[0])


def try_out(what: str, user: int) -> None:
    """Be confined to one folder and see whether that holds: the part of `probe` that is in the other process. Exits.

    what: `namespaces` to have them too, `files` for Landlock without them.
    """
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o777)
        pid = os.fork()
        if pid:
            code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        else:
            code = _try_out(folder, what == "namespaces", user)
            sys.stdout.flush()
            os._exit(code)
    sys.exit(code)


def _try_out(folder: str, has_namespaces: bool, user: int) -> int:
    try:
        confine(Paths(writable=(folder,)), network=False, has_namespaces=has_namespaces, user=user)
        with open(os.path.join(folder, "file"), "w") as file:
            file.write("it can be written")
    except OSError as error:
        print(error.strerror or error)
        return 1
    try:
        os.listdir("/etc")
    except OSError:
        return 0
    print("the kernel takes the rules and does not keep them")
    return 1


def confine(
    view: Paths,
    *,
    network: bool,
    has_namespaces: bool,
    devices: tuple[str, ...] = (),
    user: int = -1,
) -> None:
    """Keep this process, and all that it starts, to `view` from now on. Raises OSError, with words, if any part is refused.

    has_namespaces: what `probe` found (`missing` is ""). devices: further device files, of GPUs. user: who to become, if we are
    root; that user may read what is in the view though its modes say no, since the way there can lead through root's folders.
    To be called with one thread. Costs 2 to 5 ms, and some microseconds for each entry of each folder above a masked file where
    there are no namespaces.
    """
    version = _version()
    scratch: tuple[str, ...] = ("/dev/shm",)
    further = (*(NETWORK if network else ()), *(("/sys",) if devices else ()))
    view = view._replace(readable=(*view.readable, *filter(os.path.exists, further)))
    if has_namespaces:
        scratch = enter(view, network)
    view = view.resolved()
    rules = _make_rules(version, closed=not network and not has_namespaces)
    every = RIGHTS[5 if version >= 5 else 3]
    masked = frozenset() if has_namespaces else frozenset(view.masked)
    for path in (*SYSTEM, *view.readable):
        _allow(rules, os.path.realpath(path), READ & every, masked)
    for path in (*scratch, *view.writable):
        _allow(rules, os.path.realpath(path), every & ~(MAKE_CHAR | MAKE_BLOCK), masked)
    for path in (*DEVICES, *devices):
        _allow(rules, os.path.realpath(path), (DEVICE | READ_DIR) & every, masked)
    privileges.drop(user, kept=privileges.CAP_DAC_READ_SEARCH if user >= 0 else -1)
    call("syscall", RESTRICT_SELF, rules, 0)
    os.close(rules)
    if not network and not has_namespaces:
        privileges.load_filter(_no_sockets())


def _version() -> int:
    """The kernel's version of Landlock. Raises OSError if it has none, it is turned off, or is too old."""
    try:
        version = call("syscall", CREATE_RULESET, None, 0, 1)
    except OSError as error:
        said = {errno.ENOSYS: "this kernel has no Landlock", errno.EOPNOTSUPP: "Landlock is turned off in this kernel"}
        raise OSError(error.errno, said.get(error.errno, f"Landlock: {error.strerror}")) from None
    if version < LEAST:
        raise OSError(errno.ENOSYS, f"this kernel's Landlock is version {version}, and {LEAST} is the first that will do (Linux 6.2)")
    return version


def _make_rules(version: int, closed: bool) -> int:
    """A descriptor of rules that permit nothing yet of all that this kernel can refuse. closed: TCP is refused too."""
    files = RIGHTS[5 if version >= 5 else 3]
    attributes = struct.pack("QQQ", files, TCP if closed and version >= 4 else 0, SCOPES if version >= 6 else 0)
    return call("syscall", CREATE_RULESET, attributes, len(attributes), 0)


def _allow(rules: int, path: str, rights: int, masked: frozenset[str]) -> None:
    """Permit a file, or a folder with all below it but what is masked; what is not there is passed over."""
    if path in masked:
        return
    if any(one.startswith(path.rstrip("/") + "/") for one in masked):
        # New files can be made and written here, and not read: a right to read would hold for the masked one too.
        _permit(rules, path, rights & ~(READ_FILE | EXECUTE | IOCTL_DEV))
        with os.scandir(path) as entries:
            for entry in entries:
                if not entry.is_symlink():
                    _allow(rules, entry.path, rights, masked)
        return
    _permit(rules, path, rights)


def _permit(rules: int, path: str, rights: int) -> None:
    try:
        fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        if not os.path.isdir(path):
            rights &= OF_FILES
        call("syscall", ADD_RULE, rules, PATH_BENEATH, struct.pack("=Qi", rights, fd), 0)
    finally:
        os.close(fd)


def _no_sockets() -> bytes:
    """A filter of system calls: no socket but those of one machine's own processes. Raises OSError on an unknown processor.

    For where there is no network namespace: Landlock knows nothing of UDP.
    """
    machine = os.uname().machine
    if machine not in ARCHITECTURES:
        raise OSError(errno.ENOSYS, f"the network cannot be closed on {machine} without namespaces")
    name, socket = ARCHITECTURES[machine]
    load, equal, at_least, answer = 0x20, 0x15, 0x35, 0x06
    allowed, refused = 0x7FFF0000, 0x00050000 | errno.EACCES
    steps = (
        (load, 0, 0, 4),  # of which processor the call is
        (equal, 0, 6, name),
        (load, 0, 0, 0),  # its number
        (at_least, 4, 0, X32),
        (equal, 3, 0, IO_URING_SETUP),  # makes sockets without the call
        (equal, 0, 3, socket),
        (load, 0, 0, 16),  # its first argument, the family
        (equal, 1, 0, AF_UNIX),
        (answer, 0, 0, refused),
        (answer, 0, 0, allowed),
    )
    return b"".join(struct.pack("HBBI", *step) for step in steps)
