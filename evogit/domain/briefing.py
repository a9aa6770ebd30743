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


class Attempt(msgspec.Struct, frozen=True, kw_only=True):
    """What the same assignment was answered with before, and why a gate refused it: an agent mends it rather than begin anew."""

    files: dict[str, str]  # path below the problem's folder -> text
    refusal: str  # the gate's reason, one line or a fenced traceback


class Lore(msgspec.Struct, frozen=True, kw_only=True):
    """What memory teaches, as nouns: what of it is said, and in how many words, is the packet's matter (`agents.packet`)."""

    baseline: Run | None = None
    incumbent: Run | None = None
    spread: float = 0.0  # one standard deviation between seeds, primary metric's unit; 0 while unknown
    frontier: tuple[Run, ...] = ()
    elites: tuple[tuple[str, Run], ...] = ()  # (niche, its best run), best first
    near_misses: tuple[Run, ...] = ()  # newest first
    conjectures: tuple[str, ...] = ()  # statements with their evidence
    dead_ends: tuple[str, ...] = ()
    crashes: tuple[str, ...] = ()  # signatures with counts, the most frequent first
    ideas: tuple[str, ...] = ()  # open ones, the next first
    runs: int = 0
    left: str = ""  # of the budget, in words; "" without a limit


class Briefing(msgspec.Struct, frozen=True, kw_only=True):
    """One assignment. `sources` are the mutable files to start from, by path below the problem's folder: the parent's, or a merge."""

    problem: Problem
    plan: Plan
    goal: str  # text of the goal file
    sources: dict[str, str]
    parent: Run | None  # None for the first run of a campaign
    merged: str = ""  # label of the other run that `sources` are merged from, "" where they are the parent's own
    siblings: tuple[Run, ...] = ()  # children of the same parent, newest first
    contrast: Contrast | None = None
    tried: frozenset[str] = frozenset()  # source hashes (`search.change.sources_hash`) that were run already
    lore: Lore = Lore()
    attempts: tuple[Attempt, ...] = ()  # of this assignment, oldest first
