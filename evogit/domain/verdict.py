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
    gain: float | None = None  # over the incumbent, primary metric's unit, positive is better; None if not measured
