"""A problem whose command starts with `uv`: its environment is synced once, before any trial, and locked against change.

The network is used here and never again. It refuses what uv would have to fetch at every start (`--with`), and it leaves the
workspace as it found it.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import platform
import shlex
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from evogit import removal
from evogit.domain.problem import Problem
from evogit.errors import ProblemError, UserError

_TIMEOUT_S = 3600.0  # a CUDA build of torch is gigabytes
_KEPT = 2  # environments of one slot: the one in use, and the one before it

_INPUTS = ("pyproject.toml", "uv.lock", ".python-version", "uv.toml", "setup.py", "setup.cfg")
_FLAGS = {"--all-extras", "--all-groups", "--all-packages", "--dev", "--no-dev", "--no-default-groups", "--no-editable", "--only-dev"}
_VALUED = {"--extra", "--no-extra", "--group", "--no-group", "--only-group", "--package", "--python"}
_IGNORED_VALUED = {
    "--env-file",
    "--color",
    "--directory",
    "--project",
    "--config-file",
    "--cache-dir",
    "--index",
    "--index-url",
    "--refresh-package",
}
_REFUSED = {"--with", "--with-editable", "--with-requirements", "-w", "--isolated"}


class _Marker(msgspec.Struct, frozen=True):
    """Written last: an environment without it is half made."""

    root: str  # the workspace that its editable installs point into


def uv_command(problem: Problem) -> list[str]:
    """The words of the first of the problem's commands that starts with `uv`, [] if none does."""
    evaluate = problem.evaluate
    for command in (problem.command, problem.smoke, evaluate.predict if evaluate else "", evaluate.command if evaluate else ""):
        words = shlex.split(command)
        if words[:1] == ["uv"]:
            return words
    return []


def project_folder(start: Path, top: Path) -> Path | None:
    """The nearest folder with a pyproject.toml, from `start` up to `top`, or None."""
    return next((folder for folder in _upwards(start, top) if (folder / "pyproject.toml").is_file()), None)


def find_uv() -> str:
    """Path of the uv program: the one on PATH, else the one beside our Python. Raises UserError."""
    beside = Path(sys.executable).parent / "uv"
    found = shutil.which("uv") or (str(beside) if beside.is_file() else None)
    if found is None:
        raise UserError("the problem's command starts with `uv`, which is not installed", hint="pip install uv")
    return found


def sync_options(words: list[str]) -> list[str]:
    """Options of `uv run ...` that decide what is installed, as `uv sync` takes them. Raises ProblemError for `--with`."""
    options: list[str] = []
    rest = iter(words[words.index("run") + 1 :] if "run" in words else [])
    for word in rest:
        if word == "--" or not word.startswith("-"):
            break
        name, equals, value = word.partition("=")
        name = "--python" if name == "-p" else name
        if name in _REFUSED:
            raise ProblemError(
                "command", f"`uv run {name}` would fetch packages at every trial", fix="put them in pyproject.toml: `uv add NAME`"
            )
        if name in _FLAGS:
            options.append(name)
        elif name in _VALUED:
            options += [name, value if equals else next(rest, "")]
        elif name in _IGNORED_VALUED and not equals:
            next(rest, None)
    return options


def environment_key(project: Path, root: Path, options: list[str]) -> str:
    """24 hex digits over all that decides what an environment holds: project files, Python, platform, options, and the slot.

    The slot counts because an editable install points into it: two slots that shared one would run each other's code.
    """
    digest = hashlib.sha256()
    for folder in _upwards(project, root):
        for name in _INPUTS:
            path = folder / name
            digest.update(f"{name}\0".encode() + (path.read_bytes() if path.is_file() else b"-") + b"\0")
    digest.update(repr((sys.version, platform.platform(), options)).encode() + os.fsencode(project) + b"\0" + os.fsencode(root))
    return digest.hexdigest()[:24]


def settings(folder: Path) -> dict[str, str]:
    """What tells uv, at a trial's start, to take that environment as it is: no network, no lock file, no search."""
    return {
        "UV_PROJECT_ENVIRONMENT": str(folder),
        "UV_PYTHON": str(folder / "bin" / "python"),
        "UV_NO_SYNC": "1",
        "UV_OFFLINE": "1",
        "UV_PYTHON_DOWNLOADS": "never",
        "UV_NO_PROGRESS": "1",
        "SETUPTOOLS_SCM_PRETEND_VERSION": "0.0.0",
        "VIRTUAL_ENV": str(folder),
    }


def sync(envs: Path, key: str, project: Path, root: Path, options: list[str], progress: Callable[[str], None]) -> bool:
    """`envs`/`key` is a finished, read-only environment afterwards. True if it was made now: the workspace needs cleaning then.

    Waits while another process makes the same one. Raises UserError with uv's own last words. 0.5 s without packages.
    """
    envs.mkdir(parents=True, exist_ok=True)
    with _lock(envs / f"{key}.lock", progress):
        folder, marker = envs / key, envs / f"{key}.json"
        if marker.is_file() and (folder / "bin" / "python").exists():
            os.utime(marker)
            return False
        marker.unlink(missing_ok=True)
        trash = os.fsencode(envs / "trash")
        removal.remove(os.fsencode(folder), trash)
        progress(f"preparing the environment with uv, once ({project})")
        _run_uv(folder, project, root, options)
        _close(folder)
        draft = marker.with_suffix(".part")
        draft.write_bytes(msgspec.json.encode(_Marker(root=str(root))))
        draft.rename(marker)
    _prune(envs, str(root), trash)
    return True


def _upwards(start: Path, top: Path) -> Iterator[Path]:
    """`start` and its parents, `top` last."""
    folder = start
    while folder != top and top in folder.parents:
        yield folder
        folder = folder.parent
    yield top


def _run_uv(folder: Path, project: Path, root: Path, options: list[str]) -> None:
    frozen = ["--frozen"] if any((above / "uv.lock").is_file() for above in _upwards(project, root)) else []
    hidden = {"VIRTUAL_ENV", "CONDA_PREFIX", "PYTHONPATH", "PYTHONHOME", "UV_NO_SYNC", "UV_PYTHON", "UV_PROJECT_ENVIRONMENT", "GIT_DIR"}
    env = {name: value for name, value in os.environ.items() if name not in hidden}
    env |= {"UV_PROJECT_ENVIRONMENT": str(folder), "SETUPTOOLS_SCM_PRETEND_VERSION": "0.0.0", "NO_COLOR": "1", "UV_NO_PROGRESS": "1"}
    env["GIT_CEILING_DIRECTORIES"] = str(root.parent)
    command = [find_uv(), "sync", "--project", str(project), "--compile-bytecode", *frozen, *options]
    calm = {"stdin": subprocess.DEVNULL, "capture_output": True, "text": True, "errors": "replace"}
    try:
        done = subprocess.run(command, check=False, cwd=project, env=env, timeout=_TIMEOUT_S, **calm)
    except subprocess.TimeoutExpired as error:
        raise UserError(
            f"uv did not finish the environment in {_TIMEOUT_S / 60:.0f} minutes", hint="run `uv sync` beside pyproject.toml"
        ) from error
    if done.returncode != 0:
        words = [line.strip() for line in done.stderr.splitlines() if line.strip()]
        raise UserError(
            f"uv could not prepare the environment: {' | '.join(words[-4:])}", hint="run `uv sync` beside pyproject.toml to see it all"
        )


def _close(folder: Path) -> None:
    """Take the right to write away. A file that uv's cache holds too keeps its mode: its folder is closed, and the cache is the user's."""
    for here, _, files in os.walk(folder, topdown=False):
        for name in files:
            path = os.path.join(here, name)
            found = os.lstat(path)
            if stat.S_ISREG(found.st_mode) and found.st_nlink == 1:
                os.chmod(path, stat.S_IMODE(found.st_mode) & ~0o222)
        os.chmod(here, 0o555)


def _prune(envs: Path, root: str, trash: bytes) -> None:
    """Of the environments that point into this workspace only the newest stay: nobody else can use them."""
    mine = [path for path in envs.glob("*.json") if msgspec.json.decode(path.read_bytes(), type=_Marker).root == root]
    for marker in sorted(mine, key=lambda path: path.stat().st_mtime_ns, reverse=True)[_KEPT:]:
        marker.unlink()
        removal.remove(os.fsencode(marker.with_suffix("")), trash)


@contextmanager
def _lock(path: Path, progress: Callable[[str], None]) -> Iterator[None]:
    with open(path, "w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            progress("waiting for another process that prepares this environment")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield
