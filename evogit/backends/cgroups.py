"""Control groups: the kernel counts the memory and the processes of one job's whole tree, and keeps both below a limit.

Standard library only, because the keeper runs without site-packages. Both versions are spoken: v2 where memory and pids are
delegated to us, v1 where its hierarchies are writable (as root). What can be had is found out by making a group and moving a
process into it; where nothing can, there is no group and everything else goes on. It never reads what a group's peak was:
that holds the page cache too, which is no use of memory that anybody should answer for.

A supervisor enters its group while it is still spare and its job is born inside, because to enter one costs up to 20 ms (the
kernel waits until every processor has noticed) and to be born in one costs nothing.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import time

from evogit.backends import processes
from evogit.backends.processes import MIB

FOLDER = "evogit"  # the parent of our groups; it stays when they are gone
CONTROLLERS = ("memory", "pids")
PAUSE_S = 0.01  # for processes that die
MOST = (1 << 63) - 1  # bytes: what is beyond, the kernel would take for what is left of it in 64 bits
SLACK_MIB = 32  # page tables, sockets and the supervisor itself are counted too


Places = dict[str, tuple[str, ...]]


def places() -> Places:
    """Controller -> folders below which a group might be made, the best first; which one takes it, `Group.enter` finds out.

    In v1 a group of ours belongs below our own, so that what limits us limits it. In v2 a group with processes has no groups
    with limits in it, so ours are beside our own: in the nearest folder above that passes the controller on. Reads two files.
    """
    found: dict[str, list[str]] = {controller: [] for controller in CONTROLLERS}
    own = _own_groups()
    for (root, top, kind, options), controller in itertools.product(_mounts(), CONTROLLERS):
        path = own.get(controller if kind == "cgroup" else "", "")
        if ".." in path or not path.startswith(root) or (kind == "cgroup" and controller not in options):
            continue
        folder = os.path.normpath(f"{top}/{path.removeprefix(root)}")
        if kind == "cgroup":
            found[controller].append(os.path.join(folder, FOLDER))
        while kind == "cgroup2" and folder.startswith(top):
            if controller.encode() in processes.read(f"{folder}/cgroup.subtree_control").split():
                found[controller].append(os.path.join(folder, FOLDER))
            folder = os.path.dirname(folder)
    return {controller: tuple(folders) for controller, folders in found.items() if folders}


def _own_groups() -> dict[str, str]:
    """Controller -> path of our own group, "" for v2's."""
    lines = [line.split(":", 2) for line in processes.read("/proc/self/cgroup").decode(errors="replace").splitlines()]
    return {name: path for _, names, path in lines for name in names.split(",")}


def _mounts() -> list[tuple[str, str, str, list[str]]]:
    """(path of the group that is mounted, where, `cgroup` or `cgroup2`, options) of every hierarchy that we see."""
    found = []
    for line in processes.read("/proc/self/mountinfo").decode(errors="replace").splitlines():
        before, _, after = line.partition(" - ")
        root, top = before.split()[3:5]
        kind, _, options = after.split()[:3]
        if kind in ("cgroup", "cgroup2"):
            found.append((root.rstrip("/"), top, kind, options.split(",")))
    return found


class Group:
    """The group of one supervisor and of the tree of its job. Every question is answered with 0 where the kernel keeps no count."""

    def __init__(self, folders: dict[str, str]) -> None:
        self._folders = folders  # controller -> the group's own folder

    @classmethod
    def enter(cls, places: Places) -> Group:
        """A group named for this process, with this process in it, as far as that works here; no limit yet. Never raises.

        Costs 0.5 ms, and 20 ms if nobody on this machine has changed groups lately.
        """
        name = _name(os.getpid())
        made = {controller: _enter(controller, folders, name) for controller, folders in places.items()}
        return cls({controller: folder for controller, folder in made.items() if folder})

    @property
    def controllers(self) -> frozenset[str]:
        """What is counted and can be limited here: of CONTROLLERS."""
        return frozenset(self._folders)

    def limit(self, memory_mib: int, pids: int) -> None:
        """Hold the group to these from now on; 0 is no limit. A limit that the kernel does not take is left out.

        Memory that can be dropped, such as read files, is dropped at the limit and kills nobody. The limit stands a little
        above `memory_mib` because more is counted here than anonymous and shared pages.
        """
        memory = min((memory_mib + memory_mib // 16 + SLACK_MIB) * MIB, MOST) if memory_mib else 0
        wanted = {"memory": memory, "pids": pids + 1 if pids else 0}
        for controller, number in wanted.items():
            if number and controller in self._folders:
                try:
                    _set_limit(controller, self._folders[controller], number)
                except OSError:
                    del self._folders[controller]

    def memory_kills(self) -> int:
        """How many processes of the group the kernel has killed for memory."""
        return self._count("memory", "memory.events", "oom_kill") or self._count("memory", "memory.oom_control", "oom_kill")

    def has_hit_memory(self) -> bool:
        """True if the group was ever at its own limit of memory, and not only the machine at its end."""
        if self._count("memory", "memory.events", "oom"):
            return True
        folder = self._folders.get("memory", "")
        peak, limit = (processes.read(f"{folder}/memory.{name}_in_bytes").strip() for name in ("max_usage", "limit"))
        return peak.isdigit() and limit.isdigit() and int(peak) > int(limit) - MIB  # v1's own count of failures is always 0 by now

    def refused_processes(self) -> int:
        """How often a process of the group could not start another because of the limit."""
        return self._count("pids", "pids.events", "max")

    def _count(self, controller: str, file: str, name: str) -> int:
        if controller not in self._folders:
            return 0
        for line in processes.read(f"{self._folders[controller]}/{file}").splitlines():
            word, _, number = line.partition(b" ")
            if word == name.encode() and number.strip().isdigit():
                return int(number)
        return 0


def remove(places: Places, pid: int, birth: int | None = None) -> None:
    """Remove the group of a supervisor that is dead, after what is left in it is killed. Does nothing if there is none.

    birth: of that process, if somebody wrote it down; without it any process that had this id and is dead is meant.
    """
    begins = f"{pid}." if birth is None else f"{pid}.{birth}."
    for place, name in _groups(places):
        if name.startswith(begins) and _is_dead(name):
            _remove(os.path.join(place, name))


def sweep(places: Places) -> None:
    """Remove the groups of all supervisors that are dead: their keeper was killed before it could."""
    for place, name in _groups(places):
        if _is_dead(name):
            _remove(os.path.join(place, name))


def _groups(places: Places) -> list[tuple[str, str]]:
    """(place, name) of everything that lies where our groups lie."""
    found = []
    for place in {folder for folders in places.values() for folder in folders}:
        with contextlib.suppress(OSError):
            found += [(place, name) for name in os.listdir(place)]
    return found


def _enter(controller: str, folders: tuple[str, ...], name: str) -> str:
    """Make a group in the first folder that takes it, and go into it; its folder, "" if none does."""
    for folder in folders:
        group = os.path.join(folder, name)
        try:
            os.makedirs(group, exist_ok=True)
            if os.path.exists(f"{folder}/cgroup.subtree_control"):
                _write(f"{folder}/cgroup.subtree_control", f"+{controller}")
            _write(f"{group}/cgroup.procs", "0")
            return group
        except OSError:
            with contextlib.suppress(OSError):
                os.rmdir(group)
    return ""


def _name(pid: int) -> str:
    """pid.birth.namespace: process ids mean nothing outside of their namespace, and are used again inside it."""
    return f"{pid}.{processes.birth(pid)}.{_namespace()}"


def _namespace() -> int:
    try:
        return os.stat("/proc/self/ns/pid").st_ino
    except OSError:
        return 0


def _is_dead(name: str) -> bool:
    """True if a group's name is one of ours, of this namespace, and its process is gone."""
    parts = name.split(".")
    if len(parts) != 3 or not all(part.isdigit() for part in parts) or int(parts[2]) != _namespace():
        return False
    birth = processes.birth(int(parts[0]))  # None too where nothing can be read at the moment, and that kills nobody
    return birth != int(parts[1]) if birth is not None else not os.path.exists(f"/proc/{parts[0]}")


def _remove(group: str) -> None:
    """Kill what is in it and remove it; what cannot be removed yet (a process that is still dying) is left to the next sweep."""
    for _ in range(50):
        members = [int(pid) for pid in processes.read(f"{group}/cgroup.procs").split()]
        processes.send((pid for pid in members if pid not in (0, os.getpid())), signal.SIGKILL)
        try:
            os.rmdir(group)
            return
        except FileNotFoundError:
            return
        except OSError:
            time.sleep(PAUSE_S)


def _set_limit(controller: str, folder: str, number: int) -> None:
    """Raises OSError if the kernel refuses."""
    if controller == "pids":
        _write(f"{folder}/pids.max", str(number))
    elif os.path.exists(f"{folder}/memory.max"):
        _write(f"{folder}/memory.max", str(number))
        _write_if_there(f"{folder}/memory.swap.max", "0")
    else:
        _write(f"{folder}/memory.limit_in_bytes", str(number))
        _write_if_there(f"{folder}/memory.memsw.limit_in_bytes", str(number))  # memory and swap together


def _write_if_there(path: str, text: str) -> None:
    if os.path.exists(path):
        _write(path, text)


def _write(path: str, text: str) -> None:
    with open(path, "wb", buffering=0) as file:  # these files take one write, and say no in it
        file.write(text.encode())
