"""What the lab answers when it is asked: status of a campaign, all about one run, what a doctor found."""

from __future__ import annotations

import msgspec

from evogit.domain.lore import Warning_
from evogit.domain.metric import Metric
from evogit.domain.review import Review
from evogit.domain.run import Run
from evogit.domain.trial import TrialLine
from evogit.domain.usage import Spent


class InFlight(msgspec.Struct, frozen=True, kw_only=True):
    """A run that is not decided yet."""

    run: str
    state: str
    emitter: str
    clone: str
    since: str  # ISO 8601 UTC
    backend: str = "local"  # several are joined with "+"


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
    cost_usd: float | None  # all that runs and their later readings cost, None where a part is not known
    known_usd: float  # the part that is known
    spent: Spent  # on models
    in_flight: tuple[InFlight, ...]
    loop_pid: int  # 0: no loop is running
    campaigns: tuple[str, ...]  # all campaigns of the repository
    emitters: dict[str, dict[str, int]]  # emitter -> {"runs": 5, "keeps": 1}
    epoch: int = 0  # runs of earlier epochs are kept, and compared with nothing of this one
    warnings: tuple[Warning_, ...] = ()  # what deserves a look now
    max_cost: float = 0.0  # cap of the loop that runs, in dollars; 0: none runs, or it has none
    loop_usd: float = 0.0  # what that loop has spent and reserved of it
    baselines: int = 0  # among the keeps of `verdicts`: the others are kept improvements
    is_paused: bool = False  # the loop that runs begins nothing further, until a person resumes it


class Glance(msgspec.Struct, frozen=True, kw_only=True):
    """What a face shows beside the loop that runs in its own process."""

    best: Run | None = None  # the incumbent
    spent_usd: float = 0.0  # by this invocation, what is reserved included
    cap_usd: float = 0.0  # 0: no cap
    slots: int = 1  # runs that may be in the air at once


class RunDetail(msgspec.Struct, frozen=True, kw_only=True):
    """All that is known about one run."""

    run: Run
    parents: tuple[Run, ...]
    plan: str  # instruction and what it was meant to do, "" if unknown
    diff: str  # unified, against the first parent
    extra_trials: tuple[TrialLine, ...]  # replicates and certifications
    reviews: tuple[Review, ...]
    files: dict[str, int]  # artifact path -> bytes


class Replayed(msgspec.Struct, frozen=True, kw_only=True):
    """A run's candidate, rebuilt from its record."""

    run: str
    commit: str
    how: str  # "plan" (asked again, by rule), "answers" (of a model), "files.json" (what an agent left) or "cut" (the same: an answer was too long to keep)
    tree: str  # hash of the recorded one
    rebuilt: str  # hash of the one that was made now, "" if none could be
    is_equal: bool
    diff: str = ""  # from the record to what was made now, or why nothing was made
    before: tuple[float, ...] = ()  # recorded readings of the primary metric
    spread: float = 0.0  # one standard deviation between seeds, as it is known without what is taken now
    after: tuple[float, ...] = ()  # those that were taken now
    is_within_noise: bool | None = None  # of those readings, None if it was not measured again


class Bill(msgspec.Struct, frozen=True, kw_only=True):
    """What a part of a campaign's work cost: one line of `evogit cost`."""

    name: str
    runs: int = 0
    kept: int = 0  # improvements: baselines are none
    readings: int = 0  # replicates and looks of certificates
    spent: Spent = Spent()  # on models
    compute_usd: float = 0.0  # on the backend

    @property
    def usd(self) -> float:
        """Dollars that are known."""
        return round(self.spent.usd + self.compute_usd, 9)

    @property
    def total_usd(self) -> float | None:
        """All of it, None where a part is not known."""
        return None if self.spent.unpriced else self.usd

    @property
    def per_kept_usd(self) -> float | None:
        """Known dollars for each kept improvement, None if nothing was kept."""
        return self.usd / self.kept if self.kept else None


class Costs(msgspec.Struct, frozen=True, kw_only=True):
    """What `evogit cost` says."""

    by: str  # "campaign", "agent", "emitter", "verdict" or "model"
    campaign: str  # "" where all were summed
    lines: tuple[Bill, ...]  # the dearest first
    total: Bill
    absent: int = 0  # by model: runs with calls whose artifacts are not here


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
