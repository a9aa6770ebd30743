"""The `openai` reviewer: any model behind chat completions reads the evidence of a run and gives a review. One call, two at most."""

from __future__ import annotations

from evogit.domain.review import PaidReview, ReviewBrief
from evogit.models.asking import AsksOpenAI
from evogit.models.openai import OpenAIWire
from evogit.models.talk import Opening, Tape
from evogit.reviewers import reading


class OpenAIReviewer(AsksOpenAI):
    """Options are text, as the command line gives them."""

    is_free = False
    max_tokens, timeout_s = 4096, 300.0
    option = "--reviewer-option"

    def review(self, brief: ReviewBrief) -> PaidReview:
        """A review with what it cost. Raises AgentFailed, ServiceDown, UserError, CapReached: a fallback is recorded then."""
        return reading.review(self.name, brief, self._wire, self.settings.key, self.purse)

    def _wire(self, opening: Opening, tape: Tape) -> OpenAIWire:
        return OpenAIWire(self.settings, opening, tape)
