"""Where a hook was called: the repository around a folder, its branch, its campaigns, and which of its files are frozen.

Told from a handful of files without a git library, within a millisecond; git itself is asked only which files it tracks.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from evogit.domain.problem import Problem

BRANCHES = "autoresearch/"
SETTINGS = (".claude/settings.json", ".claude/settings.local.json", ".codex/hooks.json", ".codex/config.toml")


@dataclass(frozen=True)
class Place:
    """A repository. `git` is the work tree's own git directory, `common` the one that all work trees share."""

    top: Path
    git: Path
    common: Path

    @property
    def home(self) -> Path:
        """Where evogit keeps what is not history."""
        return self.common / "evogit"

    @cached_property
    def branch(self) -> str:
        """The branch that is checked out, "" where HEAD is detached."""
        try:
            head = (self.git / "HEAD").read_text(encoding="utf-8").strip()
        except OSError:
            return ""
        return head.removeprefix("ref: refs/heads/") if head.startswith("ref: refs/heads/") else ""

    @property
    def campaign(self) -> str:
        """Tag of the campaign whose branch is checked out, "" if none is."""
        return self.branch.removeprefix(BRANCHES) if self.branch.startswith(BRANCHES) else ""

    @cached_property
    def has_campaigns(self) -> bool:
        """True if any campaign has a branch here. Elsewhere hooks have nothing to say."""
        loose = self.common / "refs/heads/autoresearch"
        if any(files for _, _, files in os.walk(loose)):
            return True
        try:
            return b" refs/heads/autoresearch/" in (self.common / "packed-refs").read_bytes()
        except OSError:
            return False

    def below(self, path: str) -> str | None:
        """The path as the repository knows it, links resolved; None if it lies outside."""
        full = os.path.realpath(path)
        top = str(self.top)
        return os.path.relpath(full, top) if full == top or full.startswith(top + os.sep) else None

    def frozen(self, path: str) -> str:
        """Why that path (absolute) may not be written, in a few words; "" if it may.

        Frozen is what git tracks in a problem's folder and no glob makes mutable, what runs are judged by, git's own files,
        and the settings that these hooks stand in. A new file that no run would contain is nobody's business.
        """
        full = os.path.realpath(path)
        for owned in (str(self.common), str(self.git)):
            if full == owned or full.startswith(owned + os.sep):
                return "is git's own; evogit and git write there, you do not"
        local = self.below(path)
        if local is None:
            return ""
        if local in SETTINGS and _has_hooks(full):
            return "holds the hooks of this very session; only a person changes it (`evogit hook install --remove`)"
        return self._of_problem(local)

    def _of_problem(self, local: str) -> str:
        problem = problem_at(self.top, local)
        if problem is None:
            return ""
        from evogit.problem import is_mutable
        from evogit.problem.globs import NEVER, below, frozen_files

        if is_mutable(problem, local):
            return ""
        inside = below(problem.folder, local) or local
        judged = inside in frozen_files(problem.goal, *problem.locked) or any(p.lower() in NEVER for p in inside.split("/"))
        tracked = [p for p in self.tracked([local]) if not is_mutable(problem, p)]
        if not judged and not tracked:
            return ""
        named = "" if local in tracked or not tracked else f" ({tracked[0]} is in it)"
        return f"is frozen{named}: only {', '.join(problem.mutable)} may change in a campaign; a frozen edit makes the run a reject"

    def may_hold(self, beginning: str) -> bool:
        """True if a path that begins like this (absolute) could be one that may not be written."""
        folder, name = os.path.split(beginning)
        local = self.below(folder)
        if local is None:
            return False
        start = os.path.join(local, name) if local != "." else name
        known = [one for one in (".git", *SETTINGS) if one.startswith(start)]
        return any(self.frozen(str(self.top / one)) for one in (*known, *self.tracked_like(start)))

    def tracked_like(self, beginning: str) -> list[str]:
        """Files that git tracks and whose path (of the repository) begins like this."""
        literal = "".join(f"[{c}]" if c in "*?[" else "\\\\" if c == "\\" else c for c in beginning)
        return ask(self.top, "ls-files", "-z", "--", f":(glob){literal}*", f":(glob){literal}*/**").split("\0")[:-1]

    def tracked(self, paths: Sequence[str]) -> list[str]:
        """Those files that git tracks at or below the paths (of the repository). A git that fails knows none."""
        return ask(self.top, "ls-files", "-z", "--", *(f":(literal){p}" for p in paths)).split("\0")[:-1]


def _has_hooks(path: str) -> bool:
    try:
        with open(path, encoding="utf-8") as file:
            return "evogit hook " in file.read(1 << 20)
    except (OSError, UnicodeDecodeError):
        return False


def find(cwd: str) -> Place | None:
    """The repository around a folder, or None."""
    folder = Path(os.path.realpath(cwd))
    for top in (folder, *folder.parents):
        dot = top / ".git"
        if dot.is_dir():
            return Place(top, dot, _common(dot))
        if dot.is_file():
            pointer = dot.read_text(encoding="utf-8", errors="replace").partition("gitdir:")[2].strip()
            own = (top / pointer).resolve()
            return Place(top, own, _common(own))
    return None


def _common(own: Path) -> Path:
    try:
        return (own / (own / "commondir").read_text(encoding="utf-8").strip()).resolve()
    except OSError:
        return own


def ask(top: Path, *args: str) -> str:
    """What git prints, "" if it fails. Some 4 ms."""
    try:
        done = subprocess.run(["git", "-C", str(top), *args], capture_output=True, timeout=10, check=False, stdin=subprocess.DEVNULL)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.decode("utf-8", "surrogateescape") if done.returncode == 0 else ""


@lru_cache(maxsize=16)
def _problem_in(top: Path, folder: str) -> Problem | None:
    from evogit.errors import ProblemError
    from evogit.problem import is_problem, load

    if not is_problem(top / folder):
        return None
    try:
        return load(top / folder, top)
    except ProblemError:
        return None


def problem_at(top: Path, local: str) -> Problem | None:
    """The problem whose folder holds that path of the repository, the nearest; None if there is none. A broken one is none."""
    folder = "" if local == "." else local
    while True:
        if (found := _problem_in(top, folder)) is not None:
            return found
        if not folder:
            return None
        folder = os.path.dirname(folder)
