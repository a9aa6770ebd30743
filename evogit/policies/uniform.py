"""Every emitter alike. It learns nothing, which makes it the ruler for those that do."""

from __future__ import annotations

import random
from collections.abc import Sequence

from evogit.policies.floors import floored
from evogit.search.memory import Memory


class Uniform:
    """The same chance for all."""

    name = "uniform"

    def chances(self, memory: Memory, emitters: Sequence[str]) -> dict[str, float]:
        """1/n each."""
        return floored(memory, emitters, {})

    def parent(self, memory: Memory, rng: random.Random) -> None:
        """Parents are the emitters' own choice."""
