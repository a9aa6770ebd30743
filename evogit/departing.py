"""What takes off next: a baseline that is due, a second reading of a new incumbent, else the search's next plan. It flies nothing.

A baseline waits until the air is empty, and everything else waits for the baseline.
"""

from __future__ import annotations

from evogit import adopting, certifying
from evogit.air import Air
from evogit.bench import Bench
from evogit.failpoint import reach
from evogit.git.flights import StoredFlight
from evogit.loop import Voyage, plan_next
from evogit.search import recheck


class Departures:
    """The flights that this loop begins itself."""

    def __init__(self, bench: Bench, air: Air) -> None:
        self._bench, self._air = bench, air
        self.ahead: list[StoredFlight] = []  # baselines of epochs that open once the air is empty

    def next(self, left: str) -> Voyage | None:
        """The next flight, or None while it has to wait for one in the air (a baseline, an epoch). left: of the budget, in words."""
        bench = self._bench
        if why := self.due():
            return None if self._air else self.baseline(why)
        if self._air.has_baseline:
            return None
        if (voyage := self._recheck()) is not None:
            return voyage
        bench.left = left
        stored = adopting.planned(bench, lambda number: plan_next(bench, number), self._air.free_slot())
        reach("planned")
        bench.memory.turns += 1
        return Voyage(bench, stored)

    def idle_look(self) -> Voyage | None:
        """One reading for a certificate, where a slot is free while runs still work: at its end the night waits for one at most."""
        if not self._air.is_at_work or not self._air.has_room or self._air.is_full or self.due() or self._air.has_baseline:
            return None
        stored = certifying.idle_look(self._bench, self._air.free_slot(), [v.flight.purpose for v in self._air])
        return Voyage(self._bench, stored) if stored is not None else None

    def due(self) -> str:
        """Why a baseline is measured before anything else is begun; "" if none has to be."""
        if self.ahead:
            return self.ahead[0].flight.plan.instruction
        return adopting.needs_epoch(self._bench) if self._bench.memory.incumbent else "the baseline crashed"

    def baseline(self, why: str) -> Voyage | None:
        """Run 0's flight, or that of a new epoch, which opens now. None if a person's commit came before it."""
        bench = self._bench
        if not bench.campaign.history.incumbent:
            return Voyage(bench, adopting.baseline(bench, self._air.free_slot()))
        self.ahead = self.ahead or [adopting.epoch(bench, self._air.free_slot(), why)]
        if not adopting.open_epoch(bench, self.ahead[0]):
            return None
        return Voyage(bench, adopting.under_options(bench, self.ahead.pop(0)))

    def _recheck(self) -> Voyage | None:
        """One more reading of an incumbent that has none since its decision; it counts towards no budget of runs."""
        wanted = None if self._bench.options.smoke else recheck.due(self._bench.memory)
        if wanted is None or any(v.flight.plan.parents[:1] == wanted[:1] and v.flight.plan.replicate for v in self._air):
            return None
        stored = adopting.again(self._bench, *wanted, self._air.free_slot(), "the new incumbent, once more", emitter=recheck.EMITTER)
        return Voyage(self._bench, stored)
