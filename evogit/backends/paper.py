"""The two files of a job that other processes trust: who runs it, and how it ended. Standard library only; it decides nothing."""

from __future__ import annotations

import errno
import json
import os
import time

from evogit.backends import processes

RESERVE = 4096  # bytes set aside for outcome.json while the disk has room


class Paper:
    """The two files that other processes trust: `claim` (who runs this) and `outcome.json` (how it ended)."""

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self._draft = os.path.join(folder, f"outcome.json.{os.getpid()}")
        self._fd = -1

    def claim(self) -> bool:
        """Become the one supervisor of this job; False if somebody is or was. Raises OSError where the folder is not writable.

        The claim is a symbolic link whose target is the text: it appears whole or not at all, in one operation.
        """
        me = os.getpid()
        self._reserve()
        try:
            os.symlink(f"{me} {processes.birth(me)} {processes.boot()} {now()}", os.path.join(self.folder, "claim"))
        except FileExistsError:
            os.unlink(self._draft)
            return False
        return True

    def _reserve(self) -> None:
        """Take the room for the outcome now, so that a job which fills the disk can still be told of."""
        self._fd = os.open(self._draft, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o644)
        try:
            os.posix_fallocate(self._fd, 0, RESERVE)
        except AttributeError:
            return
        except OSError as error:
            if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL):
                os.unlink(self._draft)
                raise

    def write(self, outcome: dict) -> None:
        """Put `outcome.json` in its place, whole. Raises OSError if even the reserved room cannot be written."""
        data = json.dumps(outcome).encode()
        os.pwrite(self._fd, data, 0)
        os.ftruncate(self._fd, len(data))
        os.rename(self._draft, os.path.join(self.folder, "outcome.json"))


def now() -> str:
    """This moment as ISO 8601 UTC, to the millisecond."""
    now = time.time()
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now)) + f".{int(now % 1 * 1000):03d}Z"
