"""OpenAI's chat completions as far as our client uses them: JSON, tools, usage with cached tokens. It does not stream."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from loopback import minds
from loopback.anthropic_api import tokens
from loopback.charges import Charge

NAME = "openai"
PIECE = 1024  # characters: prefixes are cached in whole pieces, as the service does it in whole blocks of tokens


def refusal(status: int, model: str, key: str) -> dict:
    """The body of a refused request."""
    words = {401: f"Incorrect API key provided: {key}.", 404: f"The model `{model}` does not exist", 400: "bad request"}
    return {"error": {"message": words.get(status, f"fault {status}"), "type": "invalid_request_error", "param": None, "code": None}}


def ask_of(body: dict, number: int) -> minds.Ask:
    """What a mind is told of a request."""
    messages = body["messages"]
    last = max((i for i, m in enumerate(messages) if m["role"] == "assistant"), default=-1)
    results = tuple(m["content"] for m in messages[last + 1 :] if m["role"] == "tool")
    names = tuple(tool["function"]["name"] for tool in body.get("tools", ()))
    prompt = "\n".join(m["content"] or "" for m in messages)
    return minds.Ask(prompt=prompt, tools=names, turn=sum(m["role"] == "assistant" for m in messages), results=results, number=number)


def complaint(body: dict, has_tools: bool) -> str:
    """What a real server would refuse about a request, "" if nothing."""
    if body.get("tools") and not has_tools:
        return "this model does not support tools"
    pending: list[str] = []
    for index, message in enumerate(body["messages"]):
        if message["role"] == "tool":
            if message["tool_call_id"] not in pending:
                return f"messages[{index}]: no tool call {message['tool_call_id']}"
            pending.remove(message["tool_call_id"])
            continue
        if pending:
            return f"messages[{index}]: tool calls {pending} were not answered"
        pending = [call["id"] for call in message.get("tool_calls", ())]
    return ""


def cached(loopback: Any, seen: Any) -> tuple[int, int]:
    """Tokens of the prompt, and those of them whose prefix was seen before."""
    text = json.dumps([seen.body.get("tools"), seen.body["messages"]], sort_keys=True)
    so_far, read, new = hashlib.sha256(), 0, {}
    with loopback.lock:
        for at in range(PIECE, len(text), PIECE):
            so_far.update(text[at - PIECE : at].encode())
            mark = so_far.hexdigest()
            read = tokens(text[:at]) if mark in loopback.cache else read
            new[mark] = tokens(text[:at])
        loopback.cache.update(new)
    seen.prefixes = [hashlib.sha256(json.dumps(seen.body["messages"][0]).encode()).hexdigest()]
    return tokens(text), read


def answer(handler: Any, loopback: Any, seen: Any) -> None:
    """Answer a request, or break off where its fault says so."""
    if wrong := complaint(seen.body, loopback.has_tools):
        return handler.refuse(400, {"error": {"message": wrong, "type": "invalid_request_error", "param": None, "code": None}})
    prompt, read = cached(loopback, seen)
    said = loopback.mind(ask_of(seen.body, seen.number))
    message: dict[str, Any] = {"role": "assistant", "content": said.text or None}
    if seen.body.get("tools"):
        message["tool_calls"] = [
            {"id": f"call_{seen.number:06}_{i}", "type": "function", "function": {"name": use[0], "arguments": minds.arguments_of(use)}}
            for i, use in enumerate(said.uses)
        ]
    elif said.uses:
        message["content"] = "\n\n".join([said.text, *map(in_plain_text, said.uses)])
    if said.stop == "refusal":
        message |= {"refusal": said.text, "content": None}
    stop = {"length": "length"}.get(said.stop) or ("tool_calls" if message.get("tool_calls") else "stop")
    output = tokens(said.text) + sum(tokens(minds.arguments_of(use)) + 4 for use in said.uses)
    body = {
        "id": f"chatcmpl-{seen.number:06}", "object": "chat.completion", "created": 1, "model": seen.body["model"],
        "choices": [{"index": 0, "message": message, "finish_reason": stop, "logprobs": None}],
        "usage": {
            "prompt_tokens": prompt, "completion_tokens": output, "total_tokens": prompt + output,
            "prompt_tokens_details": {"cached_tokens": read},
        },
    }  # fmt: skip
    data = json.dumps(body).encode()
    if seen.fault in {"cut", "truncated"}:
        return handler.send_bytes(200, data[: len(data) // 2], "application/json", length=len(data) if seen.fault == "cut" else None)
    loopback.charged.append(Charge(seen.body["model"], prompt - read, output, 0, read))
    handler.send_bytes(200, data, "application/json")


def in_plain_text(use: tuple[str, Any]) -> str:
    """A use of a tool as fenced text."""
    name, arguments = use
    if name == "write_file":
        return f"WRITE {arguments['path']}\n`````\n{arguments['text']}`````"
    return f"{name.upper()}\n```json\n{minds.arguments_of(use)}\n```"
