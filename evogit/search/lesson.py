"""What one decided run teaches, put together once for every chapter of memory. It concludes nothing."""

from __future__ import annotations

import msgspec

from evogit.domain.belief import Belief
from evogit.domain.run import Run


class Lesson(msgspec.Struct, frozen=True, kw_only=True):
    """A run beside what was known when it was decided. Beliefs are None where something has no number."""

    run: Run
    parent: Run | None
    incumbent: Run | None  # before this run's decision
    belief: Belief | None
    parent_belief: Belief | None
    incumbent_belief: Belief | None
    sigma: float  # one standard deviation of one reading, primary metric's unit; 0.0 while unknown or exact
    topics: tuple[str, ...] = ()  # `search.topics.topics(run)`

    @property
    def is_search(self) -> bool:
        """True for what an emitter asked for: baselines and people's runs teach, and earn nobody credit."""
        return self.run.emitter not in {"baseline", "person"}
