"""The agent that is the `codex` program: it reads and edits files in the workspace, held there by a sandbox.

No network for what it runs, no questions. What counts is what it did to the files, not how it ended: it ends well even where its
commands failed.
"""

from __future__ import annotations

from pathlib import Path

from evogit.agents.briefed import prompt, proposal
from evogit.agents.edits import Watch
from evogit.domain.briefing import Briefing
from evogit.domain.proposal import Proposal
from evogit.programs import codex
from evogit.programs.speech import Secrets


class CodexAgent:
    """One headless run a candidate. Options: model (its own choice), base_url, program (its path), timeout_s (900), env."""

    name = "codex"
    edits_in_place = True
    pays_afterwards = True

    def __init__(self, model: str = "", base_url: str = "", program: str = "", timeout_s: str | float = 900, env: str = "") -> None:
        """Raises UserError where the program or a key is missing, or an option means nothing."""
        self._how = codex.settings(program=program, model=model, base_url=base_url, timeout_s=timeout_s, env=env)
        self.model = model  # it tells tokens: under a cap the price of that model has to be known

    def propose(self, briefing: Briefing, workspace: Path) -> Proposal:
        """What it did to the files. Raises AgentFailed with what it cost, UserError for a refused key, ServiceDown."""
        watch = Watch(briefing, workspace, Secrets((*codex.KEYS, *self._how.names)))
        return proposal(codex.ask(self._how, prompt(briefing, workspace), cwd=workspace, who="agent"), watch)
