"""A look at held-out data: what is asked for, what came of it, what a person is told. It never becomes part of history.

The only place where these nouns are kept is `state.holdout_folder`, outside every repository. No noun of history refers to one of them.
"""

from __future__ import annotations

import msgspec


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """A look that is to be taken. Kept in a file, so that whoever comes after a killed process takes it, once."""

    id: str  # of run and number: taking it twice is taking it once
    run: str  # full hash of the run commit
    label: str
    epoch: int
    seed: int  # of the trial whose trained artifacts are scored
    look: int  # 1 for the first look at this run
    asked: str  # "loop" or "person"
    time: str  # ISO 8601 UTC, when it was asked for
    has_copy: bool = False  # what its training left lies beside the request; otherwise it is trained again
    arguments: tuple[str, ...] = ()  # that its trials were given, for training it again
    timeout_s: float = 0.0  # 0: the problem's
    train_s: float = 0.0  # 0: the problem's


class Look(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the book: a look that was taken, and counts, whatever came of it."""

    v: int = 1
    id: str  # the request's
    run: str  # full hash of the run commit
    label: str
    epoch: int
    seed: int
    look: int
    asked: str  # "loop" or "person"
    time: str  # ISO 8601 UTC, when it was over
    metrics: dict[str, float] = {}  # on the held-out data; {} where it gave none, `reason` says why
    validation: dict[str, float] = {}  # as the run's own trial under the same seed was read
    reason: str = ""
    how: str = ""  # "kept" (what its trial had trained) or "trained" (again, for this look)
    seconds: float = 0.0  # of all its jobs
    ruler: str = ""  # hash of the tree that the scoring command came from
    backend: str = ""
    sandbox: str = ""


class Trend(msgspec.Struct, frozen=True, kw_only=True):
    """How the gap between validation and held-out moves from one kept run to the next, in the primary metric's unit."""

    runs: int
    slope: float  # a kept run; above 0 the gap grows
    low: float  # 95 % interval of the slope
    high: float
    p: float  # of a slope at least so large, were there none
    is_growing: bool  # by the rule of `search.overfitting`


class Scored(msgspec.Struct, frozen=True, kw_only=True):
    """A run as the table of looks shows it. Numbers are means over its looks; None where there is none."""

    run: str  # label
    verdict: str
    certified: bool | None
    validation: float | None
    held_out: float | None
    gap: float | None  # by how much held-out is worse than validation, in the primary metric's unit
    looks: int
    time: str = ""  # of the newest look
    waits: bool = False  # a look was asked for and not taken yet
    note: str = ""  # why there is no number, or why a look waits


class HeldOut(msgspec.Struct, frozen=True, kw_only=True):
    """What `evogit holdout` says of a campaign."""

    campaign: str
    metric: str
    rows: tuple[Scored, ...]  # in the order in which runs were decided
    looks: int  # of the campaign, failed ones and those of earlier epochs too
    trend: Trend | None  # over kept runs of this epoch; None where they are too few
    needed: int  # kept runs with a look that a trend needs
