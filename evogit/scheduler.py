"""The night: keeps runs in the air, obeys budgets and people, recovers what a killed loop left. One loop a campaign and clone.

It holds no state that is not in git: kill it anywhere, and the next one goes on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import msgspec

from evogit import adopting, holdout_desk, keys, views
from evogit.air import Air
from evogit.bench import Bench, require_smoke, stamp
from evogit.departing import Departures
from evogit.domain import event as ev
from evogit.domain.flight import PERSON, Flight, FlightState
from evogit.domain.options import resuming
from evogit.domain.verdict import Verdict
from evogit.errors import EvogitError, WorkFailed
from evogit.git import flights, maintenance
from evogit.git.gc_lock import gc_lock
from evogit.git.locks import loop_lock
from evogit.git.refusals import disk_in_words
from evogit.helm import Helm
from evogit.loop import Voyage
from evogit.search import recheck
from evogit.stages import record
from evogit.stopping import Stopper, Tally, left, why_stop

AHEAD_S = 0.05  # likewise while a hand works, or a backend starts a job, beside the loop: that end wakes nobody who waits for a trial
POLL_S = 0.25  # how soon a request to stop is seen while trials run; ends of trials wake us at once
REPACK_EVERY = 500  # runs


class Loop:
    """One invocation of `evogit loop`."""

    def __init__(self, bench: Bench, stopper: Stopper | None = None) -> None:
        self.bench, self.stopper = bench, stopper or Stopper()
        self.air = Air(bench)
        bench.has_room = lambda: self.air.has_room
        self.tally = Tally(bench.campaign.history.runs)
        self.helm = Helm(bench, self.air, self.stopper)
        self._departures = Departures(bench, self.air)
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
        self._is_errand = True
        yield from self._guarded(self._errand(depart))

    def _guarded(self, story: Iterator[ev.Event]) -> Iterator[ev.Event]:
        """The story under both locks, each event logged; a disk that refuses is told in words."""
        repo = self.bench.repo
        turn = self.bench.turn.taken()
        with disk_in_words(repo), loop_lock(repo, self.bench.campaign.tag), gc_lock(repo) as self._keep_gc_out, turn:
            try:
                self.helm.begin(is_errand=self._is_errand)
                for event in story:
                    yield self._note(event)
            except EvogitError:
                self.air.let_finish()
                raise
            finally:
                self.helm.leave()
                self.bench.close()

    # the night -------------------------------------------------------------------------------------------------------

    def _night(self) -> Iterator[ev.Event]:
        yield from self._open()
        self.bench.desk = holdout_desk.Desk(self.bench)
        while True:
            yield from self.helm.obey()
            reason = why_stop(self)
            yield from self._tell()
            yield from self._depart(reason)
            reason = why_stop(self)
            if not self.air and (reason or not self.helm.is_paused):
                if reason:
                    break
                yield from self._welcome()  # a person's commit came before an epoch could open
                continue
            yield from self._wait()
            if self._all_held():
                break
        self._park()
        yield self._stopped(reason or why_stop(self))

    def _depart(self, reason: str) -> Iterator[ev.Event]:
        """Begin what may be begun: readings that a person asked for, the search's runs while nothing speaks against it, a look."""
        if self.helm.is_paused:
            return
        yield from self._begin_asked()
        while not reason and not self.air.is_full:
            voyage = self._departures.next(left(self))
            if voyage is None:
                break
            yield from self._begin(voyage)
            yield from self._tell()  # what a gate refused is decided already
            yield from self.helm.obey()
            reason = "paused" if self.helm.is_paused else why_stop(self)
        if not self._is_ending and not self.helm.is_paused and (look := self._departures.idle_look()) is not None:
            yield from self._begin(look)

    def _begin_asked(self) -> Iterator[ev.Event]:
        while not self._is_ending and not self.air.is_full and not self.air.has_baseline and not self._departures.due():
            voyage = None
            for said in self.helm.asked():
                if isinstance(said, Voyage):
                    voyage = said
                else:
                    yield said
            if voyage is None:
                return
            yield from self._begin(voyage)

    @property
    def _is_ending(self) -> bool:
        """True once time or a person ends the night: what is not its own work is not begun either."""
        return self.tally.is_late(self.bench.options.max_hours) or self.stopper.level > 0

    def _tell(self) -> Iterator[ev.Event]:
        for message, hint in self.bench.news():
            yield stamp(ev.Warned(message=message, hint=hint))
        for run, said in self.bench.judgements():
            yield stamp(ev.Judged(run=run, verdict=said.verdict.value, was=said.was.value, by=said.by, reason=said.reason))

    def _errand(self, depart: Callable[[], Voyage | None]) -> Iterator[ev.Event]:
        yield from self._open()
        yield from self._land_all()
        while not self.stopper.level and (why := self._departures.due()):
            baseline = self._departures.baseline(why)
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
        self.air.park()
        self.bench.settle()

    def _open(self) -> Iterator[ev.Event]:
        bench = self.bench
        adopting.take_in(bench)
        for message in record.catch_up(bench.repo, bench.campaign.tag, is_ours=not bench.campaign.history.people):
            yield stamp(ev.Warned(message=message))
        views.rebuild(bench.repo, bench.campaign)
        sandbox = str(bench.backend.resources().get("sandbox", "none"))
        if not self._is_errand:
            bench.expect()
        problem = bench.campaign.problem.name
        runs = len(bench.campaign.history.runs)
        yield stamp(
            ev.CampaignOpened(campaign=bench.campaign.tag, problem=problem, backend=bench.options.backend, sandbox=sandbox, runs=runs)
        )
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
        self._departures.ahead = [stored for stored in left if adopting.awaits_epoch(bench, stored)]
        for stored in sorted(left, key=lambda stored: not stored.jobs):  # who has a job keeps the workspace
            if stored in self._departures.ahead or self._is_anothers_plan(stored.flight):
                continue
            voyage = self.air.board(adopting.under_options(bench, stored))
            flight = voyage.flight
            if _is_turn(flight) and not voyage.is_recorded:
                bench.memory.turns += 1  # as `Departures.next` had
            if flight.kind == "baseline" and not stored.jobs:  # as `evogit start` left it: nothing to recover from
                yield stamp(ev.Planned(run=flight.label, emitter="baseline", parents=(), instruction=flight.plan.instruction))
            else:
                said = {"state": flight.state.value, "action": _ACTIONS[flight.state], "emitter": flight.plan.emitter}
                yield stamp(ev.Recovered(run=flight.label, **said, of=adopting.read_by(bench, flight)))
        trials = {key for v in self.air for key in v.trials.keys}
        bench.sweep_leftovers(trials, {job.key for v in self.air for job in v.trials.jobs})
        for voyage in list(self.air):
            yield from self._advance(voyage)

    def _is_anothers_plan(self, flight: Flight) -> bool:
        """True for a mere plan that this invocation has no agent for: a command that asks none, a loop that repeats another campaign."""
        replayer = self.bench.replayer
        is_strange = replayer is not None and flight.plan.policy != replayer.name
        return flight.state is FlightState.PLANNED and (self._is_errand or is_strange)

    def _begin(self, voyage: Voyage) -> Iterator[ev.Event]:
        self.air.take_up(voyage)
        plan = voyage.flight.plan
        labels = tuple(r.label for p in plan.parents if (r := self.bench.memory.by_commit.get(p)))
        said = {"emitter": plan.emitter, "parents": labels, "instruction": plan.instruction}
        yield stamp(ev.Planned(run=voyage.flight.label, **said, of=adopting.read_by(self.bench, voyage.flight)))
        yield from self._advance(voyage)

    def _advance(self, voyage: Voyage, lands: bool = True) -> Iterator[ev.Event]:
        """Go on with one voyage, no further than its last trial unless it `lands`; take it out of the air once it has landed."""
        voyage.is_held = self.stopper.level > 0
        has_guest = False
        for event in voyage.advance() if lands else voyage.execute():
            has_guest = has_guest or isinstance(event, ev.Adopted)
            if isinstance(event, ev.Decided):
                event = self._count(event, voyage)
            elif isinstance(event, ev.Replicated):
                self.bench.memory.turns -= _is_turn(voyage.flight)  # the ledger, folded again, knows decided runs alone
                self.tally.decided += not _is_extra(voyage)  # a reading of an unchanged candidate costs what a run costs
            yield event
        if voyage.is_landed:
            self.air.land(voyage)
            if has_guest:
                self._board_adopted()
            self._fail_on_baseline(voyage)

    def _wait(self) -> Iterator[ev.Event]:
        """Until a trial ends, or somebody wants something."""
        bench = self.bench
        self._keep_gc_out()
        yield from self.helm.obey()
        for voyage in self.air:
            voyage.is_held = self.stopper.level > 0
            if self.stopper.level > 1 and voyage.trials.handle:
                with bench.turn.away():
                    bench.backend.cancel(voyage.trials.handle)
        bench.settle()
        bench.sweep()
        handles = {v.trials.handle: v for v in self.air if v.trials.handle}
        for voyage in [v for v in self.air if not v.trials.handle]:
            yield from self._advance(voyage)
        if not self.air:
            self.helm.rest(POLL_S)
        if ended := [handles[handle] for handle in self._ended(list(handles))]:
            try:
                yield from self._take_in(ended)
            except (EvogitError, OSError):
                yield from self._land_measured(ended)
                raise
            yield from self._land_measured(ended)

    def _take_in(self, ended: list[Voyage]) -> Iterator[ev.Event]:
        """Collect what ended; then who is ready has the slot, before what was measured is written down."""
        for voyage in ended:
            yield from voyage.trials.collect()
            yield from self._advance(voyage, lands=False)
        for voyage in [v for v in self.air if v.is_ready]:
            yield from self._advance(voyage)
            voyage.trials.see_off(AHEAD_S)

    def _land_measured(self, ended: list[Voyage]) -> Iterator[ev.Event]:
        for voyage in [v for v in ended if v.has_run]:
            yield from self._advance(voyage)

    def _ended(self, handles: list[str]) -> list[str]:
        """Handles of trials that have ended, within a moment. Meanwhile the books are for the hands that work beside us."""
        bench, is_preparing = self.bench, any(v.is_prepared_now or v.trials.is_starting for v in self.air)
        with bench.turn.away():
            if handles:
                return bench.backend.wait(handles, AHEAD_S if is_preparing else POLL_S)
            if is_preparing:
                bench.bell.wait(POLL_S)
                bench.bell.clear()
        return []

    def _all_held(self) -> bool:
        """True if nothing runs and nothing may be begun: a person wants to stop, or the money is at its end."""
        is_held = self.stopper.level > 0 or bool(self.bench.purse.refusal)
        return is_held and not self.air.is_at_work

    # counting and ending ---------------------------------------------------------------------------------------------

    def _count(self, event: ev.Decided, voyage: Voyage) -> ev.Decided:
        """What budgets are about: runs decided by this invocation, baselines left out."""
        if voyage.flight.kind != "baseline":
            self.tally.count(event.verdict, is_called_off=voyage.flight.gate == PERSON)
            self.bench.memory.turns -= 1 if voyage.flight.kind == "run" else 0  # `learn` counted it; `Departures.next` had before
        total = len(self.bench.campaign.history.runs)
        if total % REPACK_EVERY == 0:
            maintenance.repack_in_background(self.bench.repo)
        return msgspec.structs.replace(event, decided=self.tally.decided)

    def _stopped(self, reason: str) -> ev.Event:
        return stamp(ev.Stopped(reason=reason or "nothing left to do", decided=self.tally.decided, resume=self._resume))

    @property
    def _resume(self) -> str:
        options = self.bench.options
        return resuming(self.bench.campaign.tag, options.backend, options.backend_options)

    def _fail_on_baseline(self, voyage: Voyage) -> None:
        """A campaign without a baseline has nothing to compare with: say so at once, not after a hundred runs."""
        run = self.bench.campaign.history.by_commit.get(voyage.commit)
        if voyage.flight.kind == "baseline" and run is not None and run.verdict is not Verdict.KEEP:
            raise WorkFailed(
                f"the baseline failed: {run.reason}",
                hint=self.bench.unseen(run.reason)
                or f"`evogit show {run.label}` has its output; mend the problem, commit, and run `{self._resume}` again",
            )

    def _board_adopted(self) -> None:
        """Flights that were made for people's commits meanwhile join those in the air, or wait for their epoch."""
        self.bench.settle()  # a flight that landed is no guest
        known = {stored.ref for stored in (*self._departures.ahead, *(v.stored for v in self.air))}
        for stored in flights.listing(self.bench.repo, self.bench.campaign.tag, self.bench.repo.clone):
            if stored.ref not in known and stored.flight.kind == "adopt":
                self.air.board(stored)
            elif stored.ref not in known and adopting.awaits_epoch(self.bench, stored):
                self._departures.ahead.append(stored)

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
    return flight.kind == "run" or (is_reading and flight.plan.emitter not in {*adopting.ERRANDS, recheck.EMITTER})


def _is_extra(voyage: Voyage) -> bool:
    """True for readings that no budget of runs counts."""
    return voyage.flight.purpose == "certify" or voyage.flight.plan.emitter in {"anomaly_chaser", recheck.EMITTER, adopting.ASKED}


_ACTIONS = {
    FlightState.PLANNED: "the plan is carried out again",
    FlightState.PINNED: "the candidate is checked and measured",
    FlightState.RUNNING: "its trials go on, those that ended are collected",
    FlightState.MEASURED: "it is reviewed and decided",
    FlightState.REVIEWED: "it is decided and recorded",
}
