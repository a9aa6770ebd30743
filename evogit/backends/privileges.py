"""Give up, for good, what a process could do beyond running its program: user, groups, capabilities, new privileges, system calls.

Standard library only, through plain system calls: it runs in a forked child just before its program does. Everything here goes
one way, and everything raises OSError where the kernel refuses: a half-dropped process must not run a candidate.
"""

from __future__ import annotations

import ctypes
import errno
import os

PR_SET_SECCOMP, PR_CAPBSET_DROP, PR_SET_NO_NEW_PRIVS, PR_CAP_AMBIENT = 22, 24, 38, 47
PR_CAP_AMBIENT_CLEAR_ALL, SECCOMP_MODE_FILTER = 4, 2
PR_SET_KEEPCAPS, PR_CAP_AMBIENT_RAISE, CAP_DAC_READ_SEARCH = 8, 2, 2
CAP_VERSION = 0x20080522  # two words of 32 bits for each set
INSTRUCTION = 8  # bytes of one instruction of a filter


def drop(user: int = -1, kept: int = -1) -> None:
    """Become `user` (and the group of the same number) without other groups, keep no capability, gain none ever again.

    -1 keeps the user. kept: the number of a capability that stays, through every exec. Raises OSError.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    for capability in range(64):
        if capability != kept and libc.prctl(PR_CAPBSET_DROP, capability, 0, 0, 0):
            if ctypes.get_errno() == errno.EINVAL:  # past the last one that this kernel has
                break
            if os.geteuid() == 0:
                raise _failed("a capability cannot be dropped")
            break  # a plain user has none to drop, and none to gain without new privileges
    libc.prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)
    if user >= 0:
        libc.prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0)
        os.setgroups([])
        os.setresgid(user, user, user)
        os.setresuid(user, user, user)
    header = (ctypes.c_uint32 * 2)(CAP_VERSION, 0)
    stays = 1 << kept if kept >= 0 else 0
    if libc.capset(header, (ctypes.c_uint32 * 6)(stays, stays, stays)):
        raise _failed("capabilities cannot be given up")
    if kept >= 0 and libc.prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, kept, 0, 0):
        raise _failed("a capability cannot be kept")
    if libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0):
        raise _failed("new privileges cannot be refused")


def load_filter(program: bytes) -> None:
    """Have the kernel check each system call of this process and its children from now on; b"" does nothing. After `drop`.

    program: instructions of classic BPF, as `syscalls.filter_program` makes them. Raises OSError.
    """
    if not program:
        return

    class Program(ctypes.Structure):
        _fields_ = [("length", ctypes.c_ushort), ("instructions", ctypes.c_char_p)]

    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.byref(Program(len(program) // INSTRUCTION, program)), 0, 0):
        raise _failed("system calls cannot be filtered")


def _failed(what: str) -> OSError:
    number = ctypes.get_errno()
    return OSError(number, f"{what}: {os.strerror(number)}")
