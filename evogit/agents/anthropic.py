"""The `anthropic` agent: a Claude model edits the parent's files in memory, by tools, through Anthropic's Messages API.

It needs a key in ANTHROPIC_API_KEY and the `anthropic` extra; what a conversation is stands in `agents.conversing`.
"""

from __future__ import annotations

from pathlib import Path

from evogit.agents import conversing
from evogit.domain.briefing import Briefing
from evogit.domain.proposal import Proposal
from evogit.models import talk
from evogit.models.anthropic import AnthropicWire, Settings
from evogit.purse import Purse

DEFAULT_MODEL = "claude-sonnet-4-6"
KEY = "ANTHROPIC_API_KEY"


class AnthropicAgent:
    """Options are text, as the command line gives them. The client is imported with the first request: that takes a second."""

    name = "anthropic"
    edits_in_place = False
    mends = True  # a gate's refusal is given back to it in `Briefing.attempts`

    def __init__(
        self,
        model: str = DEFAULT_MODEL,
        base_url: str = "",
        max_tokens: str | int = 16_384,
        timeout_s: str | float = 600,
        retries: str | int = 2,
        effort: str = "",
        purse: Purse | None = None,
    ) -> None:
        """Raises UserError for a missing package, a missing key or an option that makes no sense."""
        talk.need(self.name)
        self._purse = purse
        self._settings = Settings(
            key=talk.key_from(KEY),
            model=model,
            base_url=base_url,
            effort=effort,
            **talk.limits(self.name, max_tokens, timeout_s, retries),
        )

    def propose(self, briefing: Briefing, workspace: Path) -> Proposal:
        """One edit, in `Proposal.files`. Costs one to twelve requests. Raises AgentFailed, ServiceDown, UserError, CapReached."""
        tape = conversing.tape_for(self.name, briefing, self._settings.key, self._purse)
        return conversing.converse(briefing, lambda opening: AnthropicWire(self._settings, opening, tape), tape)

    @staticmethod
    def replay(briefing: Briefing, answers: dict[str, str]) -> Proposal:
        """The same files again from recorded answers, without key or call."""
        return conversing.replayed(briefing, answers)
