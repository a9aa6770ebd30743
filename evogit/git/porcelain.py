"""The only door to the git program: for what git itself knows best (work trees, push, fetch, repack, fsck), driven by GitPython.

Each command is told its repository, index and work tree outright, so that nothing in the environment (a hook's GIT_DIR) leads it
elsewhere. It runs none of the user's hooks and none of their conversions, never prompts and starts no gc, unless the caller says
`as_user`: then what the user configured for that work is obeyed. History is not read here: pygit2 does that in process.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from evogit.errors import EvogitError, ServiceDown, UserError
from evogit.git.repository import Repository

_QUIET = ("core.pager=cat", "gc.auto=0", "maintenance.auto=false", "core.quotePath=false", "advice.detachedHead=false", "color.ui=false")
_OURS = (
    "core.hooksPath=/dev/null",
    "core.fsmonitor=false",
    "core.untrackedCache=false",
    "core.autocrlf=false",
    "core.eol=lf",
    "core.attributesFile=/dev/null",
    "core.excludesFile=/dev/null",
    "core.trustctime=true",
    "core.checkStat=default",
    "core.splitIndex=false",
    "commit.gpgSign=false",
    "submodule.recurse=false",
)
_ENV = {
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_EDITOR": "true",
    "GIT_SEQUENCE_EDITOR": "true",
    "GIT_PAGER": "cat",
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_MERGE_AUTOEDIT": "no",
    "GIT_NAMESPACE": "",
    "GIT_ALTERNATE_OBJECT_DIRECTORIES": "",
    "GIT_TRACE": "0",
}
_started: list[subprocess.Popen[bytes]] = []
_AWAY = ("could not resolve host", "could not read from remote", "unable to access", "connection", "timed out", "timeout:")


class Done(NamedTuple):
    """How a git command ended."""

    status: int
    stdout: bytes
    stderr: str

    @property
    def complaint(self) -> str:
        """git's own first line of complaint, without its "fatal: "."""
        lines = [line.strip() for line in self.stderr.splitlines() if line.strip()]
        worst = next((line for line in lines if line.startswith(("fatal:", "error:"))), lines[0] if lines else "")
        return worst.removeprefix("fatal:").removeprefix("error:").strip() or f"git ended with status {self.status}"


def git(
    repo: Repository,
    *args: str,
    env: Mapping[str, str] | None = None,
    input: bytes | None = None,
    check: bool = True,
    index: str | Path | None = None,
    work_tree: str | Path | None = None,
    timeout_s: float | None = None,
    as_user: bool = False,
) -> bytes:
    """Run one git command and return its stdout, byte for byte. A start costs 2 to 4 ms, the first one 100 ms (GitPython loads).

    index, work_tree: other than the repository's own; the command runs in the work tree.
    Raises EvogitError with git's first complaint if it fails (`check`), UserError if there is no git. `attempt` tells more.
    """
    done = attempt(repo, *args, env=env, input=input, index=index, work_tree=work_tree, timeout_s=timeout_s, as_user=as_user)
    if check and done.status != 0:
        raise EvogitError(f"git {args[0]}: {done.complaint}")
    return done.stdout


def attempt(
    repo: Repository,
    *args: str,
    env: Mapping[str, str] | None = None,
    input: bytes | None = None,
    index: str | Path | None = None,
    work_tree: str | Path | None = None,
    timeout_s: float | None = None,
    as_user: bool = False,
) -> Done:
    """As `git`, but a failure is an answer: status (negative: killed by that signal, so also when the time ran out)."""
    top = Path(work_tree) if work_tree is not None else repo.top
    places = _places(repo, top, Path(index) if index is not None else None)
    with ExitStack() as stack:
        stream = None
        if input is not None:
            # GitPython wants a real file for stdin, and bytes through a pipe of ours could fill it before git reads.
            stream = stack.enter_context(tempfile.TemporaryFile())
            stream.write(input)
            stream.seek(0)
        status, stdout, stderr = _program(str(top)).execute(
            [_path(), *_options(as_user), *args],
            istream=stream,
            env={**_ENV, **places, **(env or {})},
            with_extended_output=True,
            with_exceptions=False,
            stdout_as_string=False,
            strip_newline_in_stdout=False,
            kill_after_timeout=timeout_s,
        )
    return Done(status, stdout, stderr)


def start(repo: Repository, *args: str, wrapper: Sequence[str] = (), keep_open: Sequence[int] = ()) -> int:
    """Start a git command that outlives us, silent and in a session of its own; returns its process id.

    keep_open: file descriptors that it inherits (a lock that ends with it). GitPython always pipes output, and a pipe to
    a process that has gone would end the command: hence subprocess.
    """
    environment = {**os.environ, **_ENV, **_places(repo, repo.top, None)}
    null = subprocess.DEVNULL
    command = [*wrapper, _path(), *_options(False), *args]
    _started[:] = [process for process in _started if process.poll() is None]  # or they stay zombies as long as a loop runs
    process = subprocess.Popen(
        command, cwd=repo.common, env=environment, stdin=null, stdout=null, stderr=null, start_new_session=True, pass_fds=tuple(keep_open)
    )
    _started.append(process)
    return process.pid


@lru_cache(maxsize=1)
def version() -> tuple[int, ...]:
    """Version of the git program, as (2, 39, 5). Raises UserError if there is none."""
    status, stdout, _ = _program(None).execute([_path(), "version"], with_extended_output=True, with_exceptions=False)
    words = stdout.split() if status == 0 else []
    numbers = words[2].split(".") if len(words) > 2 else []
    return tuple(int(part) for part in numbers if part.isdigit())


def push(repo: Repository, remote: str, refspecs: Sequence[str], *, timeout_s: float | None = None) -> None:
    """Push as the user would: their hooks, credentials and ssh settings; a refused ref refuses all (`--atomic`).

    Raises ServiceDown if the remote is out of reach, EvogitError if it says no.
    """
    _remote(repo, ["push", "--atomic", "--porcelain", remote, *refspecs], remote, timeout_s)


def fetch(repo: Repository, remote: str, refspecs: Sequence[str], *, timeout_s: float | None = None) -> None:
    """Fetch these refs and no tags; work trees and FETCH_HEAD stay as they are. Raises as `push`."""
    _remote(repo, ["fetch", "--no-tags", "--no-write-fetch-head", "--no-recurse-submodules", remote, *refspecs], remote, timeout_s)


def fsck(repo: Repository) -> list[str]:
    """What `git fsck` finds wrong, one line each, [] if history is whole. Reads everything: seconds to minutes.

    Objects that nothing points to are no fault: every compare-and-swap that was lost leaves one.
    """
    done = attempt(repo, "fsck", "--full", "--name-objects", "--no-dangling", "--no-progress")
    text = done.stderr + "\n" + done.stdout.decode("utf-8", "replace")
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.startswith(("dangling ", "unreachable ", "notice:"))]
    return lines if lines or done.status == 0 else [done.complaint]


def _remote(repo: Repository, args: list[str], remote: str, timeout_s: float | None) -> None:
    done = attempt(repo, *args, timeout_s=timeout_s, as_user=True)
    if done.status == 0:
        return
    complaint = done.complaint
    if any(word in done.stderr.lower() for word in _AWAY):
        raise ServiceDown(f"{remote} is out of reach: {complaint}", hint=f"try `git {args[0]} {remote}` by hand")
    rejected = [line.split("\t")[1:] for line in done.stdout.decode("utf-8", "replace").splitlines() if line.startswith("!")]
    told = " ".join(rejected[0]) if rejected else complaint
    raise EvogitError(f"git {args[0]} {remote}: {told}", hint=f"try `git {args[0]} {remote}` by hand")


def _places(repo: Repository, top: Path, index: Path | None) -> dict[str, str]:
    own = Path(repo.git.path)
    return {
        "GIT_DIR": str(own),
        "GIT_COMMON_DIR": str(repo.common),
        "GIT_WORK_TREE": str(top),
        "GIT_INDEX_FILE": str(index.absolute() if index is not None else own / "index"),
        "GIT_OBJECT_DIRECTORY": str(repo.common / "objects"),
    }


def _options(as_user: bool) -> list[str]:
    return [part for setting in (_QUIET if as_user else _QUIET + _OURS) for part in ("-c", setting)]


def _program(folder: str | None):
    _path()  # GitPython refuses to load where there is no git: say so in our own words first
    from git.cmd import Git

    return Git(folder)


@lru_cache(maxsize=1)
def _path() -> str:
    found = shutil.which("git")
    if found is None:
        raise UserError("the git program was not found", hint="install git 2.28 or newer, and see that it is on PATH")
    return found
