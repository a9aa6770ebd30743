"""A problem's data, prepared once by the host and read-only afterwards. Trials get its folder and nothing to write in it.

Prepared again when the command or a frozen file of the problem changes. It never downloads without a sha256 to check.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

from evogit import problem as contract
from evogit.domain.problem import Problem
from evogit.errors import ProblemError, ServiceDown, WorkFailed
from evogit.git.environment import Environment, base_env
from evogit.git.repository import Repository
from evogit.git.workspace import Workspace

DONE = ".evogit-prepared"
TIMEOUT_S = 3600.0


def prepare(repo: Repository, problem: Problem, workspace: Workspace, environment: Environment, section: str = "data") -> str:
    """Absolute folder (or file) of the data, "" if the problem declares none.

    `workspace` holds the base's tree. The first call for a problem may take minutes; later ones look for a marker file.
    section: of the contract, where `problem.data` was written; each has a folder of its own in the cache.
    Raises ProblemError (no such path), WorkFailed (the command failed), ServiceDown (the download failed).
    """
    data = problem.data
    if data.path:
        return _path(problem, workspace, data.path, f"{section}.data" if section == "holdout" else f"{section}.path")
    if not data.url and not data.prepare:
        return ""
    folder = repo.cache / section / _key(problem, workspace)
    if (folder / DONE).exists():
        return str(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with (folder.parent / f"{folder.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / DONE).exists():
            draft = folder.with_name(f"{folder.name}.{os.getpid()}")
            shutil.rmtree(draft, ignore_errors=True)
            draft.mkdir()
            _download(data.url, data.sha256, draft) if data.url else _run(problem, workspace, environment, draft, section)
            (draft / DONE).touch()
            _lock_down(draft)
            os.rename(draft, folder)
    return str(folder)


def _path(problem: Problem, workspace: Workspace, path: str, key: str) -> str:
    """A path as written: absolute, below ~, or below the problem's folder in the repository's base."""
    place = Path(path).expanduser()
    place = place if place.is_absolute() else workspace.folder(problem.folder) / place
    if not place.exists():
        raise ProblemError(f"evogit.toml: {key}", f"{place} does not exist", fix="correct the path, or use `prepare` to make it")
    return str(place)


def _key(problem: Problem, workspace: Workspace) -> str:
    """Hash of what the data depends on: the declaration, and every frozen file of the problem's folder."""
    digest = hashlib.sha256(f"{problem.data}\0".encode())
    if problem.data.prepare:
        root = workspace.folder(problem.folder)
        for path in sorted(_files(root)):
            below = path.relative_to(workspace.root).as_posix()
            if path.suffix == ".py" and not contract.is_mutable(problem, below):
                digest.update(below.encode() + b"\0" + hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:16]


def _files(root: Path) -> Iterator[Path]:
    return (path for path in root.rglob("*") if path.is_file() and not path.is_symlink())


def _run(problem: Problem, workspace: Workspace, environment: Environment, folder: Path, section: str) -> None:
    what = "the held-out data" if section == "holdout" else "the data"
    env = {**base_env(environment, workspace, problem), "EVOGIT_DATA_DIR": str(folder)}
    env.pop("UV_OFFLINE", None)
    argv = contract.argv(problem, problem.data.prepare, 0, ())
    if problem.append:
        argv = argv[: len(argv) - len(problem.append)]
    try:
        done = subprocess.run(
            argv,
            cwd=workspace.folder(problem.folder),
            env=env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise WorkFailed(f"preparing {what} failed: {error}", hint=f"run the [{section}] prepare command by hand to see why") from error
    if done.returncode:
        last = next((line for line in reversed((done.stderr or done.stdout).decode("utf-8", "replace").splitlines()) if line.strip()), "")
        hint = f"run `{problem.data.prepare}` in {problem.folder or 'the repository'} with EVOGIT_DATA_DIR set to see why"
        raise WorkFailed(f"preparing {what} failed with exit code {done.returncode}: {last.strip()}", hint=hint)


def _download(url: str, sha256: str, folder: Path) -> None:
    target = folder / (url.rstrip("/").rpartition("/")[2] or "data")
    digest = hashlib.sha256()
    try:
        with urlopen(url, timeout=60) as source, target.open("wb") as file:
            while chunk := source.read(1 << 20):
                digest.update(chunk)
                file.write(chunk)
    except (URLError, OSError, ValueError) as error:
        raise ServiceDown(f"{url} cannot be downloaded: {error}", hint="try again, or put the file there and use `path`") from error
    if digest.hexdigest() != sha256.lower():
        raise ProblemError(
            "evogit.toml: data.sha256", f"{url} has sha256 {digest.hexdigest()}", fix="is it the file you expect? then write that sum"
        )


def _lock_down(folder: Path) -> None:
    for path in _files(folder):
        path.chmod(path.stat().st_mode & ~0o222)
