"""The image that containers are made of: which one it is, what it is built from, and its build by Cloud Build.

Its tag ends in a digest of all that it is built from, so that it is built once, and an old one is never taken for a new one. It holds the
requirements for trials, and beside them, in an environment of its own, the few modules of evogit that carry a job out.
"""

from __future__ import annotations

import ast
import gzip
import hashlib
import io
import shlex
import tarfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

from evogit.backends.cloud.clients import CALL_S
from evogit.backends.cloud.executions import PYTHON
from evogit.backends.cloud.settings import Settings
from evogit.backends.cloud.spec import Spec
from evogit.backends.cloud.storage import Store
from evogit.errors import ProblemError, UserError, WorkFailed

TOP = Path(__file__).resolve().parents[3]
ENTRY = "evogit.backends.cloud.entrypoint"
DATA = ("evogit/backends/tracing/sitecustomize.py",)  # read as a file, imported by nobody
NEEDS = ("msgspec>=0.18.6", "google-cloud-storage>=2.18", "nvidia-ml-py>=12.535", "pyseccomp>=0.1.2")
SYSTEM = ("bubblewrap", "libseccomp2")  # the sandbox inside the container, where the container lets one be built
BUILDER = "gcr.io/cloud-builders/docker"
BUILD_S = 3600
LONGEST_PAUSE = 10  # times the shortest


def reference(spec: Spec, folder: Path) -> str:
    """The image's whole name. Without a base image it is one that somebody else built. Raises ProblemError."""
    if spec.image.uri:
        return spec.image.uri
    tag = f"{spec.image.tag}-{digest(spec, folder)[:12]}" if spec.build.base_image else spec.image.tag
    return f"{_package(spec)}:{tag}"


def _package(spec: Spec) -> str:
    return f"{spec.region}-docker.pkg.dev/{spec.project_id}/{spec.artifact_repo}/{spec.image.name}"


def digest(spec: Spec, folder: Path) -> str:
    """sha256 over all files of the build."""
    found = hashlib.sha256()
    for name, data in sorted(context(spec, folder).items()):
        found.update(f"{name}\0{len(data)}\0".encode() + data)
    return found.hexdigest()


def context(spec: Spec, folder: Path) -> dict[str, bytes]:
    """The build's files. Raises ProblemError where the requirements cannot be read."""
    files = {name: (TOP / name).read_bytes() for name in (*modules(), *DATA)}
    if spec.build.requirements:
        path = folder / spec.build.requirements
        try:
            files["requirements.txt"] = path.read_bytes()
        except OSError as error:
            raise ProblemError(f"{folder}: build.requirements", f"{path} cannot be read: {(error.strerror or '').lower()}") from error
    files["Dockerfile"] = dockerfile(spec).encode()
    return files


def dockerfile(spec: Spec) -> str:
    """How it is built. The layers that change least come first."""
    build = spec.build
    apt = "apt-get update && apt-get install -y --no-install-recommends"
    lines = [
        f"FROM {build.base_image}",
        "ENV PYTHONUNBUFFERED=1 PIP_NO_CACHE_DIR=1 PIP_BREAK_SYSTEM_PACKAGES=1 PYTHONPATH=/opt/evogit/lib",
        f"RUN ({apt} {' '.join(SYSTEM)}; rm -rf /var/lib/apt/lists/*) || true",
        f"RUN python -m venv /opt/evogit && /opt/evogit/bin/python -m pip install {_words(NEEDS)}",
    ]
    if build.apt_packages:
        lines.append(f"RUN {apt} {_words(build.apt_packages)} && rm -rf /var/lib/apt/lists/*")
    if build.requirements:
        lines += ["COPY requirements.txt /opt/requirements.txt", "RUN python -m pip install -r /opt/requirements.txt"]
    if build.extra_pip:
        lines.append(f"RUN python -m pip install {_words(build.extra_pip)}")
    lines += ["COPY evogit /opt/evogit/lib/evogit", f'ENTRYPOINT ["{PYTHON}", "-m", "{ENTRY}"]']
    return "\n".join(lines) + "\n"


def _words(words: Iterable[str]) -> str:
    return " ".join(map(shlex.quote, words))


@cache
def modules() -> tuple[str, ...]:
    """Paths of evogit's modules that the container needs: the entrypoint, and what that imports at any depth."""
    found: dict[str, str] = {}
    waiting = [ENTRY, "evogit"]
    while waiting:
        name = waiting.pop()
        path = _file(name)
        if path and name not in found:
            found[name] = path
            waiting += [part for part in _imports(TOP / path) if part.split(".")[0] == "evogit"]
            waiting.append(name.rpartition(".")[0])
    return tuple(sorted(found.values()))


def _file(name: str) -> str:
    stem = name.replace(".", "/")
    return next((path for path in (f"{stem}.py", f"{stem}/__init__.py") if stem and (TOP / path).is_file()), "")


def _imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def tarball(files: dict[str, bytes]) -> bytes:
    """Files as Cloud Build takes them; the same files give the same bytes."""
    sink = io.BytesIO()
    with gzip.GzipFile(fileobj=sink, mode="wb", mtime=0) as packed, tarfile.open(fileobj=packed, mode="w") as tar:
        for name, data in sorted(files.items()):
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(data), 0o644
            tar.addfile(entry, io.BytesIO(data))
    return sink.getvalue()


def is_there(settings: Settings) -> bool:
    """True if the registry has the image. Raises as `Clients.ask`."""
    spec, tag = settings.spec, settings.image.rpartition(":")[2]
    path = f"/v1/{spec.parent}/repositories/{spec.artifact_repo}/packages/{spec.image.name}/tags/{tag}"
    return settings.clients.json("looking for the image", "artifactregistry.googleapis.com", path) is not None


def request(settings: Settings, source: str) -> dict[str, Any]:
    """The build that Cloud Build is asked for. `source`: gs:// address of the tarball."""
    bucket, _, name = source.removeprefix("gs://").partition("/")
    tags = [settings.image, f"{_package(settings.spec)}:{settings.spec.image.tag}"]
    arguments = ["build", *(word for tag in tags for word in ("--tag", tag)), "."]
    return {
        "source": {"storage_source": {"bucket": bucket, "object_": name}},
        "steps": [{"name": BUILDER, "args": arguments}],
        "images": tags,
        "timeout": {"seconds": BUILD_S},
        "tags": ["evogit", settings.spec.image.name],
        "options": {"logging": "CLOUD_LOGGING_ONLY"},
    }


def source(settings: Settings) -> str:
    """Address of the build's tarball in the bucket."""
    name = f"{settings.spec.image.name}-{digest(settings.spec, settings.path.parent)[:24]}.tar.gz"
    return f"gs://{settings.spec.bucket}/evogit-builds/{name}"


def check_buildable(settings: Settings) -> None:
    """Raise UserError where there is nothing to build an image from."""
    if settings.spec.image.uri or not settings.spec.build.base_image:
        what = "image.uri names an image that is built elsewhere" if settings.spec.image.uri else "it names no build.base_image"
        raise UserError(f"{settings.path}: {what}", hint="write build.base_image and build.requirements, and image.name")


def deploy(settings: Settings, say: Callable[[str], None]) -> bool:
    """Build the image and wait for it; False where it is there already. Minutes. Raises UserError, BackendDown, WorkFailed."""
    check_buildable(settings)
    if is_there(settings):
        return False
    address = source(settings)
    place, _, name = address.rpartition("/")
    say(f"sending what it is built from to {address}")
    Store(settings.clients, place).create(name, tarball(context(settings.spec, settings.path.parent)))
    builds, project = settings.clients.builds(), settings.spec.project_id
    asked = {"project_id": project, "build": request(settings, address)}
    begun = settings.clients.ask("asking for a build", lambda: builds.create_build(asked, timeout=CALL_S, retry=None))
    _await(settings, builds, begun.metadata.build.id, say)
    return True


def _await(settings: Settings, builds: Any, build: str, say: Callable[[str], None]) -> None:
    """Until the build is over. Raises WorkFailed if it did not succeed."""
    known, said, pause_s = {"project_id": settings.spec.project_id, "id": build}, "", settings.poll_s
    deadline = time.monotonic() + BUILD_S + 600
    while True:
        found = settings.clients.ask("asking how the build stands", lambda: builds.get_build(known, timeout=CALL_S, retry=None))
        status = found.status.name
        if status != said:
            say(
                f"build {build}: {status.lower().replace('_', ' ')}" + (f", its log: {found.log_url}" if found.log_url and not said else "")
            )
        said = status
        if status == "SUCCESS":
            return
        if status not in ("PENDING", "QUEUED", "WORKING") or time.monotonic() > deadline:
            why = " ".join((found.failure_info.detail or found.status_detail).split())
            raise WorkFailed(f"the image was not built: {status.lower()}{f': {why}' if why else ''}", hint=f"its log: {found.log_url}")
        threading.Event().wait(pause_s)
        pause_s = min(pause_s * 1.5, LONGEST_PAUSE * settings.poll_s)
