"""Which paths a candidate may change: the globs of `mutable`, compiled once per problem.

`*` is any run of characters within one segment, `?` one such character, `**` (alone between slashes) any number of
segments; everything else, brackets too, stands for itself. What decides how runs are judged or checked out is never
mutable, whatever the globs say: `NEVER`, the goal file, the contract, and the scripts of `[evaluate]` and `[holdout]`.
A path does not tell a symlink from a file: who has the tree's modes refuses symlinks and gitlinks.
"""

from __future__ import annotations

import posixpath
import re
import shlex
from collections.abc import Callable, Iterable
from functools import lru_cache

from evogit.domain.problem import Problem
from evogit.errors import ProblemError

NEVER = frozenset({".gitattributes", ".gitmodules", ".git", "evogit.toml", "rp_contract.json"})  # compared in lower case: some disks do


def below(folder: str, path: str) -> str | None:
    """`path` (of the repository) as seen from `folder`, or None if it lies outside. "" is the repository's top."""
    if not folder:
        return path
    return path[len(folder) + 1 :] if path.startswith(folder + "/") else None


def is_mutable(problem: Problem, path: str) -> bool:
    """True if a candidate may change or create this path of the repository. About 1 us; compiled once per problem."""
    return _matcher(problem.folder, problem.mutable, _frozen(problem))(path)


def mutable_paths(problem: Problem, paths: Iterable[str]) -> list[str]:
    """Those of `paths` (of the repository, regular files only) that a candidate may change, sorted, each once."""
    allowed = _matcher(problem.folder, problem.mutable, _frozen(problem))
    return sorted({path for path in paths if allowed(path)})


def check_mutable(problem: Problem, paths: Iterable[str]) -> None:
    """Raise `ProblemError` naming the first glob that matches none of `paths` (all files of the commit to start from)."""
    listed = list(paths)
    inside = [local for local in (below(problem.folder, p) for p in listed) if local is not None]
    for index, glob in enumerate(problem.mutable):
        one = _matcher(problem.folder, (glob,), _frozen(problem))
        if any(one(path) for path in listed):
            continue
        where = posixpath.join(problem.folder, "evogit.toml") if problem.layout == "evogit" else (problem.folder or ".")
        if any(local.startswith(glob.rstrip("/") + "/") for local in inside):
            raise ProblemError(f"{where}: mutable[{index}]", f'"{glob}" is a folder', fix=f'write "{glob.rstrip("/")}/**"')
        files = ", ".join(sorted(inside)[:6]) or "none"
        fix = f"commit the file first, or name one that is committed: {files}"
        raise ProblemError(f"{where}: mutable[{index}]", f'"{glob}" matches no committed file that may change', fix=fix)


def fault(glob: str) -> tuple[str, str] | None:
    """What is wrong with a glob as (what, fix), or None. Paths that leave the problem's folder are refused here."""
    segments = glob.split("/")
    if not glob:
        return "an empty glob", "name a file, for example train.py"
    if "\\" in glob or any(ord(char) < 32 for char in glob):
        return f'"{glob!a}" holds a backslash or a control character'.replace("'", ""), "separate folders with /"
    if glob.startswith("/") or re.match(r"[A-Za-z]:", glob):
        return f'"{glob}" is an absolute path', "write it relative to the problem's folder"
    if ".." in segments:
        return f'"{glob}" leaves the problem\'s folder', "move the problem's file up, or the mutable file down"
    if segments[-1] == "":
        return f'"{glob}" is a folder', f'write "{glob}**"'
    if "." in segments or "" in segments:
        return f'"{glob}" holds an empty or . segment', f'write "{posixpath.normpath(glob)}"'
    if any("**" in part and part != "**" for part in segments):
        return f'"{glob}" has ** beside other characters', "let ** stand alone between slashes, for example src/**/*.py"
    return None


@lru_cache(maxsize=64)
def pattern(glob: str) -> re.Pattern[str]:
    """One glob as a pattern for whole relative paths."""
    return re.compile(_regex(glob), re.DOTALL)


def named_files(command: str) -> frozenset[str]:
    """Words of a command that look like files below its folder. A command that does not split names none."""
    try:
        words = shlex.split(command)
    except ValueError:
        return frozenset()
    found = (posixpath.normpath(word) for word in words if "." in word and not word.startswith(("-", "/")))
    return frozenset(word for word in found if not word.startswith("..") and word != ".")


def frozen_files(goal: str, *rulers: str) -> frozenset[str]:
    """Files below the problem's folder that no glob makes mutable: the goal, and what the locked commands name."""
    named = frozenset().union(*(named_files(command) for command in rulers)) if rulers else frozenset()
    return named | ({posixpath.normpath(goal)} if goal else frozenset())


def _frozen(problem: Problem) -> frozenset[str]:
    rulers = [part.command for part in (problem.evaluate, problem.holdout) if part is not None]
    return _frozen_files(problem.goal, tuple(rulers))


@lru_cache(maxsize=64)
def _frozen_files(goal: str, rulers: tuple[str, ...]) -> frozenset[str]:
    return frozen_files(goal, *rulers)


@lru_cache(maxsize=64)
def _matcher(folder: str, globs: tuple[str, ...], frozen: frozenset[str]) -> Callable[[str], bool]:
    pattern = re.compile("|".join(f"(?:{_regex(glob)})" for glob in globs) or r"(?!)", re.DOTALL)

    def allowed(path: str) -> bool:
        local = below(folder, path)
        if local is None or local in frozen or pattern.fullmatch(local) is None:
            return False
        parts = local.lower().split("/")
        return not any(part in NEVER or part in ("", ".", "..") for part in parts)

    return allowed


def _regex(glob: str) -> str:
    out = ""
    segments = glob.split("/")
    for index, segment in enumerate(segments):
        last = index == len(segments) - 1
        if segment == "**":
            out += ".+" if last else "(?:[^/]+/)*"
            continue
        out += "".join("[^/]*" if c == "*" else "[^/]" if c == "?" else re.escape(c) for c in segment)
        out += "" if last else "/"
    return out
