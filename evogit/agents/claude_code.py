"""The agent that is the `claude` program: it reads and edits files in the workspace, and can do nothing else.

No commands, no network tools, no questions. What counts is what it did to the files, not how it ended.
"""

from __future__ import annotations

from pathlib import Path

from evogit.agents.briefed import prompt, proposal
from evogit.agents.edits import Watch
from evogit.domain.briefing import Briefing
from evogit.domain.proposal import Proposal
from evogit.programs import claude
from evogit.programs.speech import Secrets
from evogit.purse import Purse

TOOLS = ("Read", "Edit", "MultiEdit", "Write", "Glob", "Grep")  # MultiEdit where the version has it


class ClaudeCodeAgent:
    """One headless run a candidate. Options: model, base_url, program (its path), timeout_s (900), max_usd (of a run), env."""

    name = "claude-code"
    edits_in_place = True

    def __init__(
        self,
        model: str = claude.MODEL,
        base_url: str = "",
        program: str = "",
        timeout_s: str | float = 900,
        max_usd: str | float = 0,
        env: str = "",
        purse: Purse | None = None,
    ) -> None:
        """Raises UserError where the program or a key is missing, or an option means nothing."""
        self._how = claude.settings(program=program, model=model, base_url=base_url, timeout_s=timeout_s, max_usd=max_usd, env=env)
        self._purse = purse

    def propose(self, briefing: Briefing, workspace: Path) -> Proposal:
        """What it did to the files. Raises AgentFailed with what it cost, UserError for a refused key, ServiceDown, CapReached."""
        watch = Watch(briefing, workspace, Secrets((*claude.KEYS, *self._how.names)))
        return proposal(
            claude.ask(self._how, prompt(briefing, workspace), cwd=workspace, tools=TOOLS, who="agent", purse=self._purse), watch
        )
