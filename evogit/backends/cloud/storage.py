"""A folder in a bucket, for both sides: objects that are made once and read, listed and removed.

What decides who runs a job is `create`: of any number who ask for the same name, one is told True. Nothing is overwritten but what is
called by its own digest, so that it counts as young again.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

from evogit.backends.cloud.clients import CALL_S, EXISTS, NOT_FOUND, TRANSFER_S, Clients

FRESH, STALE = timedelta(days=1), timedelta(days=7)  # of a bundle; no job waits and runs for six days
_BUNDLE = re.compile(r"[0-9a-f]{32}")  # a parcel's digest: nothing else in that folder is ours


class Store:
    """Objects below `url` ("gs://BUCKET/PATH"). Raises as `Clients.ask`. A call is one request, some 50 ms from afar."""

    def __init__(self, clients: Clients, url: str) -> None:
        self.clients, self.url = clients, url.rstrip("/")
        bucket, _, self._prefix = self.url.removeprefix("gs://").partition("/")
        self._name = bucket
        self._bucket = clients.storage.bucket(bucket)

    def create(self, name: str, data: bytes) -> bool:
        """Make an object; False, and nothing changed, where there is one of that name. A repeat of our own counts as ours."""
        blob = self._bucket.blob(self._path(name))

        def call() -> bool:
            blob.upload_from_string(data, "application/octet-stream", if_generation_match=0, timeout=TRANSFER_S, retry=None)
            return True

        made = self.clients.ask(f"writing {self.url}/{name}", call, {EXISTS: False})
        return made or (len(data) < 1 << 16 and self.get(name) == data)

    def refresh(self, name: str, data: bytes) -> None:
        """Have an object that is named by its digest, and not older than a day: a bundle that many jobs need is sent once, and stays."""
        blob = self._bucket.blob(self._path(name))

        def call() -> None:
            blob.upload_from_string(data, "application/octet-stream", timeout=TRANSFER_S, retry=None)

        if not self._is_younger(blob, FRESH):
            self.clients.ask(f"writing {self.url}/{name}", call)

    def _is_younger(self, blob: Any, age: timedelta) -> bool:
        def call() -> bool:
            blob.reload(timeout=CALL_S, retry=None)
            return datetime.now(timezone.utc) - blob.time_created < age

        return self.clients.ask(f"looking for {self.url}", call, {NOT_FOUND: False})

    def sweep(self) -> None:
        """Remove what nobody has asked for during a week. One request, and one for each object that goes."""

        def call() -> list[str]:
            found = self.clients.storage.list_blobs(
                self._name, prefix=self._path(""), fields="items(name,timeCreated),nextPageToken", timeout=CALL_S, retry=None
            )
            now = datetime.now(timezone.utc)
            return [self._local(blob.name) for blob in found if now - blob.time_created > STALE]

        self.remove(name for name in self.clients.ask(f"listing {self.url}", call) if _BUNDLE.fullmatch(name))

    def get(self, name: str) -> bytes | None:
        """An object's bytes, None where there is none."""
        blob = self._bucket.blob(self._path(name))
        return self.clients.ask(
            f"reading {self.url}/{name}", lambda: blob.download_as_bytes(timeout=TRANSFER_S, retry=None), {NOT_FOUND: None}
        )

    def fetch(self, name: str, path: Path) -> bool:
        """An object into a file; False where there is none."""
        blob = self._bucket.blob(self._path(name))

        def call() -> bool:
            path.parent.mkdir(parents=True, exist_ok=True)
            blob.download_to_filename(str(path), timeout=TRANSFER_S, retry=None)
            return True

        return self.clients.ask(f"reading {self.url}/{name}", call, {NOT_FOUND: False})

    def exists(self, name: str) -> bool:
        """True if there is an object of that name."""
        blob = self._bucket.blob(self._path(name))
        return self.clients.ask(f"looking for {self.url}/{name}", lambda: blob.exists(timeout=CALL_S, retry=None))

    def names(self, below: str = "", after: str = "") -> list[str]:
        """Names of objects that begin with `below`, in their order, those up to `after` left out. One request for each thousand."""
        start = {"start_offset": self._path(after) + "\0"} if after else {}

        def call() -> list[str]:
            found = self.clients.storage.list_blobs(
                self._name, prefix=self._path(below), fields="items(name),nextPageToken", timeout=CALL_S, retry=None, **start
            )
            return [self._local(blob.name) for blob in found]

        return [name for name in self.clients.ask(f"listing {self.url}/{below}", call) if name > after]

    def remove(self, names: Iterable[str]) -> None:
        """Remove objects; what is gone is no error."""
        for name in names:
            blob = self._bucket.blob(self._path(name))
            self.clients.ask(f"removing {self.url}/{name}", lambda blob=blob: blob.delete(timeout=CALL_S, retry=None), {NOT_FOUND: None})

    def _path(self, name: str) -> str:
        return f"{self._prefix}/{name}" if self._prefix else name

    def _local(self, path: str) -> str:
        return path[len(self._prefix) + 1 :] if self._prefix else path


def split(url: str) -> tuple[str, str]:
    """Folder and name of an object's address."""
    folder, _, name = url.rpartition("/")
    return folder, name


def quietly() -> Any:
    """For what may be left undone: a clean-up, a line of a log."""
    from evogit.errors import EvogitError

    return contextlib.suppress(EvogitError)
