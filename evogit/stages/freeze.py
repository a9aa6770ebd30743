"""What a job left, held still for the job after it: no links, no pipes, nothing that somebody else could still write through.

It runs when the job's whole process tree has ended, and reads everything as a stranger's: it follows no link and opens no pipe.
It judges no number; of frozen code it says what is no longer as it was.
"""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Callable, Collection, Iterable, Iterator
from hashlib import sha256
from pathlib import Path

import msgspec

from evogit.git import removal
from evogit.search import tells
from evogit.search.tells import Frozen

MOST = 1_000_000  # entries of an artifact folder that are looked at
LONGEST = 3500  # bytes of a path; the system ends at 4,096, and a name has up to 255
LISTED = 1000  # files that a listing names
HASHED = 64 << 20  # bytes of a file up to which a listing has its sha256
_KINDS = {stat.S_IFLNK: "a link", stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket", stat.S_IFCHR: "a device", stat.S_IFBLK: "a device"}


class Output(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One file that a job left, or one that was taken out."""

    path: str
    bytes: int = 0
    sha256: str = ""  # of files up to 64 MiB
    taken_out: str = ""  # why it is not there any more: "a link", "made before predict ran" ...


class Still(msgspec.Struct, frozen=True, kw_only=True):
    """An artifact folder that holds still."""

    files: tuple[Output, ...]  # by path; at most LISTED
    taken: tuple[Output, ...]
    is_whole: bool  # False: it held more than MOST entries


def outputs(root: Path, early: Collection[str] = (), most: int = MOST) -> Still:
    """Take out what is no file, give shared files bytes of their own, and make every file read-only; repeatable.

    early: paths that only a later job is to make: those that are there are taken out too. One lstat an entry, one read of each
    file of at most 64 MiB that a listing names. Raises OSError if the disk refuses.
    """
    if root.is_symlink() or not root.is_dir():
        if os.path.lexists(root):
            root.unlink()
        root.mkdir(parents=True)
    files: list[Output] = []
    taken: list[Output] = []
    for count, path in enumerate(_below(root)):
        if count >= most:
            return Still(files=tuple(files), taken=tuple(taken), is_whole=False)
        found, name = path.lstat(), path.relative_to(root).as_posix()
        if stat.S_ISDIR(found.st_mode):
            removal.discard(path)
            taken.append(Output(path=_text(name), taken_out="deeper than paths go"))
            continue
        why = "made before predict ran" if name in early else _KINDS.get(stat.S_IFMT(found.st_mode), "")
        if why:
            path.unlink()
            taken.append(Output(path=_text(name), taken_out=why))
            continue
        if found.st_nlink > 1:
            _copy_apart(path)
        path.chmod(stat.S_IMODE(found.st_mode) & 0o555 | 0o444)
        if len(files) < LISTED:
            files.append(Output(path=_text(name), bytes=found.st_size, sha256=_hash(path) if found.st_size <= HASHED else ""))
    return Still(files=tuple(sorted(files, key=lambda f: f.path)), taken=tuple(sorted(taken, key=lambda f: f.path)), is_whole=True)


def _below(root: Path) -> Iterator[Path]:
    """Everything below a folder but folders; each folder is opened for us first. Folders at LONGEST are named, not looked into."""
    waiting = [root]
    while waiting:
        folder = waiting.pop()
        if stat.S_IMODE(folder.lstat().st_mode) & 0o700 != 0o700:
            folder.chmod(0o755)
        with os.scandir(folder) as entries:
            here = list(entries)  # what is done to the files must not change what is listed
        for entry in here:
            if entry.is_dir(follow_symlinks=False) and len(os.fsencode(entry.path)) <= LONGEST:
                waiting.append(folder / entry.name)
            else:
                yield folder / entry.name


def _copy_apart(path: Path) -> None:
    """The same bytes under the same name, without the file's other names: whoever holds one of those writes elsewhere."""
    draft = path.with_name(f".{path.name[:200]}.evogit")
    shutil.copyfile(path, draft, follow_symlinks=False)
    os.replace(draft, path)


def _hash(path: Path) -> str:
    digest = sha256()
    with open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def _text(name: str) -> str:
    return name.encode("utf-8", "replace").decode()


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
