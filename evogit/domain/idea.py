"""An idea: a proposed next mutation, from a reviewer or a person, waiting in the queue."""

from __future__ import annotations

from enum import Enum

import msgspec


class IdeaStatus(str, Enum):
    """Where an idea is in its life. It is derived from history each time, never stored."""

    QUEUED = "queued"
    CLAIMED = "claimed"  # a run that carries it out is in the air
    DONE = "done"  # a run that carried it out was measured
    FAILED = "failed"  # that run crashed or was refused
    NEEDS_MODEL = "needs-model"  # it waits for an agent that reads words: the offline agent could make nothing of it
    EXPIRED = "expired"  # nobody took it in time, or its epoch is over
    DROPPED = "dropped"  # a person took it out of the queue


class Idea(msgspec.Struct, frozen=True, kw_only=True):
    """One line of `refs/notes/evogit/ideas`, or a recommendation in a review."""

    id: str  # 16 hex digits: hash of the run it starts from, type and description
    source: str  # full hash of the run that it starts from
    by: str  # a person's name, or "reviewer:<name>"
    mutation_type: str
    description: str
    expected_benefit: str = ""
    priority: float = 0.5  # 0 to 1
    time: str = ""
    seq: int = 0  # of the source run

    @property
    def is_persons(self) -> bool:
        """A person's idea goes before every reviewer's."""
        return not self.by.startswith("reviewer:")


class Ranking(msgspec.Struct, frozen=True, kw_only=True):
    """What a person says of an idea's place in the queue; of several the newest holds. A line of the same notes."""

    id: str  # 16 hex digits, drawn at random
    time: str  # ISO 8601 UTC
    by: str
    idea: str  # id of the idea
    priority: float  # 0 to 1, in the place of the idea's own
    is_dropped: bool = False  # nobody is to carry it out
    reason: str = ""
