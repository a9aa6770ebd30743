"""What a trial's processes said they imported, read by the host: path -> sha256 of the file at the process's end.

The record is written by code that shares a process with the candidate (`backends/tracing`), so it is read as text of a
stranger: bounded, never followed through links, and what is malformed is left out. It convicts nobody; it is evidence.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from itertools import islice
from pathlib import Path

from evogit import strangers

FILES_CAP = 256  # processes of one trial that are read
BYTES_CAP = 8 << 20  # of all their records; that of one process has 150 bytes for each file of the project
NAMES_CAP = 20_000  # files that they name
TOO_MUCH = f"the record of imports was not read: more than {NAMES_CAP:,} files or {BYTES_CAP >> 20} MiB"
_LISTED = 10_000  # names in the folder that are looked at
_SHA256 = re.compile(r"[0-9a-f]{64}|")


def tracing_folder() -> Path:
    """The folder that comes first on a trial's PYTHONPATH; it holds the recorder and nothing else."""
    return Path(__file__).resolve().parent.parent / "backends" / "tracing"


def read_imports(file: str | Path) -> dict[str, str] | None:
    """Files imported by any process that had EVOGIT_IMPORTS_FILE=`file`: absolute path, as the trial saw it -> sha256.

    A file that two processes saw with different bytes has both hashes, joined with `+`; one that was gone has "". {} if nothing
    was recorded: the process was killed, or left by `os._exit`. None where there is more than anybody imports (`TOO_MUCH`): half of a
    record would be none. Never raises.
    """
    hashes: dict[str, set[str]] = {}
    left = BYTES_CAP
    for path in _records(Path(file)):
        descriptor = strangers.opened(path)
        if descriptor is None:
            continue
        with open(descriptor, "rb") as record:
            data = record.read(left + 1)
        if (left := left - len(data)) < 0 or data.count(b'":') > NAMES_CAP:  # before it takes many times its size as a dict
            return None
        for name, digest in _parse(data).items():
            hashes.setdefault(name, set()).add(digest)
        if len(hashes) > NAMES_CAP:
            return None
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
        with os.scandir(file.parent) as entries:
            names = [entry.name for entry in islice(entries, _LISTED)]
    except OSError:
        return []
    pattern = re.compile(re.escape(file.name) + r"\.[0-9]+x*")
    return [file.parent / name for name in sorted(names) if pattern.fullmatch(name)][:FILES_CAP]


def _parse(data: bytes) -> dict[str, str]:
    try:
        # Not msgspec: a path that is not UTF-8 comes as lone surrogates, which only the standard library lets through.
        record = json.loads(data)
    except (ValueError, RecursionError):
        return {}
    if not isinstance(record, dict):
        return {}
    return {name: value for name, value in record.items() if name.startswith("/") and isinstance(value, str) and _SHA256.fullmatch(value)}
