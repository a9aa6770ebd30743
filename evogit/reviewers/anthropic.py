"""The `anthropic` reviewer: a Claude model reads the evidence of a run and gives a review by a strict schema. One call, two at most."""

from __future__ import annotations

from evogit.domain.review import PaidReview, ReviewBrief
from evogit.models.anthropic import AnthropicWire
from evogit.models.asking import AsksAnthropic
from evogit.models.talk import Opening, Tape
from evogit.reviewers import reading


class AnthropicReviewer(AsksAnthropic):
    """Options are text, as the command line gives them."""

    is_free = False
    max_tokens, timeout_s = 4096, 300.0
    instead = "review without a model: --reviewer heuristic"

    def review(self, brief: ReviewBrief) -> PaidReview:
        """A review with what it cost. Raises AgentFailed, ServiceDown, UserError, CapReached: a fallback is recorded then."""
        return reading.review(self.name, brief, self._wire, self.settings.key, self.purse)

    def _wire(self, opening: Opening, tape: Tape) -> AnthropicWire:
        return AnthropicWire(self.settings, opening, tape)
