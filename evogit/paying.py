"""A hand at work that may pay for models: what it is about to pay is in its flight before it is paid. It decides nothing.

Killed in between, the flight says which calls were made and what they may have cost: the next loop charges that, and the run's
record tells of calls whose price nobody knows.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from evogit.bench import now
from evogit.domain.usage import Call
from evogit.failpoint import reach

if TYPE_CHECKING:
    from evogit.loop import Voyage

LOST = "the loop ended before it was told what came of it"


class Payment:
    """From its making until `end`: one hand's calls for one voyage."""

    def __init__(self, voyage: Voyage, who: str) -> None:
        self._voyage, self._who = voyage, who  # "agent" or "reviewer"
        self._before, self._purse = voyage.flight.calls, voyage.bench.purse
        self._tally = self._purse.tally
        self._purse.before_paying = self._write

    def end(self, calls: Sequence[Call] = ()) -> None:
        """The hand has returned, or failed. `calls` is its own account of them; without one, what was written beforehand stays if it was paid."""
        purse, voyage = self._purse, self._voyage
        purse.before_paying = None
        purse.end_calls()
        if self._who not in voyage.bench.knows_the_purse:
            purse.charge(calls)
        is_told = bool(calls) or purse.tally == self._tally
        if voyage.flight.calls != self._before or voyage.flight.reserved_usd:
            voyage.note(voyage.flight.state, calls=self._before if is_told else voyage.flight.calls, reserved_usd=0.0)

    def give_up(self, calls: Sequence[Call] = ()) -> None:
        """The hand could not do its work now, and the loop may end: what is on record beforehand is put right at once."""
        self.end(calls)
        stored, flight = self._voyage.stored.flight, self._voyage.flight
        if (stored.calls, stored.reserved_usd) != (flight.calls, flight.reserved_usd):
            self._voyage.save()

    def _write(self, hand: str, model: str, usd: float | None) -> None:
        """A call is about to be made that may cost `usd`: so much is on record if we are killed during it. 1 ms."""
        voyage = self._voyage
        call = Call(who=self._who, hand=hand, model=model, started=now(), error=LOST)
        voyage.note(voyage.flight.state, calls=(*voyage.flight.calls, call), reserved_usd=voyage.flight.reserved_usd + (usd or 0.0))
        voyage.save()
        reach("paying")
