"""A training run that somebody launched by hand, held against the incumbent and reviewed. Nothing of it is recorded.

Its numbers are what a program printed in somebody's checkout: a hint for whoever drives, never a reading of record.
"""

from __future__ import annotations

from collections.abc import Mapping

from evogit import starting
from evogit.bench import Bench
from evogit.domain.review import Review, ReviewBrief
from evogit.domain.run import Run
from evogit.domain.trial import Crash
from evogit.search import change
from evogit.stages import review

DIFF_CAP = 64 << 10  # characters


def look(bench: Bench, metrics: Mapping[str, float], crash: Crash | None = None) -> tuple[Run, Review] | None:
    """What the heuristic reviewer says of those numbers beside the incumbent's; None without one. It costs no trial and no model."""
    memory, campaign = bench.memory, bench.campaign
    parent = memory.incumbent
    if parent is None:
        return None
    before = campaign.sources(parent.commit)
    after = dict(before)
    cut = len(campaign.problem.folder) + 1 if campaign.problem.folder else 0
    for path, data in starting.differences(campaign, parent.commit)[0].items():
        after[path[cut:]] = (data or b"").decode("utf-8", "replace")
    brief = ReviewBrief(
        primary=campaign.problem.primary,
        emitter="person",
        summary="a run by hand",
        hypothesis="",
        change="person",
        diff=change.diff(before, after)[:DIFF_CAP],
        parent=parent.readings,
        child={name: (value,) for name, value in metrics.items()},
        metrics=campaign.problem.metrics,
        spread=memory.spread.std,
        forecast=None,
        crash=crash,
        rejected="",
        label="by hand",
        moves=change.moves(before, after),
        lines=change.line_delta(before, after),
        ruler=memory.spread.ruler,
    )
    return parent, review.review(bench.reviewer, brief)
