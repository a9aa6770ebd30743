"""A folder as bytes that travel: the same files give the same bytes, so a place that has them is not sent them again.

Regular files, folders and symbolic links that stay inside; no owners, no times, no other mode than 644 and 755. What is in 100 folders, or
has a path that other folders have no room for, stays behind. It opens parcels of strangers too: nothing is written outside the folder it
is told, whatever a parcel says.
"""

from __future__ import annotations

import hashlib
import io
import os
import tarfile
import zlib
from collections.abc import Iterable
from pathlib import Path

from evogit import strangers
from evogit.folders import listed
from evogit.strangers import is_simple, stays

DEEPEST = 100  # folders in each other that travel: to check where a path leads costs the cube of its depth
LEVEL = 1  # of compression: sources shrink to a quarter, and 20 files cost 1 ms


def digest(parcel: bytes) -> str:
    """Name of a parcel: 32 hex digits of its sha256."""
    return hashlib.sha256(parcel).hexdigest()[:32]


def pack(folder: str | Path, names: Iterable[str] | None = None, *, prefix: str = "") -> bytes:
    """The files below `folder`, or those of `names` (relative paths), as one parcel. O(bytes). A file that goes meanwhile is left out."""
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w", format=tarfile.PAX_FORMAT) as tar:
        add(tar, folder, names, prefix=prefix)
    return zlib.compress(sink.getvalue(), LEVEL)


def add(tar: tarfile.TarFile, folder: str | Path, names: Iterable[str] | None = None, *, prefix: str = "") -> None:
    """The same files into an open archive, below `prefix`."""
    top = os.fspath(folder)
    for name in sorted(name for name in (listed(top) if names is None else names) if _travels(name, DEEPEST)):
        _add(tar, os.path.join(top, name), prefix + name, top)


def _travels(name: str, depth: int) -> bool:
    return name.count("/") <= depth and len(os.fsencode(name)) <= strangers.LONGEST


def add_bytes(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    """One file that is in no folder."""
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = len(data), 0o644
    tar.addfile(entry, io.BytesIO(data))


def _add(tar: tarfile.TarFile, path: str, name: str, top: str) -> None:
    try:
        if os.path.islink(path):
            target = os.readlink(path)
            if is_simple(target) and stays(os.path.join(os.path.dirname(path), target), top):
                entry = tarfile.TarInfo(name)
                entry.type, entry.linkname, entry.mode = tarfile.SYMTYPE, target, 0o777
                tar.addfile(entry)
        elif os.path.isdir(path):
            entry = tarfile.TarInfo(name)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o755
            tar.addfile(entry)
        else:
            _add_file(tar, path, name)
    except OSError as fault:  # gone, closed, or deeper than paths go
        if strangers.is_ours(fault):
            raise


def _add_file(tar: tarfile.TarFile, path: str, name: str) -> None:
    descriptor = strangers.opened(path)
    if descriptor is None:
        return
    with os.fdopen(descriptor, "rb") as file:
        found = os.fstat(descriptor)
        entry = tarfile.TarInfo(name)
        entry.size, entry.mode = found.st_size, 0o755 if found.st_mode & 0o100 else 0o644
        tar.addfile(entry, _Exactly(file, found.st_size))


class _Exactly:
    """A file that gives as many bytes as were promised, zeros where it became shorter meanwhile."""

    def __init__(self, file: io.BufferedReader, size: int) -> None:
        self._file, self._left = file, size

    def read(self, size: int) -> bytes:
        data = self._file.read(min(size, self._left)).ljust(min(size, self._left), b"\0")
        self._left -= len(data)
        return data


def unpack(parcel: bytes, folder: str | Path, owner: int = -1) -> None:
    """Open a parcel into `folder`, which is made; `owner`: the user that all of it belongs to, -1 for ourselves.

    What is already there stays unless the parcel has it. Raises OSError, and ValueError for bytes that are no parcel or that name a
    place outside.
    """
    os.makedirs(folder, exist_ok=True)
    try:
        with tarfile.open(fileobj=io.BytesIO(zlib.decompress(parcel)), mode="r:") as tar:
            for entry in tar:
                place(tar, entry, os.fspath(folder), owner)
    except (tarfile.TarError, zlib.error) as error:
        raise ValueError(f"a parcel cannot be opened: {error}") from error
    if owner >= 0:
        os.chown(folder, owner, owner)


def place(tar: tarfile.TarFile, entry: tarfile.TarInfo, folder: str, owner: int = -1) -> None:
    """One entry of an archive into `folder`. Raises ValueError where it would lie outside, OSError."""
    if not (entry.isreg() or entry.isdir() or entry.issym()) or not _travels(entry.name, DEEPEST + 1):
        return
    target = os.path.join(folder, entry.name)
    real = os.path.join(os.path.realpath(os.path.dirname(target)), os.path.basename(target))
    leads = os.path.join(os.path.dirname(real), entry.linkname) if entry.issym() else real
    is_inside = stays(real, os.path.realpath(folder)) and stays(leads, os.path.realpath(folder))
    if not is_inside or os.path.basename(target) in ("", ".", "..") or (entry.issym() and not is_simple(entry.linkname)):
        raise ValueError(f"a parcel names a place outside: {entry.name[:200]!r}")
    if entry.isdir():
        _make(real, folder)
    else:
        _make(os.path.dirname(real), folder)
        _clear(real)
        if entry.issym():
            os.symlink(entry.linkname, real)
        else:
            _write(tar, entry, real)
    if owner >= 0:
        os.chown(real, owner, owner, follow_symlinks=False)


def _make(place: str, folder: str) -> None:
    top = os.path.realpath(folder)
    os.makedirs(top, exist_ok=True)
    strangers.make_folders(top, os.path.relpath(place, top))


def _clear(path: str) -> None:
    try:
        os.unlink(path)
    except FileNotFoundError:
        return


def _write(tar: tarfile.TarFile, entry: tarfile.TarInfo, path: str) -> None:
    source = tar.extractfile(entry)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o755 if entry.mode & 0o100 else 0o644)
    with os.fdopen(descriptor, "wb") as file:
        while source is not None and (chunk := source.read(1 << 20)):
            file.write(chunk)
