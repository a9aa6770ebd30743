"""Does the opposite of what the recent runs did: of the change that hurt most, or of the direction that all of them went."""

from __future__ import annotations

import math
import random
from collections import defaultdict

from evogit.domain.change import Move
from evogit.domain.plan import Aim, Plan
from evogit.domain.run import Run
from evogit.search import genes, parents, worth
from evogit.search.genes import Gene
from evogit.search.memory import Memory
from evogit.search.plans import mutate
from evogit.search.tuning import reversed_step

SHORTEST = 0.25  # of a step that is reversed
HERD = 3  # moves of a constant in one direction that make a habit


class Contrarian:
    """If a step one way made things worse, the step the other way is the cheapest untested idea there is."""

    name = "contrarian"

    def ask(self, memory: Memory, rng: random.Random) -> Plan | None:
        """Reverse the most harmful recent change where it was made, else the window's habit, else one large step. None without a parent."""
        harmful = self._most_harmful(memory)
        return self._against_a_run(memory, rng, *harmful) if harmful else self._against_the_herd(memory, rng)

    def _against_a_run(self, memory: Memory, rng: random.Random, run: Run, loss: float) -> Plan | None:
        """The opposite step from the incumbent where it still stands where the run began, else from the run's own parent."""
        parent, scale = memory.incumbent, worth.scale(memory, run)
        # A loss of a usual size says that the way was wrong. A far larger one says that the step was too long, either way.
        factor = (2.0 if worth.is_stuck(memory) else 1.0) * min(1.0, max(SHORTEST, 2 * scale / loss))
        aims = _opposites(memory, parent, run.moves, factor, began=True)
        if not aims:
            parent = memory.parent_of(run)
            aims = _opposites(memory, parent, run.moves, factor)
        return mutate(
            memory,
            rng,
            self.name,
            ("reverse_change", "tune_far"),
            f"Run {run.label} ({run.summary}) made things worse. Make the opposite change.",
            change="contrarian",
            parent=parent,
            contrast=run.commit,
            aims=aims,
            # A loss one way is half a promise the other way: at the top of a parabola both ways lose.
            gain=0.0,
            spread=max(min(loss, 2 * scale), scale),
        )

    def _against_the_herd(self, memory: Memory, rng: random.Random) -> Plan | None:
        drawn = parents.pick(memory, rng)
        if drawn is None:
            return None
        parent, probability = drawn
        habits = _habits(memory)
        words = "Make one large step (a factor of 4 or more, or a replaced component) that the campaign has not dared yet."
        if habits:
            words += f" Lately everyone was moving {habits[0].gene.rpartition(':')[2]} the same way: go the other way."
        aims = _opposites(memory, parent, habits, 2.0)
        return mutate(
            memory,
            rng,
            self.name,
            ("tune_far", "reverse_change"),
            words,
            change="contrarian",
            parent=parent,
            aims=aims,
            propensity=probability,
        )

    def _most_harmful(self, memory: Memory) -> tuple[Run, float] | None:
        """The recent one-parent run whose loss against its parent says most of the way, not reversed yet, and the loss (> 0).

        That is the one nearest to twice the usual size: below it is noise, above it is a cliff.
        """
        losses = [
            (_oddity(-gain, worth.scale(memory, run)), run.seq, run, -gain)
            for run in memory.recent
            if len(run.parents) == 1
            and run.emitter not in {self.name, "person", "baseline"}
            and (self.name, run.commit) not in memory.contrasted
            and (gain := worth.shrunk(memory, run)) is not None
            and gain < 0
        ]
        if not losses:
            return None
        _, _, run, loss = min(losses)
        return run, loss


def _oddity(loss: float, scale: float) -> float:
    """How far a loss (> 0) is from twice the usual size, in either direction: a logarithm, infinite off the range of floats."""
    ratio = loss / (2 * scale)
    return abs(math.log(ratio)) if 0 < ratio < math.inf else math.inf


def _habits(memory: Memory) -> tuple[Move, ...]:
    """Constants that the recent runs moved mostly one way, the most moved first: the newest such move of each."""
    balance: defaultdict[str, int] = defaultdict(int)
    newest: dict[tuple[str, int], Move] = {}
    for run in memory.recent:
        for move in run.moves if len(run.moves) <= 4 else ():
            balance[move.gene] += move.direction
            newest[move.gene, move.direction] = move
    ways = sorted(((abs(n), gene, 1 if n > 0 else -1) for gene, n in balance.items() if abs(n) >= HERD), key=lambda w: (-w[0], w[1]))
    return tuple(newest[gene, way] for _, gene, way in ways)


def _opposites(memory: Memory, parent: Run | None, moves: tuple[Move, ...], factor: float, *, began: bool = False) -> tuple[Aim, ...]:
    """Each move's opposite, as wishes for the parent's constants; those that are gone, or cannot go there, are left out.

    began: of constants that still have the value that the move began with.
    """
    if parent is None or not moves:
        return ()
    now: dict[str, Gene] = {
        f"{path}:{g.name}": g
        for path, text in memory.sources(parent.commit).items()
        if path.endswith(".py")
        for g in genes.find(text, path)
    }
    wishes = [
        (m.gene, reversed_step(now[m.gene], m.old, m.new, factor))
        for m in moves
        if m.gene in now and (not began or now[m.gene].value == m.old)
    ]
    return tuple(Aim(gene=gene, value=value) for gene, value in wishes if value is not None)[:5]
