"""Verdicts: what becomes of a run. Pure words; `stages.decide` finds them."""

from __future__ import annotations

from enum import Enum

import msgspec


class Verdict(str, Enum):
    """`reject`: a gate stopped it before it ran. `crash`: it ran and failed. The other two were measured."""

    KEEP = "keep"
    DISCARD = "discard"
    CRASH = "crash"
    REJECT = "reject"


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """A verdict with its reason, in one line for people."""

    verdict: Verdict
    reason: str
    near_miss: bool = False  # discarded, but within noise of the incumbent
    p_gain: float | None = (
        None  # posterior probability of a true gain over the incumbent, weighted metrics included; None: no noise is known
    )
    gain: float | None = None  # of the primary metric alone, as read, over the incumbent; positive is better; None if not measured


class Complexity(msgspec.Struct, frozen=True, kw_only=True):
    """What a candidate is heavier by than the incumbent; negative is lighter."""

    lines: int = 0  # of mutable files: added minus removed
    params: float | None = None  # relative change, -0.1: a tenth less; None where it is not reported
    seconds: float | None = None  # of a trial, relative change
