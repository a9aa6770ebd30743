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
        waiting = _clear(path, path, is_forgiving=True)
        while waiting:
            inner = waiting.pop()
            try:
                waiting += _clear(inner, path, is_forgiving=True)
                os.rmdir(inner)
            except NotADirectoryError:  # somebody put a link in its place
                with suppress(OSError):
                    os.unlink(inner)
            except OSError:
                continue
        os.rmdir(path)


def set_aside(folder: bytes, trash: bytes) -> bytes:
    """Move a folder into `trash` under a fresh name and return its new path. Works where its contents cannot be deleted."""
    return _set_aside(folder, trash, None)


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
        waiting += _clear(folder, trash)
        os.rmdir(folder)


def _set_aside(name: bytes, trash: bytes, above: int | None) -> bytes:
    """`name` is below the open folder `above`, where there is one."""
    _unlock(name, above)  # moving a folder rewrites its "..", which needs the right to write in it
    target = os.path.join(trash, uuid.uuid4().hex.encode())
    os.rename(name, target, src_dir_fd=above)
    return target


def _unlock(name: bytes, above: int | None = None) -> None:
    """The right to read and write a folder, where it can be had. Raises NotADirectoryError for a link, which whoever lives on may have put
    there since we looked: what it leads to is none of ours."""
    if not hasattr(os, "O_PATH"):
        os.chmod(name, 0o700, dir_fd=above, follow_symlinks=False)
        return
    handle = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=above)
    try:
        with suppress(PermissionError):
            os.chmod(f"/proc/self/fd/{handle}", 0o700)
    finally:
        os.close(handle)


def _clear(folder: bytes, trash: bytes, is_forgiving: bool = False) -> list[bytes]:
    """Unlink the files of a folder, move its folders into `trash`; where they are now. Everything goes by the open folder, so that a link
    in its place is not followed."""
    _unlock(folder)
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    moved = []
    try:
        with os.scandir(handle) as entries:
            inside = [(os.fsencode(entry.name), entry.is_dir(follow_symlinks=False)) for entry in entries]
        for name, is_folder in inside:
            try:
                if is_folder:
                    moved.append(_set_aside(name, trash, handle))
                else:
                    os.unlink(name, dir_fd=handle)
            except OSError:
                if not is_forgiving:
                    raise
    finally:
        os.close(handle)
    return moved
