"""When the incumbent is read once more. Its own readings are why it was kept, so they flatter it; a later one does not.

Simulated, one such reading a keep takes a third and more off what a campaign over-reports where readings go wild, and a tenth where
noise is normal, for a few trials in a hundred (`benchmarks/false_keeps.py`). It decides nothing: the incumbent stays.
"""

from __future__ import annotations

from evogit.domain.belief import Ruler
from evogit.domain.problem import BELIEVERS
from evogit.search.memory import Memory

SURE = 0.95  # probability of a gain from which luck had little part in it
EMITTER = "recheck"  # name in the plan of such a reading; no role asks for it


def due(memory: Memory) -> tuple[str, tuple[int]] | None:
    """The incumbent's commit and the one seed, unread so far, to read it under; None where that would teach nothing. O(1).

    Nothing: a baseline, no noise or none known, one seed alone, a rule that looks at plain numbers, a run that was kept for being
    simpler or is as good as sure to be better, and one that was read since its decision (a replicate, a look of a certification).
    """
    run, seeds = memory.incumbent, memory.problem.budget.seeds
    if run is None or not run.generation or len(seeds) < 2 or memory.problem.decide.rule not in BELIEVERS:
        return None
    if memory.replicates.get(run.commit):  # also one that gave no number: it would give none again
        return None
    belief = memory.belief(run.commit)
    if belief is None or belief.gain_over_incumbent <= 0 or belief.p_better >= SURE:
        return None
    known = {seed for seed, _ in memory.spread.readings(run.commit)}
    if memory.spread.ruler is not Ruler.NOISY or len(known) != len(memory.readings(run)):
        return None
    return run.commit, (next((seed for seed in seeds if seed not in known), max(known, default=-1) + 1),)
