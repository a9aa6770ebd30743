"""The book of looks at held-out data: lines in the user's state folder, and what is still to be looked at. Nothing of it is in git.

    <state>/evogit/holdout/<root commit>/<campaign>.jsonl     a line a look, only ever appended to
    <state>/evogit/holdout/<root commit>/<campaign>/          lock, jobs/, looks.log
    <state>/evogit/holdout/<root commit>/<campaign>/pending/  a folder a request: request.json, artifacts/, fault

Folders are the user's alone (0700), files too (0600). A repository is known by its first commit, so that moving it loses no look,
and clones on one machine count the looks of each other. It takes no look and tells no score to anybody but its caller.
"""

from __future__ import annotations

import fcntl
import os
import stat
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import msgspec
import pygit2

from evogit import removal, strangers
from evogit.domain.holdout import Look, Request
from evogit.domain.state import holdout_folder
from evogit.errors import UserError
from evogit.git.repository import Repository
from evogit.git.workspace import file_name
from evogit.strangers import TooMuch

COPY_FILES = 20_000  # of what a run left; what is more is not copied, and the run is trained again
COPY_BYTES = 16 << 30
_DRAFT = ".draft-"


class HoldoutBook:
    """The looks of one campaign. Opening it touches no file."""

    def __init__(self, repo: Repository, tag: str, tip: str) -> None:
        """tip: any commit of the campaign; its first ancestor names the repository."""
        name = file_name(tag)
        top = holdout_folder(os.environ) / _first(repo, tip)[:16]
        self.file = top / f"{name}.jsonl"
        self.room = top / name

    # what was seen ---------------------------------------------------------------------------------------------------

    def looks(self) -> list[Look]:
        """Every look, oldest first. Lines that were cut short, or that a later evogit wrote otherwise, are passed over."""
        found: list[Look] = []
        try:
            lines = self.file.read_bytes().split(b"\n")
        except (FileNotFoundError, NotADirectoryError):
            return found
        for line in lines:
            with suppress(msgspec.DecodeError):
                found.append(msgspec.json.decode(line, type=Look))
        return found

    def append(self, look: Look) -> None:
        """Write down a look, and wait for the disk. Called under the lock. Raises OSError."""
        _private(self.file.parent)
        line = msgspec.json.encode(look) + b"\n"
        descriptor = os.open(self.file, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            size = os.fstat(descriptor).st_size
            if size and os.pread(descriptor, 1, size - 1) != b"\n":  # a line that a crash cut short stays a line of its own
                line = b"\n" + line
            if os.write(descriptor, line) != len(line):
                raise OSError(28, os.strerror(28), str(self.file))
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        _sync(self.file.parent)

    @property
    def stamp(self) -> tuple[int, int]:
        """Changes whenever a look was written down: one `stat`."""
        try:
            found = self.file.stat()
        except OSError:
            return 0, 0
        return found.st_size, found.st_mtime_ns

    # what is to be looked at -----------------------------------------------------------------------------------------

    def pending(self) -> list[Request]:
        """Looks that were asked for and not taken, the oldest first."""
        found: list[Request] = []
        for place in self._pending.glob("*/request.json"):
            if not place.parent.name.startswith(_DRAFT):
                with suppress(OSError, msgspec.DecodeError):
                    found.append(msgspec.json.decode(place.read_bytes(), type=Request))
        return sorted(found, key=lambda request: (request.time, request.id))

    def next_look(self, run: str) -> int:
        """Number of the next look at a run: 1, unless one was taken or waits."""
        known = [*self.looks(), *self.pending()]
        return 1 + max((each.look for each in known if each.run == run), default=0)

    def ask(self, request: Request, source: Path | None = None, leave_out: Collection[str] = ()) -> Request:
        """Save a request, with a copy of the files below `source` (but those named in `leave_out`), at once or not at all.

        Regular files alone are copied, and no link is followed: a candidate filled that folder. What is too much to copy, or finds
        no room, is left: the run is trained again then. Returns what was saved. Raises OSError.
        """
        _private(self._pending)
        draft = self._pending / f"{_DRAFT}{os.getpid()}-{request.id}"
        removal.discard(draft)
        draft.mkdir(mode=0o700)
        has_copy = False
        if source is not None:
            try:
                has_copy = copy_regular(source, draft / "artifacts", leave_out)
            except OSError:
                removal.discard(draft / "artifacts")
        request = msgspec.structs.replace(request, has_copy=has_copy)
        _write(draft / "request.json", msgspec.json.encode(request))
        try:
            os.rename(draft, self._place(request))
        except OSError:  # somebody saved the same one meanwhile
            removal.discard(draft)
            if not self._place(request).is_dir():
                raise
        return request

    def copy_of(self, request: Request) -> Path:
        """Where the kept artifacts of a request lie."""
        return self._place(request) / "artifacts"

    def fault(self, request: Request) -> str:
        """Why a look could not be taken so far, "" if nobody tried."""
        try:
            return (self._place(request) / "fault").read_text(encoding="utf-8")
        except OSError:
            return ""

    def note_fault(self, request: Request, words: str) -> None:
        """Say why a look has to wait. Raises OSError."""
        _write(self._place(request) / "fault", words.encode("utf-8", "replace"))

    def forget(self, request: Request) -> None:
        """The request is done with. Repeatable."""
        grave = self._pending / f"{_DRAFT}{os.getpid()}-done-{request.id}"
        with suppress(FileNotFoundError):
            os.rename(self._place(request), grave)
        removal.discard(grave)

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Be the one who takes looks of this campaign on this machine; waits for its turn. The dead hold no lock. Raises UserError."""
        try:
            _private(self.room)
            descriptor = os.open(self.room / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise refused(error, self.room) from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            self._tidy()
            yield
        finally:
            os.close(descriptor)

    def _tidy(self) -> None:
        """Remove what killed processes left half written or half removed."""
        for left in self._pending.glob(f"{_DRAFT}*"):
            pid = left.name.removeprefix(_DRAFT).partition("-")[0]
            if pid.isdigit() and int(pid) != os.getpid() and not _is_alive(int(pid)):
                removal.discard(left)

    @property
    def _pending(self) -> Path:
        return self.room / "pending"

    def _place(self, request: Request) -> Path:
        return self._pending / request.id


def refused(error: OSError, place: Path) -> UserError:
    """What a person is told where the state folder cannot be written."""
    return UserError(
        f"{error.filename or place}: {(error.strerror or str(error)).lower()}",
        hint="looks at held-out data are kept there: grant or free it, or name another folder with XDG_STATE_HOME",
    )


def copy_regular(source: Path, target: Path, leave_out: Collection[str] = ()) -> bool:
    """Copy the regular files below `source`, with their folders; False if they are too many or too large, and then nothing is there.

    leave_out: paths below `source`. Links, pipes, devices, and folders that nobody can look into are passed over; holes stay holes.
    Raises OSError.
    """
    chosen: list[str] = []
    size = 0
    try:
        for found in strangers.walk(source):
            if stat.S_ISREG(found.state.st_mode) and found.below not in leave_out:
                chosen.append(found.below)
                size += found.state.st_size
            if len(chosen) > COPY_FILES or size > COPY_BYTES:
                return False
    except TooMuch:
        return False
    target.mkdir(parents=True, exist_ok=True)
    made = {""}
    for below in chosen:
        folder = os.path.dirname(below)
        if folder not in made:
            strangers.make_folders(target, folder)
            made.add(folder)
        strangers.copy_regular(source / below, target / below, COPY_BYTES)
    return True


def give(copy: Path, artifacts: Path, owner: os.stat_result) -> None:
    """The kept artifacts into a trial's folder, as the owner of its home has them: that is who the trial runs as. Raises OSError."""
    copy_regular(copy, artifacts)
    if owner.st_uid == os.geteuid():
        return
    for found in strangers.walk(artifacts, has_folders=True):
        os.chown(found.path, owner.st_uid, owner.st_gid, follow_symlinks=False)


def _first(repo: Repository, commit: str) -> str:
    """The oldest ancestor along first parents: the commit that this repository began with. A ms for a thousand commits."""
    walker = repo.git.walk(pygit2.Oid(hex=commit))
    walker.simplify_first_parent()
    return str([found.id for found in walker][-1])


def _private(place: Path) -> None:
    """The folder, and those above it up to the book's own, for nobody but the user. Raises OSError."""
    top = holdout_folder(os.environ)
    top.parent.mkdir(parents=True, exist_ok=True)
    for each in (top, *(p for p in reversed((place, *place.parents)) if top in p.parents)):
        each.mkdir(mode=0o700, exist_ok=True)
        if each.stat().st_mode & 0o077:
            each.chmod(0o700)


def _write(path: Path, data: bytes) -> None:
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
    os.replace(draft, path)


def _sync(place: Path) -> None:
    """A new file's name is on the disk as well."""
    descriptor = os.open(place, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True
