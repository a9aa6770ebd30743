"""The problem contract: a folder with an evogit.toml, or one laid out in a way that is recognised, as a `Problem`.

The public door: load it, find it, ask what may change, and build what a trial runs. It reads and never writes, runs
nothing, and knows no git: a commit's tree is read through `Files`.
"""

from __future__ import annotations

import os
import posixpath
from pathlib import Path

from evogit.domain.problem import Problem
from evogit.errors import ProblemError, UserError
from evogit.problem import contract, layouts
from evogit.problem.command import argv, needs_shell, run_id, trial_env
from evogit.problem.contract import FILE, Files
from evogit.problem.globs import check_mutable, is_mutable, mutable_paths

__all__ = [
    "FILE",
    "DiskFiles",
    "Files",
    "argv",
    "check_mutable",
    "find",
    "is_mutable",
    "is_problem",
    "load",
    "load_from",
    "mutable_paths",
    "needs_shell",
    "run_id",
    "trial_env",
]

_SKIPPED = frozenset({".git", ".hg", ".venv", "venv", "node_modules", "__pycache__", ".tox", ".mypy_cache", ".ruff_cache", ".pytest_cache"})
_LISTED_MAX = 20_000  # paths; a listing only serves to name what exists
_CONTRACT_MAX = 1 << 20  # bytes


class DiskFiles:
    """`Files` of a folder on disk. Symlinks are followed only if they stay inside it."""

    def __init__(self, top: Path) -> None:
        self.top = Path(os.path.realpath(top))

    def read(self, path: str) -> bytes | None:
        """Bytes of a regular file, or None: nothing there, a folder, not readable, or outside the top."""
        try:
            full = Path(os.path.realpath(self.top / path))
            return full.read_bytes() if self.top in full.parents and full.is_file() else None
        except (OSError, ValueError):
            return None

    def listing(self) -> list[str]:
        """Paths of regular files, sorted; version control, caches and virtual environments left out, 20,000 at most."""
        found: list[str] = []
        for folder, folders, names in os.walk(self.top):
            folders[:] = sorted(name for name in folders if name not in _SKIPPED)
            base = os.path.relpath(folder, self.top)
            for name in sorted(names):
                if not os.path.islink(os.path.join(folder, name)):
                    found.append(name if base == "." else f"{Path(base).as_posix()}/{name}")
            if len(found) >= _LISTED_MAX:
                break
        return sorted(found[:_LISTED_MAX])


def load(folder: Path, top: Path) -> Problem:
    """The problem in `folder`, which is `top` (the repository's) or below it, as it stands on disk.

    Raises ProblemError: one line with file, key and fix. Costs a millisecond.
    """
    real, base = Path(os.path.realpath(folder)), Path(os.path.realpath(top))
    if real != base and base not in real.parents:
        raise ProblemError(str(folder), "lies outside the repository", fix=f"move it below {base}")
    inside = real.relative_to(base).as_posix()
    return load_from(DiskFiles(base), "" if inside == "." else inside, top_name=base.name)


def load_from(files: Files, folder: str, *, top_name: str = "") -> Problem:
    """The problem in `folder` ("" for the top) of any set of files, a commit's tree for instance.

    `top_name` names a problem at the top that does not name itself: pass the repository's, or disk and commit disagree.
    Raises ProblemError.
    """
    clean = "" if folder in ("", ".") else posixpath.normpath(folder)
    name = posixpath.basename(clean) or top_name or "problem"
    text = files.read(posixpath.join(clean, FILE))
    if text is not None:
        if len(text) > _CONTRACT_MAX:
            raise ProblemError(posixpath.join(clean, FILE), f"has {len(text):,} bytes", fix="a contract is a page of text")
        return contract.parse(text, files, clean, name)
    problem = layouts.recognise(files, clean, name)
    if problem is None:
        fix = f"run `evogit init {clean or '.'}` to write one"
        raise ProblemError(clean or ".", f"no {FILE} and no layout that evogit knows", fix=fix)
    return problem


def is_problem(folder: Path) -> bool:
    """True if the folder holds an evogit.toml or a recognised layout. Reads no file."""
    return (folder / FILE).is_file() or bool(layouts.layout_of(lambda name: (folder / name).is_file()))


def find(start: Path, top: Path) -> Path:
    """The problem's folder: `start`, else the nearest above it up to `top`, else the only one below `start` or `top`.

    Below means children and grandchildren (rp/NAME is one). Raises UserError if there is none, or several and no choice.
    """
    start, top = Path(os.path.realpath(start)), Path(os.path.realpath(top))
    above = [start, *start.parents]
    for folder in above[: above.index(top) + 1] if top in above else [start]:
        if is_problem(folder):
            return folder
    for base in dict.fromkeys((start, top)):
        found = _below(base)
        if len(found) == 1:
            return found[0]
        if found:
            names = ", ".join(folder.relative_to(base).as_posix() for folder in found[:8])
            more = f" and {len(found) - 8} more" if len(found) > 8 else ""
            raise UserError(
                f"{len(found)} problems here: {names}{more}", hint=f"choose one, for example --problem {os.path.relpath(found[0], start)}"
            )
    raise UserError(
        f"no problem in {start.name or start}, above it or below it", hint="run `evogit init DIR` on the folder with your training script"
    )


def _below(base: Path) -> list[Path]:
    children = _folders(base)
    level = children + [grandchild for child in children if not is_problem(child) for grandchild in _folders(child)]
    return sorted(folder for folder in level if is_problem(folder))


def _folders(base: Path) -> list[Path]:
    try:
        with os.scandir(base) as entries:
            names = [e.name for e in entries if e.is_dir(follow_symlinks=False) and e.name not in _SKIPPED and not e.name.startswith(".")]
    except OSError:
        return []
    return [base / name for name in sorted(names)]
