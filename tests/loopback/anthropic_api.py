"""Anthropic's Messages API as far as our clients use it: JSON and server-sent events, tool use, usage with cache fields."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from typing import Any

from loopback import minds
from loopback.charges import Charge

NAME = "anthropic"
_KINDS = {
    400: "invalid_request_error", 401: "authentication_error", 403: "permission_error", 404: "not_found_error",
    429: "rate_limit_error", 500: "api_error", 529: "overloaded_error",
}  # fmt: skip
_ROLES = {"text": {"type", "text", "cache_control"}, "tool_use": {"type", "id", "name", "input", "cache_control"}}


def refusal(status: int, model: str, key: str) -> dict:
    """The body of a refused request."""
    words = {401: "invalid x-api-key", 404: f"model: {model}", 529: "Overloaded", 400: "messages: at least one message is required"}
    return {"type": "error", "error": {"type": _KINDS.get(status, "api_error"), "message": words.get(status, f"fault {status}")}}


def tokens(text: str) -> int:
    return -(-len(text) // 4)


def ask_of(body: dict, number: int) -> minds.Ask:
    """What a mind is told of a request."""
    texts, results = [block["text"] for block in _blocks(body.get("system", ""))], []
    for turn in body["messages"]:
        results = []
        for block in _blocks(turn["content"]):
            texts.append(block.get("text") or "")
            if block["type"] == "tool_result":
                content = block.get("content") or ""
                results.append(content if isinstance(content, str) else "".join(part.get("text", "") for part in content))
    turns = sum(turn["role"] == "assistant" for turn in body["messages"])
    names = tuple(tool["name"] for tool in body.get("tools", ()))
    return minds.Ask(prompt="\n".join(texts), tools=names, turn=turns, results=tuple(results), number=number)


def _blocks(content: Any) -> list[dict]:
    return [{"type": "text", "text": content}] if isinstance(content, str) else list(content)


def complaint(body: dict) -> str:
    """What the real service would refuse about a request, "" if nothing."""
    pending: set[str] = set()
    for index, turn in enumerate(body["messages"]):
        if turn["role"] != ("user", "assistant")[index % 2]:
            return f"messages.{index}: roles must alternate"
        blocks = _blocks(turn["content"])
        if not blocks or any(b["type"] == "text" and not b["text"] for b in blocks):
            return f"messages.{index}: text content blocks must be non-empty"
        if turn["role"] == "assistant":
            odd = [set(b) - _ROLES[b["type"]] for b in blocks if b["type"] in _ROLES]
            if any(odd):
                return f"messages.{index}: extra inputs are not permitted: {odd}"
        answered = {b["tool_use_id"] for b in blocks if b["type"] == "tool_result"}
        if pending != answered:
            return f"messages.{index}: tool_use ids {pending} need tool_result blocks, found {answered}"
        pending = {b["id"] for b in blocks if b["type"] == "tool_use"}
    marks = json.dumps(body).count('"cache_control"')
    return f"a maximum of 4 blocks with cache_control may be provided, found {marks}" if marks > 4 else ""


def prefixes(body: dict) -> tuple[list[tuple[str, int]], int]:
    """(hash, tokens) of everything up to each block that is marked for the cache, in the order tools, system, messages; tokens in all."""
    so_far, found, size = hashlib.sha256(body["model"].encode()), [], 0
    parts = [*body.get("tools", ()), *_blocks(body.get("system") or [])]
    parts += [{**block, "role": turn["role"]} for turn in body["messages"] for block in _blocks(turn["content"])]
    for part in parts:
        text = json.dumps({k: v for k, v in part.items() if k != "cache_control"}, sort_keys=True)
        so_far.update(text.encode())
        size += tokens(text)
        if "cache_control" in part:
            found.append((so_far.hexdigest(), size))
    return found, size


def usage_of(loopback: Any, seen: Any) -> Charge:
    """Input tokens: those of a known prefix as reads, those up to the last mark that are new as writes, the rest as they are."""
    marked, whole = prefixes(seen.body)
    seen.prefixes = [mark for mark, _ in marked]
    with loopback.lock:
        read = max([loopback.cache[mark] for mark, _ in marked if mark in loopback.cache], default=0)
        loopback.cache.update(dict(marked))
    last = marked[-1][1] if marked else 0
    return Charge(seen.body["model"], whole - last, 0, last - read, read)


def answer(handler: Any, loopback: Any, seen: Any) -> None:
    """Answer a request, or break off where its fault says so. A stream that breaks off has told its input, and that is charged."""
    if not loopback.has_strict and any("strict" in tool for tool in seen.body.get("tools", ())):
        return handler.refuse(
            400, {"type": "error", "error": {"type": "invalid_request_error", "message": "tools.0.strict: extra inputs are not permitted"}}
        )
    if wrong := complaint(seen.body):
        return handler.refuse(400, {"type": "error", "error": {"type": "invalid_request_error", "message": wrong}})
    charge = usage_of(loopback, seen)
    said = loopback.mind(ask_of(seen.body, seen.number))
    content: list[dict] = [{"type": "text", "text": said.text}] if said.text else []
    for index, use in enumerate(said.uses):
        content.append({"type": "tool_use", "id": f"toolu_{seen.number:06}_{index}", "name": use[0], "input": minds.arguments_of(use)})
    stop = {"refusal": "refusal", "length": "max_tokens"}.get(said.stop) or ("tool_use" if said.uses else "end_turn")
    output = sum(tokens(block.get("text") or block.get("input") or "") + 4 for block in content)
    is_broken, is_stream = seen.fault in {"cut", "truncated", "error-event"}, bool(seen.body.get("stream"))
    if is_stream or not is_broken:
        loopback.charged.append(replace(charge, output=0 if is_broken else output))
    if is_stream:
        return _stream(handler, seen, content, stop, charge, output)
    for block in content:
        if block["type"] == "tool_use":
            block["input"] = json.loads(block["input"])
    data = json.dumps(_message(seen, content, stop, charge, output)).encode()
    if is_broken:
        return handler.send_bytes(200, data[: len(data) // 2], "application/json", length=len(data) if seen.fault == "cut" else None)
    handler.send_bytes(200, data, "application/json")


def _message(seen: Any, content: list, stop: str | None, charge: Charge, output: int) -> dict:
    usage = {
        "input_tokens": charge.input, "cache_creation_input_tokens": charge.cache_write, "cache_read_input_tokens": charge.cache_read,
        "output_tokens": output,
    }  # fmt: skip
    return {
        "id": f"msg_{seen.number:06}", "type": "message", "role": "assistant", "model": seen.body["model"], "content": content,
        "stop_reason": stop, "stop_sequence": None, "usage": usage,
    }  # fmt: skip


def _stream(handler: Any, seen: Any, content: list[dict], stop: str, charge: Charge, output: int) -> None:
    """Server-sent events in chunks. "cut" closes the socket within a chunk, "truncated" ends in the middle of an event's JSON."""
    handler.send_response(200)
    handler.send_header("content-type", "text/event-stream")
    handler.send_header("transfer-encoding", "chunked")
    handler.end_headers()
    events = list(_events(seen, content, stop, charge, output))
    if seen.fault == "error-event":
        events = [*events[: max(2, len(events) // 2)], ("error", {"error": {"type": "overloaded_error", "message": "Overloaded"}})]
    if seen.fault in {"cut", "truncated"}:
        events = events[: max(2, len(events) // 2)]
        half = _event(*events[-1])
        for event in events[:-1]:
            _chunk(handler, _event(*event))
        if seen.fault == "truncated":
            _chunk(handler, half[: len(half) // 2] + b"\n\n")
            handler.wfile.write(b"0\r\n\r\n")
        else:
            handler.wfile.write(b"%x\r\n" % len(half) + half[: len(half) // 2])
        handler.close_connection = True
        return
    for event in events:
        _chunk(handler, _event(*event))
    handler.wfile.write(b"0\r\n\r\n")


def _chunk(handler: Any, data: bytes) -> None:
    handler.wfile.write(b"%x\r\n" % len(data) + data + b"\r\n")


def _event(kind: str, data: dict) -> bytes:
    return f"event: {kind}\ndata: {json.dumps({'type': kind, **data})}\n\n".encode()


def _events(seen: Any, content: list[dict], stop: str, charge: Charge, output: int) -> Any:
    yield "message_start", {"message": _message(seen, [], None, charge, 0)}
    yield "ping", {}
    for index, block in enumerate(content):
        is_text = block["type"] == "text"
        empty = {"type": "text", "text": ""} if is_text else {**block, "input": {}}
        yield "content_block_start", {"index": index, "content_block": empty}
        whole = block["text"] if is_text else block["input"]
        for at in range(0, len(whole), 4096):
            piece = whole[at : at + 4096]
            delta = {"type": "text_delta", "text": piece} if is_text else {"type": "input_json_delta", "partial_json": piece}
            yield "content_block_delta", {"index": index, "delta": delta}
        yield "content_block_stop", {"index": index}
    yield "message_delta", {"delta": {"stop_reason": stop, "stop_sequence": None}, "usage": {"output_tokens": output}}
    yield "message_stop", {}
