"""What an open lab does for those who drive it from outside, one change at a time: the next task, a submission, a search, a look.

It is the loop taken apart: a coding agent (or a person) stands where the agent would, and the rest is the loop's own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from evogit import registry
from evogit.domain.options import LoopOptions
from evogit.errors import UnknownName, UserError
from evogit.git.campaign import Campaign

if TYPE_CHECKING:
    from evogit.bench import Bench
    from evogit.domain.assignment import Assignment, Task
    from evogit.domain.event import Event
    from evogit.domain.proposal import Proposal
    from evogit.domain.review import Review
    from evogit.domain.run import Run
    from evogit.domain.trial import Crash
    from evogit.git.repository import Repository
    from evogit.stopping import Stopper


class Driven:
    """The part of `Lab` that works for a driver."""

    repo: Repository
    campaign: Campaign
    has_campaign: bool
    tag: str

    if TYPE_CHECKING:

        def _bench(self, options: LoopOptions) -> Bench: ...
        def diff(self, a: str, b: str = "") -> str: ...

    def next(self, emitter: str = "") -> Task:
        """The search's next assignment, which waits until it is submitted; `emitter` asks one search role alone.

        Nothing is written into history. Raises UserError, UnknownName, WorkFailed.
        """
        from evogit import assigning

        if emitter:
            registry.check("emitters", emitter, {})
        if not self.has_campaign:
            raise UnknownName("there is no campaign yet", hint="start one with `evogit start`, and measure it with `evogit baseline`")
        bench = self._bench(LoopOptions(emitters=(emitter,) if emitter else (), ideas=not emitter))
        bench.memory.ideas.has_reader = True  # whoever drives reads words
        try:
            return assigning.task(bench)
        finally:
            bench.close()

    def assignment(self) -> Assignment | None:
        """The plan that a submission would carry out now; None: it would be a change of its own, on top of the incumbent."""
        from evogit import assigning

        return assigning.pending(self.campaign)

    def submit(self, said: Proposal, options: LoopOptions, stop: Stopper | None = None, *, is_begun: bool = False) -> Iterator[Event]:
        """The working tree's mutable files as the run of the assignment that waits, or of a person's own on top of the incumbent.

        said: summary, and as far as known hypothesis, change and forecast; files in it are ignored. Gates, trials, review
        and verdict as in the loop. Raises UserError if nothing differs or the assignment's files were not put in place (where
        they seem not to have been, and were, say `is_begun`), Busy while a loop runs, and what `measure` raises.
        """
        from evogit import assigning, starting
        from evogit.loop import Voyage
        from evogit.scheduler import Loop

        bench = self._bench(options)
        waiting = assigning.pending(bench.campaign)
        if waiting is not None and not is_begun:
            try:
                assigning.check_begun(bench.campaign, waiting)
            except UserError:
                bench.close()
                raise

        def depart() -> Voyage:
            assignment = assigning.pending(bench.campaign)
            if assignment is None:
                return starting.person_voyage(bench, "", said)
            voyage = starting.assigned_voyage(bench, assignment, said)
            assigning.drop(bench.repo, bench.campaign.tag)
            return voyage

        yield from Loop(bench, stop).run_one(depart)

    def by_hand(self, metrics: Mapping[str, float], crash: Crash | None = None) -> tuple[Run, Review] | None:
        """The incumbent, and what the heuristic reviewer says of those numbers beside it; nothing is recorded. None without one."""
        from evogit import byhand

        bench = self._bench(LoopOptions())
        try:
            return byhand.look(bench, metrics, crash)
        finally:
            bench.close()

    def search(self, text: str, limit: int = 20, *, diffs: bool = False) -> list[tuple[Run, str]]:
        """Runs that speak of every word of `text`, newest first, each with the first place where the rarest stands.

        Looked at are summary, hypothesis, change, emitter, reason, judgement, crash and reviews, case ignored; with `diffs` the
        lines that it changed in its first parent as well. `limit` 0: all. O(runs), and 0.1 ms a run for its reviews, 1 ms for
        its diff. Raises UserError without a word.
        """
        from evogit.ideabook import reviews_of

        words = text.casefold().split()
        if not words:
            raise UserError("there is nothing to search for", hint='say a word or two, for example "weight decay"')
        found: list[tuple[Run, str]] = []
        for run in reversed(self.campaign.history.runs):
            places = [run.summary, run.hypothesis, run.change, run.emitter, run.reason, run.judged, run.crash]
            for review in reviews_of(self.repo, run.commit):
                places += [review.observation, review.next_belief, review.because, review.responsible]
                places += [f"{r.mutation_type}: {r.description}" for r in review.recommended_next_mutations]
            if diffs:
                places += [line for line in self.diff(run.commit).splitlines() if line[:1] in "+-" and line[:3] not in ("+++", "---")]
            whole = "\n".join(places).casefold()
            if all(word in whole for word in words):
                rarest = min(words, key=whole.count)
                found.append((run, next(place for place in places if rarest in place.casefold())))
                if limit and len(found) == limit:
                    break
        return found
