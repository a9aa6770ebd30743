"""A hand at work that may pay for models: what it is about to pay is in its flight before it is paid. It decides nothing.

Killed in between, the flight says which calls were made: those that were answered with what they cost, the last one at the
most that it may have cost. The next loop charges that, and the run's record tells of a call whose price nobody knows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import msgspec

from evogit import keys, prices
from evogit.bench import now
from evogit.domain.usage import Call
from evogit.errors import EvogitError
from evogit.failpoint import reach
from evogit.purse import Ticket

if TYPE_CHECKING:
    from evogit.domain.proposal import Proposal
    from evogit.loop import Voyage

LOST = "the loop ended before it was told what came of it"


class Payment:
    """From its making until `end`: one hand's calls for one voyage."""

    def __init__(self, voyage: Voyage, who: str) -> None:
        self._voyage, self._who = voyage, who  # "agent" or "reviewer"
        self._before, self._purse = voyage.flight.calls, voyage.bench.purse
        self._lines: list[Call | None] = []  # what the flight says of each call since; None: it was free, and came to nothing
        self._held = 0.0  # dollars: what those calls cost, of an open one the most that it may
        self._rest: Ticket | None = None
        self._told = 0  # how many of the lines `calls` accounts for
        self.calls: tuple[Call, ...] = ()  # the hand's own account so far, where it has answered once and is asked again
        self.answers: Mapping[str, str] = {}
        self._purse.before_paying = self._write

    def begin(self) -> None:
        """Raise CapReached where nothing is left for a hand that says only afterwards what it paid.

        Under a cap such a hand has all that is left for as long as it works: two at a time could pass it twice.
        """
        if self._who not in self._voyage.bench.knows_the_purse:
            self._purse.require_some()
            if self._purse.cap:
                self._rest = self._purse.hold(self._purse.left)

    def keep(self, said: Proposal) -> None:
        """The hand has answered and may be asked again: its account, of all calls so far, stays whatever becomes of the rest."""
        self._purse.end_calls()
        self.calls, self.answers = said.calls, said.answers
        self._lines = [*_plain(said.calls)]
        self._told = len(self._lines)
        self._note()

    def end(self, calls: Sequence[Call] = ()) -> None:
        """The hand has returned, or failed. `calls` is its own account of them; where it has none of the last ones, what was written
        of them beforehand stays, unless they were free."""
        purse = self._purse
        purse.before_paying = None
        purse.end_calls()
        if self._rest is not None:
            self._rest.settle(0.0)
            self._rest = None
        if self._who not in self._voyage.bench.knows_the_purse:
            purse.charge(calls)
        self._lines = [] if len(calls) > len(self.calls) else self._lines[self._told :]
        self._held = 0.0
        self._note()

    def give_up(self, error: EvogitError) -> None:
        """The hand could not do its work now, and the loop may end: what was paid before is put on the flight's account, in one write."""
        calls = prices.priced(keys.redacted(error.calls), self._voyage.bench.campaign.problem)
        self.end(calls)
        self._lines += _plain(calls)
        self._note()
        stored, flight = self._voyage.stored.flight, self._voyage.flight
        if (stored.calls, stored.reserved_usd) != (flight.calls, flight.reserved_usd):
            self._voyage.save()
            reach("given-up")

    def _write(self, hand: str, model: str, usd: float | None) -> Callable[[float | None, Call | None], None]:
        """A call is about to be made that may cost `usd`: so much is on record if we are killed during it. 1 ms.

        Returns whom to tell what it cost. That is written with the next call, or with what comes of them all.
        """
        at, worst = len(self._lines), usd or 0.0  # the purse has taken the turn
        self._lines.append(Call(who=self._who, hand=hand, model=model, started=now(), error=LOST))
        self._held += worst
        self._note()
        self._voyage.save()
        reach("paying")
        return lambda cost, call: self._came(at, worst, cost, call)

    def _came(self, at: int, worst: float, cost: float | None, call: Call | None) -> None:
        """What came of a call: its account where there is one, else what it cost; what cost nothing and has no account was never made."""
        with self._voyage.bench.turn.taken():
            if cost is not None:
                self._held += cost - worst
            line = self._lines[at]
            if call is not None:
                [self._lines[at]] = _plain([call])
            elif cost is not None and line is not None:
                self._lines[at] = msgspec.structs.replace(line, usd=cost) if cost else None
            self._note()

    def _note(self) -> None:
        """The flight in memory says what we know."""
        voyage = self._voyage
        calls = (*self._before, *(line for line in self._lines if line is not None))
        if (voyage.flight.calls, voyage.flight.reserved_usd) != (calls, self._held):
            voyage.note(voyage.flight.state, calls=calls, reserved_usd=max(0.0, self._held))


def _plain(calls: Sequence[Call]) -> list[Call]:
    """The calls without their answers: of a conversation that nobody has ended, those are kept nowhere."""
    return [msgspec.structs.replace(call, answer="") for call in calls]
