"""A reviewer's reading of a run: the seeds' review contract, plus what we ask for on top. It never holds a number of record."""

from __future__ import annotations

from enum import Enum

import msgspec

from evogit.domain.belief import Belief, Credit, Ruler
from evogit.domain.change import Move
from evogit.domain.metric import Metric
from evogit.domain.plan import Forecast
from evogit.domain.problem import Problem
from evogit.domain.trial import Crash
from evogit.domain.usage import Call


class Branch(str, Enum):
    """What a reviewer would do with this line of descent; it weighs the parent in later choices."""

    CONTINUE = "continue"
    BRANCH = "branch"
    FIX = "deprioritize_or_fix"
    ABANDON = "abandon"
    STOP = "stop"


class Conclusion(str, Enum):
    """What a run says about the hypothesis that it was made for."""

    SUPPORTED = "supported"
    REFUTED = "refuted"
    UNDECIDED = "undecided"


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
    cost_usd: float | None = 0.0  # None: a part of it is not known
    hypothesis: str = ""  # what was tested, "" for a baseline
    conclusion: Conclusion | None = None  # of that hypothesis, None where there is none
    because: str = ""  # the conclusion's grounds, one sentence
    responsible: str = ""  # the part of the change that the gain or loss is put down to, "" if none stands out
    scores: dict[str, float] = {}  # fitness, novelty, information, surprise, complexity, memory_cost in [0, 1], those that are known


class PaidReview(Review, frozen=True, kw_only=True):
    """A review by a model, with the calls that it took. They are artifacts of the run; its note holds the `Review` alone."""

    calls: tuple[Call, ...] = ()
    answers: dict[str, str] = {}  # as `Proposal.answers`


class Sibling(msgspec.Struct, frozen=True, kw_only=True):
    """Another child of the same parent: what it changed and what came of it."""

    label: str
    diff: str = ""  # unified, against the parent
    moves: tuple[Move, ...] = ()
    gain: float  # over the parent, primary metric's unit, positive is better
    gain_sd: float = 0.0  # one standard deviation of that gain, same unit


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
    rejected: str = ""  # the gate's reason, or the person's who called it off without a number; "" if it ran
    is_called_off: bool = False  # by a person: what was read of it may be less than it was planned to have
    output_tail: str = ""  # untrusted text
    label: str = ""  # of the run under review
    moves: tuple[Move, ...] = ()  # named constants that it moved
    lines: tuple[int, int] = (0, 0)  # added and removed
    siblings: tuple[Sibling, ...] = ()  # decided children of the same parent that have a number, newest last
    belief: Belief | None = None  # with this run's readings in it
    ruler: Ruler = Ruler.UNKNOWN  # what is known of the noise; a `spread` above 0 makes it NOISY whatever stands here
    credit: Credit | None = None  # what memory gave it
    peak_rss_mib: int = 0  # largest of its trials, 0 if not measured
    parent_peak_rss_mib: int = 0
    memory_mib: int = 0  # the budget's limit, 0 if there is none
    problem: Problem | None = None  # whose prices hold for models
    flags: tuple[str, ...] = ()  # places in its files that may give a cheat away, one line each
