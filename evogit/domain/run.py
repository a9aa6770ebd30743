"""A run: one commit and all that is known about it. Read from the branch alone, so any clone tells the same story."""

from __future__ import annotations

import msgspec

from evogit.domain.change import Move
from evogit.domain.metric import Metric
from evogit.domain.plan import Forecast
from evogit.domain.trial import TrialLine
from evogit.domain.usage import Spent
from evogit.domain.verdict import Verdict


class Judgement(msgspec.Struct, frozen=True, kw_only=True):
    """A person's verdict in place of the one before."""

    verdict: Verdict
    was: Verdict
    by: str
    reason: str
    time: str  # ISO 8601 UTC
    entry: str  # hash of its entry on the ledger


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """A decided run, as the ledger tells it."""

    commit: str
    label: str  # "3", on further clones "ab12/3"
    campaign: str
    parents: tuple[str, ...]  # run commits; () for a baseline
    generation: int  # 0 for a baseline, else 1 + the greatest of its parents'
    epoch: int  # runs of different epochs are not compared
    seq: int  # 0, 1, 2 ... in the order of decisions
    verdict: Verdict
    reason: str
    near_miss: bool = False
    judgements: tuple[Judgement, ...] = ()  # by which people overrode the verdict, oldest first; the last one is in force
    certified: bool | None = None
    emitter: str
    agent: str
    change: str = ""
    niche: str = ""
    summary: str
    hypothesis: str = ""
    forecast: Forecast | None = None
    propensity: float = 1.0  # of the whole choice
    policy: str = ""  # name of the policy that chose the emitter, "" if none did
    chance: float = 1.0  # probability with which it chose this emitter
    idea: str = ""
    sources: str = ""  # `search.change.sources_hash` of its mutable files: how a repeat is recognised
    contrast: str = ""  # run whose change it reverses, halves or isolates, "" if none
    moves: tuple[Move, ...] = ()  # named constants that it moved in its first parent
    lines: tuple[int, int] = (0, 0)  # added and removed, against its first parent
    adopts: str = ""  # a person's commit that this run was made from, "" if none
    incumbent: str  # the incumbent after this decision
    rival: str = ""  # the incumbent before it, "" for a campaign's first run
    decision: str  # hash of the decision commit
    trials: tuple[TrialLine, ...] = ()
    readings: dict[str, tuple[float, ...]] = {}  # metric -> readings of its "select" trials
    seconds: float = 0.0  # summed over trials
    cost_usd: float = 0.0  # dollars that are known: of its trials, and of `spent`
    spent: Spent = Spent()  # on models: its agent, its reviewer
    flags: tuple[str, ...] = ()  # places in its files that may give a cheat away: "train.py:42 replaces time.perf_counter (clock)"
    started: str = ""  # ISO 8601 UTC
    changed: tuple[str, ...] = ()  # paths; filled where the reader asked for it

    def mean(self, metric: str) -> float | None:
        """Mean over the select readings of a metric, or None if it has none."""
        values = self.readings.get(metric, ())
        return sum(values) / len(values) if values else None

    @property
    def means(self) -> dict[str, float]:
        """Mean over the select readings of every metric that it reported."""
        return {name: mean for name in self.readings if (mean := self.mean(name)) is not None}

    def beats(self, other: Run, metric: Metric) -> bool:
        """True if this run's mean is better by more than the metric's `min_delta`; a run without numbers never beats."""
        mine, theirs = self.mean(metric.name), other.mean(metric.name)
        if mine is None:
            return False
        return theirs is None or metric.beats(mine, theirs)

    @property
    def by_seed(self) -> dict[int, dict[str, float]]:
        """Its "select" readings by seed."""
        return {t.seed: t.metrics for t in self.trials if t.purpose == "select" and t.metrics}

    @property
    def unpriced(self) -> int:
        """Calls of models whose price is not known: they come on top of `cost_usd`."""
        return self.spent.unpriced

    @property
    def total_usd(self) -> float | None:
        """What it cost, or None where a part of that is not known."""
        return None if self.spent.unpriced else self.cost_usd

    @property
    def reported(self) -> str:
        """Who reported its numbers where that was the candidate itself: "metrics.json", "summary" ...; "" for an evaluator's, and for none."""
        return next((t.source for t in self.trials if t.metrics and t.source not in ("", "evaluator")), "")

    @property
    def sandboxes(self) -> tuple[str, ...]:
        """What held its trials: "bubblewrap", "landlock" or "none"; more than one where they differ, () where nothing ran."""
        return tuple(dict.fromkeys(t.sandbox for t in self.trials))

    @property
    def is_kept(self) -> bool:
        """True if it moved the incumbent (or a person said it should have)."""
        return self.verdict is Verdict.KEEP

    @property
    def judged(self) -> str:
        """Who overrode the verdict and why, "" if nobody did."""
        return f"{self.judgements[-1].by}: {self.judgements[-1].reason}" if self.judgements else ""

    @property
    def is_dismissed(self) -> bool:
        """True if a person discarded it: the search looks for its parents elsewhere."""
        return bool(self.judgements) and self.verdict is Verdict.DISCARD

    @property
    def is_measured(self) -> bool:
        """True if it has at least one number."""
        return any(self.readings.values())

    @property
    def crash(self) -> str:
        """One line on why it has no number, "" if it has."""
        return next((f"{t.crash.kind}: {t.crash.message}" for t in self.trials if t.crash is not None), "")


class Again(msgspec.Struct, frozen=True, kw_only=True):
    """Readings of a run that were taken after its decision: a replicate, or one look of a certification."""

    of: str  # full hash of the run
    purpose: str  # "replicate" or "certify"
    lines: tuple[TrialLine, ...]
    certified: bool | None = None  # of a look: what the evidence says with this look; None for replicates
    against: str = ""  # of a look: full hash of the run that it is compared with
    spent: Spent = Spent()  # of a replicate: on models, by an agent that changed nothing
    emitter: str = ""  # of a replicate: whose plan it was, "" if a person asked
    agent: str = ""
