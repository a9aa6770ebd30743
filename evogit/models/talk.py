"""A conversation with a model, whichever API carries it: what is said, what is answered, what is kept of it.

A wire (`models.anthropic`, `models.openai`) speaks one API through its official client. It gives one `Reply` a request and
writes every request down on the tape, the failed ones too. It knows no briefing and carries no tool out.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Sequence
from datetime import datetime, timezone
from typing import Any, Protocol

import msgspec

from evogit import keys
from evogit.domain.problem import Problem
from evogit.domain.usage import Call
from evogit.errors import UserError
from evogit.models import untrusted
from evogit.prices import price
from evogit.purse import Purse

TRANSCRIPT_CAP = 64 << 10  # characters of a transcript
SAID_CAP = 4 << 10  # characters of one utterance in it
BYTES_A_TOKEN = 2  # of a prompt, at the least: what a request may cost is reckoned from its bytes before it is made
TRIES = 3  # requests whose answer broke off: the client retries what never began, and nobody but us what did


class Tool(msgspec.Struct, frozen=True, kw_only=True):
    """Something that a model may ask for. `schema` is a JSON schema with every property required and no others allowed."""

    name: str
    description: str
    schema: dict[str, Any]


class Use(msgspec.Struct, frozen=True, kw_only=True):
    """A model asks for a tool. `fault` says why its arguments cannot be read, "" if they can."""

    id: str
    name: str
    arguments: dict[str, Any] = {}
    fault: str = ""


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """What came of it, in words for the model."""

    id: str
    text: str
    is_error: bool = False


class Reply(msgspec.Struct, frozen=True, kw_only=True):
    """One answer. `stop`: "done", "tools", "length" (cut at the limit of tokens) or "refusal"."""

    text: str
    uses: tuple[Use, ...]
    stop: str


class Opening(msgspec.Struct, frozen=True, kw_only=True):
    """How a conversation begins. `fixed` and `blocks` in this order; a provider may cache up to the end of any of them."""

    fixed: str  # the system prompt, the same bytes in every conversation of a campaign
    blocks: tuple[str, ...]  # the slowest changing first
    tools: tuple[Tool, ...]
    must_use: str = ""  # a tool that has to be used, "" leaves the choice


class Wire(Protocol):
    """One conversation over one API. Raises ServiceDown, UserError (key, model), AgentFailed (the request itself is refused)."""

    def ask(self, results: Sequence[Result] = (), say: str = "") -> Reply:
        """Send what came of the last reply's tools and something to say; the first call sends the opening."""


class Tape:
    """What one conversation said and cost. The key is cut out of everything that is written here."""

    def __init__(self, *, who: str, hand: str, problem: Problem | None, secret: str, stem: str, purse: Purse | None = None) -> None:
        self.who, self.hand, self._problem, self._secret, self._stem = who, hand, problem, secret, stem
        self._purse, self._ticket = purse, None
        self.calls: list[Call] = []
        self.answers: dict[str, str] = {}
        self._lines: list[str] = []
        self._size = 0

    def clean(self, text: str) -> str:
        """The text without the key. A placeholder that is shorter than any key is a word like others."""
        return keys.redact(text.replace(self._secret, "[key]") if len(self._secret) >= keys.SHORTEST else text)

    def reserve(self, model: str, request: object, max_tokens: int) -> None:
        """Room in the purse for a request that is about to be made, at the most it can cost. Raises CapReached, and UserError."""
        if self._purse is None:
            return
        if self._ticket is not None:  # the service refused the request before a model saw it
            self._ticket.settle(0.0)
            self._ticket = None
        tokens = len(msgspec.json.encode(request)) // BYTES_A_TOKEN + 1
        self._ticket = self._purse.reserve(self._purse.worst(model, tokens, max_tokens), self.hand, model)

    def paid(self, call: Call, answer: str = "") -> None:
        """One request; `answer` is the JSON that came back. Settles what was reserved for it."""
        name = f"{self._stem}-{len(self.answers) + 1:02}.json" if answer else ""
        call = msgspec.structs.replace(
            call, who=self.who, hand=self.hand, answer=name, error=self.clean(untrusted.one_line(call.error, 500))
        )
        if answer:
            self.answers[name] = self.clean(answer)
        has_tokens = call.input or call.output or call.cache_write or call.cache_read
        if call.usd is None and has_tokens and not call.error:  # what an answer that broke off cost, nobody says
            problem = self._purse.problem if self._purse is not None else self._problem
            call = msgspec.structs.replace(call, usd=price(call.model, call, problem))
        self.calls.append(call)
        if self._ticket is not None:
            self._ticket.settle(call.usd, call)
            self._ticket = None

    def say(self, speaker: str, text: str) -> None:
        """A line or more of the transcript."""
        text = self.clean(untrusted.plain(text[: 8 * SAID_CAP])).strip()
        text = text if len(text) <= SAID_CAP else f"{text[:SAID_CAP]}\n[{len(text) - SAID_CAP:,} characters more]"
        if text and self._size < TRANSCRIPT_CAP:
            self._lines.append(f"{speaker}: {text}")
            self._size += len(text)

    @property
    def transcript(self) -> str:
        """What was said, for people."""
        return "\n\n".join([*self._lines, ""])


def now() -> str:
    """This moment as ISO 8601 UTC, to the millisecond."""
    return datetime.now(timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def key_from(variable: str, *, hint: str = "or work without a model: --agent offline") -> str:
    """The key in the environment. Raises UserError that names the variable."""
    key = os.environ.get(variable, "").strip()
    if not key:
        raise UserError(f"{variable} is not set", hint=f"put the key there, {hint}")
    return key


def need(package: str) -> None:
    """Raise UserError where a client is not installed. Imports nothing."""
    if importlib.util.find_spec(package) is None:
        raise UserError(
            f"the package {package} is not installed", hint=f"pip install 'evogit[{package}]', or work without a model: --agent offline"
        )


def limits(hand: str, max_tokens: str | int, timeout_s: str | float, retries: str | int) -> dict[str, Any]:
    """Options of a wire, as numbers: tokens of one answer, seconds of one request, the client's own retries. Raises UserError."""
    read = {"max_tokens": _number(max_tokens, int), "timeout_s": _number(timeout_s, float), "retries": _number(retries, int)}
    given = {"max_tokens": max_tokens, "timeout_s": timeout_s, "retries": retries}
    for name, least, example in (("max_tokens", 1, "8192"), ("timeout_s", 1e-3, "300"), ("retries", 0, "2")):
        number = read[name]
        if number is None or not least <= number < 1e7:
            raise UserError(f"{hand}: {name}={given[name]!r} makes no sense", hint=f"for example {name}={example}")
    return read


def _number(text: str | float, kind: type) -> Any:
    try:
        return kind(text)
    except (ValueError, OverflowError):
        return None
