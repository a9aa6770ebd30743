"""One output stream of a job, kept in a file that never grows beyond one and a half times its cap.

What is kept is the beginning and the end, whole lines wherever lines are shorter than `REACH`: half a line could read as
another number. The file can be read at any time while the job runs. It does not decode, and a full disk is noted in
`error`, never raised: the job's pipe must go on being emptied.
"""

from __future__ import annotations

import os

CHUNK = 1 << 16
REACH = 1 << 16  # bytes that are searched for the end of a line at a cut
MARKER_ROOM = 64


class Capture:
    """Feed it bytes, then close it. `cap` is in bytes, at least 256; the marker line comes on top of it."""

    def __init__(self, path: str, cap: int) -> None:
        cap = max(cap, 256)
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
        self._half = cap // 2
        self._cap = cap
        self._head_end = -1  # where the cut is, once there is one
        self._tail_at = 0  # where the kept end begins
        self.size = 0  # bytes in the file
        self.total = 0  # bytes that came
        self.error = ""

    def feed(self, data: bytes) -> None:
        """Append `data`; cut the middle when the file is half above its cap."""
        self.total += len(data)
        if self.error:
            return
        try:
            self._append(data)
            if self.size > self._cap + self._half + MARKER_ROOM:
                self._cut()
        except OSError as error:
            self.error = error.strerror or str(error)

    def close(self) -> None:
        """Bring the file down to its cap and let go of it."""
        too_long = self.size > self._cap if self._head_end < 0 else self.size - self._tail_at > self._half
        try:
            if too_long and not self.error:
                self._cut()
        except OSError as error:
            self.error = error.strerror or str(error)
        os.close(self._fd)

    def last(self, count: int) -> bytes:
        """The last `count` bytes in the file."""
        return os.pread(self._fd, count, max(0, self.size - count))

    def _append(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            written = os.pwrite(self._fd, view, self.size)
            self.size += written
            view = view[written:]

    def _cut(self) -> None:
        """Move the last half up behind a marker line that says how many bytes went."""
        if self._head_end < 0:
            self._head_end = self._line_end_before(self._half)
        source = self._line_start_after(max(self.size - self._half, self._head_end + MARKER_ROOM))
        kept = self.size - source
        ends_line = self._head_end == 0 or os.pread(self._fd, 1, self._head_end - 1) == b"\n"
        marker = b"%s[evogit: %d bytes cut here]\n" % (b"" if ends_line else b"\n", self.total - self._head_end - kept)
        self.size = self._head_end
        self._append(marker)
        self._tail_at = self.size
        while kept:
            data = os.pread(self._fd, min(CHUNK, kept), source)
            self._append(data)
            source += len(data)
            kept -= len(data)
        os.ftruncate(self._fd, self.size)

    def _line_end_before(self, limit: int) -> int:
        """The last end of a line at or before `limit`, or `limit` where none is near."""
        start = max(0, limit - REACH)
        found = os.pread(self._fd, limit - start, start).rfind(b"\n")
        return limit if found < 0 else start + found + 1

    def _line_start_after(self, offset: int) -> int:
        """The first start of a line at or after `offset`, or `offset` where none is near."""
        if offset >= self.size:
            return self.size
        found = os.pread(self._fd, REACH, offset - 1).find(b"\n")
        return offset if found < 0 else offset + found
