"""What a job left, held still for the job after it: no links, no pipes, nothing that somebody else could still write through.

It runs when the job's whole process tree has ended, and reads everything as a stranger's: it follows no link and opens no pipe.
It judges no number; of frozen code it says what is no longer as it was.
"""

from __future__ import annotations

import errno
import os
import stat
import tempfile
from collections.abc import Callable, Collection, Iterable
from pathlib import Path

import msgspec

from evogit import removal, strangers
from evogit.search import tells
from evogit.search.tells import Frozen
from evogit.strangers import Found, TooMuch

LISTED = 1000  # files that a listing names
HASHED = 64 << 20  # bytes of a file up to which a listing has its sha256
HASHED_ALL = 1 << 30  # bytes of all files that are read for it: holes are bytes to whoever reads them
COPIED = 16 << 30  # bytes of shared files that get bytes of their own, and never more than half of what the disk has left
_KINDS = {stat.S_IFLNK: "a link", stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket", stat.S_IFCHR: "a device", stat.S_IFBLK: "a device"}


class Output(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One file that a job left, or one that was taken out."""

    path: str
    bytes: int = 0
    sha256: str = ""  # of files up to 64 MiB, and of the first GiB; none of a file that is all holes
    taken_out: str = ""  # why it is not there any more: "a link", "made before predict ran" ...


class Still(msgspec.Struct, frozen=True, kw_only=True):
    """An artifact folder that holds still, or the reason why it cannot be made to."""

    files: tuple[Output, ...]  # by path; at most LISTED
    taken: tuple[Output, ...]
    refusal: str = ""  # "it left more than 1,000,000 files and folders": what is there is not fit for the next job


def outputs(
    root: Path, early: Collection[str] = (), *, most: int = strangers.MOST, copied: int = COPIED, hashed: int = HASHED_ALL
) -> Still:
    """Take out what is no file, give shared files bytes of their own, and make every file read-only; repeatable.

    early: paths that only a later job is to make: those that are there are taken out too. One lstat an entry, one read of each
    file that a listing names, as far as HASHED and `hashed` go. What the job left that cannot be taken in is a refusal in words;
    raises OSError only where the disk is at fault.
    """
    still = _Holding(early, root)
    try:
        if root.is_symlink() or not root.is_dir():
            if os.path.lexists(root):
                root.unlink()
            root.mkdir(parents=True)
        still.drafts = Path(tempfile.mkdtemp(dir=root.parent, prefix=".still-"))  # beside it: no job reaches that
        try:
            still.room = still.left = strangers.room(still.drafts, copied)
            for found in strangers.walk(root, opens=True, most=most):
                still.take(found)
        finally:
            removal.discard(still.drafts)
        files = still.listing(hashed)
    except TooMuch as fault:
        return still.refused(f"it left {fault}")
    except OSError as fault:
        if strangers.is_ours(fault):
            raise
        return still.refused(f"what it left cannot be taken in: {_told(fault, root)}")
    return Still(files=files, taken=still.taken)


def obstacle(root: Path, *, most: int = strangers.MOST, copied: int = COPIED) -> str:
    """Why `outputs` would refuse what lies there, "" if it would not. Changes nothing; one lstat an entry. Raises OSError for a bad disk."""
    shared: dict[tuple[int, int], list[int]] = {}  # file -> its names, its bytes, its names here
    try:
        for found in strangers.walk(root, most=most):
            state = found.state
            if stat.S_ISREG(state.st_mode) and state.st_nlink > 1:
                each = shared.setdefault((state.st_dev, state.st_ino), [state.st_nlink, state.st_blocks * 512, 0])
                each[2] += 1
        room = strangers.room(root, copied) if shared else copied
    except TooMuch as fault:
        return f"it left {fault}"
    if sum(size * min(here, links - 1) for links, size, here in shared.values()) > room:
        return f"it left more under several names than there is room to copy ({room >> 20:,} MiB)"
    return ""


class _Holding:
    """What is done to one entry after the other."""

    def __init__(self, early: Collection[str], root: Path) -> None:
        self._early, self._root = early, root
        self._files: dict[str, Output] = {}  # by the path that the system knows
        self._taken: list[Output] = []
        self.room = self.left = 0  # bytes that copies may take, and may take yet
        self.drafts = root.parent

    @property
    def taken(self) -> tuple[Output, ...]:
        return tuple(sorted(self._taken, key=lambda output: output.path))

    def refused(self, why: str) -> Still:
        return Still(files=self.listing(0), taken=self.taken, refusal=why)

    def take(self, found: Found) -> None:
        """Raises TooMuch, OSError."""
        if stat.S_ISDIR(found.state.st_mode):
            if not found.below:
                raise PermissionError(errno.EACCES, found.why, found.path)
            removal.remove(os.fsencode(found.path), os.fsencode(self.drafts))
            self._taken.append(Output(path=strangers.text(found.below), taken_out=found.why))
            return
        why = "made before predict ran" if found.below in self._early else _KINDS.get(stat.S_IFMT(found.state.st_mode), "")
        if not why and found.state.st_nlink > 1:
            why = self._part(found)
        if why:
            os.unlink(found.path)
            self._taken.append(Output(path=strangers.text(found.below), taken_out=why))
            return
        if found.state.st_nlink == 1:
            _close(found)
        if len(self._files) < LISTED:
            self._files[found.below] = Output(path=strangers.text(found.below), bytes=found.state.st_size)

    def _part(self, found: Found) -> str:
        """The same bytes under the same name, without the file's other names: whoever holds one of those writes elsewhere. Why not, or ""."""
        draft = self.drafts / "draft"
        try:
            written = strangers.copy_regular(found.path, draft, self.left, _mode(found))
        except TooMuch:
            raise TooMuch(f"more under several names than there is room to copy ({self.room >> 20:,} MiB)") from None
        if written is None:
            return "shared and closed"
        self.left -= written
        os.replace(draft, found.path)
        return ""

    def listing(self, hashed: int) -> tuple[Output, ...]:
        """The files by path, those with their hash that are small enough, as long as there is something left to read for it."""
        files = []
        for below, output in sorted(self._files.items(), key=lambda item: item[1].path):
            if output.bytes <= min(HASHED, hashed):
                hashed -= output.bytes
                output = msgspec.structs.replace(output, sha256=strangers.digest(self._root / below, HASHED))
            files.append(output)
        return tuple(files)


def _mode(found: Found) -> int:
    return stat.S_IMODE(found.state.st_mode) & 0o555 | 0o444


def _close(found: Found) -> None:
    """Nobody may write it, and everybody read it. It has one name, so that it is the job's own file."""
    if stat.S_IMODE(found.state.st_mode) != _mode(found):
        os.chmod(found.path, _mode(found))


def _told(fault: OSError, root: Path) -> str:
    """Where it is, below the folder, and what the system says of it."""
    place, top = os.fsdecode(fault.filename or b""), f"{root}{os.sep}"
    where = strangers.text(place.removeprefix(top)[:200]) if place.startswith(top) else ""
    return f"{where}: {(fault.strerror or str(fault)).lower()}" if where else (fault.strerror or str(fault)).lower()


def made_by_predict(trained: bytes | None, predicted: bytes | None) -> frozenset[str]:
    """Of two listings of one trial, after `train` and after `predict`: what `predict` made. () where one is missing or unreadable."""
    try:
        before, after = (msgspec.json.decode(listing or b"[]", type=list[Output]) for listing in (trained, predicted))
    except msgspec.MsgspecError:
        return frozenset()
    return frozenset(output.path for output in after) - {output.path for output in before} if trained and predicted else frozenset()


def code_changes(
    changes: Iterable[tuple[str, str]], folder: str, is_mutable: Callable[[str], bool], facts: Frozen
) -> tuple[tuple[str, str], ...]:
    """Of what differs from a checkout's tree: frozen code that is not as it was, and new files that Python takes before it.

    changes: (repository path, kind), as a workspace tells them. Returns paths, each with what happened to it. Data and logs do
    not count: a script may write into a file that git knows.
    """
    prefix = f"{folder}/" if folder else ""
    found: list[tuple[str, str]] = []
    for path, kind in changes:
        if kind != "added":
            if tells.is_code(path) and not is_mutable(path):
                found.append((path, {"deleted": "was deleted", "typechange": "was replaced"}.get(kind, "was changed")))
        elif path.startswith((prefix, "src/")) and (what := tells.shadowed_module(path.removeprefix(prefix), facts.modules, facts.imports)):
            found.append((path, f"appeared in front of {what}"))
    return tuple(found)
