"""One opened repository: the pygit2 handle, and the places where evogit keeps what is not history.

It refuses what the lab book cannot live in: no repository, a bare one, a shallow clone, one without a commit. It never writes
below the work tree, and it moves no ref.
"""

from __future__ import annotations

import hashlib
import os
import secrets
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from urllib.parse import quote

import pygit2

from evogit.errors import BadRecord, RepositoryError

_SHALLOW = "shallow"


class Repository:
    """An open repository. Make it with `Repository.open`; it is cheap to keep and not meant to be shared between threads.

    git     the pygit2 handle; objects that other processes write are seen (libgit2 looks again on a miss)
    top     top of the work tree that we were opened from
    common  the git directory that all worktrees share; `git.path` is the worktree's own
    """

    def __init__(self, git: pygit2.Repository) -> None:
        self.git = git
        self.top = Path(str(git.workdir)).resolve()
        self.common = common_directory(Path(git.path))

    @classmethod
    def open(cls, path: str | Path = ".") -> Repository:
        """The repository around `path`, found as git finds it. Raises RepositoryError. About 1 ms."""
        git = _discover(Path(path))
        if git.is_bare or not git.workdir:
            raise RepositoryError(f"{git.path} is a bare repository", hint="open a clone that has a work tree: `git clone <it> <folder>`")
        repo = cls(git)
        if (repo.common / _SHALLOW).exists():
            raise RepositoryError(f"{repo.top} is a shallow clone: part of its history is missing", hint="run `git fetch --unshallow`")
        if git.head_is_unborn and not list(git.branches.local):
            raise RepositoryError(f"{repo.top} has no commit yet", hint="run `git add -A && git commit -m 'first commit'`")
        return repo

    @cached_property
    def home(self) -> Path:
        """<common>/evogit: locks, clone id, event logs, views. Created on first use, shared by all worktrees."""
        home = self.common / "evogit"
        home.mkdir(exist_ok=True)
        return home

    def views(self, tag: str) -> Path:
        """Folder in `home` for what of a campaign is worked out from its branch, whether it is there or not."""
        return self.home / "views" / quote(tag, safe="")

    @cached_property
    def clone(self) -> str:
        """Four hex digits that tell this clone from the others, drawn once and kept in `home`."""
        return _draw_once(self.home / "clone")

    @cached_property
    def cache(self) -> Path:
        """Folder outside the git directory for workspaces, environments and jobs; everything in it can be made again."""
        return cache_of(self.common)

    def identity(self) -> pygit2.Signature:
        """The user's name and address at this moment, or evogit's own where git knows none."""
        try:
            return self.git.default_signature
        except (KeyError, ValueError, pygit2.GitError):
            return pygit2.Signature("evogit", "evogit@localhost")

    def has_all(self, hashes: Iterable[str]) -> bool:
        """True if every one of these objects is in this repository. None is unpacked: under 1 us each in a pack."""
        return all(map(self.git.odb.exists, hashes))

    def exists(self, hash: str) -> bool:
        """True if the object is in this repository. Some 5 us."""
        return pygit2.Oid(hex=hash) in self.git

    def resolve(self, rev: str) -> str | None:
        """Full hash of the commit that `rev` names as git would understand it, or None."""
        try:
            return str(self.git.revparse_single(rev).peel(pygit2.Commit).id)
        except (KeyError, ValueError, pygit2.GitError):
            return None

    def commit(self, hash: str) -> pygit2.Commit:
        """The commit of that full hash. Raises BadRecord if it is missing or not a commit."""
        found = self._object(hash)
        if not isinstance(found, pygit2.Commit):
            raise BadRecord(hash, "is not a commit")
        return found

    def tree(self, hash: str) -> pygit2.Tree:
        """The tree of that full hash, or of the commit of that hash. Raises BadRecord."""
        found = self._object(hash)
        if isinstance(found, pygit2.Commit):
            return found.tree
        if not isinstance(found, pygit2.Tree):
            raise BadRecord(hash, "is neither a commit nor a tree")
        return found

    def tree_of(self, commit: str) -> str:
        """Hash of a commit's tree. Raises BadRecord."""
        return str(self.commit(commit).tree_id)

    def parents(self, commit: str) -> tuple[str, ...]:
        """Hashes of a commit's parents. Raises BadRecord."""
        return tuple(str(parent) for parent in self.commit(commit).parent_ids)

    def blob(self, tree: str, path: str) -> bytes | None:
        """Bytes of the file at `path` of a tree or commit; None if there is none (or a folder is there). Raises BadRecord."""
        try:
            entry = self.tree(tree)[path]
        except (KeyError, ValueError):
            return None
        return entry.data if isinstance(entry, pygit2.Blob) else None

    def _object(self, hash: str) -> pygit2.Object:
        try:
            return self.git[pygit2.Oid(hex=hash)]
        except KeyError:
            raise BadRecord(hash, "is missing from this repository") from None
        except (ValueError, pygit2.GitError) as fault:
            raise BadRecord(hash, f"cannot be read ({fault})") from fault


def common_directory(git_directory: Path) -> Path:
    """The directory that all worktrees of a repository share. Git writes its place into `commondir` of each linked worktree."""
    pointer = git_directory / "commondir"
    if not pointer.is_file():
        return git_directory.resolve()
    return (git_directory / os.fsdecode(pointer.read_bytes().rstrip(b"\n"))).resolve()


def cache_of(place: Path) -> Path:
    """The folder of the user's cache that belongs to `place`, made where it is missing. Raises OSError."""
    name = hashlib.sha256(os.fsencode(os.path.realpath(place))).hexdigest()[:12]
    folder = _cache_root() / name
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _discover(path: Path) -> pygit2.Repository:
    try:
        found = pygit2.discover_repository(str(path), False, os.environ.get("GIT_CEILING_DIRECTORIES", ""))
        if found:
            return pygit2.Repository(found)
    except (KeyError, ValueError, OSError, pygit2.GitError) as fault:
        if "owned by" in str(fault):
            hint = f"run `git config --global --add safe.directory {path.resolve()}`"
            raise RepositoryError(f"git does not trust {path.resolve()}: it belongs to another user", hint=hint) from fault
        raise RepositoryError(f"the git repository at {path.resolve()} cannot be opened: {fault}", hint="run `git status` there") from fault
    raise RepositoryError(f"{path.resolve()} is not in a git repository", hint="run `git init` there, and commit what you have")


def _cache_root() -> Path:
    named = os.environ.get("EVOGIT_CACHE") or os.environ.get("XDG_CACHE_HOME")
    return (Path(named).expanduser() if named else Path.home() / ".cache").resolve() / "evogit"


def _draw_once(path: Path) -> str:
    """Whoever links first names the clone; the others read. A crash leaves at most a stray draft, never half a name."""
    while True:
        try:
            return path.read_text(encoding="ascii").strip()
        except FileNotFoundError:
            draft = path.with_name(f"{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
            draft.write_text(secrets.token_hex(2) + "\n", encoding="ascii")
            try:
                os.link(draft, path)
            except FileExistsError:
                pass
            finally:
                draft.unlink()
