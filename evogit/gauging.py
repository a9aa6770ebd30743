"""This machine as it is now: processors, memory, graphics cards as their driver's own tool tells. It waits two seconds for that at most."""

from __future__ import annotations

import os
import shutil
import subprocess

from evogit.domain.sight import Gpu, Machine

PATIENCE_S = 2.0
_QUERY = ["--query-gpu=name,utilization.gpu,memory.used,memory.total", "--format=csv,noheader,nounits"]


def machine() -> Machine:
    """Everything that is known; what is not is 0 or absent. Under 1 ms, some 30 ms more for each card."""
    total, free = _memory()
    return Machine(
        cpus=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        load=os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0,
        used_mib=total - free,
        total_mib=total,
        gpus=gpus(),
    )


def gpus() -> tuple[Gpu, ...]:
    """NVIDIA cards; () where there is no such tool, or where it does not answer."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return ()
    try:
        done = subprocess.run([program, *_QUERY], capture_output=True, text=True, timeout=PATIENCE_S, check=True)
    except (OSError, subprocess.SubprocessError, UnicodeDecodeError):
        return ()
    return tuple(card for line in done.stdout.splitlines() if (card := _card(line)) is not None)


def _card(line: str) -> Gpu | None:
    parts = [part.strip() for part in line.rsplit(",", 3)]
    if len(parts) != 4:
        return None
    name, busy, used, total = parts
    return Gpu(name=name, busy=_number(busy) / 100, used_mib=int(_number(used)), total_mib=int(_number(total)))


def _number(text: str) -> float:
    """A number of that tool; "[N/A]" is 0."""
    try:
        return float(text)
    except ValueError:
        return 0.0


def _memory() -> tuple[int, int]:
    """Total and available MiB, (0, 0) where the system does not tell."""
    try:
        with open("/proc/meminfo", encoding="ascii") as file:
            told = dict(line.split(":", 1) for line in file)
        return int(told["MemTotal"].split()[0]) >> 10, int(told["MemAvailable"].split()[0]) >> 10
    except (OSError, KeyError, ValueError):
        return 0, 0
