"""The `anthropic` reviewer: a Claude model reads the evidence of a run and gives a review by a strict schema. One call, two at most."""

from __future__ import annotations

from evogit.domain.review import PaidReview, ReviewBrief
from evogit.models import talk
from evogit.models.anthropic import AnthropicWire, Settings
from evogit.models.talk import Opening, Tape
from evogit.purse import Purse
from evogit.reviewers import reading

DEFAULT_MODEL = "claude-sonnet-4-6"
KEY = "ANTHROPIC_API_KEY"


class AnthropicReviewer:
    """Options are text, as the command line gives them. The client is imported with the first request."""

    name = "anthropic"
    is_free = False

    def __init__(
        self,
        model: str = DEFAULT_MODEL,
        base_url: str = "",
        max_tokens: str | int = 4096,
        timeout_s: str | float = 300,
        retries: str | int = 2,
        effort: str = "",
        purse: Purse | None = None,
    ) -> None:
        """Raises UserError for a missing package, a missing key or an option that makes no sense."""
        talk.need(self.name)
        self._purse = purse
        self._settings = Settings(
            key=talk.key_from(KEY, hint="or review without a model: --reviewer heuristic"),
            model=model,
            base_url=base_url,
            effort=effort,
            **talk.limits(self.name, max_tokens, timeout_s, retries),
        )

    def review(self, brief: ReviewBrief) -> PaidReview:
        """A review with what it cost. Raises AgentFailed, ServiceDown, UserError, CapReached: a fallback is recorded then."""
        return reading.review(self.name, brief, self._wire, self._settings.key, self._purse)

    def _wire(self, opening: Opening, tape: Tape) -> AnthropicWire:
        return AnthropicWire(self._settings, opening, tape)
