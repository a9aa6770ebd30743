"""The `openai` reviewer: any model behind chat completions reads the evidence of a run and gives a review. One call, two at most."""

from __future__ import annotations

import os

from evogit.domain.review import PaidReview, ReviewBrief
from evogit.errors import UserError
from evogit.models import talk
from evogit.models.openai import OpenAIWire, Settings
from evogit.models.talk import Opening, Tape
from evogit.purse import Purse
from evogit.reviewers import reading

KEY = "OPENAI_API_KEY"


class OpenAIReviewer:
    """Options are text, as the command line gives them. The client is imported with the first request."""

    name = "openai"
    is_free = False

    def __init__(
        self,
        model: str = "",
        base_url: str = "",
        max_tokens: str | int = 4096,
        timeout_s: str | float = 300,
        retries: str | int = 2,
        effort: str = "",
        purse: Purse | None = None,
    ) -> None:
        """Raises UserError for a missing package, a missing key or model, or an option that makes no sense."""
        talk.need(self.name)
        self._purse = purse
        if not model:
            raise UserError("openai: which model?", hint="--reviewer-option model=NAME, as the service calls it")
        key = os.environ.get(KEY, "").strip() if base_url else talk.key_from(KEY, hint="name a server: --reviewer-option base_url=URL")
        self._settings = Settings(
            key=key,
            model=model,
            base_url=base_url,
            effort=effort,
            **talk.limits(self.name, max_tokens, timeout_s, retries),
        )

    def review(self, brief: ReviewBrief) -> PaidReview:
        """A review with what it cost. Raises AgentFailed, ServiceDown, UserError, CapReached: a fallback is recorded then."""
        return reading.review(self.name, brief, self._wire, self._settings.key, self._purse)

    def _wire(self, opening: Opening, tape: Tape) -> OpenAIWire:
        return OpenAIWire(self._settings, opening, tape)
