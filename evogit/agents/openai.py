"""The `openai` agent: any model behind chat completions edits the parent's files in memory, by tools or by fenced answers.

OpenAI itself needs a key in OPENAI_API_KEY; a server of one's own is named with `base_url` and may need none.
"""

from __future__ import annotations

import os
from pathlib import Path

from evogit.agents import conversing
from evogit.domain.briefing import Briefing
from evogit.domain.proposal import Proposal
from evogit.errors import UserError
from evogit.models import talk
from evogit.models.openai import OpenAIWire, Settings
from evogit.models.talk import Opening
from evogit.purse import Purse

KEY = "OPENAI_API_KEY"


class OpenAIAgent:
    """Options are text, as the command line gives them. The client is imported with the first request."""

    name = "openai"
    edits_in_place = False
    mends = True  # a gate's refusal is given back to it in `Briefing.attempts`

    def __init__(
        self,
        model: str = "",
        base_url: str = "",
        max_tokens: str | int = 16_384,
        timeout_s: str | float = 600,
        retries: str | int = 2,
        effort: str = "",
        purse: Purse | None = None,
    ) -> None:
        """Raises UserError for a missing package, a missing key or model, or an option that makes no sense."""
        talk.need(self.name)
        self._purse = purse
        if not model:
            raise UserError("openai: which model?", hint="--agent-option model=NAME, as the service calls it")
        key = os.environ.get(KEY, "").strip() if base_url else talk.key_from(KEY, hint="name a server: --agent-option base_url=URL")
        self._settings = Settings(
            key=key,
            model=model,
            base_url=base_url,
            effort=effort,
            **talk.limits(self.name, max_tokens, timeout_s, retries),
        )
        self._has_tools = True  # until a server says otherwise

    def propose(self, briefing: Briefing, workspace: Path) -> Proposal:
        """One edit, in `Proposal.files`. Costs one to twelve requests. Raises AgentFailed, ServiceDown, UserError, CapReached."""
        tape = conversing.tape_for(self.name, briefing, self._settings.key, self._purse)
        wires: list[OpenAIWire] = []

        def make(opening: Opening) -> OpenAIWire:
            wires.append(OpenAIWire(self._settings, opening, tape, has_tools=self._has_tools))
            return wires[0]

        try:
            return conversing.converse(briefing, make, tape)
        finally:
            self._has_tools = all(wire.has_tools for wire in wires)

    @staticmethod
    def replay(briefing: Briefing, answers: dict[str, str]) -> Proposal:
        """The same files again from recorded answers, without key or call."""
        return conversing.replayed(briefing, answers)
