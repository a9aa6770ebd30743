"""The nine verbs of a run in order, for one flight: choose propose validate execute freeze measure review decide record.

A `Voyage` goes as far as it can without waiting and says what happened as events. What it did last stands in its flight,
so a voyage made from a flight that a killed process left goes on from there: recovery is the ordinary path.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from typing import TypeVar

import msgspec

from evogit import adopting, commissioning, mending
from evogit.bench import Bench, now, stamp
from evogit.domain import event as ev
from evogit.domain.flight import PERSON, FlightState
from evogit.domain.plan import Plan
from evogit.domain.proposal import Candidate, Proposal
from evogit.domain.review import PaidReview, Review
from evogit.domain.verdict import Verdict
from evogit.errors import BackendDown, CapReached, EvogitError
from evogit.failpoint import reach
from evogit.git import flights, ledger, messages
from evogit.git.flights import StoredFlight
from evogit.git.locks import write_lock
from evogit.landing import land
from evogit.seams import Agent, Reviewer
from evogit.search.idea_plans import acted
from evogit.stages import choose, execute, propose, validate
from evogit.stages.execute import Rest, Step
from evogit.trials import Trials
from evogit.turns import Beside

UNPAID = "Its reviewer was not asked: a {who} had refused it."  # in the stand-in's review
R = TypeVar("R")
SIBLINGS = 32  # decided children of its parent that a candidate is compared with before it is paid for


def plan_next(bench: Bench, number: int) -> Plan:
    """The search's next plan, or a repair that is due; every random choice comes from the campaign, the run's number and `--seed`."""
    if bench.replayer is not None:
        return bench.replayer.plan(bench)
    if (plan := mending.repair(bench, number)) is not None:
        return plan
    rng = random.Random(f"{bench.campaign.tag}/{number}/{bench.options.seed}")
    return choose.choose(bench.memory, bench.emitters, bench.policy, rng, bench.options.ideas)


def _siblings(bench: Bench, parents: tuple[str, ...]) -> Iterator[tuple[str, Mapping[str, str]]]:
    """Label and files of the newest measured children of a parent. A crash is left out: its repair looks much like it."""
    found = 0
    for run in reversed(bench.memory.recent):
        if parents and run.parents[:1] == parents and run.verdict in {Verdict.KEEP, Verdict.DISCARD}:
            yield run.label, bench.campaign.sources(run.commit)
            found += 1
        if found == SIBLINGS:
            return


class Voyage:
    """One flight on its way. `advance` until `trials.handle` is set (a job runs) or `is_landed`."""

    def __init__(self, bench: Bench, stored: StoredFlight) -> None:
        self.bench, self.stored = bench, stored
        self.flight = stored.flight  # newer than `stored` until the next `save`
        self.is_landed = False
        self.is_resumed = bool(stored.jobs)  # a killed loop had it before: what it did last may not be in the flight
        self.is_held = False  # a person asked for a stop: no further trial is begun
        self.short_at = -1  # `CapReached.settled` when its agent was refused the money
        self._aside: Beside | None = None  # a hand at work on it
        said = flights.review(bench.repo, stored)
        self.wrote: Review | None = msgspec.json.decode(said, type=PaidReview) if said else None
        self.trials = Trials(self)
        if self.flight.reserved_usd and not self.trials.ticket:  # a killed loop was paying a model: nobody knows how far it came
            bench.purse.found(self.flight.reserved_usd).settle(None)
            self.flight = msgspec.structs.replace(self.flight, reserved_usd=0.0)

    @property
    def commit(self) -> str:
        """The run commit that is measured: the candidate, or the run that is read again."""
        candidate = self.flight.candidate
        return candidate.commit if candidate is not None else self.flight.plan.parents[0]

    @property
    def is_recorded(self) -> bool:
        """True if the branch moved before the loop was killed: the flight is all that is left over."""
        return self.flight.candidate is not None and self.commit in self.bench.campaign.history.by_commit

    @property
    def is_prepared_now(self) -> bool:
        """True while an agent or a reviewer works on it, or what it made has not been taken."""
        return self._aside is not None

    @property
    def is_ready(self) -> bool:
        """True if its candidate is made, may run, and waits for a slot."""
        return self.flight.state is FlightState.RUNNING and not (self.trials.handle or self.trials.is_starting)

    @property
    def has_run(self) -> bool:
        """True if no trial of it runs or is to be begun."""
        return self.flight.state is not FlightState.RUNNING and not self.trials.handle

    def execute(self) -> Iterator[ev.Event]:
        """Its trials, where it is at those: until one runs or is being started, or all are measured."""
        if self.flight.state is FlightState.RUNNING:
            yield from self._execute()

    def advance(self) -> Iterator[ev.Event]:
        """Tell the story on, until a job runs or is being started, a hand works that takes long, or the run is recorded."""
        if self.is_recorded:
            self.note(FlightState.REVIEWED)
        if self.flight.state is FlightState.PLANNED:
            yield from self._propose()
        if self.flight.state is FlightState.PINNED:
            yield from self._validate()
        yield from self.execute()
        if self.flight.state is FlightState.MEASURED and not self.trials.handle:
            self._review()
        if self.flight.state is FlightState.REVIEWED:
            yield from land(self)

    def let_finish(self) -> None:
        """Wait for a hand at work on it, or a backend that starts a job of it, and keep what came of that; what they raise is no news."""
        self.trials.let_start()
        if not self.is_prepared_now:
            return
        with self.bench.turn.away():
            self._aside.wait()
        with suppress(EvogitError):
            if self.flight.state is FlightState.PLANNED:
                deque(self._propose(), 0)
            else:
                self._review()
            self.save()

    def _asked(self, hand: Agent | Reviewer, work: Callable[[], R]) -> R | None:
        """What `work` gives, which asks the hand; None while that goes on, and where it gave nothing."""
        bench = self.bench
        if bench.is_quick(hand):
            return work()
        if self._aside is None:
            self._aside = Beside(bench.turn, work, bench.bell)
        if not self._aside.is_over:
            return None
        done, self._aside = self._aside, None
        if self.flight.state is FlightState.PLANNED:
            bench.pace.made(done.seconds)
        return done.take()

    def let_go(self) -> None:
        """The run is recorded: the flight goes, and what its jobs left outside git."""
        self.bench.defer(self._remove)
        if self.trials.ticket is not None:  # recorded by a loop that was killed: nobody collects that job any more
            self.trials.ticket.settle(0.0)
            self.trials.ticket = None
        for job in self.trials.jobs:
            if job.handle:
                self.bench.forget_job(job.handle)
            else:
                self.bench.forget_found(job.key)
        for trial in self.trials.keys:
            self.bench.forget_trial(trial)
        self.is_landed = True

    def _remove(self) -> None:
        flights.remove(self.bench.repo, self.stored)
        reach("removed")

    def call_off(self, reason: str) -> None:
        """A person ends this run: the flight says so first, then what runs is cancelled. What was read of it until now is kept."""
        self.note(self.flight.state, gate=PERSON, reason=messages.one_line(reason))
        self.save()
        reach("called-off")
        if self.trials.handle:
            self.bench.backend.cancel(self.trials.handle)

    def park(self) -> None:
        """The loop ends before this run does: what was learnt and made since the last write goes into the flight."""
        if self.trials.unsaved or self.stored.flight.candidate is not self.flight.candidate:
            self.save()

    def note(self, state: FlightState, **fields: object) -> None:
        """How far it got, in memory. What costs nothing to do again is not worth a write of its own: `save` comes with the next one."""
        self.flight = msgspec.structs.replace(self.flight, state=state, written=now(), **fields)

    def save(self) -> None:
        """The flight as git has it is now as we have it; backends may let go of jobs whose outcomes are in it."""
        pins = self.stored.flight.candidate is None and self.flight.candidate is not None
        review, outcomes = msgspec.json.encode(self.wrote) if self.wrote else None, self.trials.unsaved or None
        self.stored = flights.update(
            self.bench.repo, self.stored, flight=self.flight, jobs=self.trials.jobs, outcomes=outcomes, review=review
        )
        if pins:
            reach("pinned")
        if outcomes:
            reach("outcome")
        self.trials.unsaved = {}
        for handle in self.trials.spent:
            self.bench.forget_job(handle)
        self.trials.spent = []

    # propose ---------------------------------------------------------------------------------------------------------

    def _propose(self) -> Iterator[ev.Event]:
        bench, flight = self.bench, self.flight
        if flight.plan.replicate:
            self._read_again()
            return
        if flight.reason and not self.is_prepared_now:  # a person called it off before anybody was asked
            made = commissioning.nothing(self)
        elif not self.is_prepared_now and bench.purse.is_spent(self.short_at):
            return
        else:
            made = self._asked(bench.agent, lambda: commissioning.draft(self))
        if made is None:
            return
        draft, reason = made[0], flight.reason or made[1]
        parent_tree = bench.repo.tree_of(flight.plan.parents[0])
        if draft.tree == parent_tree and not reason and not (draft.stripped or draft.secrets or draft.conflicts):
            self._read_again(draft.proposal)
            yield stamp(ev.Proposed(run=flight.label, commit=self.commit, summary=draft.proposal.summary, change="replicate"))
            return
        candidate = self._commit(draft)
        reach("candidate")
        self.note(
            FlightState.PINNED, candidate=candidate, gate=flight.gate or ("agent" if reason else ""), reason=messages.one_line(reason)
        )
        if candidate.calls or self.flight.calls:  # paid for: it is never bought twice
            self.save()
        yield stamp(ev.Proposed(run=flight.label, commit=candidate.commit, summary=candidate.summary, change=candidate.change))

    def _read_again(self, said: Proposal | None = None) -> None:
        """Nothing is changed: the trials are another reading of a run that exists. An agent that said so is paid all the same."""
        paid = {"calls": (*self.flight.calls, *said.calls), "answers": said.answers} if said is not None else {}
        with write_lock(self.bench.repo):
            reading = adopting.next_reading(self.bench, self.flight.plan.parents[0])
            self.note(FlightState.PINNED, kind="replicate", purpose="replicate", reading=reading, **paid)
            self.save()

    def _commit(self, draft: propose.Draft) -> Candidate:
        """The run commit: forecast and hypothesis are in it before any number exists."""
        bench, plan, said = self.bench, self.flight.plan, draft.proposal
        forecast = said.forecast or plan.forecast
        category = messages.one_line(said.change or plan.change)
        message = messages.RunMessage(
            label=self.flight.label,
            campaign=bench.campaign.tag,
            emitter=acted(plan, category),
            agent=bench.agent.name,
            summary=said.summary,
            hypothesis=said.hypothesis,
            change=category,
            niche=plan.niche or category,
            forecast=forecast,
            propensity=plan.propensity,
            policy=plan.policy,
            chance=plan.chance,
            idea=plan.idea,
            contrast=plan.contrast,
            sources=draft.sources,
            moves=draft.moves,
            lines=draft.lines,
        )
        commit = ledger.write_run(bench.repo, tree=draft.tree, parents=plan.parents, run=message)
        return Candidate(
            commit=commit,
            tree=draft.tree,
            label=self.flight.label,
            parents=plan.parents,
            plan=plan,
            agent=bench.agent.name,
            summary=messages.one_line(said.summary),
            hypothesis=said.hypothesis,
            change=category,
            changed=draft.changed,
            stripped=draft.stripped,
            large=draft.large,
            patch=draft.patch,
            secrets=draft.secrets,
            conflicts=draft.conflicts,
            transcript=said.transcript,
            calls=said.calls,
            answers=said.answers,
            created=now(),
            sources=draft.sources,
            moves=draft.moves,
            lines=draft.lines,
        )

    # validate --------------------------------------------------------------------------------------------------------

    def _validate(self) -> Iterator[ev.Event]:
        flight, candidate = self.flight, self.flight.candidate
        if flight.reason:
            self.note(FlightState.MEASURED)
            return
        if flight.kind in {"run", "adopt"} and candidate is not None:
            refusal = self.gates(candidate, lambda modules: self.bench.missing_imports(flight.slot, modules))
            if refusal is not None:
                self.note(FlightState.MEASURED, gate=refusal.gate, reason=messages.one_line(refusal.reason))
                yield stamp(ev.Rejected(run=flight.label, gate=refusal.gate, reason=refusal.reason))
                return
            self.bench.memory.tried.setdefault(candidate.sources, candidate.label)  # its twin may be proposed while it is in the air
        self.note(FlightState.RUNNING)

    def gates(self, candidate: Candidate, missing: Callable[[set[str]], set[str]]) -> validate.Refusal | None:
        """The first gate that refuses a candidate, or None."""
        campaign, twin = self.bench.campaign, self.bench.memory.tried.get(candidate.sources, "")
        sources, before = campaign.sources_of_tree(candidate.tree), campaign.sources(candidate.parents[0]) if candidate.parents else {}
        return validate.validate(
            campaign.problem,
            candidate,
            sources,
            before,
            "" if twin == candidate.label else twin,
            missing,
            lambda: _siblings(self.bench, candidate.parents[:1]),
            strayed=campaign.strayed(candidate.tree),
            tells=validate.tells_of(campaign.problem, sources, before, campaign.frozen_sources()),
        )

    # execute, measure ------------------------------------------------------------------------------------------------

    def _execute(self) -> Iterator[ev.Event]:
        if self.trials.is_starting:
            step = self.trials.started()
            if step is None:
                return
            yield stamp(ev.TrialStarted(run=self.flight.label, seed=step.seed, step=step.step))
        if self.flight.gate == PERSON and self.trials.handle:  # called off while it was started, or by a loop that was killed at that
            self.bench.backend.cancel(self.trials.handle)
        while not self.trials.handle:
            step = self._next_step()
            if step is Rest.DONE:
                yield from self._judge_smoke()
                self.note(FlightState.MEASURED)
                return
            if step is Rest.WAITING or (self.is_held and step.step in {"smoke", "train"}) or not self.bench.has_room():
                return
            try:
                self.trials.start(step)
            except CapReached:
                return
            if self.trials.is_starting:
                return
            yield stamp(ev.TrialStarted(run=self.flight.label, seed=step.seed, step=step.step))

    def _next_step(self) -> Step | Rest:
        """What to start now. A candidate whose trials are lost again and again, loop after loop, is what is at fault: a reject."""
        if self.flight.gate == PERSON:
            return Rest.DONE
        try:
            return self.trials.next()
        except BackendDown:
            if self.flight.kind == "baseline" or self.trials.losses < 2 * execute.LOST_TRIES:
                raise
            self.note(self.flight.state, gate="backend", reason=f"the backend lost its trials {self.trials.losses} times")
            return Rest.DONE

    def _judge_smoke(self) -> Iterator[ev.Event]:
        """A smoke run that failed is a gate's refusal; its numbers are compared with nothing."""
        failure = self.trials.smoke_failure()
        if failure and not self.flight.reason:
            self.note(self.flight.state, gate="smoke", reason=messages.one_line(f"{mending.SMOKED}{failure}"))
            yield stamp(ev.Rejected(run=self.flight.label, gate="smoke", reason=self.flight.reason))

    # review ----------------------------------------------------------------------------------------------------------

    def _review(self) -> None:
        if self.flight.kind != "replicate":
            reviewer = self._reviewer()
            if not reviewer.is_free and not self.is_prepared_now:
                self.save()  # what was measured is safe before somebody is paid to look at it
            said = self._asked(reviewer, lambda: commissioning.review_by(self, reviewer))
            if said is None:
                return
            is_stand_in, who = reviewer is not self.bench.reviewer, PERSON if self.flight.gate == PERSON else "gate"
            self.wrote = msgspec.structs.replace(said, observation=f"{said.observation} {UNPAID.format(who=who)}") if is_stand_in else said
        self.note(FlightState.REVIEWED)
        if not self._is_free_to_repeat():
            self.save()
        reach("reviewed")

    def _reviewer(self) -> Reviewer:
        """Who looks at the run: nobody is paid to say what a gate has said."""
        chosen = self.bench.reviewer
        return self.bench.stand_in if self.flight.reason and not chosen.is_free else chosen

    def _is_free_to_repeat(self) -> bool:
        """True if a killed loop finds all of it again for nothing: a pinned candidate, one job that its backend keeps, a free review.

        Then the run goes straight into the ledger: half of a flight's objects (11 of some 45 a run) need never be written.
        """
        is_pinned = self.stored.flight.state is FlightState.RUNNING and len(self.trials.jobs) == 1
        return is_pinned and self.bench.backend.finds_again and self.bench.reviewer.is_free
