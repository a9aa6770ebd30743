"""A job that is carried out on another machine: what travels with it, and what its paths are called there.

An `Order` is all that the other side is told. `rewritten` gives the job as it stands there; `evogit.backends.outpost` carries it
out, `evogit.backends.homing` takes home what came of it. It reads the folders of the job and writes nothing.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import msgspec

from evogit.backends import parcel
from evogit.domain.trial import Job, View
from evogit.folders import listed

TRACING = str(Path(__file__).resolve().parent / "tracing")
DATA_CAP = 1 << 30  # bytes of data that are sent with a job; more has to be there already


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """One job, the digests of the parcels that it needs ("" for none), and this machine's names for what is elsewhere there too."""

    job: Job
    source: str
    left: str = ""  # what earlier jobs of the same trial left as artifacts
    data: str = ""
    data_at: str = ""  # where the data lies on the other machine already
    tracing: str = TRACING
    links: dict[
        str, str
    ] = {}  # link below a folder that the view names as writable -> where it leads on the other machine, if that is there


def order_of(job: Job, keep: Callable[[str, Callable[[], bytes]], str], data_at: str = "", names: Sequence[str] | None = None) -> Order:
    """The order for a job. `keep(hint, make)` stores the parcel that `make` gives and returns its digest; a hint that is not "" names
    bytes that never change, so that `make` need not be called again. `names`: the paths below the source that travel, None for all of
    them. O(bytes of the source tree), once per tree.

    Raises ValueError where data of more than 1 GiB would have to travel.
    """
    source = keep(f"tree-{job.tree}" if job.tree else "", lambda: parcel.pack(job.source, names))
    has_left = os.path.isdir(job.artifact_dir) and any(os.scandir(job.artifact_dir))
    left = keep("", lambda: parcel.pack(job.artifact_dir)) if has_left else ""
    data = ""
    if job.data and not data_at:
        size = sum(os.lstat(os.path.join(job.data, name)).st_size for name in listed(job.data))
        if size > DATA_CAP:
            raise ValueError(f"the data has {size >> 20:,} MiB, and at most {DATA_CAP >> 20:,} MiB travel with a job")
        data = keep(f"data-{job.data}-{os.stat(job.data).st_mtime_ns}-{size}", lambda: parcel.pack(job.data))
    return Order(job=job, source=source, left=left, data=data, data_at=data_at, links=links_of(job))


def links_of(job: Job) -> dict[str, str]:
    """The person's caches that are linked into the job's home: link -> where it leads here."""
    found = {}
    for folder in job.view.writable:
        cache = os.path.join(folder, ".cache")
        if os.path.isdir(cache):
            found |= {entry.path: os.path.realpath(entry.path) for entry in os.scandir(cache) if entry.is_symlink()}
    return found


class Ground(msgspec.Struct, frozen=True, kw_only=True):
    """Where a job stands on the other machine: absolute paths."""

    source: str
    artifacts: str
    writable: tuple[str, ...]  # one for each of the view's
    data: str  # "" if the job has none, or it lies where it lies at home
    tracing: str = TRACING

    def names(self, order: Order) -> dict[str, str]:
        """Path at home -> path here."""
        job = order.job
        pairs = {job.source: self.source, job.artifact_dir: self.artifacts, order.tracing: self.tracing}
        pairs |= dict(zip(job.view.writable, self.writable))
        if job.data and self.data:
            pairs[job.data] = self.data
        return pairs


def rewritten(order: Order, ground: Ground, path: str) -> Job:
    """The job as it stands there. `path`: the PATH of that machine, which comes after the job's own where some of that is not there."""
    job, names = order.job, ground.names(order)
    here = _renamer(names)
    env = {name: os.pathsep.join(here(part) for part in value.split(os.pathsep)) for name, value in job.env.items()}
    own = env.get("PATH", "").split(os.pathsep)
    if missing := [folder for folder in own if not os.path.isdir(folder)]:
        folders = [folder for folder in (*own, *path.split(os.pathsep)) if folder and folder not in missing]
        env["PATH"] = os.pathsep.join(dict.fromkeys(folders))
    if "VIRTUAL_ENV" in env and not os.path.isdir(env["VIRTUAL_ENV"]):
        del env["VIRTUAL_ENV"]
    view = View(
        writable=tuple(map(here, job.view.writable)),
        readable=tuple(
            dict.fromkeys(
                (*map(here, job.view.readable), *_python_folders(), *order.links.values(), *([ground.data] if ground.data else []))
            )
        ),
        frozen=tuple(map(here, job.view.frozen)),
        masked=tuple(here(name) for name in job.view.masked if here(name) != name),
    )
    return msgspec.structs.replace(
        job, argv=tuple(_renamed_argument(word, here) for word in job.argv), cwd=here(job.cwd), source=ground.source, artifact_dir=ground.artifacts, env=env,
        view=view, data=ground.data or job.data,
    )  # fmt: skip


def _renamed_argument(word: str, here: Callable[[str], str]) -> str:
    """A word of a command: a path, or `--name=path`."""
    name, equals, value = word.partition("=")
    return name + equals + here(value) if equals and here(word) == word else here(word)


def _python_folders() -> Sequence[str]:
    """Our own interpreter, for jobs whose command finds it on PATH."""
    import sys

    return (sys.prefix, sys.base_prefix)


def _renamer(names: Mapping[str, str]) -> Callable[[str], str]:
    """A function that renames a path which is one of `names` or lies below one; anything else it gives back."""
    by_length = sorted(names, key=len, reverse=True)

    def rename(text: str) -> str:
        for old in by_length:
            if text == old or text.startswith(old + os.sep):
                return names[old] + text[len(old) :]
        return text

    return rename
