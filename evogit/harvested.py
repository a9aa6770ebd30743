"""What an open lab does with what was found: verdicts of people, gains taken home, campaigns put away. Each says what it did.

It measures nothing, and it asks no model.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from evogit.domain.options import LoopOptions
from evogit.domain.verdict import Verdict
from evogit.errors import UserError
from evogit.git.campaign import Campaign

if TYPE_CHECKING:
    from evogit.bisecting import Bisected
    from evogit.domain.event import Event
    from evogit.git.repository import Repository
    from evogit.judging import Judging
    from evogit.picking import Pick
    from evogit.pruning import Campaigns, Pruned
    from evogit.scheduler import Stopper
    from evogit.tagging import Tagged


class Harvested:
    """The part of `Lab` that judges and harvests."""

    repo: Repository
    campaign: Campaign
    tag: str
    stopper: Stopper

    if TYPE_CHECKING:

        def measure_again(self, label: str, options: LoopOptions, stop: Stopper | None = None) -> Iterator[Event]: ...

    def judge(self, label: str, verdict: str, because: str) -> Judging:
        """A person's verdict, "keep" or "discard", in place of the one that a run has; beside a running loop too.

        A keep makes the run the incumbent; where the incumbent is discarded, the one before it holds again. Raises UserError,
        UnknownName, Busy.
        """
        from evogit import judging

        if verdict not in (Verdict.KEEP.value, Verdict.DISCARD.value):
            raise UserError(f"{verdict!r} is no verdict that a person gives", hint="`keep` or `discard`")
        return judging.judge(self.repo, self.campaign, label, Verdict(verdict), because)

    def pick(self, labels: Sequence[str], *, onto: str = "", squash: bool = False, dry_run: bool = False) -> Pick:
        """Runs as clean commits on a branch ("": the one that is checked out), their lines of descent from the baseline on.

        A conflict on the branch that is checked out is left to the person, as `git cherry-pick` leaves it; on another one nothing
        changes then. Raises UserError, UnknownName, RepositoryError.
        """
        from evogit import picking

        return picking.pick(self.repo, self.campaign, labels, onto=onto, squash=squash, is_trial=dry_run)

    def tag_run(self, label: str, name: str, *, is_forced: bool = False) -> Tagged:
        """An annotated tag on a run's commit; its message carries the numbers. Raises UserError where the name is taken, or none."""
        from evogit import tagging

        return tagging.tag(self.repo, self.campaign, label, name, is_forced=is_forced)

    def tagged(self) -> list[Tagged]:
        """Tags on runs of this campaign, by name. O(tags)."""
        from evogit import tagging

        return tagging.listing(self.repo, self.campaign)

    def bisect(
        self,
        metric: str,
        *,
        good: str = "",
        bad: str = "",
        measure: LoopOptions | None = None,
        tell: Callable[[Event], None] = lambda event: None,
    ) -> Bisected:
        """The keep since which a metric is worse than in run `good` (default: the baseline), beyond noise, as git bisects the branch.

        measure: with these options, runs are read again where noise leaves it open; `tell` hears of it. Raises UserError, UnknownName,
        Busy.
        """
        from evogit import bisecting

        def again(label: str) -> None:
            for event in self.measure_again(label, measure or LoopOptions(), self.stopper):
                tell(event)

        return bisecting.find(self.repo, self.campaign, metric, good=good, bad=bad, measure=again if measure is not None else None)

    def prunable(self) -> list[Campaigns]:
        """All campaigns, archived ones last, and what keeps each from being archived. O(runs of all)."""
        from evogit import pruning

        return pruning.overview(self.repo)

    def prune(
        self, tags: Sequence[str], *, older_than_s: float = 0.0, delete: bool = False, flights: bool = False, dry_run: bool = False
    ) -> list[Pruned]:
        """Archive campaigns that are over, or delete them. Raises UserError or Busy for one that was named and is not over."""
        from evogit import pruning

        names = [tag.removeprefix("autoresearch/") for tag in tags]
        return pruning.prune(self.repo, names, older_than_s=older_than_s, delete=delete, flights_too=flights, is_trial=dry_run)

    def restore(self, tag: str) -> Pruned:
        """Bring an archived campaign back. Raises UnknownName, RepositoryError."""
        from evogit import pruning

        return pruning.restore(self.repo, tag.removeprefix("autoresearch/"))

    def archived(self) -> list[str]:
        """Tags of archived campaigns, sorted."""
        from evogit.git import archive

        return [found.tag for found in archive.listing(self.repo)]

    def tag_names(self) -> list[tuple[str, str]]:
        """(name, which run) of tags on runs of this campaign, without reading the book: for completion. 50 us a tag."""
        from evogit.git import ledger, refs

        found: list[tuple[str, str]] = []
        for ref in refs.listing(self.repo, refs.TAGS):
            name = ref.removeprefix(refs.TAGS)
            commit = refs.tagged(self.repo, name)
            lines = ledger.commit(self.repo, commit).text.splitlines() if commit else []
            label = next((line.partition(": ")[2] for line in lines if line.startswith("Evogit-Run: ")), "")
            if label and f"Evogit-Campaign: {self.tag}" in lines:
                found.append((name, f"tag of run {label}"))
        return found

    def branches(self) -> list[str]:
        """Branches that are no campaign's, sorted."""
        return sorted(name for name in self.repo.git.branches.local if not name.startswith("autoresearch/"))

    def recent_labels(self, limit: int = 60) -> list[tuple[str, str]]:
        """(label, what became of it) of the newest runs, newest first, without reading the whole book: for completion. 40 us a run."""
        from evogit.git import ledger, refs

        found: list[tuple[str, str]] = []
        name = refs.read(self.repo, refs.branch(self.tag)) or ""
        while name and len(found) < limit:
            commit = ledger.commit(self.repo, name)
            verdict, _, rest = commit.text.partition("\n")[0].partition(" ")
            label, colon, about = rest.partition(": ")
            if colon and len(commit.parents) == 2 and label.rpartition("/")[2].isdigit():
                found.append((label, f"{verdict}: {about}"))
            name = next(iter(commit.parents), "")
            if verdict not in ("keep", "discard", "crash", "reject", "judge", "certify", "replicate", "epoch", "join"):
                break  # below the campaign, or a person's own
        return found
