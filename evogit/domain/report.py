"""What the lab answers when it is asked: status of a campaign, all about one run, what a doctor found."""

from __future__ import annotations

import msgspec

from evogit.domain.lore import Warning_
from evogit.domain.metric import Metric
from evogit.domain.review import Review
from evogit.domain.run import Run
from evogit.domain.trial import TrialLine


class InFlight(msgspec.Struct, frozen=True, kw_only=True):
    """A run that is not decided yet."""

    run: str
    state: str
    emitter: str
    clone: str
    since: str  # ISO 8601 UTC


class Status(msgspec.Struct, frozen=True, kw_only=True):
    """One campaign at a glance."""

    campaign: str
    branch: str
    problem: str
    folder: str
    metric: Metric
    runs: int
    verdicts: dict[str, int]  # keep, discard, crash, reject
    baseline: Run | None
    incumbent: Run | None
    spread: float  # one standard deviation between seeds, 0 if unknown
    seconds: float
    cost_usd: float
    in_flight: tuple[InFlight, ...]
    loop_pid: int  # 0: no loop is running
    campaigns: tuple[str, ...]  # all campaigns of the repository
    emitters: dict[str, dict[str, int]]  # emitter -> {"runs": 5, "keeps": 1}
    epoch: int = 0  # runs of earlier epochs are kept, and compared with nothing of this one
    warnings: tuple[Warning_, ...] = ()  # what deserves a look now


class RunDetail(msgspec.Struct, frozen=True, kw_only=True):
    """All that is known about one run."""

    run: Run
    parents: tuple[Run, ...]
    plan: str  # instruction and what it was meant to do, "" if unknown
    diff: str  # unified, against the first parent
    extra_trials: tuple[TrialLine, ...]  # replicates and certifications
    reviews: tuple[Review, ...]
    files: dict[str, int]  # artifact path -> bytes


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One thing a doctor looked at."""

    level: str  # "ok", "note", "warning", "error"
    check: str  # "branch", "notes", "locks", "flights", "problem", ...
    message: str
    fix: str = ""  # what to do, or what --fix does
    fixed: bool = False


class Started(msgspec.Struct, frozen=True, kw_only=True):
    """What `evogit start` made."""

    campaign: str
    branch: str
    base: str
    problem: str
    refspecs: tuple[str, ...]  # to push the whole lab book
