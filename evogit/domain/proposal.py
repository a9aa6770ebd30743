"""What an agent hands back, and the candidate that the host makes of it."""

from __future__ import annotations

import msgspec

from evogit.domain.change import Move
from evogit.domain.plan import Forecast, Plan
from evogit.domain.usage import Call


class Proposal(msgspec.Struct, frozen=True, kw_only=True):
    """An agent's account of its edit. The files in the workspace count, not this text."""

    summary: str  # one line
    hypothesis: str = ""
    change: str = ""  # mutation type, e.g. "capacity_decrease"
    files: dict[str, str | None] = {}  # path below the problem's folder -> full text, None: it goes; edits in place count too
    forecast: Forecast | None = None
    transcript: str = ""  # kept as an artifact
    calls: tuple[Call, ...] = ()  # of models, in their order; () cost nothing
    answers: dict[str, str] = {}  # name -> what a model answered, verbatim: artifacts below `answers/`, and enough to replay the edit


class Candidate(msgspec.Struct, frozen=True, kw_only=True):
    """A commit that exists and is pinned, but has not been judged."""

    commit: str
    tree: str
    label: str  # "3", on further clones "ab12/3"
    parents: tuple[str, ...]
    plan: Plan
    agent: str
    summary: str
    hypothesis: str = ""
    change: str = ""
    changed: tuple[str, ...] = ()  # repository paths whose bytes differ from the first parent's
    stripped: tuple[str, ...] = ()  # edits outside the mutable files: taken out, the run is a reject
    large: str = ""  # of edits that add too much text, and so were taken out as a whole: the largest
    patch: str = ""  # what was taken out, as a patch
    secrets: tuple[str, ...] = ()  # mutable files whose edit brought a secret, and where: taken out, the run is a reject
    conflicts: tuple[str, ...] = ()  # files whose merge did not resolve
    transcript: str = ""
    calls: tuple[Call, ...] = ()
    answers: dict[str, str] = {}
    created: str = ""  # ISO 8601 UTC
    sources: str = ""  # sources hash of its mutable files
    moves: tuple[Move, ...] = ()  # named constants that it moved in its first parent
    lines: tuple[int, int] = (0, 0)  # added and removed, against its first parent
