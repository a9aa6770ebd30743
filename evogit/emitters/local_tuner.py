"""Tunes one constant of a good run, by what tuning it taught so far. It never touches structure."""

from __future__ import annotations

import random

from evogit.domain.plan import Plan
from evogit.search import parents, worth
from evogit.search.memory import Memory
from evogit.search.plans import mutate
from evogit.search.tuning import Tuned, tune


class LocalTuner:
    """The patient one: most of the gain of most campaigns is a constant that was slightly off."""

    name = "local_tuner"

    def ask(self, memory: Memory, rng: random.Random) -> Plan | None:
        """One numeric constant, the way and as far as its measured moves say. None before a baseline has a number."""
        drawn = parents.pick(memory, rng)
        if drawn is None:
            return None
        parent, probability = drawn
        is_stuck = worth.is_stuck(memory)
        tuned = tune(memory, parent, rng, far=is_stuck)
        return mutate(
            memory,
            rng,
            self.name,
            ("tune_constant", "tune_far", "tune_near") if is_stuck else ("tune_near", "tune_constant"),
            self._words(tuned, is_stuck),
            change="hyperparameter",
            parent=parent,
            aims=tuned.aims,
            gain=tuned.gain if tuned.aims else None,
            spread=tuned.spread,
            propensity=probability,
        )

    @staticmethod
    def _words(tuned: Tuned, is_stuck: bool) -> str:
        size = "a large step (a factor of 3 or more)" if is_stuck else "a small step (a factor of at most 3)"
        plain = f"Change exactly one numeric constant by {size} that should improve the primary metric."
        wishes = [f"{a.gene.rpartition(':')[2]} = {a.value}" for a in tuned.aims[:3]]
        return f"{plain} What earlier moves say is worth trying, best first: {'; '.join(wishes)}." if wishes else plain
