"""Control groups: the kernel counts the memory and the processes of one job's whole tree, and keeps both below a limit.

Standard library only, because the keeper runs without site-packages. Both versions are spoken: v2 where memory and pids are
delegated to us, v1 where its hierarchies are writable (as root). What can be had is found out by making a group and moving a
process into it; where nothing can, there is no group and everything else goes on. It never reads what a group's peak was:
that holds the page cache too, which is no use of memory that anybody should answer for.

A supervisor enters its group while it is still spare and its job is born inside, because to enter one costs up to 20 ms (the
kernel waits until every processor has noticed) and to be born in one costs nothing.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

from evogit.backends import processes
from evogit.backends.processes import MIB

FOLDER = "evogit"  # the parent of our groups; it stays when they are gone
CONTROLLERS = ("memory", "pids")
SLACK_MIB = 32  # page tables, sockets and the supervisor itself are counted too


def find() -> dict[str, str]:
    """Controller -> folder in which groups can be made; {} where none can. Tried with a process. Costs up to 40 ms, once a keeper."""
    found: dict[str, str] = {}
    for controller in CONTROLLERS:
        for folder in _places(controller):
            if _works(controller, folder):
                found[controller] = folder
                break
    return found


def _places(controller: str) -> Iterator[str]:
    """Folders that might take a group of ours, the nearest to our own first.

    In v1 a group of ours belongs below our own, so that what limits us limits it. In v2 a group with processes has no groups
    with limits in it, so ours are beside our own: in the nearest folder above that passes the controller on.
    """
    own = _own_groups()
    for root, top, kind, options in _mounts():
        path = own.get(controller if kind == "cgroup" else "", "")
        if ".." in path or not path.startswith(root) or (kind == "cgroup" and controller not in options):
            continue
        folder = os.path.normpath(f"{top}/{path.removeprefix(root)}")
        if kind == "cgroup":
            yield os.path.join(folder, FOLDER)
        while kind == "cgroup2" and folder.startswith(top):
            if controller.encode() in processes.read(f"{folder}/cgroup.subtree_control").split():
                yield os.path.join(folder, FOLDER)
            folder = os.path.dirname(folder)


def _own_groups() -> dict[str, str]:
    """Controller -> path of our own group, "" for v2's."""
    lines = [line.split(":", 2) for line in processes.read("/proc/self/cgroup").decode(errors="replace").splitlines()]
    return {name: path for _, names, path in lines for name in names.split(",")}


def _mounts() -> Iterator[tuple[str, str, str, list[str]]]:
    """(path of the group that is mounted, where, `cgroup` or `cgroup2`, options) of every hierarchy that we see."""
    for line in processes.read("/proc/self/mountinfo").decode(errors="replace").splitlines():
        before, _, after = line.partition(" - ")
        root, top = before.split()[3:5]
        kind, _, options = after.split()[:3]
        if kind in ("cgroup", "cgroup2"):
            yield root.rstrip("/"), top, kind, options.split(",")


def _works(controller: str, folder: str) -> bool:
    """True if a group can be made there, takes a limit and takes a process in."""
    name = _name(os.getpid())
    group = os.path.join(folder, name)
    try:
        os.makedirs(group, exist_ok=True)
        if os.path.exists(f"{folder}/cgroup.subtree_control"):
            _write(f"{folder}/cgroup.subtree_control", f"+{controller}")
    except OSError:
        return False
    pid = os.fork()
    if pid == 0:
        try:
            _set_limit(controller, group, 1 << 40 if controller == "memory" else 1000)
            _write(f"{group}/cgroup.procs", "0")
            os._exit(0)
        except OSError:
            os._exit(1)
    works = os.waitpid(pid, 0)[1] == 0
    _remove(group)
    return works


class Group:
    """The group of one supervisor and of the tree of its job. Every question is answered with 0 where the kernel keeps no count."""

    def __init__(self, folders: dict[str, str]) -> None:
        self._folders = folders  # controller -> the group's own folder

    @classmethod
    def enter(cls, places: dict[str, str]) -> Group:
        """A group named for this process, with this process in it, as far as that works here; no limit yet. Never raises.

        places: what `find` returned. Costs 0.5 ms, and 20 ms if nobody on this machine has changed groups lately.
        """
        folders: dict[str, str] = {}
        for controller, place in places.items():
            folder = os.path.join(place, _name(os.getpid()))
            try:
                os.makedirs(folder, exist_ok=True)
                _write(f"{folder}/cgroup.procs", "0")
            except OSError:
                continue
            folders[controller] = folder
        return cls(folders)

    def limit(self, memory_mib: int, pids: int) -> None:
        """Hold the group to these from now on; 0 is no limit. A limit that the kernel does not take is left out.

        Memory that can be dropped, such as read files, is dropped at the limit and kills nobody. The limit stands a little
        above `memory_mib` because more is counted here than anonymous and shared pages.
        """
        wanted = {"memory": (memory_mib + memory_mib // 16 + SLACK_MIB) * MIB if memory_mib else 0, "pids": pids + 1 if pids else 0}
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


def remove(places: dict[str, str], pid: int, birth: int | None = None) -> None:
    """Remove the group of a supervisor that is dead, after what is left in it is killed. Does nothing if there is none.

    birth: of that process, if somebody wrote it down; without it any process that had this id and is dead is meant.
    """
    for place in set(places.values()):
        for name in _listed(place):
            if _is_dead(name) and name.startswith(f"{pid}." if birth is None else f"{pid}.{birth}."):
                _remove(os.path.join(place, name))


def sweep(places: dict[str, str]) -> None:
    """Remove the groups of all supervisors that are dead: their keeper was killed before it could."""
    for place in set(places.values()):
        for name in filter(_is_dead, _listed(place)):
            _remove(os.path.join(place, name))


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
    return processes.birth(int(parts[0])) != int(parts[1])


def _listed(place: str) -> list[str]:
    try:
        return os.listdir(place)
    except OSError:
        return []


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
            os.sched_yield()


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
