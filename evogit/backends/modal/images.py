"""The image that a trial runs in: the problem's packages as its lock file says, and evogit in a corner of its own.

It says what is to be built; Modal builds it, once for equal files. It installs nothing here.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import ModuleType

import evogit
from evogit.backends.modal.aboard import UV
from evogit.domain.trial import Job

CORNER = "/opt/evogit"
PYTHON = f"{CORNER}/bin/python"
SOURCE = f"{CORNER}/source"
NEEDED = ("msgspec", "pyseccomp", "nvidia-ml-py")  # of what carries a job out
SYSTEM = ("bubblewrap", "libseccomp2", "git")
SHIPPED = ("__init__.py", "errors.py", "failpoint.py", "folders.py", "removal.py", "strangers.py", "backends", "domain")  # of ours
LOCKS = ("uv.lock", "pyproject.toml", "requirements.txt", ".python-version")
OF_THIS_MACHINE = ("PATH", "VIRTUAL_ENV", "LD_LIBRARY_PATH", "PYTHONUSERBASE", "PYTHONNOUSERSITE")
OF_ITS_PARTS = ("UV_", "CUDA", "NVIDIA", "HIP_", "ROCR_")


def project_of(job: Job) -> Path | None:
    """The nearest folder from the job's own up to the checkout's top that says which packages it needs, or None."""
    top, folder = Path(job.source), Path(job.cwd)
    for place in (folder, *folder.parents):
        if any((place / name).is_file() for name in LOCKS[:3]):
            return place
        if place == top:
            return None
    return None


def digest_of(project: Path | None, python: str, apt: Sequence[str]) -> str:
    """Equal for jobs that an equal image serves. Reads the project's lock files."""
    found = hashlib.sha256(repr((python, tuple(apt))).encode())
    for name in LOCKS if project is not None else ():
        path = project / name
        found.update(name.encode() + b"\0" + (path.read_bytes() if path.is_file() else b"-") + b"\0")
    return found.hexdigest()


def image(modal: ModuleType, project: Path | None, python: str = "", apt: Sequence[str] = ()):
    """A `modal.Image`. python: "3.12", "" for what the project asks for, else ours. apt: further packages of Debian."""
    needed = " ".join(f"'{name}=={found}'" for name in NEEDED if (found := _installed(name)))
    made = (
        modal.Image.debian_slim(python_version=python or _python_of(project))
        .apt_install(*SYSTEM, *apt)
        .run_commands(f"python -m venv {CORNER}", f"{CORNER}/bin/pip install --no-cache-dir {needed}")
    )
    if project is not None and _uses_uv(project):
        made = made.uv_sync(str(project))
    elif project is not None:
        made = made.pip_install_from_requirements(str(project / "requirements.txt"))
    return made.add_local_dir(Path(evogit.__file__).parent, f"{SOURCE}/evogit", ignore=_is_left_out)


def _uses_uv(project: Path) -> bool:
    """A list of requirements counts only where nothing else says what is needed."""
    return (project / "uv.lock").is_file() or not (project / "requirements.txt").is_file()


def environment_there(job: Job, project: Path | None) -> dict[str, str]:
    """The job's variables without those that speak of this machine's interpreters and devices."""
    env = {name: value for name, value in job.env.items() if name not in OF_THIS_MACHINE and not name.startswith(OF_ITS_PARTS)}
    if project is not None and _uses_uv(project):
        env |= {"UV_PROJECT_ENVIRONMENT": f"{UV}/.venv", "UV_PYTHON": f"{UV}/.venv/bin/python"}
        env |= {"UV_NO_SYNC": "1", "UV_OFFLINE": "1", "UV_PYTHON_DOWNLOADS": "never", "SETUPTOOLS_SCM_PRETEND_VERSION": "0.0.0"}
    return env


def _is_left_out(path: Path) -> bool:
    """True for what of evogit's package no container needs: faces, the search, the books."""
    return "__pycache__" in path.parts or path.parts[0] not in SHIPPED


def _installed(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""


def _python_of(project: Path | None) -> str:
    """ "3.12" of `.python-version`, else ours."""
    path = project / ".python-version" if project is not None else None
    words = path.read_text(encoding="utf-8", errors="replace").split() if path is not None and path.is_file() else []
    numbers = words[0].removeprefix("cpython-").split(".") if words else []
    if len(numbers) > 1 and numbers[0].isdigit() and numbers[1].isdigit():
        return ".".join(numbers[:2])
    return f"{sys.version_info.major}.{sys.version_info.minor}"
