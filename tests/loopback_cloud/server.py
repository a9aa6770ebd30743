"""The server: one port for all services, whose paths do not collide. It counts requests and breaks what it was told to break."""

from __future__ import annotations

import json
import logging
import shutil
import tempfile
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

from loopback_cloud.builds import Builds
from loopback_cloud.containers import Containers
from loopback_cloud.project import Project
from loopback_cloud.run import Run
from loopback_cloud.storage import Storage

PROJECT, REGION, BUCKET = "loopback-project", "loopback1", "loopback-bucket"
Answer = tuple[int, dict]


class Cloud:
    """One server. `with Cloud() as cloud:` starts and stops it, and ends every container that still runs."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="loopback-cloud-"))
        self.folder.chmod(0o711)
        self.requests: list[str] = []  # "POST /v2/..."
        self.faults: list[tuple[str, int, str]] = []  # (part of "METHOD /path?query", status, message), each for one request
        self.containers = Containers(self.folder)
        self.storage, self.run, self.builds, self.project = Storage(BUCKET), Run(self), Builds(self), Project()
        self._lock = threading.Lock()
        handler = type("Handler", (_Handler,), {"cloud": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        logging.getLogger("gcp_storage_emulator").setLevel(logging.CRITICAL)
        for name in ("api.object", "api.bucket"):
            logging.getLogger(name).setLevel(logging.CRITICAL)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Cloud:  # noqa: PYI034 - Self is not in Python 3.10
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.containers.close()
        self._server.shutdown()
        self._server.server_close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def reset(self) -> None:
        """End every container, and forget all that was asked and made; the server and what starts containers stay."""
        self.containers.end_all()
        self.requests.clear()
        self.faults.clear()
        self.storage, self.run, self.builds, self.project = Storage(BUCKET), Run(self), Builds(self), Project()

    def fail(self, part: str, status: int, message: str = "", times: int = 1) -> None:
        """The next `times` requests that hold `part` are answered with an error."""
        self.faults += [(part, status, message or f"status {status}, as asked")] * times

    def asked(self, part: str) -> int:
        """How many requests held `part`."""
        return sum(part in request for request in self.requests)

    def take(self, line: str) -> tuple[int, str] | None:
        """Count a request in; the fault that it is to meet."""
        with self._lock:
            self.requests.append(line)
            for n, (part, status, message) in enumerate(self.faults):
                if part in line:
                    del self.faults[n]
                    return status, message
        return None

    def service(self, path: str) -> Callable[[str, str, str, bytes], Answer] | None:
        """Who answers a path; None for Cloud Storage, which speaks for itself."""
        if path.startswith("/v2/"):
            return self.run.answer
        if path.startswith("/v1/projects/") and "/builds" in path:
            return self.builds.answer
        if path.startswith(("/v1/", "/v1beta1/")):
            return self.project.answer
        return None


STATUS = {400: "INVALID_ARGUMENT", 401: "UNAUTHENTICATED", 403: "PERMISSION_DENIED", 404: "NOT_FOUND", 409: "ALREADY_EXISTS"}
STATUS |= {429: "RESOURCE_EXHAUSTED", 500: "INTERNAL", 503: "UNAVAILABLE"}


def refusal(status: int, message: str) -> Answer:
    """An error as Google's services write it."""
    reason, colon, words = message.partition(": ")
    told = {"errors": [{"reason": reason, "domain": "usageLimits", "message": words}]} if colon and reason.isidentifier() else {}
    return status, {"error": {"code": status, "message": words if told else message, "status": STATUS.get(status, "UNKNOWN"), **told}}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    cloud: Cloud

    def log_message(self, *_: object) -> None:
        """Quiet."""

    def _serve(self) -> None:
        url = urlsplit(self.path)
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        fault = self.cloud.take(f"{self.command} {self.path}")
        if fault:
            return self.send_json(*refusal(*fault))
        answer = self.cloud.service(url.path)
        if answer is None:
            return self.cloud.storage.serve(self, body)
        self.send_json(*answer(self.command, url.path, url.query, body))

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _serve

    def send_json(self, status: int, body: dict) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)
