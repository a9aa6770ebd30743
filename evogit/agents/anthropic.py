"""The `anthropic` agent: a Claude model edits the parent's files in memory, by tools, through Anthropic's Messages API.

It needs a key in ANTHROPIC_API_KEY and the `anthropic` extra; what a conversation is stands in `agents.conversing`.
"""

from __future__ import annotations

from pathlib import Path

from evogit.agents import conversing
from evogit.domain.briefing import Briefing
from evogit.domain.proposal import Proposal
from evogit.models.anthropic import AnthropicWire
from evogit.models.asking import AsksAnthropic


class AnthropicAgent(AsksAnthropic):
    """Options are text, as the command line gives them."""

    edits_in_place = False
    mends = True  # a gate's refusal is given back to it in `Briefing.attempts`

    def propose(self, briefing: Briefing, workspace: Path) -> Proposal:
        """One edit, in `Proposal.files`. Costs one to twelve requests. Raises AgentFailed, ServiceDown, UserError, CapReached."""
        tape = conversing.tape_for(self.name, briefing, self.settings.key, self.purse)
        return conversing.converse(briefing, lambda opening: AnthropicWire(self.settings, opening, tape), tape)

    @staticmethod
    def replay(briefing: Briefing, answers: dict[str, str]) -> Proposal:
        """The same files again from recorded answers, without key or call."""
        return conversing.replayed(briefing, answers)
