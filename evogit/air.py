"""Flights that are in the air, each in a workspace of its own. While one is, its parent has a child on the way and its idea is taken.

It moves none of them on, and begins none of its own accord.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from evogit.bench import Bench
from evogit.domain.flight import FlightState
from evogit.git.flights import StoredFlight
from evogit.loop import Voyage
from evogit.stages.propose import MENDING


class Air:
    """The voyages under way, in the order in which they began. Iterate over a copy where one may land meanwhile."""

    def __init__(self, bench: Bench) -> None:
        self._bench = bench
        self._voyages: list[Voyage] = []

    def __iter__(self) -> Iterator[Voyage]:
        return iter(self._voyages)

    def __len__(self) -> int:
        return len(self._voyages)

    @property
    def has_baseline(self) -> bool:
        """True while what everything else is compared with is being measured."""
        return any(v.flight.kind == "baseline" for v in self._voyages)

    @property
    def is_at_work(self) -> bool:
        """True while a job of any of them runs or is being started, or a hand works for one."""
        return any(_has_job(v) or v.is_prepared_now for v in self._voyages)

    @property
    def has_room(self) -> bool:
        """True if one more trial may run."""
        return sum(_has_job(v) for v in self._voyages) < self._bench.workers

    @property
    def is_full(self) -> bool:
        """True if there are as many as there may be: those that run, and those that are made ready meanwhile.

        A run that waits for its review needs no slot: with two workers or more its place is another's, as often as there are slots.
        """
        workers = self._bench.workers
        reviewed = sum(v.is_prepared_now and v.flight.state is FlightState.MEASURED for v in self._voyages) if workers > 1 else 0
        return len(self._voyages) - min(reviewed, workers) >= workers + self._ahead

    @property
    def _ahead(self) -> int:
        bench = self._bench
        if bench.options.prefetch >= 0:
            return bench.options.prefetch
        return bench.pace.ahead(bench.workers, is_quick=bench.is_quick(bench.agent))

    def board(self, stored: StoredFlight) -> Voyage:
        """A flight that was made elsewhere, into the air: in a workspace of its own, whichever it was given."""
        voyage = Voyage(self._bench, stored)
        if not voyage.trials.jobs and any(v.flight.slot == voyage.flight.slot for v in self._voyages):
            voyage.flight = msgspec.structs.replace(voyage.flight, slot=self.free_slot())
        self.take_up(voyage)
        return voyage

    def take_up(self, voyage: Voyage) -> None:
        """Into the air; until it lands its parent has one more child on the way."""
        self._voyages.append(voyage)
        plan = voyage.flight.plan
        for parent in plan.parents[:1]:
            self._bench.memory.pending[parent] += 1
        if plan.idea:
            self._bench.memory.ideas.claim(plan.idea)
        if plan.policy == MENDING:
            self._bench.mended.add(plan.contrast)

    def land(self, voyage: Voyage) -> None:
        """Out of the air: what `take_up` counted is taken back."""
        self._voyages.remove(voyage)
        plan = voyage.flight.plan
        for parent in plan.parents[:1]:
            self._bench.memory.pending[parent] -= 1
        if plan.idea:
            self._bench.memory.ideas.release(plan.idea)

    def park(self) -> None:
        """The loop ends before they do: what was learnt since the last write goes into their flights."""
        for voyage in self._voyages:
            voyage.park()

    def free_slot(self) -> str:
        """A workspace that no flight in the air has."""
        taken = {v.flight.slot for v in self._voyages}
        return next(str(n) for n in range(len(taken) + 1) if str(n) not in taken)

    def let_finish(self) -> None:
        """The loop ends for a fault: hands that are at work, and paid, come to their end, and what they made is kept in flight."""
        for voyage in self._voyages:
            voyage.let_finish()


def _has_job(voyage: Voyage) -> bool:
    return bool(voyage.trials.handle) or voyage.trials.is_starting
