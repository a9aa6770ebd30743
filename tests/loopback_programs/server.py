"""A service on 127.0.0.1 that speaks as much of /v1/messages and /v1/responses as the command-line programs need.

What is answered is a function of the request; what was asked and what was counted is kept for the tests to read. It never
asks a model anything.
"""

from __future__ import annotations

import itertools
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Block = dict[str, Any]
_ids = itertools.count(1)
USAGE = {"input": 1000, "output": 100, "cache_write": 200, "cache_read": 300}  # tokens of every answer


class Refusal(Exception):
    """Raised by an answer: the service refuses with this status."""

    def __init__(self, status: int, kind: str, message: str) -> None:
        super().__init__(message)
        self.status, self.kind, self.message = status, kind, message


class Loopback:
    """A running service. `asked` are the requests in their order, `counted` the tokens of those that were answered."""

    def __init__(self, answer: Callable[[dict[str, Any]], list[Block]]) -> None:
        self.answer = answer
        self.asked: list[dict[str, Any]] = []
        self.keys: list[str] = []
        self.counted = {name: 0 for name in USAGE}
        self.answered = 0
        self._lock = threading.Lock()
        self._server = _Server(("127.0.0.1", 0), _handler(self))
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    @contextmanager
    def serving(self) -> Iterator[Loopback]:
        """It answers while this lasts."""
        self._thread.start()
        try:
            yield self
        finally:
            self._server.shutdown()
            self._server.server_close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def take(self, request: dict[str, Any], key: str) -> list[Block]:
        with self._lock:
            self.asked.append(request)
            self.keys.append(key)
            blocks = self.answer(request)
            self.answered += 1
            for name, count in USAGE.items():
                self.counted[name] += count
            return blocks


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        """A program that is killed resets its connection: no fault of the service."""


def _handler(service: Loopback) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            pass

        def do_HEAD(self) -> None:
            self._send(200, b"")

        def do_GET(self) -> None:
            self._json(200, {"data": [], "models": [], "object": "list"})

        def do_POST(self) -> None:
            data = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            request = json.loads(data or b"{}")
            path = self.path.partition("?")[0]
            if path.endswith("/count_tokens"):
                return self._json(200, {"input_tokens": 10})
            if not path.endswith(("/messages", "/responses")):
                return self._json(404, {"error": {"type": "not_found_error", "message": path}})
            key = self.headers.get("x-api-key") or self.headers.get("authorization") or ""
            try:
                blocks = service.take(request, key)
            except Refusal as no:
                return self._json(no.status, {"type": "error", "error": {"type": no.kind, "message": no.message}})
            events = messages(request, blocks) if path.endswith("/messages") else responses(request, blocks)
            if not request.get("stream"):
                return self._json(200, whole_message(request, blocks))
            body = "".join(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n" for event in events).encode()
            self._send(200, body, "text/event-stream")

        def _json(self, status: int, value: object) -> None:
            self._send(status, json.dumps(value).encode())

        def _send(self, status: int, body: bytes, kind: str = "application/json") -> None:
            try:
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(body)
            except (BrokenPipeError, ConnectionResetError):
                pass  # the program was killed: nobody reads on

    return Handler


def text(words: str) -> Block:
    return {"type": "text", "text": words}


def call(name: str, **arguments: Any) -> Block:
    return {"type": "tool_use", "id": f"toolu_{next(_ids):08d}", "name": name, "input": arguments}


# /v1/messages --------------------------------------------------------------------------------------------------------


def _usage(output: int) -> dict[str, int]:
    return {
        "input_tokens": USAGE["input"],
        "cache_creation_input_tokens": USAGE["cache_write"],
        "cache_read_input_tokens": USAGE["cache_read"],
        "output_tokens": output,
    }


def whole_message(request: dict[str, Any], blocks: list[Block]) -> dict[str, Any]:
    reason = "tool_use" if any(b["type"] == "tool_use" for b in blocks) else "end_turn"
    head = {"id": f"msg_{next(_ids)}", "type": "message", "role": "assistant", "model": request.get("model"), "stop_sequence": None}
    return {**head, "content": blocks, "stop_reason": reason, "usage": _usage(USAGE["output"])}


def messages(request: dict[str, Any], blocks: list[Block]) -> Iterator[dict[str, Any]]:
    whole = whole_message(request, blocks)
    yield {"type": "message_start", "message": {**whole, "content": [], "stop_reason": None, "usage": _usage(1)}}
    for index, block in enumerate(blocks):
        if block["type"] == "text":
            start, delta = {"type": "text", "text": ""}, {"type": "text_delta", "text": block["text"]}
        else:
            start, delta = {**block, "input": {}}, {"type": "input_json_delta", "partial_json": json.dumps(block["input"])}
        yield {"type": "content_block_start", "index": index, "content_block": start}
        yield {"type": "content_block_delta", "index": index, "delta": delta}
        yield {"type": "content_block_stop", "index": index}
    yield {"type": "message_delta", "delta": {"stop_reason": whole["stop_reason"], "stop_sequence": None}, "usage": _usage(USAGE["output"])}
    yield {"type": "message_stop"}


# /v1/responses -------------------------------------------------------------------------------------------------------


def responses(request: dict[str, Any], blocks: list[Block]) -> Iterator[dict[str, Any]]:
    """`text` becomes a message; a call becomes a function call, or a custom tool's where its arguments are `input` alone."""
    head = {"id": f"resp_{next(_ids)}", "object": "response", "model": request.get("model"), "status": "in_progress", "output": []}
    yield {"type": "response.created", "response": head}
    items = [_item(block) for block in blocks]
    for index, item in enumerate(items):
        yield {"type": "response.output_item.added", "output_index": index, "item": item}
        yield {"type": "response.output_item.done", "output_index": index, "item": item}
    fresh = USAGE["input"] + USAGE["cache_read"]
    usage = {
        "input_tokens": fresh,
        "input_tokens_details": {"cached_tokens": USAGE["cache_read"]},
        "output_tokens": USAGE["output"],
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": fresh + USAGE["output"],
    }
    yield {"type": "response.completed", "response": {**head, "status": "completed", "output": items, "usage": usage}}


def _item(block: Block) -> Block:
    if block["type"] == "text":
        content = [{"type": "output_text", "text": block["text"], "annotations": []}]
        return {"type": "message", "id": f"msg_{next(_ids)}", "role": "assistant", "status": "completed", "content": content}
    head = {"id": block["id"].replace("toolu", "fc"), "call_id": block["id"], "name": block["name"], "status": "completed"}
    if set(block["input"]) == {"input"}:
        return {"type": "custom_tool_call", **head, "input": block["input"]["input"]}
    return {"type": "function_call", **head, "arguments": json.dumps(block["input"])}
