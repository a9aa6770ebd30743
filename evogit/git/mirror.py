"""A folder that is held equal to a git tree, to the byte.

It reads the tree from the object database and compares it with what `lstat` and the file's own bytes say. It runs no git
program and keeps no index: no setting, hook, filter, attribute, monitor or cached time stamp of a person or of a trial can
make a changed file look clean. It refuses to write through anything that it finds: a path is removed, then made anew.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable, Iterator
from typing import NamedTuple

import pygit2

from evogit import removal
from evogit.errors import BadRecord, RepositoryError

TREE, LINK, SUBMODULE = 0o040000, 0o120000, 0o160000

# A file that changed this shortly before it was last read may change again without a new time stamp: 2 s is the coarsest
# clock of a filesystem in use. Within it, bytes decide.
_SETTLED_NS = 2_000_000_000
_LARGE = 1 << 20  # bytes of a file whose blob's size is asked for before it is read: a file of holes costs nothing to make


class Entry(NamedTuple):
    """One name in a git tree."""

    mode: int  # git's file mode
    oid: str

    @property
    def is_folder(self) -> bool:
        return self.mode in (TREE, SUBMODULE)

    @property
    def st_mode(self) -> int:
        """What `lstat` says of a faithful copy."""
        if self.is_folder:
            return stat.S_IFDIR | 0o755
        if self.mode == LINK:
            return stat.S_IFLNK | 0o777
        return stat.S_IFREG | (0o755 if self.mode & 0o100 else 0o644)


class Difference(NamedTuple):
    """One place where folder and tree disagree; nothing below it is listed. `wanted` None: extra; `found` None: missing."""

    path: bytes  # below the root
    wanted: Entry | None
    found: os.stat_result | None
    same_bytes: bool = False  # only permissions, hard links or the owner differ

    @property
    def is_same_kind(self) -> bool:
        """True if a file stands where a file belongs, a link where a link."""
        return self.wanted is not None and self.found is not None and stat.S_IFMT(self.wanted.st_mode) == stat.S_IFMT(self.found.st_mode)


class _Seen(NamedTuple):
    """A file whose bytes were read once: while `lstat` repeats itself and the file has settled, they need not be read again."""

    signature: tuple[int, ...]
    oid: str
    settled: bool
    twin: Entry | None = None  # what it was found to equal in every respect


def _signature(found: os.stat_result) -> tuple[int, ...]:
    return (found.st_dev, found.st_ino, found.st_mode, found.st_nlink, found.st_size, found.st_mtime_ns, found.st_ctime_ns)


class Mirror:
    """The folder `root` and what is known about its files. One thread at a time.

    `trash` is a folder beside it for removals; `clock` gives the filesystem's own time in nanoseconds. `owner` is the user (and
    group) that everything shall belong to, -1 for whoever we are: only root can give files away.
    """

    def __init__(self, git: pygit2.Repository, root: bytes, trash: bytes, clock: Callable[[], int], owner: int = -1) -> None:
        self._git = git
        self._root = root
        self._trash = trash
        self._clock = clock
        self._owner = owner
        self._now = 0
        self._seen: dict[bytes, _Seen] = {}
        self._listings: dict[str, dict[bytes, Entry]] = {}

    def bring(self, tree: str) -> None:
        """Make the folder equal to `tree`. Raises OSError, RepositoryError (an object is missing), BadRecord (unsafe names).

        Costs one lstat a path, one read of each file that is new to this process or was touched since.
        """
        self._listings = {oid: self.listing(oid) for oid in self._reachable(tree)}
        if not os.path.isdir(self._root) or os.path.islink(self._root):
            removal.remove(self._root, self._trash)
            os.mkdir(self._root)
        for item in list(self.differences(tree)):
            if item.found is not None:
                removal.remove(self._at(item.path), self._trash)
            if item.wanted is not None:
                self._put(item.path, item.wanted)

    def start_over(self) -> None:
        """Put the whole folder aside, known or not, and begin with an empty one. Raises OSError."""
        self._seen.clear()
        os.makedirs(self._trash, exist_ok=True)
        if os.path.isdir(self._root) and not os.path.islink(self._root):
            removal.set_aside(self._root, self._trash)
        else:
            removal.remove(self._root, self._trash)
        os.mkdir(self._root)

    def differences(self, tree: str) -> Iterator[Difference]:
        """Where the folder disagrees with `tree`, parents before children. Makes folders readable as it goes. Raises OSError."""
        self._now = self._clock()
        yield from self._compare(b"", Entry(TREE, tree))

    def listing(self, tree: str) -> dict[bytes, Entry]:
        """The entries of one tree object. Raises RepositoryError, BadRecord."""
        known = self._listings.get(tree)
        if known is None:
            known = self._listings[tree] = self._read_tree(tree)
        return known

    def blob(self, oid: str) -> bytes:
        """The bytes of a blob. Raises RepositoryError if the object database does not hold it."""
        return self._object(oid).data

    def _reachable(self, tree: str) -> Iterator[str]:
        """Tree objects of `tree`, read if they are new: what falls out of use is forgotten."""
        waiting = [tree]
        while waiting:
            oid = waiting.pop()
            yield oid
            waiting.extend(entry.oid for entry in self.listing(oid).values() if entry.mode == TREE)

    def _object(self, oid: str) -> pygit2.Object:
        try:
            return self._git[oid]
        except KeyError:
            hint = "run `git fsck`; in a partial clone, fetch the missing objects with `git fetch --refetch`"
            raise RepositoryError(f"object {oid[:12]} is missing from this repository", hint=hint) from None

    def _size(self, oid: str) -> int:
        """Bytes of a blob; -1 if it is missing, which whoever puts it in its place says."""
        try:
            if hasattr(self._git.odb, "read_header"):  # a newer pygit2: nothing is unpacked
                return self._git.odb.read_header(oid)[1]
            return len(self._git[oid].data)
        except KeyError:
            return -1

    def _read_tree(self, tree: str) -> dict[bytes, Entry]:
        entries = {item.raw_name: Entry(int(item.filemode), str(item.id)) for item in self._object(tree)}
        for name in entries:
            if name in (b"", b".", b"..") or name.lower() == b".git" or b"/" in name:
                raise BadRecord(f"tree {tree[:12]}", f"holds a file named {os.fsdecode(name)!r}, which no checkout may have")
        return entries

    def _at(self, path: bytes) -> bytes:
        return os.path.join(self._root, path) if path else self._root

    def _compare(self, path: bytes, wanted: Entry) -> Iterator[Difference]:
        present = self._scan(path)
        entries = self.listing(wanted.oid) if wanted.mode == TREE else {}
        prefix = path + b"/" if path else b""
        for name in present.keys() - entries.keys():
            yield Difference(prefix + name, None, present[name])
        for name, entry in entries.items():
            below, found = prefix + name, present.get(name)
            seen = self._seen.get(below)
            if seen and found and seen.settled and seen.twin == entry and seen.signature == _signature(found):
                continue
            if found is None or stat.S_IFMT(found.st_mode) != stat.S_IFMT(entry.st_mode):
                yield Difference(below, entry, found)
            elif entry.is_folder:
                yield from self._compare(below, entry)
            else:
                yield from self._compare_file(below, entry, found)

    def _scan(self, path: bytes) -> dict[bytes, os.stat_result]:
        folder = self._at(path)
        found = os.lstat(folder)
        if not self._owns(found):
            self._give(folder)
        if stat.S_IMODE(found.st_mode) != 0o755:
            os.chmod(folder, 0o755)
        with os.scandir(folder) as entries:
            return {entry.name: entry.stat(follow_symlinks=False) for entry in entries}

    def _compare_file(self, path: bytes, wanted: Entry, found: os.stat_result) -> Iterator[Difference]:
        seen = self._seen.get(path)
        if seen is None or not seen.settled or seen.signature != _signature(found):
            if found.st_size > _LARGE and wanted.mode != LINK and found.st_size != self._size(wanted.oid):
                yield Difference(path, wanted, found)
                return
            oid = self._hash(self._at(path), found)
            seen = self._seen[path] = _Seen(_signature(found), oid, found.st_ctime_ns < self._now - _SETTLED_NS)
        same_bytes = seen.oid == wanted.oid
        # A second name for the file, outside the workspace, would let it be changed after this look at it.
        if not same_bytes or found.st_nlink != 1 or not self._owns(found) or (wanted.mode != LINK and found.st_mode != wanted.st_mode):
            yield Difference(path, wanted, found, same_bytes)
        else:
            self._seen[path] = seen._replace(twin=wanted)

    def _hash(self, path: bytes, found: os.stat_result) -> str:
        """The name that git would give the bytes at `path`."""
        if stat.S_ISLNK(found.st_mode):
            return str(pygit2.hash(os.readlink(path)))
        if not found.st_mode & 0o400:
            os.chmod(path, 0o600)
        digest = hashlib.sha1(b"blob %d\0" % found.st_size)
        with open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb") as file:
            while chunk := file.read(1 << 20):
                digest.update(chunk)
        return digest.hexdigest()

    def _put(self, path: bytes, wanted: Entry) -> None:
        """Make `path`, where nothing is, as the tree has it."""
        target = self._at(path)
        if wanted.is_folder:
            os.mkdir(target, 0o755)
            os.chmod(target, 0o755)
            self._give(target)
            for name, entry in (self.listing(wanted.oid) if wanted.mode == TREE else {}).items():
                self._put(path + b"/" + name, entry)
            return
        data = self.blob(wanted.oid)
        if wanted.mode == LINK:
            os.symlink(data, target)
        else:
            with open(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600), "wb") as file:
                file.write(data)
                os.fchmod(file.fileno(), stat.S_IMODE(wanted.st_mode))
        self._give(target)
        self._seen[path] = _Seen(_signature(os.lstat(target)), wanted.oid, settled=False)

    def _owns(self, found: os.stat_result) -> bool:
        return self._owner < 0 or found.st_uid == self._owner

    def _give(self, target: bytes) -> None:
        if self._owner >= 0:
            os.chown(target, self._owner, self._owner, follow_symlinks=False)
