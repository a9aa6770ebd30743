"""What a trial's processes said they imported, read by the host: path -> sha256 of the file at the process's end.

The record is written by code that shares a process with the candidate (`backends/tracing`), so it is read as text of a
stranger: bounded, never followed through links, and what is malformed is left out. It convicts nobody; it is evidence.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import stat
from pathlib import Path

_FILES_CAP = 256  # processes of one trial that are read
_BYTES_CAP = 4 << 20
_SHA256 = re.compile(r"[0-9a-f]{64}|")


def tracing_folder() -> Path:
    """The folder that comes first on a trial's PYTHONPATH; it holds the recorder and nothing else."""
    return Path(__file__).resolve().parent.parent / "backends" / "tracing"


def read_imports(file: str | Path) -> dict[str, str]:
    """Files imported by any process that had EVOGIT_IMPORTS_FILE=`file`: absolute path, as the trial saw it -> sha256.

    A file that two processes saw with different bytes has both hashes, joined with `+`; one that was gone has "". {} if nothing
    was recorded: the process was killed, or left by `os._exit`. Reads at most 256 processes and 4 MiB of each. Never raises.
    """
    hashes: dict[str, set[str]] = {}
    for path in _records(Path(file)):
        for name, digest in _parse(path).items():
            hashes.setdefault(name, set()).add(digest)
    return {name: "+".join(sorted(hashes[name])) for name in sorted(hashes)}


def foreign(imports: dict[str, str], root: str | Path) -> list[str]:
    """Imported files outside `root` (the checkout, at the path that the trial saw), sorted. [] is as it should be."""
    return [path for path in sorted(imports) if _below(path, root) is None]


def digest(imports: dict[str, str], root: str | Path) -> str:
    """One sha256 over the imported files below `root` (relative path and hash), "" if there are none.

    Two trials with the same digest ran the same project code, wherever their checkouts lay.
    """
    lines = sorted((below, imports[path]) for path in imports if (below := _below(path, root)) is not None)
    if not lines:
        return ""
    return hashlib.sha256("".join(f"{below}\0{value}\n" for below, value in lines).encode("utf-8", "surrogatepass")).hexdigest()


def _below(path: str, root: str | Path) -> str | None:
    top = os.path.join(os.path.realpath(root), "")
    return path[len(top) :] if path.startswith(top) else None


def _records(file: Path) -> list[Path]:
    try:
        names = os.listdir(file.parent)
    except OSError:
        return []
    pattern = re.compile(re.escape(file.name) + r"\.[0-9]+x*")
    return [file.parent / name for name in sorted(names) if pattern.fullmatch(name)][:_FILES_CAP]


def _parse(path: Path) -> dict[str, str]:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return {}
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        return {}
    with open(descriptor, "rb") as file:
        data = file.read(_BYTES_CAP + 1)
    try:
        # Not msgspec: a path that is not UTF-8 comes as lone surrogates, which only the standard library lets through.
        record = json.loads(data) if len(data) <= _BYTES_CAP else {}
    except (ValueError, RecursionError):
        return {}
    if not isinstance(record, dict):
        return {}
    return {name: value for name, value in record.items() if name.startswith("/") and isinstance(value, str) and _SHA256.fullmatch(value)}
