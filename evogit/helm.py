"""At the helm of a loop: what a person's messages do to it. It reads the inbox, says what came of each, and decides no run.

A pause begins nothing further; runs in the air go on until they are decided. It holds for this loop: the next one is not paused.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from evogit import adopting, starting
from evogit.bench import Bench, stamp
from evogit.control import Inbox, fixed
from evogit.domain import event as ev
from evogit.domain.control import Control
from evogit.domain.flight import PERSON
from evogit.errors import UserError
from evogit.loop import Voyage

if TYPE_CHECKING:
    from evogit.air import Air
    from evogit.stopping import Stopper

LEFT_OVER = "dropped: it was for a loop that has ended"
Answer = tuple[str, bool]  # what came of a message in words, and whether it was done


class Helm:
    """One loop's ear. `begin` under the loop's lock, `obey` whenever it comes by, `leave` at its end."""

    def __init__(self, bench: Bench, air: Air, stopper: Stopper) -> None:
        self._bench, self._air, self._stopper = bench, air, stopper
        self._inbox = Inbox(bench.repo, bench.campaign.tag)
        self._unread: list[str] = []
        self._was_paused_by = ""  # the loop before, when it was killed

    @property
    def is_paused(self) -> bool:
        """True while nothing further may be begun."""
        return self._inbox.helm.is_paused

    def begin(self, *, is_errand: bool) -> None:
        """Listen from now on. is_errand: this loop does what a command asked for and nothing else."""
        self._inbox = Inbox(self._bench.repo, self._bench.campaign.tag, is_errand=is_errand)
        self._was_paused_by = self._inbox.take_over()

    def leave(self) -> None:
        """Nobody listens any more."""
        self._inbox.leave()

    def obey(self) -> Iterator[ev.Event]:
        """Do what was asked for since, in the order of time. A directory's listing, 10 us, where nothing was."""
        if self._was_paused_by and not self._inbox.helm.is_errand:
            message = f"the loop before was killed while {self._was_paused_by} had paused it; this one is not paused"
            yield stamp(ev.Warned(message=message, hint=f"to pause it again: evogit pause --tag {self._bench.campaign.tag}"))
            self._was_paused_by = ""
        for said in self._inbox.look(self._unread.append):
            if not self._inbox.is_for_me(said):
                yield self._done(said, LEFT_OVER, is_done=False)
            elif label := self._flying(said):
                yield self._done(said, f"reading {label}, which the loop before had begun, takes it up")
            elif said.kind != "remeasure":
                result, is_done = _DEEDS[said.kind](self, said)
                yield self._done(said, result, is_done=is_done)
        while self._unread:
            name = self._unread.pop()
            yield stamp(ev.Warned(message=f"{name} in the inbox is no message", hint="it is set aside: send what you meant once more"))

    def asked(self) -> Iterator[ev.Event | Voyage]:
        """The next reading that a person asked for, as a voyage, after what is to be said of requests that cannot be met."""
        bench = self._bench
        for said in [m for m in self._inbox.look(self._unread.append) if m.kind == "remeasure"]:
            try:
                why = f"{said.by} asked for it" + (f": {said.reason}" if said.reason else "")
                stored = starting.more_readings(bench, said.run, said.seeds, self._air.free_slot(), why, number_of(said))
            except UserError as refusal:
                yield self._done(said, f"not done: {refusal.message}", is_done=False)
                continue
            seeds = f"seed{'s' if len(stored.flight.plan.seeds) > 1 else ''} {', '.join(map(str, stored.flight.plan.seeds))}"
            yield self._done(said, f"reading {stored.flight.label} takes {seeds}")
            yield Voyage(bench, stored)
            return

    def rest(self, seconds: float) -> None:
        """Nothing is in the air, and nothing may be begun: see what people do to the branch, and wait a moment."""
        adopting.take_in(self._bench)
        time.sleep(seconds)

    def _flying(self, said: Control) -> str:
        """Label of a reading in the air that carries out that message: a killed loop began it, and could not say so."""
        if said.kind != "remeasure":
            return ""
        plans = ((v.flight.label, v.flight.plan) for v in self._air)
        return next((label for label, p in plans if p.emitter == adopting.ASKED and p.rng == number_of(said)), "")

    # deeds -----------------------------------------------------------------------------------------------------------

    def _pause(self, said: Control) -> Answer:
        if self.is_paused:
            return f"{self._inbox.helm.paused_by} had paused it before", True
        self._inbox.pause(said.by)
        air = [v.flight.label for v in self._air]
        rest = f"; {'run' if len(air) == 1 else 'runs'} {', '.join(air)} in the air {'goes' if len(air) == 1 else 'go'} on until decided"
        return f"nothing further is begun{rest if air else ''}", True

    def _resume(self, said: Control) -> Answer:
        if not self.is_paused:
            return "it was not paused", True
        self._inbox.pause("")
        adopting.take_in(self._bench)  # whatever people did meanwhile comes before the next plan
        return "the search goes on", True

    def _stop(self, said: Control) -> Answer:
        is_first = self._stopper.request() == 1
        return ("running trials end, nothing further is begun" if is_first else "running trials are cancelled"), True

    def _cancel(self, said: Control) -> Answer:
        voyage = next((v for v in self._air if v.flight.label == said.run), None)
        if voyage is None:
            return f"not done: run {said.run} is not in the air any more", False
        if why := fixed(voyage.flight):
            return f"not done: it {why}", False
        if voyage.flight.gate == PERSON:
            return "it is being cancelled already", True
        was_running = bool(voyage.trials.handle) or voyage.trials.is_starting
        voyage.call_off(f"cancelled by {said.by}: {said.reason}")
        return ("its trial is cancelled, what was read of it is kept" if was_running else "nothing further of it is begun"), True

    def _done(self, said: Control, result: str, *, is_done: bool = True) -> ev.Event:
        self._inbox.done(said)
        told = {"kind": said.kind, "run": said.run, "by": said.by, "reason": said.reason, "id": said.id}
        return stamp(ev.Controlled(result=result, is_done=is_done, **told))


_DEEDS = {"pause": Helm._pause, "resume": Helm._resume, "stop": Helm._stop, "cancel": Helm._cancel}


def number_of(said: Control) -> int:
    """By which a flight is known to carry out a message: its plan draws nothing, so that its seed is free for that."""
    return int(said.id, 16) >> 1  # a signed number of eight bytes
