"""The server itself: takes requests, counts them, breaks what it was told to break. What it answers is `minds`' affair."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from loopback import anthropic_api, minds, openai_api
from loopback.charges import Charge

KEY = "sk-loopback-0123456789abcdef"


@dataclass
class Seen:
    """One request: its path, its JSON, its headers (lower case), and what was done about it."""

    api: str  # "anthropic" or "openai"
    body: dict
    headers: dict[str, str]
    number: int  # 0, 1, 2 ... in the order in which they came
    fault: str = ""
    prefixes: list[str] = field(default_factory=list)  # hashes of the prefixes that it marked for the cache, the shortest first


class Loopback:
    """One server. `with Loopback() as loopback:` starts and stops it."""

    def __init__(self) -> None:
        self.requests: list[Seen] = []
        self.charged: list[Charge] = []
        self.faults: list[str] | Callable[[Seen], str] = []
        self.mind: minds.Mind = minds.offline()
        self.has_tools = True  # False: chat completions refuses requests with tools
        self.has_strict = True  # False: the Messages API refuses tools that are marked as strict
        self.cache: dict[str, int] = {}  # hash of a prefix -> its tokens
        self.lock = threading.Lock()
        self.key = KEY
        handler = type("Handler", (_Handler,), {"loopback": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    @property
    def env(self) -> dict[str, str]:
        """Keys that it takes, as a process's environment."""
        return {"ANTHROPIC_API_KEY": self.key, "OPENAI_API_KEY": self.key, "NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"}

    @property
    def charged_usd(self) -> float:
        return sum(charge.usd for charge in self.charged)

    def __enter__(self) -> Loopback:  # noqa: PYI034 - Self is not in Python 3.10
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def take(self, api: str, body: dict, headers: dict[str, str]) -> Seen:
        """Count a request in, with the fault that it is to meet."""
        with self.lock:
            seen = Seen(api=api, body=body, headers=headers, number=len(self.requests))
            self.requests.append(seen)
            if callable(self.faults):
                seen.fault = self.faults(seen)
            elif self.faults:
                seen.fault = self.faults.pop(0)
            return seen


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    loopback: Loopback

    def log_message(self, *_: object) -> None:
        """Quiet."""

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        path = self.path.partition("?")[0]
        api = {"/v1/messages": anthropic_api, "/v1/chat/completions": openai_api}.get(path)
        if api is None:
            return self.send_json(404, {"error": {"message": f"no {path} here"}})
        seen = self.loopback.take(api.NAME, body, {k.lower(): v for k, v in self.headers.items()})
        key = seen.headers.get("x-api-key") or seen.headers.get("authorization", "").removeprefix("Bearer ")
        if key != self.loopback.key and seen.fault == "":
            seen.fault = "401"
        if seen.fault == "stall":
            self.connection.recv(1)  # until the client hangs up
            self.close_connection = True
        elif seen.fault == "html":
            self.send_bytes(200, b"<html><body>It works!</body></html>", "text/html")
        elif seen.fault.isdigit():
            self.refuse(int(seen.fault), api.refusal(int(seen.fault), body.get("model", ""), key))
        else:
            api.answer(self, self.loopback, seen)

    def refuse(self, status: int, body: dict) -> None:
        self.send_json(status, body, {"retry-after-ms": "10", "retry-after": "0.01"} if status in {429, 500, 529} else {})

    def send_json(self, status: int, body: dict, headers: dict[str, str] | None = None) -> None:
        self.send_bytes(status, json.dumps(body).encode(), "application/json", headers)

    def send_bytes(self, status: int, data: bytes, kind: str, headers: dict[str, str] | None = None, length: int | None = None) -> None:
        """A whole answer; a `length` above its own leaves the client waiting for more when the connection closes."""
        self.send_response(status)
        for name, value in {"content-type": kind, "content-length": str(length or len(data)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)
        if length:
            self.close_connection = True
