"""`git bisect --first-parent` over a campaign's branch, in a work tree of its own that is gone afterwards.

git asks a script about each commit; the script looks it up in a table that the caller filled from the record. It judges nothing, and
touches neither the person's checkout nor a bisection of theirs.
"""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import msgspec

from evogit.errors import EvogitError
from evogit.git import porcelain
from evogit.git.repository import Repository

GOOD, BAD, SKIP, ASK = 0, 1, 125, 128  # exit codes as `git bisect run` reads them; from 128 on it stops, and can be run again
_FIRST = re.compile(r"^([0-9a-f]{40,64}) is the first bad commit$", re.MULTILINE)
_SCRIPT = """#!/bin/sh
# What the lab book says of the incumbent at this commit: 0 good, 1 bad, 125 nobody knows, 128 measure it first.
code=$(sed -n "s/^$(git rev-parse --verify BISECT_HEAD) //p" "$0.table")
exit "${code:-125}"
"""


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """How a bisection ended."""

    first_bad: str  # "" where only commits are left that nobody knows about
    suspects: tuple[str, ...] = ()  # those, the first bad one among them
    asked: int = 0  # commits that git looked at


def run(repo: Repository, good: str, bad: str, answers: Mapping[str, int], measure: Callable[[str], Mapping[str, int]]) -> Found:
    """Find the first commit above `good` that is bad, down the first parents of `bad`.

    answers: commit -> GOOD, BAD, SKIP or ASK. measure: called with a commit of answer ASK, returns the answers as they are then; it
    has to settle that commit. Raises EvogitError with git's words. Some 30 ms a step.
    """
    with _bisection(repo) as (folder, env):
        script = folder.with_name("ask")
        script.write_text(_SCRIPT, encoding="ascii")
        script.chmod(0o755)
        _fill(script, answers)
        _git(repo, folder, env, "bisect", "start", "--no-checkout", "--first-parent", bad, good)
        while True:
            done = porcelain.attempt(repo, "bisect", "run", str(script), env=env, work_tree=folder)
            text = done.stdout.decode("utf-8", "replace") + done.stderr
            log = _git(repo, folder, env, "bisect", "log").decode("utf-8", "replace")
            if first := _FIRST.search(text):
                return Found(first_bad=first[1], asked=_asked(log))
            if "only 'skip'ped commits left" in text:
                return Found(first_bad="", suspects=_suspects(log), asked=_asked(log))
            at = _git(repo, folder, env, "rev-parse", "--verify", "BISECT_HEAD").decode().strip()
            if answers.get(at) != ASK:
                raise EvogitError(f"git bisect: {done.complaint}", hint="run `git bisect` by hand over the campaign's branch")
            answers = measure(at)
            if answers.get(at) == ASK:
                raise EvogitError(f"git bisect asks for {at[:12]} again and again", hint="leave --measure out")
            _fill(script, answers)


def _fill(script: Path, answers: Mapping[str, int]) -> None:
    script.with_name("ask.table").write_text("".join(f"{commit} {code}\n" for commit, code in answers.items()), encoding="ascii")


@contextmanager
def _bisection(repo: Repository) -> Iterator[tuple[Path, dict[str, str]]]:
    """A linked work tree without files, and the environment in which git works there."""
    above = Path(tempfile.mkdtemp(prefix="evogit-bisect-"))
    folder = above / "tree"
    try:
        porcelain.git(repo, "worktree", "add", "--detach", "--no-checkout", str(folder), "HEAD")
        own = (folder / ".git").read_text(encoding="utf-8", errors="surrogateescape").strip().removeprefix("gitdir: ")
        yield folder, {"GIT_DIR": own, "GIT_INDEX_FILE": f"{own}/index"}
    finally:
        porcelain.attempt(repo, "worktree", "remove", "--force", str(folder))
        shutil.rmtree(above, ignore_errors=True)


def _git(repo: Repository, folder: Path, env: dict[str, str], *args: str) -> bytes:
    return porcelain.git(repo, *args, env=env, work_tree=folder)


def _asked(log: str) -> int:
    return max(0, len(re.findall(r"^git bisect (?:good|bad|skip) ", log, re.MULTILINE)))


def _suspects(log: str) -> tuple[str, ...]:
    """git's last words: `# possible first bad commit: [hash] subject`."""
    return tuple(re.findall(r"^# possible first bad commit: \[([0-9a-f]+)\]", log, re.MULTILINE))
