"""Anthropic's Messages API through the official client: tools, prompt caching, streaming, the client's own retries.

It marks for the cache where the fixed prompt, each block of the opening and the newest turn end. It keeps nothing between conversations.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import msgspec

from evogit.domain.usage import Call
from evogit.errors import ServiceDown
from evogit.models import faults, pulse
from evogit.models.talk import TRIES, Opening, Reply, Result, Tape, Use, now

SERVICE = "Anthropic's API"
EPHEMERAL = {"type": "ephemeral"}
MARKS = 2  # blocks of the opening that may be marked: four marks are allowed, one is the system prompt's and one the newest turn's
_STOPS = {"tool_use": "tools", "max_tokens": "length", "model_context_window_exceeded": "length", "refusal": "refusal"}


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """How the service is reached. `effort`: "" leaves it to the model."""

    key: str
    model: str
    base_url: str = ""
    max_tokens: int = 16_384
    timeout_s: float = 600.0
    retries: int = 2
    effort: str = ""


class AnthropicWire:
    """One conversation. The client is imported and made with the first request."""

    def __init__(self, settings: Settings, opening: Opening, tape: Tape) -> None:
        self._settings, self._opening, self._tape = settings, opening, tape
        self._client: Any = None
        self._messages: list[dict[str, Any]] = []
        self._is_strict = True

    def ask(self, results: Sequence[Result] = (), say: str = "") -> Reply:
        """One request and its answer; costs what it costs. Raises ServiceDown, UserError, AgentFailed."""
        content: list[dict[str, Any]] = [
            {"type": "tool_result", "tool_use_id": r.id, "content": r.text, "is_error": r.is_error} for r in results
        ]
        if not self._messages:
            content += [{"type": "text", "text": block} for block in self._opening.blocks]
        if say:
            content.append({"type": "text", "text": say})
        self._messages.append({"role": "user", "content": content})
        message = self._send()
        blocks = [block for block in message.get("content") or () if block.get("type") != "text" or block.get("text")]
        self._messages.append({"role": "assistant", "content": blocks or [{"type": "text", "text": "(no answer)"}]})
        uses = tuple(_use(block) for block in blocks if block.get("type") == "tool_use")
        text = "\n".join(str(block.get("text", "")) for block in blocks if block.get("type") == "text")
        return Reply(text=text, uses=uses, stop=_STOPS.get(message.get("stop_reason") or "", "done"))

    def _send(self) -> dict[str, Any]:
        """The answer as JSON says it. An answer that broke off is asked for again: the client retries only what never began."""
        import anthropic

        if self._client is None:
            s = self._settings
            self._client = anthropic.Anthropic(api_key=s.key, base_url=s.base_url or None, timeout=s.timeout_s, max_retries=s.retries)
        fault, tries = "", 0
        while tries < TRIES:
            tries += 1
            started, began = now(), time.monotonic()
            partial: dict[str, Any] = {}
            self._tape.reserve(self._settings.model, self._request(), self._settings.max_tokens)
            try:
                message = self._stream(partial)
                fault = "" if message.get("stop_reason") else "the answer broke off"
            except anthropic.APIError as error:
                if isinstance(error, anthropic.BadRequestError) and self._is_strict and "strict" in faults.in_words(error):
                    self._is_strict, tries = False, tries - 1  # the same request in another form: no try is used up
                    continue
                if getattr(error, "status_code", 0) == 200:  # the answer had begun
                    fault = faults.in_words(error)
                    self._paid(partial, started, began, fault=fault)
                    continue
                self._paid(partial, started, began, fault=faults.in_words(error), is_refused=faults.status_of(error) >= 400)
                raise faults.translate(anthropic, error, SERVICE, self._settings.base_url) from None  # its own words may hold the key
            except faults.broke_off() as error:
                fault = f"the answer broke off: {faults.in_words(error)}"
            self._paid(partial, started, began, fault=fault, is_whole=not fault)
            if not fault:
                return message
        raise ServiceDown(f"{SERVICE}: {fault}, {TRIES} times", hint="go on later with the same command")

    def _stream(self, partial: dict[str, Any]) -> dict[str, Any]:
        """One request. `partial` gets what is known of the message so far, usage included, whatever happens."""
        with self._client.messages.stream(**self._request()) as stream, pulse.beating() as beat:
            for event in stream:
                beat(event.type)
                if event.type in {"message_start", "message_delta"}:
                    partial.update(stream.current_message_snapshot.to_dict(mode="json"))
            partial.update(stream.get_final_message().to_dict(mode="json"))
        return partial

    def _request(self) -> dict[str, Any]:
        s, opening = self._settings, self._opening
        tools = [
            {"name": t.name, "description": t.description, "input_schema": t.schema, **({"strict": True} if self._is_strict else {})}
            for t in opening.tools
        ]
        request: dict[str, Any] = {
            "model": s.model,
            "max_tokens": s.max_tokens,
            "system": [{"type": "text", "text": opening.fixed, "cache_control": EPHEMERAL}],
            "messages": self._marked(),
        }
        if tools:
            request["tools"] = tools
        if opening.must_use:
            request["tool_choice"] = {"type": "tool", "name": opening.must_use}
        if s.effort:
            request["output_config"] = {"effort": s.effort}
        return request

    def _marked(self) -> list[dict[str, Any]]:
        """The messages, marked for the cache: first blocks of the opening, and the end of the newest turn."""
        marks = [(0, n) for n in range(min(MARKS, len(self._opening.blocks)))]
        marks.append((len(self._messages) - 1, len(self._messages[-1]["content"]) - 1))
        found = [{**m, "content": list(m["content"])} for m in self._messages]
        for turn, block in dict.fromkeys(marks):
            found[turn]["content"][block] = {**found[turn]["content"][block], "cache_control": EPHEMERAL}
        return found

    def _paid(
        self, message: dict[str, Any], started: str, began: float, *, fault: str = "", is_whole: bool = False, is_refused: bool = False
    ) -> None:
        usage = message.get("usage") or {}
        call = Call(
            who=self._tape.who,
            hand=self._tape.hand,
            model=str(message.get("model") or self._settings.model),
            input=int(usage.get("input_tokens") or 0),
            output=int(usage.get("output_tokens") or 0),
            cache_write=int(usage.get("cache_creation_input_tokens") or 0),
            cache_read=int(usage.get("cache_read_input_tokens") or 0),
            seconds=round(time.monotonic() - began, 3),
            started=started,
            error=fault,
            usd=0.0 if is_refused and not usage else None,  # a request that no model saw costs nothing
        )
        self._tape.paid(call, msgspec.json.encode(message).decode() if is_whole else "")


def _use(block: dict[str, Any]) -> Use:
    arguments = block.get("input")
    if isinstance(arguments, dict):
        return Use(id=str(block["id"]), name=str(block["name"]), arguments=arguments)
    return Use(id=str(block["id"]), name=str(block["name"]), fault="the arguments are no JSON object")


def uses_of(answer: str) -> tuple[Use, ...]:
    """The tools that a recorded answer asks for: what a replay carries out again. Raises msgspec.DecodeError."""
    message = msgspec.json.decode(answer)
    return tuple(_use(block) for block in message.get("content") or () if block.get("type") == "tool_use")
