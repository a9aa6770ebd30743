"""The `openai` agent: any model behind chat completions edits the parent's files in memory, by tools or by fenced answers.

OpenAI itself needs a key in OPENAI_API_KEY; a server of one's own is named with `base_url` and may need none.
"""

from __future__ import annotations

from pathlib import Path

from evogit.agents import conversing
from evogit.domain.briefing import Briefing
from evogit.domain.proposal import Proposal
from evogit.models.asking import AsksOpenAI
from evogit.models.openai import OpenAIWire
from evogit.models.talk import Opening


class OpenAIAgent(AsksOpenAI):
    """Options are text, as the command line gives them."""

    edits_in_place = False
    mends = True  # a gate's refusal is given back to it in `Briefing.attempts`
    has_tools = True  # until a server says otherwise

    def propose(self, briefing: Briefing, workspace: Path) -> Proposal:
        """One edit, in `Proposal.files`. Costs one to twelve requests. Raises AgentFailed, ServiceDown, UserError, CapReached."""
        tape = conversing.tape_for(self.name, briefing, self.settings.key, self.purse)
        wires: list[OpenAIWire] = []

        def make(opening: Opening) -> OpenAIWire:
            wires.append(OpenAIWire(self.settings, opening, tape, has_tools=self.has_tools))
            return wires[0]

        try:
            return conversing.converse(briefing, make, tape)
        finally:
            self.has_tools = all(wire.has_tools for wire in wires)

    @staticmethod
    def replay(briefing: Briefing, answers: dict[str, str]) -> Proposal:
        """The same files again from recorded answers, without key or call."""
        return conversing.replayed(briefing, answers)
