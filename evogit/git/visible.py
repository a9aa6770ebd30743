"""What a trial sees of this machine: which folders, which of them it may change, which files in them stay closed or as they are.

It works out paths and touches nothing; a sandbox makes them true. Not shown unless the problem asks for it: the repository, other
slots and trials, home folders.
"""

from __future__ import annotations

import glob
import os
import re
import stat
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from pathlib import Path

import msgspec

from evogit import problem as contract
from evogit.domain.problem import Problem
from evogit.domain.trial import View
from evogit.errors import ProblemError
from evogit.git.environment import Environment
from evogit.git.repository import Repository
from evogit.git.workspace import Workspace
from evogit.problem import globs

CODE = frozenset({".py", ".pyi", ".pyx", ".so", ".pth", ".sh"})  # not .yaml or .toml, which scripts write: hashes tell of those afterwards
FROZEN_MAX = 48  # files; a mount each, and their price grows with their number (0.15 ms each up to here, 0.8 s for a thousand)
HIDDEN_MAX = 200  # likewise, but refused beyond
SYSTEM = frozenset({"/", "/usr", "/usr/local"})  # too wide to be searched: the folders of packages in them are


class Ground(msgspec.Struct, frozen=True, kw_only=True):
    """Where one job stands."""

    repo: Repository
    problem: Problem
    workspace: Workspace
    environment: Environment
    data_dir: str
    artifacts: str
    records: str  # folder for what the tracing of imports writes
    is_ruler: bool  # it scores: what is hidden from the others is shown, and what they left cannot be changed


def view(ground: Ground) -> View:
    """What the job may see, its tree being materialised. Raises ProblemError if `[sandbox] hide` names too much.

    The first call for an environment walks its folders where something is hidden (some 100 ms); then under 1 ms.
    """
    home, problem = str(ground.workspace.home), ground.problem
    libraries = [folder for folder in os.environ.get("LD_LIBRARY_PATH", "").split(os.pathsep) if os.path.isabs(folder)]
    asked = [os.path.normpath(os.path.expanduser(path)) for path in problem.sandbox.read]
    readable = [*ground.environment.folders, ground.data_dir, *libraries, *asked, *_linked(ground.workspace.home)]
    masked = [str(ground.repo.common), ground.repo.git.path.rstrip("/"), str(ground.repo.cache), state_folder()]
    if ground.is_ruler:
        readable.append(ground.artifacts)
        return View(writable=(home,), readable=_each(readable), masked=_each(masked))
    listed = list(ground.workspace.paths())
    if problem.sandbox.hide:
        masked += _hidden(ground, listed, tuple(asked))
    return View(
        writable=(home, ground.records),
        readable=_each(readable),
        frozen=frozen(problem, str(ground.workspace.root), listed),
        masked=_each(masked),
    )


def state_folder() -> str:
    """Where evogit keeps, for this user and outside every repository, what no trial may see."""
    return os.path.join(os.environ.get("XDG_STATE_HOME") or os.path.expanduser("~/.local/state"), "evogit")


def absent(reason: str) -> str:
    """The absolute path that an error message about a missing file names and that exists on this machine; "" if there is none."""
    return _named(reason, os.path.exists) if "No such file or directory" in reason else ""


def forbidden(reason: str) -> str:
    """The absolute path that an error message about permissions names and that others than its owner cannot read; "" if there is none."""
    return (
        _named(reason, lambda path: os.path.exists(path) and not os.stat(path).st_mode & stat.S_IROTH)
        if "Permission denied" in reason
        else ""
    )


def _named(reason: str, is_it: Callable[[str], bool]) -> str:
    return next((path for path in re.findall(r"/[^\s'\":,]+", reason) if is_it(path)), "")


def frozen(problem: Problem, root: str, paths: Iterable[str]) -> tuple[str, ...]:
    """Frozen code in the checkout: what the locked commands name first, then the problem's folder, then the rest; at most FROZEN_MAX.

    Other frozen files stay writable, since scripts append to logs that are committed.
    """
    rulers = {part for command in _locked(problem) for part in globs.named_files(command)}
    found = [path for path in paths if os.path.splitext(path)[1].lower() in CODE and not contract.is_mutable(problem, path)]

    def rank(path: str) -> tuple[int, int, str]:
        below = globs.below(problem.folder, path)
        return (0 if below in rulers else 1 if below is not None else 2, path.count("/"), path)

    return tuple(os.path.join(root, path) for path in sorted(found, key=rank)[:FROZEN_MAX])


def _locked(problem: Problem) -> list[str]:
    return [part.command for part in (problem.evaluate, problem.holdout) if part is not None]


def _each(paths: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(path for path in paths if path))


def _linked(home: Path) -> list[str]:
    """Real places of the caches that are linked into a trial's home."""
    cache = home / ".cache"
    return [os.path.realpath(path) for path in cache.iterdir() if path.is_symlink()] if cache.is_dir() else []


def _hidden(ground: Ground, paths: list[str], asked: tuple[str, ...]) -> tuple[str, ...]:
    """The files and folders that `[sandbox] hide` names, wherever they could be seen."""
    problem, root = ground.problem, ground.workspace.root
    patterns = problem.sandbox.hide
    folder = str(ground.workspace.folder(problem.folder))
    found = [str(root / path) for path in paths if any(_names(pattern, path, problem.folder) for pattern in patterns)]
    for pattern in patterns:
        if pattern.endswith("/**") and "*" not in pattern[:-3]:
            found = [path for path in found if not path.startswith(f"{folder}/{pattern[:-3]}/")]
            found.append(f"{folder}/{pattern[:-3]}")
    places = (os.path.normpath(place) for place in (*ground.environment.folders, ground.data_dir, *asked) if place)
    roots = tuple(place for place in places if place not in SYSTEM)
    found += _search(roots, patterns)
    if len(found) > HIDDEN_MAX:
        what = f"names {len(found)} files, and {HIDDEN_MAX} can be hidden one by one"
        raise ProblemError("evogit.toml: [sandbox] hide", what, fix='name their folder: "labels/**"')
    return tuple(found)


def _names(pattern: str, path: str, folder: str) -> bool:
    """True if the glob names a file of the checkout, seen from its top or from the problem's folder."""
    below = globs.below(folder, path)
    regex = globs.pattern(pattern)
    return bool(regex.fullmatch(path) or (below is not None and regex.fullmatch(below)))


@lru_cache(maxsize=32)
def _search(roots: tuple[str, ...], patterns: tuple[str, ...]) -> tuple[str, ...]:
    """Those paths below `roots` that a glob names, their real places, and other names of the same files. Walks each root once."""
    found = {path for pattern in patterns if os.path.isabs(os.path.expanduser(pattern)) for path in _absolute(pattern)}
    relative = [pattern for pattern in patterns if not os.path.isabs(os.path.expanduser(pattern))]
    outer = [root for root in roots if not any(root != other and root.startswith(other + "/") for other in roots)]
    for root in outer:
        found.update(_below(root, relative))
    fixed = [pattern for pattern in relative if not pattern.startswith("**/")]  # the others were found from further out
    for root in set(roots).difference(outer):
        found.update(_below(root, fixed))
    if inodes := {os.stat(path).st_ino for path in found if os.path.isfile(path)}:  # seldom, and so the second walk is no matter
        closed = tuple(f"{path}/" for path in found if os.path.isdir(path))
        found.update(name for root in outer for name in _called(root, inodes) if not name.startswith(closed))
    found.update([os.path.realpath(path) for path in found])
    return tuple(sorted(found))


def _absolute(pattern: str) -> list[str]:
    return glob.glob(os.path.expanduser(pattern).removesuffix("/**"), recursive=True)


def _below(root: str, patterns: list[str]) -> Iterator[str]:
    """What the globs name below one folder (or the file itself)."""
    if os.path.isfile(root):
        yield from (root for pattern in patterns if globs.pattern(pattern).fullmatch(os.path.basename(root)))
    elif patterns:
        wanted = re.compile("|".join(f"(?:{globs.pattern(pattern.removesuffix('/**')).pattern})" for pattern in patterns), re.DOTALL)
        yield from _walked(root, lambda entry, below: wanted.fullmatch(below) is not None)


def _called(root: str, inodes: set[int]) -> Iterator[str]:
    """Names below one folder of files that have one of these numbers."""
    return _walked(root, lambda entry, below: entry.inode() in inodes and entry.is_file(follow_symlinks=False))


def _walked(root: str, is_wanted: Callable[[os.DirEntry[str], str], bool]) -> Iterator[str]:
    """Paths of the entries below one folder that are wanted; nobody looks below those. What cannot be listed is left out.

    An environment has a hundred thousand entries, and every process of a problem that hides something passes them once: some 3 us each.
    """
    start = len(root) + 1
    waiting = [root]
    while waiting:
        try:
            entries = list(os.scandir(waiting.pop()))
        except OSError:
            continue
        for entry in entries:
            if is_wanted(entry, entry.path[start:]):
                yield entry.path
            elif entry.is_dir(follow_symlinks=False):
                waiting.append(entry.path)
