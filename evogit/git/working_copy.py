"""A folder as it stands, copied to a private place where a command may run and write: git's view of it, or all files where there is no git.

It stands where a `Workspace` stands for a commit. It reads the repository and writes nothing in it, not even an object; what a command
changed comes back only where it is asked for, and never over a link or into `.git`.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import secrets
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import pygit2

from evogit import removal, strangers
from evogit.errors import RepositoryError, UserError
from evogit.folders import listed
from evogit.git import porcelain
from evogit.git.repository import Repository, cache_of

FILES_CAP = 200_000
BYTES_CAP = 8 << 30

States = dict[str, tuple[int, int, int]]


class _NoGit(NamedTuple):
    path: str  # where a git directory would be


class Ground(NamedTuple):
    """What is copied, with the names that `Repository` has for the same things."""

    top: Path  # of the git work tree, or the folder itself
    common: Path
    cache: Path
    git: pygit2.Repository | _NoGit
    is_tracked: bool  # git says what belongs to it

    @classmethod
    def of(cls, folder: Path) -> Ground:
        """The work tree around a folder; the folder alone where there is none, or where git ignores it. Raises RepositoryError, OSError."""
        folder = Path(os.path.realpath(folder))
        try:
            found = pygit2.discover_repository(str(folder), False, os.environ.get("GIT_CEILING_DIRECTORIES", ""))
            git = pygit2.Repository(found) if found else None
        except (KeyError, ValueError, OSError, pygit2.GitError) as fault:
            raise RepositoryError(f"the git repository at {folder} cannot be opened: {fault}", hint="run `git status` there") from fault
        if git is not None and git.workdir:
            repo = Repository(git)
            ground = cls(repo.top, repo.common, repo.cache, git, True)
            if folder == repo.top or porcelain.attempt(ground, "check-ignore", "-q", "--", str(folder), as_user=True).status != 0:
                return ground
        return cls(folder, folder / ".git", cache_of(folder), _NoGit(str(folder / ".git")), False)

    def listed(self) -> Iterator[str]:
        """Paths below the top that are copied: tracked files, and untracked ones that nothing ignores; without git all of them."""
        if not self.is_tracked:
            yield from listed(str(self.top))
            return
        told = porcelain.git(self, "ls-files", "-z", "--cached", "--others", "--exclude-standard", as_user=True)
        for name in dict.fromkeys(os.fsdecode(path).rstrip("/") for path in told.split(b"\0") if path):
            full = os.path.join(self.top, name)
            if os.path.isdir(full) and not os.path.islink(full):  # a submodule, or a repository inside this one
                yield from (f"{name}/{below}" for below in listed(full))
            else:
                yield name


class WorkingCopy:
    """A slot of the cache that holds a copy, for one process at a time. `root`, `home` and `tree` as a `Workspace` has them."""

    def __init__(self, ground: Ground, slot: Path, lock: int, owner: int, is_in_place: bool) -> None:
        self.slot, self.home, self.tree = slot, slot / "home", ""
        self.root = ground.top if is_in_place else slot / "tree"
        self.ground, self.is_in_place = ground, is_in_place
        self._lock, self._owner = lock, owner
        self._skipped: frozenset[tuple[int, int]] = frozenset()

    @classmethod
    def open(cls, ground: Ground, *, owner: int = -1, is_in_place: bool = False) -> WorkingCopy:
        """Take the first slot that nobody has. `owner`: the user that the command runs as, -1 for ourselves. Raises OSError."""
        slots = ground.cache / "experiments" / "slots"
        number = 0
        while True:
            slot = slots / str(number)
            slot.mkdir(parents=True, exist_ok=True)
            lock = os.open(slot / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return cls(ground, slot, lock, owner, is_in_place)
            except BlockingIOError:
                os.close(lock)
                number += 1

    def close(self) -> None:
        """Let go of the slot; its files stay for the next one. Repeatable."""
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def skip(self, descriptors: Iterable[int]) -> None:
        """Leave out the files that these descriptors are open on: our own output is none of the command's files."""
        found = set()
        for descriptor in descriptors:
            with contextlib.suppress(OSError):  # closed
                state = os.fstat(descriptor)
                found.add((state.st_dev, state.st_ino))
        self._skipped = frozenset(found)

    def materialise(self, tree: str = "") -> None:
        """Copy the folder as it is now, over whatever the slot held, and empty the home. In place only the home is emptied.

        O(files). Raises UserError where there are too many to copy, or where the disk refuses.
        """
        try:
            self._renew(self.home)
            if not self.is_in_place:
                self._renew(self.root)
                self._copy()
        except OSError as error:
            hint = "free some room, or name another folder: EVOGIT_CACHE=/some/folder" if error.errno == errno.ENOSPC else ""
            raise UserError(f"the folder cannot be copied: {error.filename or self.root}: {error.strerror}", hint=hint) from error

    def folder(self, below: str) -> Path:
        """A folder of the work tree as it lies in the copy."""
        return self.root / below if below else self.root

    def paths(self) -> Iterator[str]:
        """Every file of the copy, "/" between its parts."""
        return (name for name in listed(str(self.root)) if not os.path.isdir(self.root / name) or os.path.islink(self.root / name))

    def give(self, folder: Path) -> None:
        """Make `folder` itself the property of the user that the command runs as. Raises OSError."""
        if self._owner >= 0:
            os.chown(folder, self._owner, self._owner, follow_symlinks=False)

    def states(self) -> States:
        """Path -> what tells that a file was written: its inode, size and time of change."""
        found = {}
        for name in listed(str(self.root)):
            try:
                state = os.lstat(self.root / name)
            except OSError:  # deeper than paths go
                continue
            if not stat.S_ISDIR(state.st_mode) and (state.st_dev, state.st_ino) not in self._skipped:
                found[name] = (state.st_ino, state.st_size, state.st_ctime_ns)
        return found

    def take_over(self, written: Iterable[str], removed: Iterable[str]) -> list[str]:
        """Bring what was written and removed in the copy into the folder itself. Paths that were left out: links stand on the way, or
        it is a link that leads out, or no file at all."""
        refused = []
        for name in removed:
            target = self._target(name)
            if target is not None and (target.is_symlink() or target.is_file()):
                target.unlink()
        for name in written:
            target = self._target(name)
            if target is None:
                refused.append(name)
                continue
            strangers.make_folders(self.ground.top, os.path.dirname(name))
            draft = target.with_name(f".evogit-{secrets.token_hex(8)}")  # nobody can have put a link there
            if self._leads_out(name) or not _copy_file(str(self.root / name), str(draft), -1):
                refused.append(name)
                continue
            os.replace(draft, target)
        return refused

    def _leads_out(self, name: str) -> bool:
        """True for a link that leads out of the copy: who follows it here finds what the command chose."""
        path = str(self.root / name)
        if not os.path.islink(path):
            return False
        to = os.readlink(path)
        return not strangers.is_simple(to) or not strangers.stays(os.path.join(os.path.dirname(path), to), str(self.root))

    def _target(self, name: str) -> Path | None:
        """Where a file of the copy belongs; None where that is `.git`, our own output, a folder, or leads elsewhere."""
        top, parts = self.ground.top, Path(name).parts
        target = top / name
        if any(part.lower() == ".git" for part in parts) or os.path.realpath(target.parent) != str(target.parent):
            return None
        try:
            state = os.lstat(target)
        except OSError:
            return target if all(up.is_dir() or not os.path.lexists(up) for up in target.parents) else None
        return None if stat.S_ISDIR(state.st_mode) or (state.st_dev, state.st_ino) in self._skipped else target

    def _renew(self, folder: Path) -> None:
        removal.remove(os.fsencode(folder), os.fsencode(self.slot / "trash"))
        folder.mkdir()
        self.give(folder)

    def _copy(self) -> None:
        files, size, made = 0, 0, {""}
        for name in self.ground.listed():
            source = os.path.join(self.ground.top, name)
            try:
                state = os.lstat(source)
            except (FileNotFoundError, NotADirectoryError):
                continue  # tracked, and removed since
            if (state.st_dev, state.st_ino) in self._skipped:
                continue
            files, size = files + 1, size + state.st_size
            if files > FILES_CAP or size > BYTES_CAP:
                raise UserError(
                    f"{self.ground.top} is too much to copy: more than {FILES_CAP:,} files or {BYTES_CAP >> 30} GiB",
                    hint="run in a smaller folder, have git ignore the large files, or use --in-place",
                )
            self._make_folders(os.path.dirname(name), made)
            if stat.S_ISDIR(state.st_mode):
                self._make_folders(name, made)
            else:
                _copy_file(source, str(self.root / name), self._owner)

    def _make_folders(self, name: str, made: set[str]) -> None:
        if name not in made:
            self._make_folders(os.path.dirname(name), made)
            made.add(name)
            os.makedirs(self.root / name, exist_ok=True)
            self.give(self.root / name)


def _copy_file(source: str, target: str, owner: int) -> bool:
    """A regular file with its right to be run and its time, or a link as it is; False for all else, which is no file of a project.

    Nothing may be at `target`. Raises OSError.
    """
    state = os.lstat(source)
    if stat.S_ISLNK(state.st_mode):
        os.symlink(os.readlink(source), target)
    elif stat.S_ISREG(state.st_mode):
        if strangers.copy_regular(source, target, state.st_size, 0o755 if state.st_mode & 0o100 else 0o644) is None:
            return False
        os.utime(target, ns=(state.st_atime_ns, state.st_mtime_ns))
    else:
        return False
    if owner >= 0:
        os.chown(target, owner, owner, follow_symlinks=False)
    return True
