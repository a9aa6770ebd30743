"""The money that one invocation may spend: what is about to cost something reserves the most that it can cost, and settles what it did.

A cap that is kept this way is hard: between a reservation and its settlement nobody else can spend the same dollar. It counts
dollars: whoever pays says how many, with `worst` and `price`. Safe between threads.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterable

from evogit import prices
from evogit.domain.problem import Problem
from evogit.domain.usage import Call
from evogit.errors import CapReached, UserError
from evogit.present import dollars
from evogit.turns import Turn

Told = Callable[[float | None, Call | None], None]  # is told what a call cost, and its account
NOTHING = 1e-9  # dollars; below it, two sums that were added up in another order are equal


def without_price(who: str, model: str) -> UserError:
    """What a hand is told under a cap whose model has no known price."""
    tell = f'tell it in evogit.toml: [prices."{model or "model-id"}"] with input and output, in dollars per million tokens'
    return UserError(
        f"{who}: the price of {model or 'its calls'} is not known, so --max-cost could not be kept",
        hint=tell if model else f"name its model: --model NAME; if that has no price, {tell}",
    )


class Ticket:
    """A reservation. `settle` it with what the work really cost, once; what is never settled stays charged."""

    def __init__(self, purse: Purse, usd: float) -> None:
        self._purse, self.usd = purse, usd
        self.told: Told | None = None  # whoever wants to know what came of it

    def settle(self, usd: float | None, call: Call | None = None) -> None:
        """What it cost, in dollars; None: nobody knows, so the whole reservation is charged. A second time changes nothing.

        call: the account of the call that it was for, where there is one.
        """
        if self._purse.settle(self, usd) and self.told is not None:
            self.told(usd, call)


class Purse:
    """A cap in dollars (0: none), what is spent of it, and what is reserved. Without a cap everything fits, and is counted all the same."""

    def __init__(self, cap: float = 0.0, spent: float = 0.0, problem: Problem | None = None, turn: Turn | None = None) -> None:
        self.cap, self._spent = cap, spent
        self._turn = turn or Turn()  # taken before our own lock, never after it: what is told of a call is written into the books
        self.problem = problem  # whose prices go before the table's
        self._open: set[Ticket] = set()
        self._settled = 0  # reservations
        self._mine = threading.local()  # of one hand at work, which has a thread to itself
        self._lock = threading.RLock()
        self.refusal = ""  # why nothing more is begun: something did not fit, and no reservation is left that could make room

    @property
    def before_paying(self) -> Callable[[str, str, float | None], Told] | None:
        """Who is told hand, model and dollars of a call that this thread is about to make; it says whom to tell what came of it."""
        return getattr(self._mine, "before_paying", None)

    @before_paying.setter
    def before_paying(self, teller: Callable[[str, str, float | None], Told] | None) -> None:
        self._mine.before_paying = teller

    @property
    def _calls(self) -> set[Ticket]:
        """Those of `_open` that are for a model's call of this thread."""
        if not hasattr(self._mine, "calls"):
            self._mine.calls = set()
        return self._mine.calls

    @property
    def spent(self) -> float:
        """Dollars that are settled."""
        return self._spent

    def worst(self, model: str, input_tokens: int, max_tokens: int) -> float | None:
        """As `prices.worst`, for this loop's problem."""
        return prices.worst(model, input_tokens, max_tokens, self.problem)

    def price(self, model: str, call: Call) -> float | None:
        """As `prices.price`, for this loop's problem."""
        return prices.price(model, call, self.problem)

    @property
    def held(self) -> float:
        """Dollars that are reserved."""
        return math.fsum(ticket.usd for ticket in self._open)

    @property
    def left(self) -> float:
        """Dollars that can still be reserved; infinity without a cap."""
        return max(0.0, self.cap - self._spent - self.held) if self.cap else math.inf

    def is_spent(self, refused_at: int) -> bool:
        """True if it is no use to ask again for somebody who got `CapReached.settled = refused_at` (-1: nobody asked yet).

        Asked again all the same, two who are refused in turn would keep each other, and the loop, at work for ever.
        """
        return bool(self.refusal) or refused_at == self._settled

    def reserve(self, usd: float | None, who: str, model: str = "") -> Ticket:
        """Room for a call of a model that costs at most `usd`, before it is made. `who`: the hand's name.

        Raises CapReached if it could pass the cap, and UserError (it ends the loop) if its price is not known under a cap.
        """
        if usd is None and self.cap:
            raise without_price(who, model)
        with self._turn.taken(), self._lock:
            self._check(usd or 0.0)
            told = self.before_paying(who, model, usd) if self.before_paying is not None else None
            ticket = self.found(usd or 0.0)
            ticket.told = told
            self._calls.add(ticket)
            return ticket

    def reserve_rest(self, who: str, model: str = "") -> Ticket:
        """All that is left, for a program that says only afterwards what it cost. Raises CapReached if nothing is left."""
        with self._turn.taken(), self._lock:
            self.require_some()
            return self.reserve(self.left, who, model) if self.cap else self.reserve(None, who, model)

    def hold(self, usd: float) -> Ticket:
        """Room for something that is no model's call: a trial. Raises CapReached."""
        with self._lock:
            self._check(usd)
            return self.found(usd)

    def found(self, usd: float) -> Ticket:
        """A reservation that was made already, by a loop that was killed: it is charged whether it fits or not."""
        with self._lock:
            ticket = Ticket(self, usd)
            self._open.add(ticket)
            return ticket

    def settle(self, ticket: Ticket, usd: float | None) -> bool:
        """As `Ticket.settle`, but tells nobody. False if it was settled before."""
        with self._lock:
            is_open = ticket in self._open
            if is_open:
                self._open.remove(ticket)
                self._settled += 1
                self._spent += ticket.usd if usd is None else usd
            self._calls.discard(ticket)
            return is_open

    def end_calls(self) -> None:
        """The hand has returned: a call that it did not settle is charged as if it had cost all that was reserved for it."""
        for ticket in list(self._calls):
            ticket.settle(None)

    def require_some(self) -> None:
        """Raise CapReached where a cap is spent: for a hand that says only afterwards what it paid."""
        with self._lock:
            self._check(2 * NOTHING)

    def charge(self, calls: Iterable[Call]) -> None:
        """Calls of a hand that knows no purse. Under a cap one without a price is the last: nothing after it could be kept below it."""
        for call in calls:
            self.found(0.0).settle(call.usd or 0.0)
            if call.usd is None and self.cap:
                self.refusal = f"{call.hand}: the price of {call.model or 'its calls'} is not known, so --max-cost cannot be kept"
        if self.cap and self.cap - self._spent <= NOTHING:  # what others have reserved may come back
            self.refusal = self.refusal or f"--max-cost {self.cap:g} is spent ({dollars(self._spent)})"

    def refused(self, why: str, settled: int) -> int:
        """Somebody gave up with `CapReached`, maybe of their own making: the last word where nothing has come back since, and no reservation
        is left that could make room. Returns what `is_spent` is to be asked with."""
        with self._lock:
            at = settled if settled >= 0 else self._settled
            if at == self._settled and not self._open:
                self.refusal = self.refusal or why
            return at

    def _check(self, usd: float) -> None:
        if not self.cap or usd <= self.left + NOTHING:
            return
        why = f"the next call could pass --max-cost {self.cap:g} ({dollars(self._spent)} spent)"
        self.refusal = self.refusal or ("" if self._open else why)
        raise CapReached(why, settled=self._settled)
