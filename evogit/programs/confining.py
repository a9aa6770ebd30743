"""A coding program in a room of its own: it sees the system's programs, itself, the workspace and a private home, and may write in
the last two. No repository, no other trial, no person's home. The network stays: its model is there.

It is built by bubblewrap from the same small tree as a trial's room. Where that does not work the program runs as it is, and its own
rules (`acceptEdits`, `workspace-write`) are what holds it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

from evogit.backends import bubblewrap, sandbox
from evogit.domain.trial import Job, View
from evogit.errors import UserError

PRIVILEGES = ("CAP_SETUID", "CAP_SETGID", "CAP_SETPCAP")  # what it takes to become a plain user, who then has none
FILES = ("/etc/passwd", "/etc/group", "/etc/nsswitch.conf", "/etc/hosts")  # as they are here: a program looks up who it is


def confined(argv: Sequence[str], cwd: Path, room: Path) -> list[str]:
    """The command line that runs `argv` confined; `argv` itself where that does not work here. Raises UserError.

    room: the private folder, given to the user that the program runs as. Costs 5 to 8 ms a start.
    """
    if not works():
        return list(argv)
    number = bubblewrap.user()
    if number >= 0:
        _must_be_everybodys(argv[0])
        for folder, folders, files in os.walk(room):
            for path in (folder, *(os.path.join(folder, name) for name in (*folders, *files))):
                os.chown(path, number, number, follow_symlinks=False)
    return _wrapped(argv, cwd, room, readable=_belongings(argv[0]))


@lru_cache(maxsize=4)
def _probed(path: str) -> bool:
    try:
        done = subprocess.run(
            _wrapped(["true"], Path("/"), None, readable=()), stdin=subprocess.DEVNULL, capture_output=True, timeout=20, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0


def works() -> bool:
    """True if programs are confined here. Starts one the first time: 10 ms."""
    is_wanted = os.environ.get(sandbox.FORCE, "bubblewrap") == "bubblewrap"
    return is_wanted and not bubblewrap.refusal() and _probed(os.environ.get("PATH", ""))


def _wrapped(argv: Sequence[str], cwd: Path, room: Path | None, readable: Sequence[str]) -> list[str]:
    folders = [str(folder) for folder in (cwd, room) if folder is not None and str(folder) != "/"]
    view = View(writable=tuple(folders), readable=tuple(readable))
    empty = folders[0] if folders else "/"
    job = Job(
        key="program", label="program", argv=tuple(argv), cwd=str(cwd), source=empty, env={}, artifact_dir=empty, timeout_s=0.0,
        network=True, view=view,
    )  # fmt: skip
    files = [word for file in FILES for word in ("--ro-bind-try", file, file)]
    words = bubblewrap.arguments(job, files)
    number = bubblewrap.user()
    if number >= 0:
        words += [word for name in PRIVILEGES for word in ("--cap-add", name)]
    words[words.index("--chdir") + 1] = str(cwd)
    words.append("--")
    if number >= 0:
        words += ["setpriv", "--reuid", str(number), "--regid", str(number), "--clear-groups"]
        words += ["--bounding-set=-all", "--inh-caps=-all", "--ambient-caps=-all", "--no-new-privs", "--"]
    return [*words, *argv]


def _belongings(program: str) -> tuple[str, ...]:
    """Folders that a program needs: where it is found, where it really lies, the packages around it, the interpreter of its first line."""
    found = shutil.which(program)
    if found is None:
        return ()
    real = Path(os.path.realpath(found))
    folders = [Path(found).parent, real.parent]
    folders += [up.parent for up in real.parents if up.name == "node_modules"][-1:]
    if (interpreter := _interpreter(real)) is not None:
        inside = Path(os.path.realpath(interpreter))
        folders += [file.parent.parent if file.parent.name == "bin" else file.parent for file in (interpreter, inside)]
    home = Path.home()
    return tuple(dict.fromkeys(str(f) for f in folders if f not in (Path("/"), home) and not home.is_relative_to(f)))


def _must_be_everybodys(program: str) -> None:
    """It runs as a plain user, not as root. Raises UserError where that user may not start it."""
    real = os.path.realpath(shutil.which(program) or program)
    if os.path.exists(real) and os.stat(real).st_mode & 0o005 != 0o005:
        raise UserError(f"{real} may be started by its owner alone, and evogit runs it as a plain user", hint=f"chmod o+rx {real}")


def _interpreter(program: Path) -> Path | None:
    """What the first line of a script names, None for other programs."""
    try:
        with open(program, "rb") as file:
            head = file.readline(256)
    except OSError:
        return None
    words = os.fsdecode(head[2:]).split() if head.startswith(b"#!") else []
    if words and os.path.basename(words[0]) == "env":
        words = [word for word in words[1:] if not word.startswith("-") and "=" not in word]
    found = shutil.which(words[0]) if words else None
    return Path(found) if found else None
