"""What an open lab does for those who sit in front of it while a loop works in another process: messages to it, marks, the queue of ideas.

It runs nothing itself: the loop obeys when it looks next, within a quarter of a second or once the agent that it asks has answered.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from evogit.errors import UnknownName
from evogit.git.campaign import Campaign

if TYPE_CHECKING:
    from evogit.bench import Bench
    from evogit.domain.control import Control, Helm
    from evogit.domain.event import Controlled
    from evogit.domain.report import Glance
    from evogit.domain.run import Run
    from evogit.git.repository import Repository
    from evogit.ideabook import Told

_POLL_S = 0.02


class Steered:
    """The part of `Lab` that steers."""

    repo: Repository
    campaign: Campaign
    tag: str

    if TYPE_CHECKING:
        _at_work: Bench | None

        def refresh(self) -> list[Run]: ...

    def send(self, kind: str, *, run: str = "", seeds: int = 0, reason: str = "") -> Control:
        """A message to the loop of this campaign that runs here; what was sent.

        "pause": nothing further is begun, runs in the air go on until they are decided; "resume" ends that. "stop": as Ctrl-C,
        sent twice as Ctrl-C twice. "cancel": `run`, which is in flight, ends and is decided as it stands, for `reason`.
        "remeasure": `run`, which is decided, is read `seeds` times more; where no loop runs, the next one does it.

        Raises UserError, UnknownName where it makes no sense: no loop runs, no such run, paused already ... 1 ms.
        """
        from evogit import control

        self.refresh()
        return control.send(self.campaign, kind, run=run, seeds=seeds, reason=reason)

    def controls(self) -> list[Control]:
        """Messages that wait to be obeyed, the oldest first."""
        from evogit import control

        return control.waiting(self.repo, self.tag)

    def is_obeyed(self, sent: Control) -> bool:
        """True once a loop has taken that message. `answer` says what came of it."""
        from evogit import control

        return control.is_obeyed(self.repo, self.tag, sent)

    def answer(self, sent: Control, wait_s: float = 0.0) -> Controlled | None:
        """What came of a message, as the loop's event says it; None if the loop did not say so within `wait_s`."""
        from evogit import control

        deadline = time.monotonic() + wait_s
        while (said := control.answer(self.repo, self.tag, sent)) is None and time.monotonic() < deadline:
            time.sleep(_POLL_S)
        return said

    def helm(self) -> Helm | None:
        """What the loop that runs says of itself: its process, machine, whether it is paused and by whom. None where none runs."""
        from evogit import control

        return control.helm_of(self.repo, self.tag)

    def pulse(self) -> tuple[object, ...]:
        """Changes whenever what `status` says does: the branch, flights, the loop and what it spent, ideas. 1 ms.

        Raises UnknownName where the campaign is gone.
        """
        from evogit import control, views
        from evogit.git import notes, refs
        from evogit.git.locks import loop_holder

        repo, tag = self.repo, self.tag
        tip, pid = refs.read(repo, refs.branch(tag)), loop_holder(repo, tag)
        if tip is None:
            raise UnknownName(f"campaign {tag} is gone", hint="`evogit prune` lists those there are, archived ones too")
        flying = tuple(refs.listing(repo, refs.inflight(tag)).values())
        spent = views.read_purse(repo, tag, pid) if pid else ()
        return tip, flying, pid, spent, control.helm_of(repo, tag, pid), refs.read(repo, notes.IDEAS)

    def glance(self) -> Glance:
        """The incumbent, and what the loop of this very process has spent, as far as it has come. Reads nothing."""
        from evogit.domain.report import Glance

        history, bench = self.campaign.history, self._at_work
        best = history.by_commit.get(history.incumbent)
        if bench is None:
            return Glance(best=best)
        return Glance(best=best, spent_usd=bench.purse.spent + bench.purse.held, cap_usd=bench.purse.cap, slots=bench.workers)

    def mark(self, run: str, on: bool = True) -> Run:
        """Mark a run to be picked later, or take its mark off. Raises UnknownName."""
        from evogit import marking

        return marking.mark(self.campaign, run, on)

    def marks(self) -> list[Run]:
        """Marked runs in the order of decisions."""
        from evogit import marking

        return marking.marked(self.campaign)

    def drop_idea(self, id: str, because: str = "") -> Told:
        """Nobody is to carry that idea out; to rank it brings it back. id: four digits or more. Raises UserError, UnknownName, Busy."""
        from evogit import ideabook

        return ideabook.rank(self.repo, self.campaign.history, id, drop=True, reason=because)

    def rank_idea(self, id: str, priority: float) -> Told:
        """Give an idea (a reviewer's too) that priority, 0 to 1. Raises UserError, UnknownName, Busy."""
        from evogit import ideabook

        return ideabook.rank(self.repo, self.campaign.history, id, priority=priority)

    def raise_idea(self, id: str) -> Told:
        """A step of 0.1 up in the queue. Raises as `rank_idea`."""
        from evogit import ideabook

        return ideabook.rank(self.repo, self.campaign.history, id, by=ideabook.STEP)

    def lower_idea(self, id: str) -> Told:
        """A step of 0.1 down in the queue. Raises as `rank_idea`."""
        from evogit import ideabook

        return ideabook.rank(self.repo, self.campaign.history, id, by=-ideabook.STEP)
