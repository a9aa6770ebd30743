"""Does the opposite of a recent change that hurt. It needs a measured change to look at."""

from __future__ import annotations

import random

from evogit.domain.plan import Plan
from evogit.domain.run import Run
from evogit.search.memory import Memory
from evogit.search.plans import mutate


class Contrarian:
    """If a step one way made things worse, the step the other way is the cheapest untested idea there is."""

    name = "contrarian"

    def ask(self, memory: Memory, rng: random.Random) -> Plan | None:
        """Reverse the most harmful recent change, from the run it was made in; without one, a large step of anything."""
        harmful = self._most_harmful(memory)
        if harmful is None:
            instruction = "Make one large step (a factor of 4 or more, or a replaced component) that the campaign has not dared yet."
            return mutate(memory, rng, self.name, ("tune_far", "reverse_change"), instruction, change="contrarian")
        instruction = f"Run {harmful.label} ({harmful.summary}) made things worse. Make the opposite change."
        return mutate(
            memory,
            rng,
            self.name,
            ("reverse_change", "tune_far"),
            instruction,
            change="contrarian",
            parent=memory.parent_of(harmful),
            contrast=harmful.commit,
        )

    def _most_harmful(self, memory: Memory) -> Run | None:
        """The recent one-parent run with the greatest loss against its parent that was not reversed yet."""
        losses = [
            (gain, run.seq, run)
            for run in memory.recent
            if len(run.parents) == 1
            and run.emitter not in {self.name, "person", "baseline"}
            and (self.name, run.commit) not in memory.contrasted
            and (gain := memory.gain(run)) is not None
            and gain < 0
        ]
        return min(losses)[2] if losses else None
