"""The system calls that a trial is refused, as a program for the kernel: what changes namespaces, mounts, other processes or the kernel.

A list of refusals, not of permissions: numerical libraries call much, and what is isolated by the file tree and the namespaces
needs no second lock. A refused call fails with EPERM and the trial goes on. Where libseccomp is missing there is no filter, and
`missing` says so: a sandbox that is required is then refused (`sandbox.demand`), another goes on without.
"""

from __future__ import annotations

import errno
import tempfile
from functools import lru_cache

# Each for what it opens: files by handle, other processes, the kernel itself, its keys, its clocks, its mounts.
REFUSED = (
    "acct add_key adjtimex bpf chroot clock_adjtime clock_settime create_module delete_module fanotify_init finit_module fsconfig fsmount "
    "fsopen fspick get_kernel_syms init_module io_uring_enter io_uring_register io_uring_setup ioperm iopl kcmp kexec_file_load kexec_load "
    "keyctl lookup_dcookie mount mount_setattr move_mount move_pages nfsservctl open_by_handle_at open_tree "
    "perf_event_open pidfd_getfd pivot_root process_madvise process_vm_readv process_vm_writev ptrace query_module quotactl quotactl_fd "
    "reboot request_key setdomainname sethostname setns settimeofday stime swapoff swapon syslog umount umount2 uselib userfaultfd ustat "
    "vhangup "
)
NAMESPACES = (0x00000080, 0x00020000, 0x02000000, 0x04000000, 0x08000000, 0x10000000, 0x20000000, 0x40000000)  # CLONE_NEW*
CLONE_NEWTIME = 0x00000080  # in `unshare` alone: in `clone` those bits are a signal
TERMINAL = (0x5412, 0x541C)  # TIOCSTI and TIOCLINUX put words into the mouth of whoever owns the terminal
PERSONALITY = 0x40000  # from here on: no address randomisation, executable data
UNIX, INET, INET6, NETLINK = 1, 2, 10, 16  # the families of sockets that programs need


@lru_cache(maxsize=1)
def missing() -> str:
    """Why there is no filter here, "" if there is one. The first call imports pyseccomp: some 20 ms."""
    try:
        import pyseccomp  # noqa: F401
    except (ImportError, RuntimeError, OSError, AttributeError) as error:  # it raises RuntimeError where the C library is not there
        return f"system calls are not filtered: {error}"
    return ""


@lru_cache(maxsize=1)
def filter_program() -> bytes:
    """The filter in the kernel's own form (classic BPF for this machine), b"" where there is none. 5 ms, once a process."""
    if missing():
        return b""
    import pyseccomp as seccomp

    rules = seccomp.SyscallFilter(seccomp.ALLOW)
    refuse = seccomp.ERRNO(errno.EPERM)

    def add(action: int, call: str, *conditions: seccomp.Arg) -> None:
        try:
            rules.add_rule(action, call, *conditions)
        except (OSError, ValueError):  # a call that this machine's kernel or its libseccomp does not know
            return

    for call in REFUSED.split():
        add(refuse, call)
    for flag in NAMESPACES:
        add(refuse, "unshare", seccomp.Arg(0, seccomp.MASKED_EQ, flag, flag))
        if flag != CLONE_NEWTIME:
            add(refuse, "clone", seccomp.Arg(0, seccomp.MASKED_EQ, flag, flag))
    add(seccomp.ERRNO(errno.ENOSYS), "clone3")  # its flags lie in memory: the C library then takes `clone`
    for request in TERMINAL:
        add(refuse, "ioctl", seccomp.Arg(1, seccomp.MASKED_EQ, 0xFFFFFFFF, request))
    add(refuse, "personality", seccomp.Arg(0, seccomp.GE, PERSONALITY))
    for family in {*range(NETLINK)} - {UNIX, INET, INET6}:
        add(refuse, "socket", seccomp.Arg(0, seccomp.EQ, family))
    add(refuse, "socket", seccomp.Arg(0, seccomp.GT, NETLINK))  # packet, vsock, alg, ...: no network namespace holds the last two
    with tempfile.TemporaryFile() as file:
        rules.export_bpf(file)
        file.seek(0)
        return file.read()
