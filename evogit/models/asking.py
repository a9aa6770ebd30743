"""What the hands that ask a model have in common, agents and reviewers: their options, as a command line gives them, made into settings.

It says nothing to a model and knows no briefing. A hand sets how long an answer may be and how long it waits.
"""

from __future__ import annotations

import os

from evogit.errors import UserError
from evogit.models import anthropic, openai, talk
from evogit.purse import Purse

DEFAULT_MODEL = "claude-sonnet-4-6"
ANTHROPIC_KEY, OPENAI_KEY = "ANTHROPIC_API_KEY", "OPENAI_API_KEY"


class AsksAnthropic:
    """A hand that asks Anthropic's API. The client is imported with the first request: that takes a second."""

    name = "anthropic"
    max_tokens = 16_384  # of one answer, unless the person says otherwise
    timeout_s = 600.0  # of one request
    instead = "work without a model: --agent offline"  # what a person without a key may do

    def __init__(
        self,
        model: str = DEFAULT_MODEL,
        base_url: str = "",
        max_tokens: str | int | None = None,
        timeout_s: str | float | None = None,
        retries: str | int = 2,
        effort: str = "",
        purse: Purse | None = None,
    ) -> None:
        """Raises UserError for a missing package, a missing key or an option that makes no sense."""
        talk.need(self.name)
        self.model, self.purse = model, purse
        self.settings = anthropic.Settings(
            key=talk.key_from(ANTHROPIC_KEY, hint=f"or {self.instead}"),
            model=model,
            base_url=base_url,
            effort=effort,
            **talk.limits(self.name, _or(max_tokens, self.max_tokens), _or(timeout_s, self.timeout_s), retries),
        )


class AsksOpenAI:
    """A hand that asks OpenAI's API, or whatever speaks the same. The client is imported with the first request."""

    name = "openai"
    max_tokens = 16_384  # of one answer, unless the person says otherwise
    timeout_s = 600.0  # of one request
    option = "--agent-option"  # how a person gives it an option

    def __init__(
        self,
        model: str = "",
        base_url: str = "",
        max_tokens: str | int | None = None,
        timeout_s: str | float | None = None,
        retries: str | int = 2,
        effort: str = "",
        purse: Purse | None = None,
    ) -> None:
        """Raises UserError for a missing package, a missing key or model, or an option that makes no sense."""
        talk.need(self.name)
        if not model:
            raise UserError("openai: which model?", hint=f"{self.option} model=NAME, as the service calls it")
        named = f"name a server: {self.option} base_url=URL"
        key = os.environ.get(OPENAI_KEY, "").strip() if base_url else talk.key_from(OPENAI_KEY, hint=named)
        self.model, self.purse = model, purse
        self.settings = openai.Settings(
            key=key,
            model=model,
            base_url=base_url,
            effort=effort,
            **talk.limits(self.name, _or(max_tokens, self.max_tokens), _or(timeout_s, self.timeout_s), retries),
        )


def _or(given: str | float | None, default: float) -> str | float:
    return default if given is None else given
