"""The night: keeps runs in the air, obeys budgets and people, recovers what a killed loop left. One loop a campaign and clone.

It holds no state that is not in git: kill it anywhere, and the next one goes on.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import msgspec

from evogit import adopting, certifying, keys, views
from evogit.bench import Bench, require_smoke, stamp
from evogit.domain import event as ev
from evogit.domain.flight import Flight, FlightState
from evogit.domain.verdict import Verdict
from evogit.errors import WorkFailed
from evogit.failpoint import reach
from evogit.git import flights, maintenance
from evogit.git.flights import StoredFlight
from evogit.git.gc_lock import gc_lock
from evogit.git.locks import loop_lock
from evogit.git.refusals import disk_in_words
from evogit.loop import Voyage, plan_next
from evogit.search import recheck
from evogit.stages import record
from evogit.stages.propose import MENDING
from evogit.stopping import left, why_stop

POLL_S = 0.25  # how soon a request to stop is seen while trials run; ends of trials wake us at once
REPACK_EVERY = 500  # runs


class Stopper:
    """A person's wish to stop, asked for once (let running trials finish) or twice (cancel them). Safe in a signal handler."""

    def __init__(self) -> None:
        self.level = 0

    def request(self) -> int:
        """One more wish; returns how many there were."""
        self.level += 1
        return self.level


class Loop:
    """One invocation of `evogit loop`."""

    def __init__(self, bench: Bench, stopper: Stopper | None = None) -> None:
        self.bench, self.stopper = bench, stopper or Stopper()
        self.air: list[Voyage] = []
        self.ahead: list[StoredFlight] = []  # baselines of epochs that open once the air is empty
        self.decided = 0
        self.barren = 0  # runs in a row that a gate refused
        self.dry = 0  # runs in a row that kept nothing
        self.crashed = 0  # runs in a row that crashed or that a gate refused
        self._began = time.monotonic()
        self._is_errand = False  # a command other than `loop`: it asks no agent
        self._keep_gc_out: Callable[[], None] = lambda: None

    def run(self) -> Iterator[ev.Event]:
        """The campaign until a budget ends, a target is met, or a person stops it. Raises Busy, RepositoryError, WorkFailed, ServiceDown."""
        require_smoke(self.bench)
        yield from self._guarded(self._night())

    def run_one(self, depart: Callable[[], Voyage | None]) -> Iterator[ev.Event]:
        """One flight of a person's own making, after whatever was left over; nothing else is begun."""
        once = iter((depart, lambda: None))
        yield from self.run_many(lambda: next(once)())

    def run_many(self, depart: Callable[[], Voyage | None]) -> Iterator[ev.Event]:
        """The same for one flight after the other, each asked for when the one before has landed, until `depart` has no more."""
        yield from self._guarded(self._errand(depart))

    def _guarded(self, story: Iterator[ev.Event]) -> Iterator[ev.Event]:
        """The story under both locks, each event logged; a disk that refuses is told in words."""
        repo = self.bench.repo
        with disk_in_words(repo), loop_lock(repo, self.bench.campaign.tag), gc_lock(repo) as self._keep_gc_out:
            try:
                for event in story:
                    yield self._note(event)
            finally:
                self.bench.close()

    # the night -------------------------------------------------------------------------------------------------------

    def _night(self) -> Iterator[ev.Event]:
        yield from self._open()
        while True:
            reason = why_stop(self)
            yield from self._tell()
            while not reason and len(self.air) < len(self.bench.slots()):
                voyage = self._depart()
                if voyage is None:
                    break
                yield from self._begin(voyage)
                yield from self._tell()  # what a gate refused is decided already
                reason = why_stop(self)
            if (look := self._idle_look()) is not None:
                yield from self._begin(look)
            if not self.air and reason:
                break
            if not self.air:  # a person's commit came before an epoch could open
                yield from self._welcome()
                continue
            yield from self._wait()
            if self._all_held():
                break
        self._park()
        yield self._stopped(reason or why_stop(self))

    def _tell(self) -> Iterator[ev.Event]:
        for message, hint in self.bench.news():
            yield stamp(ev.Warned(message=message, hint=hint))

    def _errand(self, depart: Callable[[], Voyage | None]) -> Iterator[ev.Event]:
        self._is_errand = True
        yield from self._open()
        yield from self._land_all()
        while not self.stopper.level and (why := self._due()):
            baseline = self._baseline(why)
            yield from self._begin(baseline) if baseline else self._welcome()
            yield from self._land_all()
        while not self.stopper.level and (voyage := depart()) is not None:
            yield from self._begin(voyage)
            yield from self._land_all()
        self._park()
        yield self._stopped("done" if not self.stopper.level else "stopped by a person")

    def _land_all(self) -> Iterator[ev.Event]:
        while self.air and not self._all_held():
            yield from self._wait()

    def _park(self) -> None:
        for voyage in self.air:
            voyage.park()
        self.bench.settle()

    def _open(self) -> Iterator[ev.Event]:
        bench = self.bench
        adopting.take_in(bench)
        for message in record.catch_up(bench.repo, bench.campaign.tag, is_ours=not bench.campaign.history.people):
            yield stamp(ev.Warned(message=message))
        views.rebuild(bench.repo, bench.campaign)
        sandbox = str(bench.backend.resources().get("sandbox", "none"))
        problem = bench.campaign.problem.name
        runs = len(bench.campaign.history.runs)
        yield stamp(ev.CampaignOpened(campaign=bench.campaign.tag, problem=problem, backend=bench.backend.name, sandbox=sandbox, runs=runs))
        if path := bench.campaign.contract_beside():
            tag = bench.campaign.tag
            yield stamp(
                ev.Warned(
                    message=f"{path} in your checkout is not the one that counts: campaign {tag} goes on under its own",
                    hint=f"to change it in mid-campaign, commit it on autoresearch/{tag}, and an epoch begins; or begin anew: evogit start",
                )
            )
        yield from self._recover()
        yield from self._welcome()

    def _welcome(self) -> Iterator[ev.Event]:
        """What people did to the branch becomes flights."""
        adopting.take_in(self.bench)
        yield from adopting.adopt_people(self.bench)
        self._board_adopted()

    def _recover(self) -> Iterator[ev.Event]:
        """Flights that a killed loop of this clone left go on from where they are; a mere plan waits for a loop, whose agent was to carry it out."""
        bench = self.bench
        left = flights.listing(bench.repo, bench.campaign.tag, bench.repo.clone)
        self.ahead = [stored for stored in left if adopting.awaits_epoch(bench, stored)]
        for stored in sorted(left, key=lambda stored: not stored.jobs):  # who has a job keeps the workspace
            if stored in self.ahead or self._is_anothers_plan(stored.flight):
                continue
            voyage = self._board(adopting.under_options(bench, stored))
            flight = voyage.flight
            if _is_turn(flight) and not self._is_recorded(flight):
                bench.memory.turns += 1  # as `_depart` had
            if flight.kind == "baseline" and not stored.jobs:  # as `evogit start` left it: nothing to recover from
                yield stamp(ev.Planned(run=flight.label, emitter="baseline", parents=(), instruction=flight.plan.instruction))
            else:
                yield stamp(ev.Recovered(run=flight.label, state=flight.state.value, action=_ACTIONS[flight.state]))
        trials = {key for v in self.air for key in v.trials.keys}
        bench.sweep_leftovers(trials, {job.key for v in self.air for job in v.trials.jobs})
        for voyage in list(self.air):
            yield from self._advance(voyage)

    def _is_anothers_plan(self, flight: Flight) -> bool:
        """True for a mere plan that this invocation has no agent for: a command that asks none, a loop that repeats another campaign."""
        replayer = self.bench.replayer
        is_strange = replayer is not None and flight.plan.policy != replayer.name
        return flight.state is FlightState.PLANNED and (self._is_errand or is_strange)

    def _is_recorded(self, flight: Flight) -> bool:
        """True if the branch moved before the loop was killed: the flight is all that is left over."""
        return flight.candidate is not None and flight.candidate.commit in self.bench.campaign.history.by_commit

    def _depart(self) -> Voyage | None:
        """The next flight, or None while it has to wait for one in the air (a baseline, an epoch)."""
        bench = self.bench
        why = self._due()
        if why:
            return None if self.air else self._baseline(why)
        if any(v.flight.kind == "baseline" for v in self.air):
            return None
        if (voyage := self._recheck()) is not None:
            return voyage
        bench.left = left(self)
        stored = adopting.planned(bench, lambda number: plan_next(bench, number), self._free_slot())
        reach("planned")
        bench.memory.turns += 1
        return Voyage(bench, stored)

    def _recheck(self) -> Voyage | None:
        """One more reading of an incumbent that has none since its decision; it counts towards no budget of runs."""
        wanted = None if self.bench.options.smoke else recheck.due(self.bench.memory)
        if wanted is None or any(v.flight.plan.parents[:1] == wanted[:1] and v.flight.plan.replicate for v in self.air):
            return None
        stored = adopting.again(self.bench, *wanted, self._free_slot(), "the new incumbent, once more", emitter=recheck.EMITTER)
        return Voyage(self.bench, stored)

    def _idle_look(self) -> Voyage | None:
        """One reading for a certificate, where a slot is free while runs still work: at its end the night waits for one at most."""
        is_ending = self.is_late() or self.stopper.level > 0 or not any(v.trials.handle for v in self.air)
        is_full = len(self.air) >= len(self.bench.slots())
        if is_ending or is_full or self._due() or any(v.flight.kind == "baseline" for v in self.air):
            return None
        stored = certifying.idle_look(self.bench, self._free_slot(), [v.flight.purpose for v in self.air])
        return Voyage(self.bench, stored) if stored is not None else None

    def _due(self) -> str:
        """Why a baseline is measured before anything else is begun; "" if none has to be."""
        if self.ahead:
            return self.ahead[0].flight.plan.instruction
        return adopting.needs_epoch(self.bench) if self.bench.memory.incumbent else "the baseline crashed"

    def _baseline(self, why: str) -> Voyage | None:
        """Run 0's flight, or that of a new epoch, which opens now. None if a person's commit came before it."""
        bench = self.bench
        if not bench.campaign.history.incumbent:
            return Voyage(bench, adopting.baseline(bench, self._free_slot()))
        self.ahead = self.ahead or [adopting.epoch(bench, self._free_slot(), why)]
        if not adopting.open_epoch(bench, self.ahead[0]):
            return None
        return Voyage(bench, adopting.under_options(bench, self.ahead.pop(0)))

    def _board(self, stored: StoredFlight) -> Voyage:
        """A flight that was made elsewhere, into the air: in a workspace of its own, whichever it was given."""
        voyage = Voyage(self.bench, stored)
        if not voyage.trials.jobs and any(v.flight.slot == voyage.flight.slot for v in self.air):
            voyage.flight = msgspec.structs.replace(voyage.flight, slot=self._free_slot())
        self._take_up(voyage)
        return voyage

    def _take_up(self, voyage: Voyage) -> None:
        """Into the air; until it lands its parent has one more child on the way."""
        self.air.append(voyage)
        plan = voyage.flight.plan
        for parent in plan.parents[:1]:
            self.bench.memory.pending[parent] += 1
        if plan.idea:
            self.bench.memory.ideas.claim(plan.idea)
        if plan.policy == MENDING:
            self.bench.mended.add(plan.contrast)

    def _free_slot(self) -> str:
        """A workspace that no flight in the air has; there are always more names than flights."""
        taken = {v.flight.slot for v in self.air}
        return next(s for s in (*self.bench.slots(), *(f"x{n}" for n in range(len(taken) + 1))) if s not in taken)

    def _begin(self, voyage: Voyage) -> Iterator[ev.Event]:
        self._take_up(voyage)
        plan = voyage.flight.plan
        labels = tuple(r.label for p in plan.parents if (r := self.bench.memory.by_commit.get(p)))
        yield stamp(ev.Planned(run=voyage.flight.label, emitter=plan.emitter, parents=labels, instruction=plan.instruction))
        yield from self._advance(voyage)

    def _advance(self, voyage: Voyage) -> Iterator[ev.Event]:
        """Go on with one voyage; take it out of the air once it has landed."""
        voyage.is_held = self.stopper.level > 0
        has_guest = False
        for event in voyage.advance():
            has_guest = has_guest or isinstance(event, ev.Adopted)
            if isinstance(event, ev.Decided):
                event = self._count(event, voyage)
            elif isinstance(event, ev.Replicated):
                self.bench.memory.turns -= _is_turn(voyage.flight)  # the ledger, folded again, knows decided runs alone
                self.decided += not _is_extra(voyage)  # a reading of an unchanged candidate costs what a run costs
            yield event
        if voyage.is_landed:
            self.air.remove(voyage)
            for parent in voyage.flight.plan.parents[:1]:
                self.bench.memory.pending[parent] -= 1
            if voyage.flight.plan.idea:
                self.bench.memory.ideas.release(voyage.flight.plan.idea)
            if has_guest:
                self._board_adopted()
            self._fail_on_baseline(voyage)

    def _wait(self) -> Iterator[ev.Event]:
        """Until a trial ends, or somebody wants to stop."""
        bench = self.bench
        self._keep_gc_out()
        for voyage in self.air:
            voyage.is_held = self.stopper.level > 0
            if self.stopper.level > 1 and voyage.trials.handle:
                bench.backend.cancel(voyage.trials.handle)
        bench.settle()
        bench.sweep()
        handles = {v.trials.handle: v for v in self.air if v.trials.handle}
        for voyage in [v for v in self.air if not v.trials.handle]:
            yield from self._advance(voyage)
        for handle in bench.backend.wait(list(handles), POLL_S) if handles else []:
            voyage = handles[handle]
            yield from voyage.trials.collect()
            yield from self._advance(voyage)

    def _all_held(self) -> bool:
        """True if nothing runs and nothing may be begun: a person wants to stop, or the money is at its end."""
        is_held = self.stopper.level > 0 or bool(self.bench.purse.refusal)
        return is_held and not any(v.trials.handle for v in self.air)

    # counting and stopping -------------------------------------------------------------------------------------------

    def _count(self, event: ev.Decided, voyage: Voyage) -> ev.Decided:
        """What budgets are about: runs decided by this invocation, baselines left out."""
        if voyage.flight.kind != "baseline":
            self.decided += 1
            self.bench.memory.turns -= 1 if voyage.flight.kind == "run" else 0  # `learn` counted it; `_depart` had before
            self.barren = self.barren + 1 if event.verdict == Verdict.REJECT.value else 0
            self.dry = 0 if event.verdict == Verdict.KEEP.value else self.dry + 1
            self.crashed = self.crashed + 1 if event.verdict in {Verdict.CRASH.value, Verdict.REJECT.value} else 0
        total = len(self.bench.campaign.history.runs)
        if total % REPACK_EVERY == 0:
            maintenance.repack_in_background(self.bench.repo)
        return msgspec.structs.replace(event, decided=self.decided)

    def is_late(self) -> bool:
        """True once `--max-hours` are over."""
        return 0 < self.bench.options.max_hours <= self.hours

    @property
    def hours(self) -> float:
        """Since this invocation began."""
        return (time.monotonic() - self._began) / 3600

    def _stopped(self, reason: str) -> ev.Event:
        tag = self.bench.campaign.tag
        return stamp(ev.Stopped(reason=reason or "nothing left to do", decided=self.decided, resume=f"evogit loop --tag {tag}"))

    def _fail_on_baseline(self, voyage: Voyage) -> None:
        """A campaign without a baseline has nothing to compare with: say so at once, not after a hundred runs."""
        run = self.bench.campaign.history.by_commit.get(voyage.commit)
        if voyage.flight.kind == "baseline" and run is not None and run.verdict is not Verdict.KEEP:
            raise WorkFailed(
                f"the baseline failed: {run.reason}",
                hint=self.bench.unseen(run.reason)
                or f"`evogit show {run.label}` has its output; mend the problem, commit, and run `evogit loop --tag {run.campaign}` again",
            )

    def _board_adopted(self) -> None:
        """Flights that were made for people's commits meanwhile join those in the air, or wait for their epoch."""
        self.bench.settle()  # a flight that landed is no guest
        known = {stored.ref for stored in (*self.ahead, *(v.stored for v in self.air))}
        for stored in flights.listing(self.bench.repo, self.bench.campaign.tag, self.bench.repo.clone):
            if stored.ref not in known and stored.flight.kind == "adopt":
                self._board(stored)
            elif stored.ref not in known and adopting.awaits_epoch(self.bench, stored):
                self.ahead.append(stored)

    def _note(self, event: ev.Event) -> ev.Event:
        event = keys.redacted(event)
        views.log(self.bench.repo, self.bench.campaign.tag, event)
        purse = self.bench.purse
        if purse.cap:
            views.write_purse(self.bench.repo, self.bench.campaign.tag, purse.cap, purse.spent + purse.held)
        return event


def _is_turn(flight: Flight) -> bool:
    """True for what an emitter planned, the readings that came of it included."""
    is_reading = flight.kind == "replicate" and flight.purpose == "replicate"
    return flight.kind == "run" or (is_reading and flight.plan.emitter not in {"person", recheck.EMITTER})


def _is_extra(voyage: Voyage) -> bool:
    """True for readings that no budget of runs counts."""
    return voyage.flight.purpose == "certify" or voyage.flight.plan.emitter in {"anomaly_chaser", recheck.EMITTER}


_ACTIONS = {
    FlightState.PLANNED: "the plan is carried out again",
    FlightState.PINNED: "the candidate is checked and measured",
    FlightState.RUNNING: "its trials go on, those that ended are collected",
    FlightState.MEASURED: "it is reviewed and decided",
    FlightState.REVIEWED: "it is decided and recorded",
}
