"""Cloud Storage: the emulator's own handlers behind a front that keeps `ifGenerationMatch`, which they ignore, one request at a time."""

from __future__ import annotations

import io
import json
import threading
from collections.abc import Iterable
from http.server import BaseHTTPRequestHandler
from urllib.parse import parse_qs, unquote, urlsplit

from gcp_storage_emulator.exceptions import NotFound
from gcp_storage_emulator.handlers import buckets
from gcp_storage_emulator.server import Router
from gcp_storage_emulator.storage import Storage as Emulated


class Storage:
    """One project's buckets, in memory."""

    def __init__(self, bucket: str) -> None:
        self._storage = Emulated(use_memory_fs=True)
        self._lock = threading.Lock()
        buckets.create_bucket(bucket, self._storage)

    def names(self, bucket: str, below: str = "") -> list[str]:
        """Names of a bucket's objects."""
        with self._lock:
            found, _ = self._storage.get_file_list(bucket, prefix=below or None)
            return sorted(each["name"] for each in found)

    def read(self, bucket: str, name: str) -> bytes:
        """An object's bytes."""
        with self._lock:
            return self._storage.get_file(bucket, name)

    def write(self, bucket: str, name: str, data: bytes) -> None:
        """Put an object there, as somebody else would have."""
        from gcp_storage_emulator.handlers import objects

        with self._lock:
            made = objects._make_object_resource("", bucket, name, "application/octet-stream", str(len(data)))
            self._storage.create_file(bucket, name, data, objects._checksums(data, made))

    def date(self, bucket: str, name: str, when: str) -> None:
        """Say that an object was made at another time."""
        with self._lock:
            self._storage.get_file_obj(bucket, name)["timeCreated"] = when

    def grant(self, bucket: str, member: str, roles: Iterable[str]) -> None:
        """The bucket's policy is this and no other."""
        with self._lock:
            policy = {"bindings": [{"role": role, "members": [member]} for role in roles], "etag": "CAE=", "version": 1}
            self._storage.set_bucket_iam_policy(bucket, policy)

    def drop(self, bucket: str) -> None:
        """The bucket is gone, with all that is in it."""
        with self._lock:
            for each in list(self._storage.get_file_list(bucket)[0]):
                self._storage.delete_file(bucket, each["name"])
            self._storage.delete_bucket(bucket)

    def serve(self, handler: BaseHTTPRequestHandler, body: bytes) -> None:
        """Answer one request."""
        with self._lock:
            if self._is_refused(handler, body):
                data = b'{"error": {"code": 412, "message": "At least one of the pre-conditions you specified did not hold."}}'
                handler.send_response(412)
                handler.send_header("content-type", "application/json")
                handler.send_header("content-length", str(len(data)))
                handler.end_headers()
                handler.wfile.write(data)
                return
            handler.storage, socket = self._storage, handler.rfile
            handler.rfile = io.BytesIO(body)
            try:
                Router(handler).handle(handler.command)
            finally:
                handler.rfile = socket

    def _is_refused(self, handler: BaseHTTPRequestHandler, body: bytes) -> bool:
        """True if a generation was asked for that the object does not have; 0 stands for no object."""
        url = urlsplit(handler.path)
        query = parse_qs(url.query)
        if "ifGenerationMatch" not in query or handler.command not in ("POST", "PUT", "DELETE") or "upload_id" in query:
            return False
        bucket = unquote(url.path.partition("/b/")[2].partition("/")[0])
        name = query["name"][0] if "name" in query else unquote(url.path.partition("/o/")[2]) or _named(handler, body)
        try:
            generation = self._storage.get_file_obj(bucket, name)["generation"]
        except NotFound:
            generation = "0"
        return generation != query["ifGenerationMatch"][0]


def _named(handler: BaseHTTPRequestHandler, body: bytes) -> str:
    """The object that an upload names in its first part."""
    kind = handler.headers.get("content-type", "")
    if kind.startswith("multipart/"):
        boundary = kind.partition("boundary=")[2].strip('"').encode()
        body = body.split(b"--" + boundary)[1].partition(b"\r\n\r\n")[2].strip()
    return json.loads(body or b"{}").get("name", "")
