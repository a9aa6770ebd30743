"""A folder that a stranger filled, as the host may read and copy it: no link is followed, no pipe waited for, nothing recurses.

Names that are no UTF-8, folders that are closed or deeper than a path, files that are all holes: each has an answer in words, and a
cap. Standard library only: supervisors import it. It judges nothing, and writes nothing but the copies that it is asked for, each to a
name that nobody has.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterator
from hashlib import sha256
from itertools import islice
from typing import Any, NamedTuple

LONGEST = 3000  # bytes of a path below the folder; the system ends at 4,096, a name has up to 255, and the folder's own path has the rest
MOST = 1_000_000  # entries that are looked at
PIECE = 1 << 20  # bytes read at once
_HOLLOW = 16  # times what it takes on the disk: more than what a filesystem that compresses makes of numbers
_OURS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.EMFILE, errno.ENFILE, errno.ENOMEM})
_READING = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC

Where = str | os.PathLike[str]


class TooMuch(Exception):
    """More than may be looked at or copied."""


class Found(NamedTuple):
    """One entry of a stranger's folder."""

    path: str
    below: str  # below the folder, "/" between its parts; bytes that are no UTF-8 as `os.fsdecode` gives them
    state: os.stat_result  # what `lstat` said just before
    why: str = ""  # of a folder: why nobody looked into it


def is_ours(fault: OSError) -> bool:
    """True if the machine is at fault (no room, a failing or read-only disk), and not what the stranger left."""
    return fault.errno in _OURS


def text(name: str) -> str:
    """A name that can be written down as UTF-8: what is none has question marks."""
    return name.encode("utf-8", "replace").decode()


def walk(
    root: Where,
    *,
    opens: bool = False,
    has_folders: bool = False,
    folders: int = MOST,
    most: int = MOST,
    key: Callable[[str], Any] | None = None,
) -> Iterator[Found]:
    """Everything below `root` but folders, and of these the ones that nobody can look into, with the reason.

    opens: give us closed folders back. has_folders: name the others too, before what is in them. folders: how many are looked into.
    key: order of the names within a folder; files come first. One lstat an entry, made as it is given out. Raises TooMuch behind the
    first `most` entries, OSError where the machine is at fault.
    """
    waiting, count, top = [""], 0, os.fspath(root)
    while waiting and folders > 0:
        below, folders = waiting.pop(), folders - 1
        try:
            here = _listed(os.path.join(top, below) if below else top, opens, most - count + 1)
        except OSError as fault:
            if is_ours(fault):
                raise
            yield from _seen(top, below, (fault.strerror or str(fault)).lower())
            continue
        count += len(here)
        inside = []
        for name, is_folder in sorted(here, key=lambda entry: key(entry[0])) if key else here:
            path = f"{below}/{name}" if below else name
            if not is_folder:
                yield from _seen(top, path)
            elif len(os.fsencode(path)) > LONGEST:
                yield from _seen(top, path, "deeper than paths go")
            else:
                inside.append(path)
                yield from _seen(top, path) if has_folders else ()
        waiting += reversed(inside)
        if count > most:
            raise TooMuch(f"more than {most:,} files and folders")


def _seen(top: str, below: str, why: str = "") -> Iterator[Found]:
    path = os.path.join(top, below) if below else top
    try:
        yield Found(path, below, os.lstat(path), why)
    except OSError as fault:  # gone since
        if is_ours(fault):
            raise


def _listed(folder: str, opens: bool, most: int) -> list[tuple[str, bool]]:
    """(name, is a folder). Listed before anything is done to one of them: that must not change what is listed."""
    state = os.lstat(folder)
    if not stat.S_ISDIR(state.st_mode):
        return []
    if opens and state.st_mode & 0o700 != 0o700:
        os.chmod(folder, stat.S_IMODE(state.st_mode) | 0o700)
    with os.scandir(folder) as entries:
        return [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in islice(entries, most)]


# files ---------------------------------------------------------------------------------------------------------------


def opened(path: Where, folder: int | None = None) -> int | None:
    """Descriptor of a regular file; None for anything else. Never blocks on a pipe; a link at the end of the path is no file."""
    try:
        descriptor = os.open(path, _READING, dir_fd=folder)
    except OSError:
        return None
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        return descriptor
    os.close(descriptor)
    return None


def opened_below(root: Where, below: str) -> int | None:
    """The same for a path that somebody names: no part of it below `root` may be a link or `..`. One open a part."""
    parts = [part for part in below.split("/") if part not in ("", ".")]
    if not parts or ".." in parts or "\0" in below:
        return None
    try:
        folder = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        for part in parts[:-1]:
            inner = os.open(part, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
            os.close(folder)
            folder = inner
        return opened(parts[-1], folder)
    except OSError:
        return None
    finally:
        os.close(folder)


def read_regular(path: Where, cap: int) -> bytes | None:
    """Bytes of a regular file of at most `cap` bytes; None for anything else. Never blocks on a pipe, never follows a link at the end."""
    return _whole(opened(path), cap)


def read_below(root: Where, below: str, cap: int) -> bytes | None:
    """Bytes of a regular file of at most `cap` bytes, reached through no link below `root`; None for anything else."""
    return _whole(opened_below(root, below), cap)


def _whole(descriptor: int | None, cap: int) -> bytes | None:
    if descriptor is None:
        return None
    try:
        with open(descriptor, "rb") as file:
            return file.read(cap) if os.fstat(descriptor).st_size <= cap else None
    except OSError:
        return None


def digest(path: Where, most: int) -> str:
    """sha256 of a regular file of at most `most` bytes; "" for anything else, and for one that is next to nothing but holes: it costs
    nobody anything to make. Some 2 s a GiB."""
    descriptor = opened(path)
    if descriptor is None:
        return ""
    found = sha256()
    with open(descriptor, "rb") as file:
        state = os.fstat(descriptor)
        if state.st_size > most or state.st_size > max(PIECE, state.st_blocks * 512 * _HOLLOW):
            return ""
        while piece := file.read(PIECE):
            found.update(piece)
    return found.hexdigest()


# copies --------------------------------------------------------------------------------------------------------------


def copy_regular(path: Where, target: Where, most: int, mode: int = 0o600) -> int | None:
    """A regular file's bytes as a new file, holes left as holes; how many bytes were written, None where no regular file can be read.

    Nothing may be at `target`, not even a link: it is made for us alone. Raises TooMuch beyond `most` bytes, OSError where the disk
    or `target` refuses; nothing is left there then.
    """
    source = opened(path)
    if source is None:
        return None
    try:
        made = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            written = _pour(source, made, most)
            os.fchmod(made, mode)
        except (OSError, TooMuch):
            os.unlink(target)
            raise
        finally:
            os.close(made)
        return written
    finally:
        os.close(source)


def _pour(source: int, made: int, most: int) -> int:
    size, at, written = os.fstat(source).st_size, 0, 0
    while at < size:
        start, end = _data(source, at, size)
        at = start
        while at < end:
            piece = os.pread(source, min(PIECE, end - at), at)
            if not piece:  # cut short meanwhile
                end = size = at
                break
            if (written := written + len(piece)) > most:
                raise TooMuch(f"more than {most >> 20:,} MiB to copy")
            while piece:
                done = os.pwrite(made, piece, at)
                piece, at = piece[done:], at + done
    os.ftruncate(made, size)
    return written


def _data(source: int, at: int, size: int) -> tuple[int, int]:
    """The next bytes that are no hole: (start, end). All that is left where the filesystem tells of no holes."""
    try:
        start = os.lseek(source, at, os.SEEK_DATA)
        return start, min(os.lseek(source, start, os.SEEK_HOLE), size)
    except OSError as fault:
        return (size, size) if fault.errno == errno.ENXIO else (at, size)


def room(folder: Where, most: int) -> int:
    """Bytes that copies may take where `folder` lies: `most`, and never more than half of what is free. Raises OSError."""
    found = os.statvfs(folder)
    return min(most, found.f_bavail * found.f_frsize // 2)


def make_folders(top: Where, below: str) -> None:
    """Folders for `below`, one after the other: `os.makedirs` recurses. Raises OSError."""
    made = os.fspath(top)
    for part in (part for part in below.split("/") if part not in ("", ".")):
        made = os.path.join(made, part)
        try:
            os.mkdir(made)
        except FileExistsError:
            if not stat.S_ISDIR(os.lstat(made).st_mode):
                raise


# links ---------------------------------------------------------------------------------------------------------------


def is_simple(target: str) -> bool:
    """True for a link's target that leads where its text says: up first, if at all, then down. After a folder that is itself a link, `..`
    is anywhere."""
    parts = [part for part in target.split("/") if part not in ("", ".")]
    downs = [part for part in parts if part != ".."]
    return not target.startswith("/") and ".." not in parts[len(parts) - len(downs) :]


def stays(path: str, top: str) -> bool:
    """True if `path`, read as text, lies in `top` or is it."""
    return (os.path.normpath(path) + os.sep).startswith(os.path.normpath(top) + os.sep)
