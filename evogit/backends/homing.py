"""What came back of a job that was carried out elsewhere, put where it would lie had the job run here.

`take_home` opens the result into the job's own folders and writes `outcome.json` last, so that it may be killed and repeated. The
result was the candidate's to fill: nothing is written outside those folders.
"""

from __future__ import annotations

import errno
import io
import json
import os
import tarfile
import zlib
from pathlib import Path

import msgspec

from evogit import strangers
from evogit.backends import parcel, sandbox
from evogit.domain.trial import Job, Outcome, Status
from evogit.errors import BackendDown

STREAMS = ("stdout", "stderr")
# A name that finds no place here: longer than paths go, or a file where a folder stands. The job made it, and the disk is well.
_NO_PLACE = frozenset({errno.ENAMETOOLONG, errno.EISDIR, errno.ENOTDIR, errno.EEXIST, errno.ELOOP})


def collected(folder: Path) -> Outcome | None:
    """The outcome that was taken home into the job's folder, None before that."""
    try:
        told = msgspec.json.decode((folder / "outcome.json").read_bytes(), type=Outcome)
    except (OSError, msgspec.DecodeError):
        return None
    return msgspec.structs.replace(told, folder=str(folder))


def take_home(result: bytes, job: Job, folder: Path, backend: str) -> Outcome:
    """Put a result of `outpost.carry_out` in its place: output and outcome into `folder`, the rest into the job's own folders.

    Raises BackendDown where it cannot be written here. A result that is no result is an outcome INFRASTRUCTURE; one with a file for
    which there is no place here is a crash. Repeatable.
    """
    try:
        told = _opened(result, job, folder)
    except (tarfile.TarError, zlib.error, msgspec.DecodeError, ValueError, RecursionError) as error:
        told = lost(job.key, f"what came back of the job cannot be read: {error}")
    except OSError as error:
        raise BackendDown(
            f"what came back of a job cannot be kept: {error.filename or folder}: {error.strerror}",
            hint="see `df -h`, then resume the loop",
        ) from error
    return settle(told, job, folder, backend)


def settle(outcome: Outcome, job: Job, folder: Path, backend: str) -> Outcome:
    """Write how a job ended; its folder then has all that an outcome's folder has."""
    folder.mkdir(parents=True, exist_ok=True)
    artifacts = folder / "artifacts"
    Path(job.artifact_dir).mkdir(parents=True, exist_ok=True)
    if artifacts != Path(job.artifact_dir) and not os.path.lexists(artifacts):
        artifacts.symlink_to(job.artifact_dir)
    for name in STREAMS:
        (folder / name).touch()
    outcome = msgspec.structs.replace(outcome, folder="", backend=backend)
    draft = folder / f".outcome.{os.getpid()}"
    draft.write_bytes(msgspec.json.encode(outcome))
    os.replace(draft, folder / "outcome.json")
    return msgspec.structs.replace(outcome, folder=str(folder))


def lost(key: str, reason: str, status: Status = Status.INFRASTRUCTURE) -> Outcome:
    """An outcome of a job that nobody has numbers of."""
    return Outcome(key=key, status=status, exit_code=None, seconds=0.0, peak_rss_mib=0, started="", folder="", reason=reason)


def _opened(result: bytes, job: Job, folder: Path) -> Outcome:
    owner = sandbox.user() if os.getuid() == 0 else -1
    places = {"source/": job.source, "artifacts/": job.artifact_dir} | {f"w{n}/": path for n, path in enumerate(job.view.writable)}
    outcome, displaced = None, ""
    with tarfile.open(fileobj=io.BytesIO(zlib.decompress(result)), mode="r:") as tar:
        for entry in tar:
            if entry.name in (*STREAMS, "left_out.json") and entry.isreg():
                parcel.place(tar, entry, str(folder))
            elif entry.name == "gone.json":
                _remove(_text(tar, entry), {"source/": job.source, "artifacts/": job.artifact_dir})
            elif entry.name == "outcome.json":
                outcome = msgspec.json.decode(_text(tar, entry), type=Outcome)
            else:
                displaced = _place_below(tar, entry, places, owner) or displaced
    if outcome is None:
        raise ValueError("it has no outcome")
    if displaced and outcome.status is Status.OK:
        return msgspec.structs.replace(outcome, status=Status.CRASH, reason=f"what it left cannot be brought home: {displaced}")
    return outcome


def _place_below(tar: tarfile.TarFile, entry: tarfile.TarInfo, places: dict[str, str], owner: int) -> str:
    """Put it there; why there is no place for it, "" if there is."""
    for prefix, target in places.items():
        if entry.name.startswith(prefix) and len(entry.name) > len(prefix):
            entry.name = entry.name[len(prefix) :]
            try:
                parcel.place(tar, entry, target, owner)
            except OSError as fault:
                if fault.errno not in _NO_PLACE:
                    raise
                return f"{strangers.text(prefix + entry.name[:200])}: {(fault.strerror or str(fault)).lower()}"
            break
    return ""


def _text(tar: tarfile.TarFile, entry: tarfile.TarInfo) -> bytes:
    file = tar.extractfile(entry)
    return file.read() if file is not None else b""


def _remove(told: bytes, places: dict[str, str]) -> None:
    """What the job removed from its checkout and of earlier artifacts is gone here too."""
    # Not msgspec: a path that is not UTF-8 comes as lone surrogates, which only the standard library lets through.
    for prefix, names in msgspec.convert(json.loads(told), dict[str, list[str]]).items():
        top = os.path.realpath(places[prefix]) if prefix in places else ""
        for name in names if top else ():
            path = os.path.join(os.path.realpath(os.path.dirname(os.path.join(top, name))), os.path.basename(name))
            if path.startswith(top + os.sep) and (os.path.isfile(path) or os.path.islink(path)):
                os.unlink(path)
