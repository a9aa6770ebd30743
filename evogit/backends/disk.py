"""The free room of a filesystem while a job runs: a reserve is kept for everybody else, and whoever ate it is told.

Standard library only. It looks and measures; ending the job is the supervisor's part. It cannot see what a job writes to another
filesystem than that of its artifacts.
"""

from __future__ import annotations

import os
from collections.abc import Iterable

from evogit import strangers
from evogit.backends.processes import MIB

RESERVE = 1 << 30  # bytes, or a twentieth of the filesystem where that is less
SHARE = 20
COUNTED_MAX = 200_000  # files that are looked at to see who filled a disk


class DiskWatch:
    """Room on the filesystem of `folders[0]`, of which a job may fill what lies above the reserve. The folders are those it can write."""

    def __init__(self, folders: Iterable[str]) -> None:
        self._folders = list(folders)
        self._device = _device(self._folders[0])
        room, inodes, size = self._look()
        # Where less than the reserve is left already, the job may still have half of it.
        self._least = min(RESERVE, size // SHARE, room // 2)
        self._least_inodes = inodes // SHARE
        self._low_at = -1  # bytes that were free when it was found low

    def is_low(self) -> bool:
        """True if less than the reserve is left, in bytes or in files. A system call."""
        room, inodes, _ = self._look()
        if room >= self._least and inodes >= self._least_inodes:
            return False
        self._low_at = room
        return True

    def verdict(self) -> tuple[str, str]:
        """After the tree has ended: "crash" if the job filled the disk, else "infrastructure", and the words. Walks its folders.

        What it wrote is what lies in its folders and what came free with its end: files that it had open and unlinked.
        """
        files, wrote, hidden = _size_of([folder for folder in self._folders if _device(folder) == self._device])
        if hidden:  # nobody can say how much is in there, and nobody needs such a folder
            return "crash", f"the disk is full, and it left a folder that cannot be looked into ({hidden})"
        wrote += max(0, self._look()[0] - self._low_at)
        if wrote >= self._least // 2 or files >= min(COUNTED_MAX, max(1, self._least_inodes)):
            return "crash", f"it filled the disk: {files} files, {wrote // MIB} MiB"
        return "infrastructure", f"the disk is full ({self._low_at // MIB} MiB left), and not by this job"

    def _look(self) -> tuple[int, int, int]:
        """Bytes and files that are left for a plain user, and the size in bytes. A filesystem that counts no files has plenty."""
        try:
            found = os.statvfs(self._folders[0])
        except OSError:
            return RESERVE, SHARE, 0
        return found.f_bavail * found.f_frsize, found.f_favail if found.f_files else 1 << 62, found.f_blocks * found.f_frsize


def _device(folder: str) -> int:
    try:
        return os.lstat(folder).st_dev
    except OSError:
        return -1


def _size_of(folders: list[str]) -> tuple[int, int, str]:
    """Files and bytes below some folders, and why one of them cannot be looked into, "" if all can; COUNTED_MAX files are enough to know.

    Follows no link. Folders that the job closed are opened: they are the user's, like itself.
    """
    files = size = 0
    hidden = ""
    seen: set[tuple[int, int]] = set()  # folders may lie in each other
    try:
        for folder in folders:
            for found in strangers.walk(folder, opens=True, has_folders=True, most=COUNTED_MAX):
                state, hidden = found.state, hidden or found.why
                if (state.st_dev, state.st_ino) in seen:
                    continue
                seen.add((state.st_dev, state.st_ino))
                files, size = files + 1, size + state.st_blocks * 512
    except strangers.TooMuch:
        files = max(files, COUNTED_MAX)
    return files, size, hidden
