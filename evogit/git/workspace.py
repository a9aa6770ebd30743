"""One reused checkout outside the git directory, one per slot: where agents edit and trials run.

It holds no `.git`, hides nothing that an edit left behind, and shares nothing with the user's own checkout. It refuses to be
opened twice, and it never decides which edits are allowed: it says what differs from the tree, `stages` judge.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

import pygit2

from evogit import removal, strangers
from evogit.errors import Busy, UserError, WorkFailed
from evogit.git.mirror import TREE, Difference, Entry, Mirror

if TYPE_CHECKING:
    from evogit.git.repository import Repository

READ_CAP = 8 << 20  # bytes; a mutable file is source code
PATCH_CAP = 256 << 10  # characters of a whole patch
_PATCH_FILE_CAP = 1 << 20  # bytes; a larger file is named in a patch, not shown
_LIST_CAP = 10_000  # paths that `changes` lists below one folder that the tree does not know


class Workspace:
    """A folder that equals a git tree whenever `materialise` returns. One thread at a time.

    root  top of the checked-out tree, constant for a slot
    home  a private home folder for trials, emptied by `materialise`
    tree  hash of the tree that was materialised last, "" before the first time
    """

    def __init__(self, repo: Repository, slot_folder: Path, lock: int, owner: int = -1) -> None:
        self.root = slot_folder / "tree"
        self.home = slot_folder / "home"
        self.tree = ""
        self._lock = lock
        self._trash = os.fsencode(slot_folder / "trash")
        self._mirror = Mirror(repo.git, os.fsencode(self.root), self._trash, self._clock, owner)
        self._owner = owner

    @classmethod
    def open(cls, repo: Repository, campaign: str, slot: str, owner: int = -1) -> Workspace:
        """Take the slot for this process. `owner` is the user that its trials run as, -1 for ourselves.

        Raises Busy if another workspace has it, UserError if the disk refuses. Under 1 ms.
        """
        folder = repo.cache / "slots" / file_name(campaign) / file_name(slot)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            lock = _take(folder, slot, campaign)
            workspace = cls(repo, folder, lock, owner if _can_give(lock, owner) else -1)
            workspace._tidy()
        except OSError as error:
            raise _refused(folder, error) from error
        return workspace

    def close(self) -> None:
        """Let go of the slot; the files stay for the next one who opens it. Repeatable."""
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def materialise(self, tree: str) -> None:
        """Make the folder equal to `tree`, to the byte, whatever was left behind, and the home folder empty.

        Files have mode 644 or 755 and one name; no filter or line-ending conversion is applied. Where the folder resists, it is
        put aside and made anew, once. Nothing that the last trial started may still run. Costs 1-2 ms for 20 files, some 60 ms
        for 10,000. Raises UserError (disk full, no permission), RepositoryError (an object is missing), BadRecord (unsafe names).
        """
        self.tree = ""
        try:
            self._bring(tree)
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EROFS):
                raise _refused(self.root, error) from error
            self._rebuild(tree)
        self.tree = tree

    def paths(self) -> Iterator[str]:
        """Every file of the materialised tree, as `os.fsdecode` gives its path."""
        yield from (os.fsdecode(path) for path, _ in self._entries_below(b"", Entry(TREE, self._base())))

    def give(self, folder: Path) -> None:
        """Make `folder` itself the property of the user that trials run as. Raises OSError."""
        if self._owner >= 0:
            os.chown(folder, self._owner, self._owner, follow_symlinks=False)

    def changes(self, tree: str = "") -> list[tuple[str, str]]:
        """What differs from `tree`, by default the one that was materialised last: (path below `root`, "added" | "modified" | "deleted" | "typechange"), sorted.

        Nothing is ignored: what `.gitignore` names, nested repositories and pipes are listed too; empty folders are not. A file
        counts as modified if its bytes or its executable bit differ. Below a folder that the tree does not know at most 10,000
        paths are listed. Names that are not UTF-8 come as `os.fsdecode` gives them. Raises UserError.
        """
        try:
            found = {path: kind for item in self._mirror.differences(tree or self._base()) for path, kind in self._describe(item)}
        except OSError as error:
            raise _refused(self.root, error) from error
        return sorted((os.fsdecode(path), kind) for path, kind in found.items())

    def read(self, path: str, cap: int = READ_CAP) -> bytes | None:
        """Bytes of a regular file below `root`; None if there is none, or a link stands anywhere on the way.

        Raises WorkFailed if it has more than `cap` bytes.
        """
        descriptor = strangers.opened_below(self.root, os.fsdecode(b"/".join(_inside(path))))
        if descriptor is None:
            return None
        with open(descriptor, "rb") as file:
            data = file.read(cap + 1)
        if len(data) > cap:
            raise WorkFailed(f"{path} has more than {cap >> 10} KiB", hint="a mutable file is source code; write large outputs elsewhere")
        return data

    def folder(self, problem_folder: str) -> Path:
        """The problem's folder in this checkout. Raises UserError if it would lie outside."""
        return self.root.joinpath(*(os.fsdecode(part) for part in _inside(problem_folder)))

    def patch(self, paths: Iterable[str], cap: int = PATCH_CAP) -> str:
        """Unified diff of those paths, from the tree to what is here. Binary and very large files are named only.

        At most `cap` characters; the last line says if something was left out. Bytes that are not UTF-8 are replaced.
        """
        shown: list[str] = []
        left = cap
        for path in sorted(paths):
            text = self._patch_of(path)
            left -= len(text)
            if left < 0:
                return "".join([*shown, text[: len(text) + left], f"\n[cut: the whole patch has more than {cap} characters]\n"])
            shown.append(text)
        return "".join(shown)

    def _bring(self, tree: str) -> None:
        if not _is_empty(self.home, self._owner):
            removal.remove(os.fsencode(self.home), self._trash)
            self.home.mkdir(mode=0o755)
            self.give(self.home)
        self._mirror.bring(tree)

    def _rebuild(self, tree: str) -> None:
        try:
            self._mirror.start_over()
            self._bring(tree)
        except OSError as error:
            raise _refused(self.root, error) from error

    def _tidy(self) -> None:
        """What could not be deleted once may be deletable now; it is in nobody's way if not."""
        try:
            removal.empty(self._trash)
        except PermissionError:
            pass

    def _clock(self) -> int:
        """The filesystem's time, not ours: on a network filesystem they differ."""
        os.utime(self._lock)
        return os.fstat(self._lock).st_ctime_ns

    def _base(self) -> str:
        if not self.tree:
            raise RuntimeError("materialise a tree first")
        return self.tree

    def _describe(self, item: Difference) -> Iterator[tuple[bytes, str]]:
        """One difference as the paths of files that a person would name."""
        if item.wanted is None:
            yield from self._files_below(item.path)
        elif item.is_same_kind:
            if not item.same_bytes or _is_executable(item.found) != bool(item.wanted.mode & 0o100):
                yield item.path, "modified"
        elif item.found is None:
            yield from self._entries_below(item.path, item.wanted)
        elif stat.S_ISDIR(item.found.st_mode):
            yield from self._files_below(item.path)
            yield item.path, "typechange"
        else:
            yield from self._entries_below(item.path, item.wanted)
            yield item.path, "typechange"

    def _entries_below(self, path: bytes, entry: Entry) -> Iterator[tuple[bytes, str]]:
        """Files of the tree that are gone."""
        if not entry.is_folder:
            yield path, "deleted"
        elif entry.mode == TREE:
            for name, inner in self._mirror.listing(entry.oid).items():
                yield from self._entries_below(path + b"/" + name if path else name, inner)

    def _files_below(self, path: bytes) -> Iterator[tuple[bytes, str]]:
        """Files here that the tree does not know. A folder that cannot be listed (its path is too long) stands for itself."""
        waiting, listed = [path], 0
        while waiting and listed < _LIST_CAP:
            below = waiting.pop()
            names = _names_in(os.path.join(os.fsencode(self.root), below))
            if names is None:
                listed += 1
                yield below, "added"
            else:
                waiting.extend(below + b"/" + name for name in names)

    def _patch_of(self, path: str) -> str:
        before, after = self._entry(path), self._state(path)
        old = None if before is None or before.is_folder else self._mirror.blob(before.oid)
        if isinstance(after, str):
            return f"{path}: {after}\n"
        if old is not None and len(old) > _PATCH_FILE_CAP:
            return f"{path}: too large to show ({len(old)} bytes before)\n"
        if old is None and after is None:
            return ""
        # pygit2 takes names as text; one that is not UTF-8 is shown, like the rest of the patch, with replacement marks.
        name = os.fsencode(path).decode("utf-8", "replace")
        return pygit2.Patch.create_from(old, after, old_as_path=name, new_as_path=name).data.decode("utf-8", "replace")

    def _state(self, path: str) -> bytes | str | None:
        """The file's bytes, None if nothing is there, or words where bytes cannot be shown."""
        try:
            found = os.lstat(os.path.join(os.fsencode(self.root), *_inside(path)))
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            return f"cannot be looked at ({error.strerror})"
        if stat.S_ISLNK(found.st_mode):
            return "a symbolic link"
        if not stat.S_ISREG(found.st_mode):
            return "not a regular file"
        if found.st_size > _PATCH_FILE_CAP:
            return f"too large to show ({found.st_size} bytes)"
        data = self.read(path)
        return "not readable" if data is None else data

    def _entry(self, path: str) -> Entry | None:
        entry = Entry(TREE, self._base())
        for name in _inside(path):
            found = self._mirror.listing(entry.oid).get(name) if entry.mode == TREE else None
            if found is None:
                return None
            entry = found
        return entry


def file_name(text: str) -> str:
    """`text` as one plain folder name: the same text gives the same name, different texts different ones."""
    quoted = quote(text, safe="").replace("%", "=")
    if quoted.startswith("."):
        quoted = "=2E" + quoted[1:]
    return quoted if len(quoted) <= 80 else quoted[:60] + "=" + hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:16]


def _take(folder: Path, slot: str, campaign: str) -> int:
    lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        raise Busy(f"workspace {slot} of {campaign} is in use by another loop or run", hint="wait for it, or see `evogit status`") from None
    return lock


def _refused(folder: Path, error: OSError) -> UserError:
    return UserError(f"{folder}: {error.strerror or error}", hint="free or grant it, or name another folder: EVOGIT_CACHE=/some/folder")


def _inside(path: str) -> list[bytes]:
    parts = [os.fsencode(part) for part in path.split("/") if part not in ("", ".")]
    if path.startswith("/") or b".." in parts or any(b"\0" in part for part in parts):
        raise UserError(f"{path!r} does not lie in the repository", hint="name a path below the repository's top")
    return parts


def _is_executable(found: os.stat_result | None) -> bool:
    return found is not None and stat.S_ISREG(found.st_mode) and bool(found.st_mode & 0o100)


def _names_in(path: bytes) -> list[bytes] | None:
    """Names in a folder, opened for us if it is closed; None if `path` is no folder or cannot be listed."""
    try:
        found = os.lstat(path)
        if not stat.S_ISDIR(found.st_mode):
            return None
        if found.st_mode & 0o700 != 0o700:
            os.chmod(path, 0o700)
        return os.listdir(path)
    except OSError:
        return None


def _is_empty(folder: Path, owner: int) -> bool:
    """True for a real folder of `owner` with nothing in it: most trials leave their home so, and removing one costs milliseconds."""
    try:
        found = folder.lstat()
        with os.scandir(folder) as inside:
            is_ours = owner < 0 or found.st_uid == owner
            return is_ours and not folder.is_symlink() and next(inside, None) is None and stat.S_IMODE(found.st_mode) == 0o755
    except OSError:
        return False


def _can_give(lock: int, owner: int) -> bool:
    """True if files here can be given to `owner`: some network filesystems let not even root do it."""
    try:
        os.fchown(lock, owner, -1)
    except OSError:
        return False
    return True
