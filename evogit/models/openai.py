"""Chat completions through the official client, at OpenAI or at whatever speaks the same (vLLM, Ollama, llama.cpp, a gateway).

Where a server says that it has no tools, the same conversation goes on in fenced text (`models.plain`). It does not stream: what
servers send in pieces of a tool call differs too much between them.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import msgspec

from evogit.domain.usage import Call
from evogit.errors import ServiceDown
from evogit.models import faults, plain
from evogit.models.talk import TRIES, Opening, Reply, Result, Tape, Use, now

_STOPS = {"tool_calls": "tools", "function_call": "tools", "length": "length", "content_filter": "refusal"}


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """How the service is reached. `base_url` "" is OpenAI itself."""

    key: str
    model: str
    base_url: str = ""
    max_tokens: int = 16_384
    timeout_s: float = 600.0
    retries: int = 2
    effort: str = ""

    @property
    def service(self) -> str:
        """What it is called in messages."""
        return f"the server at {self.base_url}" if self.base_url else "OpenAI's API"


class OpenAIWire:
    """One conversation. The client is imported and made with the first request. `has_tools` turns False where the server says so."""

    def __init__(self, settings: Settings, opening: Opening, tape: Tape, *, has_tools: bool = True) -> None:
        self._settings, self._opening, self._tape, self.has_tools = settings, opening, tape, has_tools
        self._client: Any = None
        self._messages: list[dict[str, Any]] = []

    def ask(self, results: Sequence[Result] = (), say: str = "") -> Reply:
        """One request and its answer; costs what it costs. Raises ServiceDown, UserError, AgentFailed."""
        if not self._messages:
            self._messages.append({"role": "system", "content": self._opening.fixed})
            self._messages.append({"role": "user", "content": "\n\n".join(self._opening.blocks)})
        if self.has_tools:
            self._messages += [{"role": "tool", "tool_call_id": r.id, "content": r.text} for r in results]
        elif results:
            say = "\n".join([*(r.text for r in results), *([say] if say else [])])
        if say:
            self._messages.append({"role": "user", "content": say})
        choice = self._send()["choices"][0]
        message = choice.get("message") or {}
        self._messages.append(_again(message))
        return self._reply(choice, message)

    def _reply(self, choice: dict[str, Any], message: dict[str, Any]) -> Reply:
        text = str(message.get("content") or "")
        if message.get("refusal"):
            return Reply(text=str(message["refusal"]), uses=(), stop="refusal")
        uses = _uses(message)
        if not self.has_tools and not uses:
            uses = plain.uses_of(text)
        return Reply(text=text, uses=uses, stop=_STOPS.get(choice.get("finish_reason") or "", "done"))

    def _send(self) -> dict[str, Any]:
        """The answer as JSON says it. A body that is no completion is asked for again: the client retries only what never began."""
        import openai

        s = self._settings
        if self._client is None:
            key = s.key or "none"  # a server of one's own may want none, the client insists on one
            self._client = openai.OpenAI(api_key=key, base_url=s.base_url or None, timeout=s.timeout_s, max_retries=s.retries)
        fault, tries = "", 0
        while tries < TRIES:
            tries += 1
            started, began = now(), time.monotonic()
            self._tape.reserve(s.model, self._request(), s.max_tokens)
            try:
                answer = _completion(self._client.chat.completions.create(**self._request()))
            except openai.APIError as error:
                if self.has_tools and isinstance(error, openai.BadRequestError) and "tool" in faults.in_words(error).lower():
                    self.has_tools, tries = False, tries - 1  # the same request in another form: no try is used up
                    continue
                fault = faults.in_words(error)
                self._paid({}, started, began, fault=fault, is_refused=faults.status_of(error) >= 400)
                if not isinstance(error, openai.APIResponseValidationError):
                    raise faults.translate(openai, error, s.service, s.base_url) from None  # its own words may hold the key
                continue
            except faults.broke_off() as error:
                fault = f"the answer is no completion: {faults.in_words(error)}"
                self._paid({}, started, began, fault=fault)
                continue
            self._paid(answer, started, began)
            return answer
        raise ServiceDown(f"{s.service}: {fault}, {TRIES} times", hint="go on later with the same command")

    def _request(self) -> dict[str, Any]:
        s, opening = self._settings, self._opening
        is_theirs = not s.base_url
        messages = list(self._messages)
        request: dict[str, Any] = {"model": s.model, "max_completion_tokens" if is_theirs else "max_tokens": s.max_tokens}
        if self.has_tools and opening.tools:
            strict = {"strict": True} if is_theirs else {}
            request["tools"] = [
                {"type": "function", "function": {"name": t.name, "description": t.description, "parameters": t.schema, **strict}}
                for t in opening.tools
            ]
            if opening.must_use:
                request["tool_choice"] = {"type": "function", "function": {"name": opening.must_use}}
        elif opening.tools:
            messages[0] = {"role": "system", "content": f"{opening.fixed}\n\n{plain.contract(opening.tools)}"}
        if s.effort:
            request["reasoning_effort"] = s.effort
        return {**request, "messages": messages}

    def _paid(self, answer: dict[str, Any], started: str, began: float, *, fault: str = "", is_refused: bool = False) -> None:
        usage = answer.get("usage") or {}
        cached = int((usage.get("prompt_tokens_details") or {}).get("cached_tokens") or 0)
        call = Call(
            who=self._tape.who,
            hand=self._tape.hand,
            model=str(answer.get("model") or self._settings.model),
            input=int(usage.get("prompt_tokens") or 0) - cached,
            output=int(usage.get("completion_tokens") or 0),
            cache_read=cached,
            seconds=round(time.monotonic() - began, 3),
            started=started,
            error=fault,
            usd=0.0 if is_refused else None,  # a request that no model saw costs nothing; what one that broke off cost, nobody says
        )
        self._tape.paid(call, msgspec.json.encode(answer).decode() if answer else "")


def _completion(answer: Any) -> dict[str, Any]:
    """The completion as JSON. Raises ValueError for what is none: a page of HTML, half an object, no choice."""
    found = answer.to_dict(mode="json") if hasattr(answer, "to_dict") else None
    if not isinstance(found, dict) or not found.get("choices") or not isinstance(found["choices"][0], dict):
        raise ValueError(f"it has no choices: {str(answer)[:80]!r}")
    return found


def _again(message: dict[str, Any]) -> dict[str, Any]:
    """The assistant's turn as it is sent back: what every server understands of it."""
    said: dict[str, Any] = {"role": "assistant", "content": message.get("content") or ""}
    if message.get("tool_calls"):
        said["tool_calls"] = [
            {"id": c.get("id"), "type": "function", "function": {k: c["function"].get(k) for k in ("name", "arguments")}}
            for c in message["tool_calls"]
            if isinstance(c.get("function"), dict)
        ]
    return said


def _uses(message: dict[str, Any]) -> tuple[Use, ...]:
    found = []
    for call in message.get("tool_calls") or ():
        function = call.get("function")
        if not isinstance(function, dict):
            continue
        identity, name = str(call.get("id") or ""), str(function.get("name") or "")
        try:
            arguments = msgspec.json.decode(function.get("arguments") or "{}", type=dict[str, Any])
        except (msgspec.DecodeError, TypeError) as error:
            found.append(Use(id=identity, name=name, fault=f"the arguments are no JSON object: {error}"))
            continue
        found.append(Use(id=identity, name=name, arguments=arguments))
    return tuple(found)


def uses_of(answer: str) -> tuple[Use, ...]:
    """The tools that a recorded answer asks for: what a replay carries out again. Raises msgspec.DecodeError."""
    message = msgspec.json.decode(answer)["choices"][0].get("message") or {}
    return _uses(message) or plain.uses_of(str(message.get("content") or ""))
