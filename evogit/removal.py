"""Take a folder away whatever is inside it: read-only folders, paths longer than the system allows, pipes, sockets.

It follows no symbolic link, recurses nowhere and keeps no descriptor per level, so depth is not a limit. `remove` refuses to
hide a failure: what even its owner cannot delete (an immutable file, a mount point) is an `OSError` for the caller.
"""

from __future__ import annotations

import os
import stat
import uuid
from contextlib import suppress


def remove(path: bytes, trash: bytes) -> None:
    """Nothing is at `path` afterwards. No error if nothing was; the parent folder must be writable.

    `trash` is a folder on the same filesystem, made when needed. Folders are moved there one level at a time, so that
    every path stays short. Costs one rename and one rmdir a folder, one unlink a file. Raises OSError.
    """
    try:
        mode = os.lstat(path).st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISDIR(mode):
        os.unlink(path)
        return
    os.makedirs(trash, exist_ok=True)
    _consume([set_aside(path, trash)], trash)


def discard(folder: str | os.PathLike[str]) -> None:
    """`remove` for what nobody will miss: what cannot be deleted stays where it is, and all else goes. Never raises OSError.

    It needs no folder beside it: what lies deep is moved up into `folder` itself.
    """
    path = os.fsencode(folder)
    with suppress(OSError):
        if not stat.S_ISDIR(os.lstat(path).st_mode):
            os.unlink(path)
            return
        os.chmod(path, 0o700)
        waiting = _clear(path, path, is_forgiving=True)
        while waiting:
            inner = waiting.pop()
            with suppress(OSError):
                waiting += _clear(inner, path, is_forgiving=True)
                os.rmdir(inner)
        os.rmdir(path)


def set_aside(folder: bytes, trash: bytes) -> bytes:
    """Move a folder into `trash` under a fresh name and return its new path. Works where its contents cannot be deleted."""
    os.chmod(folder, 0o700)  # moving a folder rewrites its "..", which needs the right to write in it
    target = os.path.join(trash, uuid.uuid4().hex.encode())
    os.rename(folder, target)
    return target


def empty(trash: bytes) -> None:
    """Finish what an interrupted removal left in `trash`. No error if there is no such folder. Raises OSError."""
    try:
        names = os.listdir(trash)
    except FileNotFoundError:
        return
    _consume([os.path.join(trash, name) for name in names], trash)


def _consume(waiting: list[bytes], trash: bytes) -> None:
    while waiting:
        folder = waiting.pop()
        os.chmod(folder, 0o700)
        waiting += _clear(folder, trash)
        os.rmdir(folder)


def _clear(folder: bytes, trash: bytes, is_forgiving: bool = False) -> list[bytes]:
    """Unlink the files of a folder that may be written to, move its folders into `trash`; where they are now."""
    with os.scandir(folder) as entries:
        inside = list(entries)
    moved = []
    for entry in inside:
        try:
            if entry.is_dir(follow_symlinks=False):
                moved.append(set_aside(entry.path, trash))
            else:
                os.unlink(entry.path)
        except OSError:
            if not is_forgiving:
                raise
    return moved
