"""A reviewer's reading of a run: the seeds' review contract, plus what we ask for on top. It never holds a number of record."""

from __future__ import annotations

from enum import Enum

import msgspec

from evogit.domain.metric import Metric
from evogit.domain.plan import Forecast
from evogit.domain.trial import Crash


class Branch(str, Enum):
    """What a reviewer would do with this line of descent; it weighs the parent in later choices."""

    CONTINUE = "continue"
    BRANCH = "branch"
    FIX = "deprioritize_or_fix"
    ABANDON = "abandon"
    STOP = "stop"


class Recommendation(msgspec.Struct, frozen=True, kw_only=True):
    """One next mutation that a reviewer would try."""

    mutation_type: str
    description: str
    expected_benefit: str = ""
    priority: float = 0.5  # 0 to 1


class Review(msgspec.Struct, frozen=True, kw_only=True):
    """What numbers cannot say about a run."""

    reviewer: str
    valid: bool
    is_improvement: bool
    branch_recommendation: Branch
    confidence: float  # 0 to 1
    observation: str
    next_belief: str
    recommended_next_mutations: tuple[Recommendation, ...] = ()
    fallback: str = ""  # why a stand-in wrote this, "" if the reviewer itself did
    cost_usd: float | None = 0.0


class ReviewBrief(msgspec.Struct, frozen=True, kw_only=True):
    """All that a reviewer is shown: parent against child, the diff, the evidence."""

    primary: Metric
    emitter: str
    summary: str
    hypothesis: str
    change: str
    diff: str  # unified, capped
    parent: dict[str, tuple[float, ...]]  # readings of the parent, () where it has none
    child: dict[str, tuple[float, ...]]
    metrics: tuple[Metric, ...]
    spread: float  # one standard deviation of the primary metric between seeds, 0 if not known yet
    forecast: Forecast | None = None
    crash: Crash | None = None
    rejected: str = ""  # the gate's reason, "" if it ran
    output_tail: str = ""  # untrusted text
