"""What an agent is told. The plain version: the assignment, the parent's code, and what was tried from there."""

from __future__ import annotations

import msgspec

from evogit.domain.plan import Plan
from evogit.domain.problem import Problem
from evogit.domain.run import Run


class Contrast(msgspec.Struct, frozen=True, kw_only=True):
    """A past change to look at: mutable files before and after it, and whether it helped."""

    run: str  # label
    before: dict[str, str]
    after: dict[str, str]
    gain: float | None  # primary metric's unit, positive is better


class Briefing(msgspec.Struct, frozen=True, kw_only=True):
    """One assignment. `sources` are the parent's mutable files, by path below the problem's folder."""

    problem: Problem
    plan: Plan
    goal: str  # text of the goal file
    sources: dict[str, str]
    parent: Run | None  # None for the first run of a campaign
    siblings: tuple[Run, ...] = ()  # children of the same parent, newest first
    contrast: Contrast | None = None
    tried: frozenset[str] = frozenset()  # source hashes (`search.change.sources_hash`) that were run already
