"""One thing that gives a cheat away, as people read it: where, what, how strong. It convicts nobody."""

from __future__ import annotations

import msgspec


class Tell(msgspec.Struct, frozen=True, kw_only=True):
    """A finding in a mutable file."""

    path: str  # below the problem's folder
    line: int  # 1-based; 0: the file as a whole
    name: str  # its family: answers, budget, clock, code, environment, files, frames, hooks, network, patch, process, report, ...
    says: str  # a few words that go on after the place: "replaces time.perf_counter"
    is_strong: bool  # nobody needs this honestly: a reject, where the search proposed it
    statement: str  # without formatting: how the same finding is recognised in the parent

    @property
    def text(self) -> str:
        """`train.py:42 replaces time.perf_counter (clock)`."""
        return f"{self.path}{f':{self.line}' if self.line else ''} {self.says} ({self.name})"
