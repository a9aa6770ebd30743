"""An assignment: a plan of the search that waits for whoever drives the lab from outside, and what they are told of it."""

from __future__ import annotations

import msgspec

from evogit.domain.metric import Metric
from evogit.domain.plan import Plan
from evogit.domain.run import Run


class Assignment(msgspec.Struct, frozen=True, kw_only=True):
    """A plan that was given out and not submitted yet. Kept in the work tree's git directory, one a campaign."""

    v: int = 1
    campaign: str
    epoch: int
    tip: str  # full hash of the ledger's tip when it was planned: a later tip asks for a plan of its own
    ideas: str = ""  # hash of people's notes with ideas then: a new one asks for a new plan as well
    made: str  # ISO 8601 UTC
    plan: Plan
    start: str  # full hash of the commit (of a recombination: the tree) whose mutable files the work begins from
    found: dict[str, str | None] = {}  # mutable files that differed from the start's when it was given out: their text then, None for none


class Task(msgspec.Struct, frozen=True, kw_only=True):
    """An assignment with all that is needed to begin on it."""

    assignment: Assignment
    problem: str
    folder: str  # of the problem, below the repository's top
    metric: Metric  # the primary one
    parents: tuple[Run, ...]
    files: tuple[str, ...]  # mutable files to begin from, below the problem's folder
    restore: tuple[str, ...]  # commands, to be given in the problem's folder, that put those files there; () if they are there
    packet: str  # the briefing as text
