"""GPUs of this machine: which there are, and which of them a job has to itself while it runs.

A job holds a lock file for each of its devices, taken by the process that watches it: the lock lives as long as the job, whatever
becomes of the loop, and holds between campaigns and repositories of one user. In a sandbox the job has no other NVIDIA device than
its own. It knows of nobody else's processes: a GPU that another program uses counts as free.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import signal
import stat
import tempfile
from collections.abc import Callable, Sequence
from typing import NamedTuple

DEV = "/dev"
VISIBLE = "CUDA_VISIBLE_DEVICES"
WAITS = "waits"  # a file in a job's folder, there while the job waits for a device
DEV_BIND = "--dev-bind-try"  # of bubblewrap's arguments
PAUSE_S = 0.2  # between tries while all are taken


class Device(NamedTuple):
    """One GPU: what CUDA_VISIBLE_DEVICES calls it, what its maker calls it ("" if nobody says), its memory (0 likewise).

    file, uuid: its device file, and its name wherever only some are to be seen; "" if nobody says.
    """

    name: str
    product: str = ""
    memory_mib: int = 0
    used_mib: int = 0
    file: str = ""
    uuid: str = ""


def found() -> list[Device]:
    """The GPUs that this process may use, those of CUDA_VISIBLE_DEVICES where it is set. Asks the driver through NVML; 30 ms the first
    time where there are any, one directory listing where there are none."""
    files = _files()
    if not files and not os.path.exists(os.path.join(DEV, "dxg")):
        return []
    here = _from_driver() or [Device(str(n)) for n in range(len(files))]
    asked = os.environ.get(VISIBLE)
    if asked is None:
        return here
    by_name = {device.name: device for device in here}
    names = [name.strip() for name in asked.split(",") if name.strip() not in ("", "-1", "NoDevFiles")]
    return [by_name.get(name, Device(name)) for name in dict.fromkeys(names)]


def _files() -> list[str]:
    """The device files of NVIDIA's GPUs, one each; those that all of them share are not among them."""
    numbers = sorted(int(name[6:]) for name in os.listdir(DEV) if name.startswith("nvidia") and name[6:].isdigit())
    return [os.path.join(DEV, f"nvidia{number}") for number in numbers]


def _from_driver() -> list[Device]:
    """What NVML says; [] where there is no driver to ask, or nothing to ask it with."""
    try:
        import pynvml
    except ImportError:  # on a machine that evogit was only shipped to
        return []
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return []
    try:
        return [_told(pynvml, pynvml.nvmlDeviceGetHandleByIndex(n), n) for n in range(pynvml.nvmlDeviceGetCount())]
    except pynvml.NVMLError:
        return []
    finally:
        pynvml.nvmlShutdown()


def _told(nvml, handle, number: int) -> Device:
    product = nvml.nvmlDeviceGetName(handle)
    memory = nvml.nvmlDeviceGetMemoryInfo(handle)
    product = product.decode("utf-8", "replace") if isinstance(product, bytes) else product
    try:
        file, uuid = f"{DEV}/nvidia{nvml.nvmlDeviceGetMinorNumber(handle)}", nvml.nvmlDeviceGetUUID(handle)
    except nvml.NVMLError:  # Windows's Linux has one file for all
        file, uuid = "", ""
    uuid = uuid.decode() if isinstance(uuid, bytes) else uuid
    return Device(str(number), product, memory.total >> 20, memory.used >> 20, file, uuid)


def of_kind(devices: Sequence[Device], kind: str) -> list[Device]:
    """Those whose maker's name has `kind` in it, whatever its letters' case; "" takes all."""
    return [device for device in devices if kind.lower() in device.product.lower()]


def locks() -> str:
    """The folder with a lock for each device, for all jobs of one user."""
    return os.path.join(tempfile.gettempdir(), f"evogit-gpus-{os.getuid()}")


def request(devices: Sequence[Device], count: int) -> dict[str, object]:
    """What a supervisor is told: take `count` of these. Raises OSError where the folder of locks is somebody else's."""
    folder = locks()
    os.makedirs(folder, mode=0o700, exist_ok=True)
    state = os.lstat(folder)
    if state.st_uid != os.getuid() or not stat.S_ISDIR(state.st_mode):
        raise PermissionError(13, "belongs to somebody else", folder)
    files = _files()
    known = {device.name: [device.file, device.uuid] for device in devices if device.file in files and device.uuid}
    return {"folder": folder, "names": [device.name for device in devices], "count": count, "known": known}


def give(request: dict, names: Sequence[str]) -> None:
    """Change a supervisor's request so that its job sees the devices of these names: CUDA_VISIBLE_DEVICES, and in a sandbox their files alone.

    Where files are kept from it the devices are called by what they are, since their numbers depend on who else is there. Where one is
    not known by its file, as a part of a GPU is not, none is kept from it.
    """
    known = request["devices"]["known"]
    is_held = bool(request["room"] or request["fence"]) and all(name in known for name in names)
    request["env"][VISIBLE] = ",".join(known[name][1] if is_held else name for name in names)
    if not is_held:
        return
    others = set(_files()) - {known[name][0] for name in names}
    words, kept = request["room"], []
    while words:
        count = 3 if words[0] == DEV_BIND else 1
        kept += words[:count] if count == 1 or words[1] not in others else []
        words = words[count:]
    request["room"] = kept
    if request["fence"]:
        terms = request["fence"]["terms"]
        terms["devices"] = [path for path in terms["devices"] if path not in others]


class Lease:
    """The devices of one job, held until this process ends. `folder` is the job's."""

    def __init__(self, told: dict, poll_fd: int, signals: Callable[[], bytes], folder: str) -> None:
        self._told, self._poll_fd, self._signals = told, poll_fd, signals
        self._sign = os.path.join(folder, WAITS)
        self._held: list[int] = []
        self.names: list[str] = []

    def wait(self) -> tuple[str, str]:
        """Until as many devices as were asked for are ours: ("", ""). Or why not: a job's status and a line for people."""
        if not self._told or self._take():
            return "", ""
        with contextlib.suppress(OSError), open(self._sign, "wb"):  # for people, and no reason to fail
            pass
        try:
            return self._until_taken()
        finally:
            with contextlib.suppress(OSError):
                os.unlink(self._sign)

    def _until_taken(self) -> tuple[str, str]:
        while not self._take():
            select.select([self._poll_fd], [], [], PAUSE_S)
            heard = self._signals()
            if signal.SIGUSR1 in heard:
                return "cancelled", "cancelled while it waited for a GPU"
            if signal.SIGTERM in heard:
                return "infrastructure", "the machine asked the job's supervisor to stop"
        return "", ""

    def _take(self) -> bool:
        """All of them or none: two jobs that hold half of what they need would wait for ever."""
        for name in self._told["names"]:
            if len(self._held) < self._told["count"] and (held := _locked(self._told["folder"], name)) >= 0:
                self._held.append(held)
                self.names.append(name)
        if len(self._held) == self._told["count"]:
            return True
        for held in self._held:
            os.close(held)
        self._held, self.names = [], []
        return False


def _locked(folder: str, name: str) -> int:
    """A descriptor that holds the lock of a device, -1 if another process has it."""
    path = os.path.join(folder, name.replace("/", "_"))
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return -1
    return descriptor
