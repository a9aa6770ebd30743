"""The one thread that knows the lab: it looks twenty times a second whether anything happened, and says what; in between it works on what is asked.

It knows no screen. A look costs some 60 us; a run that was decided is told before anything else is worked out about it. What was asked
is done in pieces where the lab hands it out in pieces, so that no fold of ten thousand runs keeps a verdict waiting.
"""

from __future__ import annotations

import gc
import threading
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import msgspec

from evogit.errors import EvogitError
from evogit.tui.book import Book
from evogit.tui.news import REST, Absent, Answered, Broken, Flew, Fronted, Happened, Landed, News, Opened, Stood, words_of

if TYPE_CHECKING:
    from evogit.domain.event import Event
    from evogit.domain.sight import Flying
    from evogit.lab import Lab

LOOK_S = 0.05
AGAIN_S = 1.0  # between two attempts to open what cannot be opened, and between two full accounts while much happens
SHARE = 10.0  # what is worked out anew at each landing waits that many times as long as it takes
IDLE_S = 5.0  # between two full accounts while nothing happens: a loop may have been killed
RECALLED = 128 << 10  # bytes of the event log that are read at first


class Reader(threading.Thread):
    """Start it, ask it, close it. What it says goes to `tell`, from its own thread."""

    def __init__(self, open_lab: Callable[[str], Lab], tell: Callable[[News], None]) -> None:
        """open_lab: the lab at a campaign's tag, "" for the one that is meant at first; later that one alone will do."""
        super().__init__(name="evogit-reader", daemon=True)
        self._open_lab, self._tell, self._tag = open_lab, tell, ""
        self._lab: Lab | None = None
        self._asked: dict[str, Callable[[Lab], Any]] = {}
        self._at_work: tuple[str, Iterator[Any]] | None = None
        self._wake = threading.Condition()
        self._ended = False
        self._forget_book()
        self._next_try = 0.0
        self._was_open = ""  # tag of the campaign that was shown last
        self.over: tuple[str, ...] = ()  # metrics of the frontier that is wanted, () for the problem's objectives

    def _forget_book(self) -> None:
        self._stir: object = None
        self._heard = -RECALLED
        self._aloft: dict[str, _Aloft] = {}
        self._told_air: tuple[Flying, ...] | None = None
        self._account_due = 0.0
        self._air_due = 0.0
        self._front_due = float("inf")

    # for other threads ------------------------------------------------------------------------------------------------

    def ask(self, key: str, work: Callable[[Lab], Any]) -> None:
        """Have something done with the lab; `Answered(key)` tells what came of it. Of two that wait under one key the later one is done.

        work: returns the answer, or an iterator whose last item is the answer, to be looked between whose items.
        """
        with self._wake:
            self._asked.pop(key, None)
            self._asked[key] = work
            self._wake.notify()

    def account(self) -> None:
        """Have a full account soon: something was done."""
        self._account_due = 0.0

    def reopen(self, tag: str) -> None:
        """Read another campaign."""

        def turn(lab: Lab) -> None:
            self._tag, self._lab, self._next_try = tag, None, 0.0

        self.ask("reopen", turn)

    def close(self) -> None:
        """End the thread: at once, or when what it is doing has come to a pause."""
        with self._wake:
            self._ended = True
            self._wake.notify()

    # the thread -------------------------------------------------------------------------------------------------------

    def run(self) -> None:
        try:
            self._work_on()
        finally:
            if not self._ended:
                self._tell(Broken())

    def _work_on(self) -> None:
        from evogit.peeking import FAULTS  # some 100 ms of imports, which the first frame does not wait for

        while not self._ended:
            try:
                self._turn(FAULTS)
            except FAULTS as fault:
                self._lose(fault)
            with self._wake:
                if not self._ended and (self._lab is None or self._rests or not (self._at_work or self._asked)):
                    self._wake.wait(LOOK_S)

    def _turn(self, faults: tuple[type[BaseException], ...]) -> None:
        if self._lab is None:
            if time.monotonic() >= self._next_try:
                self._open()
            return
        self._look()
        try:
            self._work()
        except faults as fault:
            key = self._at_work[0] if self._at_work else self._begun
            self._at_work = None
            self._tell(Answered(key, fault=fault))

    def _lose(self, fault: BaseException) -> None:
        """Say what is the matter and try again in a while: a campaign may come back, or begin."""
        is_first = self._lab is None and not self._was_open
        self._lab, self._at_work, self._next_try = None, None, time.monotonic() + AGAIN_S
        if self._was_open:
            self._tell(Absent("the campaign cannot be read any more: " + words_of(fault), hint="what stands here was read before"))
        else:
            known = fault if isinstance(fault, EvogitError) else None
            self._tell(Absent(words_of(fault), hint=known.hint if known else "", is_first=is_first, fault=known))

    def _open(self) -> None:
        lab = self._open_lab(self._tag)
        self._forget_book()
        if not self._was_open and (early := lab.newest()) is not None and not early.is_whole:
            book = Book(early.campaign, early.problem, early.metrics, is_whole=False)
            book.extend(early.runs)
            self._tell(Opened(book))
        self._retell(lab)
        self._lab, self._tag = lab, lab.tag

    def _retell(self, lab: Lab) -> None:
        """All of the book."""
        whole = lab.whole()
        book = Book(lab.tag, lab.problem.name, lab.problem.metrics, spread=whole.spread)
        book.extend(whole.runs)
        book.incumbent = whole.incumbent or book.incumbent
        book.front = frozenset(run.commit for run in lab.frontier(self.over))
        self._tell(Opened(book, is_same=self._was_open == lab.tag))
        self._was_open = lab.tag
        gc.freeze()  # what was read lives as long as the screen: collections need not walk it again

    # looking ----------------------------------------------------------------------------------------------------------

    def _look(self) -> None:
        lab, now = self._lab, time.monotonic()
        stir = lab.stir()
        if stir != self._stir:
            self._stir = stir
            self._take_runs(lab)
            self._take_events(lab)
            self._account_due = min(self._account_due, self._accounted + max(AGAIN_S, SHARE * self._account_s))
        if now >= self._front_due:
            self._front_due = float("inf")
            self._tell(Fronted(self.over, frozenset(run.commit for run in lab.frontier(self.over))))
            self._front_s = time.monotonic() - now
        if now >= self._air_due:
            self._air_due = now + AGAIN_S
            self._take_air(lab)
        if now >= self._account_due:
            self._account(lab)
            self._accounted = time.monotonic()
            self._account_s = self._accounted - now
            self._account_due = self._accounted + IDLE_S

    _accounted = -IDLE_S
    _account_s = _front_s = 0.0  # what the last ones cost

    def _take_runs(self, lab: Lab) -> None:
        caught = lab.catch_up()
        if caught.is_retold:
            self._retell(lab)
        elif caught.runs:
            self._tell(Landed(caught.runs))
            self._front_due = min(self._front_due, time.monotonic() + SHARE * self._front_s)

    def _take_events(self, lab: Lab) -> None:
        events, self._heard = lab.events(self._heard)
        if events:
            for event in events:
                _note(self._aloft, event)
            self._tell(Happened(tuple(events)))
            self._air_due = 0.0

    def _take_air(self, lab: Lab) -> None:
        flying = tuple(_timed(each, self._aloft.get(each.run)) for each in lab.flying())
        self._aloft = {run: known for run, known in self._aloft.items() if any(each.run == run for each in flying)} if flying else {}
        if flying != self._told_air:
            self._told_air = flying
            self._tell(Flew(flying))

    def _account(self, lab: Lab) -> None:
        self._tell(Stood(lab.status(), tuple(lab.controls()), frozenset(run.commit for run in lab.marks())))

    # working ----------------------------------------------------------------------------------------------------------

    _begun = ""
    _rests = False  # what is being worked on waits for somebody else

    def _work(self) -> None:
        """One piece of what was asked."""
        self._rests = False
        if self._at_work is None:
            with self._wake:
                if not self._asked:
                    return
                self._begun = next(iter(self._asked))
                work = self._asked.pop(self._begun)
            value = work(self._lab)
            if not isinstance(value, Iterator):
                self._tell(Answered(self._begun, value))
                return
            self._at_work = (self._begun, value)
        key, pieces = self._at_work
        try:
            value = next(pieces)
        except StopIteration:
            self._at_work = None
            return
        self._rests = value is REST
        if value is not None and value is not REST:
            self._tell(Answered(key, value))


class _Aloft(msgspec.Struct):
    """What events told of a run in the air."""

    began: str = ""
    step: str = ""
    seed: int | None = None
    since: str = ""


def _note(aloft: dict[str, _Aloft], event: Event) -> None:
    """Remember when a run was planned and which trial of it runs."""
    from evogit.domain import event as events

    if isinstance(event, (events.Planned, events.Recovered)):
        aloft[event.run] = _Aloft(began=event.time)
    elif isinstance(event, events.TrialStarted):
        known = aloft.setdefault(event.run, _Aloft())
        known.step, known.seed, known.since = event.step, event.seed, event.time
    elif isinstance(event, events.TrialEnded) and event.run in aloft:
        aloft[event.run].step = ""
    elif isinstance(event, events.Decided):
        aloft.pop(event.run, None)


def _timed(flying: Flying, known: _Aloft | None) -> Flying:
    if known is None:
        return flying
    return msgspec.structs.replace(flying, began=known.began, step=known.step, seed=known.seed, since=known.since)
