"""What an open lab tells a person and nobody else: looks at held-out data, and whether their gap to validation grows.

Agents, reviewers, hooks and tools have no way here: none of them calls this part of the lab, and nothing of it is recorded in git.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from statistics import fmean
from typing import TYPE_CHECKING

import msgspec

from evogit.domain.holdout import HeldOut, Look, Scored
from evogit.domain.metric import Metric
from evogit.domain.options import LoopOptions
from evogit.domain.run import Run
from evogit.errors import EvogitError, UnknownName, UserError
from evogit.git.campaign import Campaign
from evogit.search import overfitting

if TYPE_CHECKING:
    from evogit.bench import Bench
    from evogit.git.holdout_book import HoldoutBook


class Withheld:
    """The part of `Lab` that speaks of held-out data."""

    campaign: Campaign
    has_campaign: bool
    _at_work: Bench | None = None  # of the loop that runs in this process
    _heard: tuple[tuple[int, int], bool] = ((0, 0), False)  # the book as it was last read, and whether growth was told

    if TYPE_CHECKING:

        def _bench(self, options: LoopOptions) -> Bench: ...

    def held_out(self) -> HeldOut:
        """Runs with their validation and held-out numbers, and the trend of the gap. Raises UserError without `[holdout]`. O(runs, looks)."""
        book, history, metric = self._book(), self.campaign.history, self.campaign.problem.primary
        looks, waiting = book.looks(), {request.run: request for request in book.pending()}
        rows = []
        for run in history.runs:
            mine = [look for look in looks if look.run == run.commit]
            is_due = run.is_kept and run.epoch == history.epoch and run.is_measured
            if mine or is_due or run.commit in waiting:
                fault = book.fault(waiting[run.commit]) if run.commit in waiting else ""
                row = _scored(run, mine, metric)
                if run.commit in waiting:
                    row = msgspec.structs.replace(row, waits=True, note=f"waits: {fault}" if fault else "waits")
                rows.append((run, row))
        gaps = [row.gap for run, row in rows if run.is_kept and run.epoch == history.epoch and row.gap is not None]
        return HeldOut(
            campaign=self.campaign.tag,
            metric=metric.name,
            rows=tuple(row for _, row in rows),
            looks=len(looks),
            trend=overfitting.trend(gaps),
            needed=overfitting.FEWEST,
        )

    def take_looks(self, options: LoopOptions, say: Callable[[str], None]) -> list[EvogitError]:
        """Take every look that waits; returns what stood in the way of some. Raises UserError if the state folder refuses."""
        from evogit import holdout

        self._book()
        return holdout.attend(self.campaign, options, say=say)[1]

    def look_at(self, labels: Sequence[str], options: LoopOptions, say: Callable[[str], None]) -> tuple[list[Look], list[EvogitError]]:
        """One look at each of these runs, which counts; returns those that were taken, and what stood in the way of others.

        All names are checked before the first look. Raises UnknownName, UserError.
        """
        from evogit import holdout

        self._book()
        bench = self._bench(options)
        try:
            commits = [self.campaign.history.find(label).commit for label in labels]
            asked = [holdout.ask_by_person(bench, commit) for commit in dict.fromkeys(commits)]
        finally:
            bench.close()
        return holdout.attend(self.campaign, options, {request.id for request in asked}, say)

    def all_looks(self) -> list[Look]:
        """Every look, oldest first. Raises UserError without `[holdout]`."""
        return self._book().looks()

    def held_out_news(self) -> list[str]:
        """What the person at a running loop should hear, each thing once: looks that could not be saved, a gap that grows. A `stat` if nothing is new."""
        if self._at_work is None or self.campaign.problem.holdout is None:
            return []
        desk, book = self._at_work.desk, self._book()
        said = desk.faults if desk is not None else []
        news, said[:] = [f"held-out data: {words}" for words in said], []
        before, was_growing = self._heard
        if (stamp := book.stamp) == before:
            return news
        found = self.held_out()
        is_growing = found.trend is not None and found.trend.is_growing
        self._heard = stamp, is_growing
        return [*news, f"warning: {trend_words(found)}"] if is_growing and not was_growing else news

    def _book(self) -> HoldoutBook:
        """The campaign's book of looks. Raises UserError, UnknownName where there can be none."""
        from evogit import holdout

        if not self.has_campaign:
            raise UnknownName("there is no campaign yet, so no run to look at", hint="start one with `evogit loop`")
        problem = self.campaign.problem
        if problem.holdout is None:
            hint = 'declare it in evogit.toml and commit it: [holdout] command = "python holdout.py", see docs/problem.md'
            raise UserError(f"problem {problem.name} declares no [holdout]", hint=hint)
        return holdout.book_of(self.campaign)


def _scored(run: Run, looks: Sequence[Look], metric: Metric) -> Scored:
    """A row: means over the looks that gave a number."""
    name = metric.name
    good = [look for look in looks if name in look.metrics]
    pairs = [(look.validation[name], look.metrics[name]) for look in good if name in look.validation]
    return Scored(
        run=run.label,
        verdict=run.verdict.value,
        certified=run.certified,
        validation=fmean(mine for mine, _ in pairs) if pairs else run.mean(name),
        held_out=fmean(look.metrics[name] for look in good) if good else None,
        gap=fmean(overfitting.gap(metric, *pair) for pair in pairs) if pairs else None,
        looks=len(looks),
        time=looks[-1].time if looks else "",
        note="" if good else f"failed: {looks[-1].reason}" if looks else "no look yet",
    )


def trend_words(found: HeldOut) -> str:
    """In one sentence, whether the gap grows, and how sure that is."""
    trend = found.trend
    if trend is None:
        have = sum(row.gap is not None and row.verdict == "keep" for row in found.rows)
        return f"whether the gap grows cannot be told yet: {have} of {found.needed} kept runs have a look"
    slope = f"{trend.slope:+.3g} {found.metric} a kept run (95 % interval {trend.low:.3g} to {trend.high:.3g}, {trend.runs} kept runs, p {trend.p:.2g})"
    if trend.is_growing:
        return f"the gap between validation and held-out grows, {slope}: the search is overfitting the validation data"
    return f"no sign that the gap between validation and held-out grows: {slope}"
