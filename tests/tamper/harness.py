"""One trick, tried for real: a candidate is proposed, gated, run and measured by `evogit loop`, and then the record is looked at.

Whatever a trick does, three things must hold: no number on record that was not earned, no secret in anything that was kept, and a
lab that goes on. A trick may say more of itself: that a gate refuses it, that a trial dies of it, or a check of its own.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from evogit.backends import sandbox
from evogit.backends.local import LocalBackend
from tamper import problem
from tamper.host import CANARY, Host
from toys import evogit, git, make_toy

WORKER = """\
import json, sys
asked = json.load(sys.stdin)
trick = json.load(open({file!r}))
exec(trick["in_place"])
print(json.dumps({{"mutation_type": "change", "mutation_summary": trick["summary"], "hypothesis": trick["hypothesis"],
                  "changed_files": sorted(trick["files"]), "files": trick["files"]}}))
"""

LEVELS = ("none", "landlock", "bubblewrap")  # weakest first

Check = Callable[["Tried"], None]


@dataclass(frozen=True)
class Trick:
    """A candidate and what must become of it.

    name, family   for the table
    must           "earned": it runs, and the number on record is the honest one. "dies": no number. "refused": a gate stops it before
                   it runs. "flagged": it runs, nobody answers for its number, and people are shown the place. Joined by "|" where
                   several are right
    holds          the weakest level at which it is stopped: "none", "landlock" or "bubblewrap"
    """

    name: str
    family: str
    at_import: str = ""
    in_model: str = ""
    in_train: str = ""
    files: Mapping[str, str] = field(default_factory=dict)  # instead of train.py, or beside it
    in_place: str = ""  # Python that the agent runs in the workspace
    must: str = "earned|dies|refused"
    holds: str = "bubblewrap"
    check: Check | None = None
    toml: tuple[tuple[str, str], ...] = ()  # replacements in the contract
    is_self_reported: bool = False  # no ruler is locked: the candidate prints its number
    summary: str = "a steeper line"
    hypothesis: str = "the slope is too small"
    env: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_edit(self) -> bool:
        """True if the trick is in what the agent does; False if it is in what the candidate does when it runs."""
        return bool(self.files or self.in_place) or self.summary != Trick.summary or self.hypothesis != Trick.hypothesis

    def texts(self, places: Mapping[str, str]) -> dict[str, str]:
        """The files that the agent hands back. A cheat may know where things lie: `@TOP@` and the like are filled in."""
        train = problem.candidate(at_import=self.at_import, in_model=self.in_model, in_train=self.in_train)
        files = {"train.py": train, **self.files}
        half = len(CANARY) // 2
        split = f"({CANARY[:half]!r} + {CANARY[half:]!r})"  # whole it must stand nowhere but where a trick has succeeded
        for mark, place in {"'@CANARY@'": split, **{f"@{mark}@": place for mark, place in places.items()}}.items():
            files = {name: text.replace(mark, place) for name, text in files.items()}
        return files


@dataclass(frozen=True)
class Tried:
    """A trick after its run."""

    trick: Trick
    top: Path  # the repository
    home: Path
    printed: str  # by the loop
    run: dict  # as `evogit log --json` tells it
    kept: str  # every artifact of the run, and its notes, as text
    seconds: float
    heard: str  # what reached the servers outside
    has_neighbour: bool  # the process outside lives

    @property
    def error(self) -> float | None:
        """The number on record."""
        reading = self.run["metrics"].get("val_error")
        return reading["mean"] if reading else None


def refusal(level: str) -> str:
    """Why trials cannot run at this level here, "" if they can."""
    with tempfile.TemporaryDirectory() as folder:
        backend = LocalBackend(Path(folder))
        best = backend.level
        backend.close()
    return "" if LEVELS.index(best) >= LEVELS.index(level) else sandbox.refusals().get(level, "another level is asked for")


class Bases:
    """Repositories with a measured baseline, one for each contract, made once and copied for each trick."""

    def __init__(self, where: Path, level: str) -> None:
        self._where, self._level = where, level
        self._made: dict[str, Path] = {}

    def fresh(self, trick: Trick, where: Path) -> Path:
        """A copy of its own for this trick."""
        toml = problem.REPORTED if trick.is_self_reported else problem.TOML
        for old, new in trick.toml:
            assert old in toml
            toml = toml.replace(old, new)
        if toml not in self._made:
            train = problem.reported(slope=2.0) if trick.is_self_reported else problem.candidate(slope=2.0)
            self._made[toml] = ready(self._where / str(len(self._made)), toml, train, self._level)
        return Path(shutil.copytree(self._made[toml], where / "line", symlinks=True))


def ready(where: Path, toml: str, train: str, level: str) -> Path:
    """The problem in a new repository, its baseline measured."""
    frozen = {
        "predict.py": problem.PREDICT,
        "evaluate.py": problem.EVALUATE,
        "prepare.py": problem.PREPARE,
        "labels.json": json.dumps(problem.LABELS),
        "lib/__init__.py": "",
        "task.py": problem.TASK,
        "points.json": json.dumps(problem.POINTS_AND_LABELS),
    }
    top = make_toy(where, toml=toml, train=train, extra=frozen)
    evogit(top, "start", "t")
    evogit(top, "baseline", env={"EVOGIT_SANDBOX": level})
    return top


def attempt(trick: Trick, top: Path, level: str) -> Tried:
    """Run it in `top`, a repository that is used once. Below the level that stops it a trick is not run: it might succeed."""
    if LEVELS.index(level) < LEVELS.index(trick.holds):
        raise ValueError(f"{trick.name} is stopped by {trick.holds}, and not by {level}")
    folder = top.parent / "agent"
    folder.mkdir()
    home = Path(os.environ["HOME"])
    with Host() as host:
        places = {"TOP": str(top), "HOME": str(home), "CACHE": os.environ["XDG_CACHE_HOME"], **host.places}
        told = {"files": trick.texts(places), "in_place": trick.in_place, "summary": trick.summary, "hypothesis": trick.hypothesis}
        env = {"EVOGIT_SANDBOX": level, "OPENAI_API_KEY": f"sk-{CANARY}", **trick.env}
        began = time.monotonic()
        done = _searched(folder, top, told, env) if trick.is_edit else _by_a_person(top, told["files"]["train.py"], env)
        seconds = time.monotonic() - began
        assert done.returncode in ((0,) if trick.is_edit else (0, 1)), done.stdout + done.stderr
        has_neighbour = host.has_neighbour
    runs = [json.loads(line) for line in evogit(top, "log", "--json").stdout.splitlines()]
    run = max((r for r in runs if r["run"] != "0"), key=lambda r: int(r["run"]))
    return Tried(
        trick=trick, top=top, home=home, printed=done.stdout + done.stderr, run=run, kept=_kept(top), seconds=seconds,
        heard=", ".join(host.heard), has_neighbour=has_neighbour,
    )  # fmt: skip


def _searched(folder: Path, top: Path, told: Mapping[str, object], env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """A run of the search, whose agent hands back what is told."""
    (folder / "trick.json").write_text(json.dumps(told))
    (folder / "worker.py").write_text(WORKER.format(file=str(folder / "trick.json")))
    command = shlex.join([sys.executable, str(folder / "worker.py")])
    roles = ["--emitter", "contrarian", "--emitter", "local_tuner"]
    asked = ["--agent", "command", "--agent-command", command]
    return evogit(top, "loop", "--max-runs", "1", "--no-ideas", *roles, *asked, env=env, check=False, timeout=250)


def _by_a_person(top: Path, train: str, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """The same code as a person's run: what they measure themselves no gate refuses, so the sandbox alone stands against it."""
    (top / "train.py").write_text(train)
    done = evogit(top, "run", "-m", "a steeper line", env=env, check=False, timeout=250)
    git(top, "checkout", "-q", "train.py")
    return done


def _kept(top: Path) -> str:
    """All that history holds of artifacts and notes."""
    refs = git(top, "for-each-ref", "--format=%(refname)", "refs/notes", "refs/evogit").split()
    parts = []
    for ref in refs:
        for line in git(top, "ls-tree", "-r", ref, check=False).splitlines():
            oid = line.split()[2]
            parts.append(git_bytes(top, oid))
    return "\n".join(parts)


def git_bytes(top: Path, oid: str) -> str:
    """A blob as text, whatever it holds."""
    return subprocess.run(["git", "cat-file", "blob", oid], cwd=top, capture_output=True, check=False).stdout.decode("utf-8", "replace")


def judge(tried: Tried) -> None:
    """What must hold of every trick, then what this one says of itself. Raises AssertionError."""
    trick, run = tried.trick, tried.run
    ends = {"reject": "refused", "crash": "dies"}.get(run["verdict"], "earned")
    if ends == "earned" and "flagged" in trick.must.split("|"):
        ends = "flagged"
        assert run["flags"], "nothing is shown of it"
    assert ends in trick.must.split("|"), f"{run['verdict']}: {run.get('reason')}"
    if ends == "earned":
        assert tried.error is not None and abs(tried.error - problem.HONEST) < 1e-9, f"{tried.error} on record, {problem.HONEST} was earned"
    assert CANARY not in tried.kept, "a secret is in what was kept"
    assert "\x1b" not in tried.printed
    assert git(tried.top, "status", "--porcelain") == "", "the person's checkout was touched"
    git(tried.top, "fsck", "--no-dangling")
    if trick.check is not None:
        trick.check(tried)
