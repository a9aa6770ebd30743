"""An agent that changes nothing: for smoke tests of a problem and of the loop. Its runs are readings of their parent."""

from __future__ import annotations

from pathlib import Path

from evogit.domain.briefing import Briefing
from evogit.domain.proposal import Proposal


class NoopAgent:
    """Returns the parent untouched, so that the whole story is told without an idea in it."""

    name = "noop"
    edits_in_place = False
    is_quick = True

    def propose(self, briefing: Briefing, workspace: Path) -> Proposal:
        """No edit. Never raises."""
        return Proposal(summary="change nothing", hypothesis="the same code gives the same numbers, within noise", change="replicate")
