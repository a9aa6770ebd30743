"""What lies in Modal's volumes: a folder for each job, and the data and caches that many jobs read, brought there once.

    jobs   /<key>/order.json terms.json <parcels>, and the result
    data   /data/<name>/ the prepared data of a problem      /<cache>/ what lies in ~/.cache/<cache>
    hub    the files of Hugging Face's cache

Nothing that is there is brought again: who changes a cache here and wants it there removes it there first.
"""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType

from evogit.domain.trial import Job
from evogit.errors import UserError
from evogit.folders import listed

APP = "AUTORESEARCH_MODAL_APP_NAME"
DATA = "AUTORESEARCH_MODAL_DATA_VOLUME_NAME"
HUB = "AUTORESEARCH_MODAL_HF_VOLUME_NAME"
SEED_CAP = 100 << 30  # bytes of one folder that are brought to a volume unasked


def app_name() -> str:
    """Name of Modal's app for all that we run."""
    return os.environ.get(APP) or "evogit"


class Shelves:
    """The three volumes. They are made where they are missing."""

    def __init__(self, modal: ModuleType) -> None:
        self._modal = modal
        self.jobs = modal.Volume.from_name(f"{app_name()}-jobs", create_if_missing=True, version=2)
        self.data = modal.Volume.from_name(os.environ.get(DATA) or "evogit-data", create_if_missing=True)
        self.hub = modal.Volume.from_name(os.environ.get(HUB) or "evogit-hf", create_if_missing=True)

    def put(self, key: str, files: Mapping[str, bytes]) -> None:
        """Files of a job into its folder. What Modal has already in these very bytes does not travel again."""
        with self.jobs.batch_upload(force=True) as batch:
            for name, data in files.items():
                batch.put_file(io.BytesIO(data), f"/{key}/{name}")

    def get(self, key: str, name: str) -> bytes | None:
        """A file of a job's folder, None if there is none."""
        try:
            return b"".join(self.jobs.read_file(f"{key}/{name}"))
        except (FileNotFoundError, self._modal.exception.NotFoundError):
            return None

    def has(self, key: str, name: str) -> bool:
        """True if a job's folder has a file of that name."""
        try:
            return any(os.path.basename(entry.path) == name for entry in self.jobs.listdir(f"/{key}"))
        except (FileNotFoundError, self._modal.exception.NotFoundError):
            return False

    def remove(self, key: str) -> None:
        """A job's folder. No error if there is none."""
        try:
            self.jobs.remove_file(f"/{key}", recursive=True)
        except (FileNotFoundError, self._modal.exception.NotFoundError):
            return

    def bring_data(self, job: Job) -> str:
        """The job's prepared data lies in the data volume afterwards: where, "" if it has none. Raises UserError where it is too much."""
        if not job.data:
            return ""
        digest = hashlib.sha256()
        for name in sorted(listed(job.data)) if os.path.isdir(job.data) else [""]:
            state = os.lstat(os.path.join(job.data, name))
            digest.update(f"{name}\0{state.st_size}\0{state.st_mtime_ns}\n".encode("utf-8", "surrogateescape"))
        place = f"data/{digest.hexdigest()[:16]}"
        self._bring(self.data, job.data, place)
        return place if os.path.isdir(job.data) else f"{place}/{os.path.basename(job.data)}"

    def bring_cache(self, folder: str, name: str) -> str:
        """A folder of the person's ~/.cache lies in the data volume afterwards: where."""
        self._bring(self.data, folder, name)
        return name

    def bring_hub(self, folder: str) -> None:
        """Hugging Face's cache lies in its volume afterwards."""
        self._bring(self.hub, folder, "")

    def _bring(self, volume, folder: str, place: str) -> None:
        """Copy a folder (or a file) below `place` of a volume unless something is there. An upload shows whole or not at all."""
        if self._holds(volume, place):
            return
        names = list(listed(folder)) if os.path.isdir(folder) else [""]
        files = [os.path.normpath(os.path.join(folder, name)) for name in names]
        size = sum(os.path.getsize(path) for path in files if os.path.isfile(path))
        if size > SEED_CAP:
            raise UserError(
                f"{folder} has {size >> 30} GiB, and at most {SEED_CAP >> 30} are brought to Modal unasked",
                hint=f"`modal volume put {volume.name} {folder} /{place}` brings it",
            )
        top = folder if os.path.isdir(folder) else os.path.dirname(folder)
        with volume.batch_upload(force=True) as batch:
            for path in files:
                if os.path.isfile(path):
                    batch.put_file(Path(os.path.realpath(path)), f"/{place}/{os.path.relpath(path, top)}".replace("//", "/"))

    def _holds(self, volume, place: str) -> bool:
        try:
            return bool(volume.listdir(f"/{place}"))
        except (FileNotFoundError, self._modal.exception.NotFoundError):
            return False
