"""The eight verbs of a run in order, for one flight: choose propose validate execute measure review decide record.

A `Voyage` goes as far as it can without waiting and says what happened as events. What it did last stands in its flight,
so a voyage made from a flight that a killed process left goes on from there: recovery is the ordinary path.
"""

from __future__ import annotations

import random
from collections.abc import Iterator

import msgspec

from evogit import adopting
from evogit import problem as contract
from evogit.bench import Bench, now, stamp
from evogit.domain import event as ev
from evogit.domain.flight import FlightState, JobRecord
from evogit.domain.plan import Plan
from evogit.domain.proposal import Candidate, Proposal
from evogit.domain.review import Review, ReviewBrief
from evogit.domain.trial import Job, Outcome, Status, TrialLine
from evogit.errors import EvogitError, ServiceDown, UserError
from evogit.failpoint import reach
from evogit.git.locks import write_lock
from evogit.landing import land
from evogit.git import flights, import_record, ledger, messages, objects
from evogit.git.flights import StoredFlight
from evogit.search import change
from evogit.stages import choose, decide, execute, measure, propose, review, validate
from evogit.stages.execute import Rest, Step

DIFF_CAP = 64 << 10  # characters of a diff that a reviewer is shown


def plan_next(bench: Bench, number: int) -> Plan:
    """The search's next plan; every random choice comes from the campaign, the run's number and `--seed`."""
    rng = random.Random(f"{bench.campaign.tag}/{number}/{bench.options.seed}")
    return choose.choose(bench.memory, bench.emitters, rng)


class Voyage:
    """One flight on its way. `advance` until `handle` is set (a job runs) or `is_landed`."""

    def __init__(self, bench: Bench, stored: StoredFlight) -> None:
        self.bench, self.stored = bench, stored
        self.handle = ""  # of the job that runs now
        self.is_landed = False
        self.is_held = False  # a person asked for a stop: no further trial is begun
        self.outcomes: dict[str, Outcome] = {}
        self.files: dict[str, dict[str, bytes]] = {}
        self.wrote: Review | None = None
        self.flight, self.jobs = stored.flight, stored.jobs  # newer than `stored` until the next `_save`
        self._unsaved: dict[str, dict[str, bytes]] = {}  # outcomes that are not in the flight yet
        self._spent: list[str] = []  # handles whose outcome is safe once the flight is saved
        self._recall()
        # A person who starts the loop again has mended the backend: what it lost before is no longer held against it.
        self._tries = execute.LOST_TRIES + sum(o.status is Status.INFRASTRUCTURE for o in self.outcomes.values())

    def _recall(self) -> None:
        """Outcomes that are in the flight already, and the handle of a job that was started and not collected."""
        review = flights.review(self.bench.repo, self.stored)
        self.wrote = msgspec.json.decode(review, type=Review) if review else None
        for job in self.jobs:
            files = flights.outcome(self.bench.repo, self.stored, job.key)
            if files:
                self.files[job.key] = files
                self.outcomes[job.key] = msgspec.json.decode(files["outcome.json"], type=Outcome)
                if job.handle:
                    self.bench.forget_job(job.handle)
            elif job.handle:
                self.handle = job.handle

    @property
    def commit(self) -> str:
        """The run commit that is measured: the candidate, or the run that is read again."""
        candidate = self.flight.candidate
        return candidate.commit if candidate is not None else self.flight.plan.parents[0]

    def advance(self) -> Iterator[ev.Event]:
        """Tell the story on, until a job runs or the run is recorded."""
        if self.flight.state is FlightState.PLANNED:
            yield from self._propose()
        if self.flight.state is FlightState.PINNED:
            yield from self._validate()
        if self.flight.state is FlightState.RUNNING:
            yield from self._execute()
        if self.flight.state is FlightState.MEASURED and not self.handle:
            self._review()
        if self.flight.state is FlightState.REVIEWED:
            yield from land(self)

    def let_go(self) -> None:
        """The run is recorded: the flight goes, and what its jobs left outside git."""
        flights.remove(self.bench.repo, self.stored)
        reach("removed")
        for handle in self._spent:
            self.bench.forget_job(handle)
        for trial in {execute.trial_key(self.flight, self.commit, j.seed, j.attempt) for j in self.jobs}:
            self.bench.forget_trial(trial)
        self.is_landed = True

    def park(self) -> None:
        """The loop ends before this run does: what was learnt since the last write goes into the flight."""
        if self._unsaved:
            self._save()

    def _note(self, state: FlightState, **fields: object) -> None:
        """How far it got, in memory. What costs nothing to do again is not worth a write of its own: `_save` comes with the next one."""
        self.flight = msgspec.structs.replace(self.flight, state=state, written=now(), **fields)

    def _save(self) -> None:
        """The flight as git has it is now as we have it; backends may let go of jobs whose outcomes are in it."""
        pins = self.stored.flight.candidate is None and self.flight.candidate is not None
        review = msgspec.json.encode(self.wrote) if self.wrote is not None else None
        self.stored = flights.update(
            self.bench.repo, self.stored, flight=self.flight, jobs=self.jobs, outcomes=self._unsaved or None, review=review
        )
        if pins:
            reach("pinned")
        if self._unsaved:
            reach("outcome")
        self._unsaved = {}
        for handle in self._spent:
            self.bench.forget_job(handle)
        self._spent = []

    # propose ---------------------------------------------------------------------------------------------------------

    def _propose(self) -> Iterator[ev.Event]:
        bench, flight = self.bench, self.flight
        if flight.plan.replicate:
            self._read_again()
            return
        reason = ""
        try:
            draft = propose.propose(bench.campaign, bench.memory, flight.plan, bench.agent, bench.workspace(flight.slot))
        except (ServiceDown, UserError):
            raise
        except Exception as error:  # a hand's fault becomes a record, and the campaign goes on
            reason = f"{error.message if isinstance(error, EvogitError) else f'{type(error).__name__}: {error}'}"
            draft = self._no_draft()
        parent_tree = bench.repo.tree_of(flight.plan.parents[0])
        if draft.tree == parent_tree and not reason and not draft.stripped and not draft.conflicts:
            self._read_again()
            yield stamp(ev.Proposed(run=flight.label, commit=self.commit, summary=draft.proposal.summary, change="replicate"))
            return
        candidate = self._commit(draft)
        reach("candidate")
        self._note(FlightState.PINNED, candidate=candidate, gate="agent" if reason else "", reason=messages.one_line(reason))
        if candidate.cost_usd != 0:  # paid for, or nobody knows: it is never bought twice
            self._save()
        yield stamp(ev.Proposed(run=flight.label, commit=candidate.commit, summary=candidate.summary, change=candidate.change))

    def _read_again(self) -> None:
        """Nothing is changed: the trials are another reading of a run that exists."""
        with write_lock(self.bench.repo):
            reading = adopting.next_reading(self.bench, self.flight.plan.parents[0])
            self._note(FlightState.PINNED, kind="replicate", purpose="replicate", reading=reading)
            self._save()

    def _no_draft(self) -> propose.Draft:
        plan = self.flight.plan
        proposal = Proposal(summary=f"no candidate: {self.bench.agent.name} gave none for {plan.emitter}", hypothesis=plan.instruction)
        return propose.Draft(tree=self.bench.repo.tree_of(plan.parents[0]), proposal=proposal)

    def _commit(self, draft: propose.Draft) -> Candidate:
        """The run commit: forecast and hypothesis are in it before any number exists."""
        bench, plan, said = self.bench, self.flight.plan, draft.proposal
        forecast = said.forecast or plan.forecast
        category = messages.one_line(said.change or plan.change)
        message = messages.RunMessage(
            label=self.flight.label,
            campaign=bench.campaign.tag,
            emitter=plan.emitter,
            agent=bench.agent.name,
            summary=said.summary,
            hypothesis=said.hypothesis,
            change=category,
            niche=plan.niche or category,
            forecast=forecast,
            propensity=plan.propensity,
            idea=plan.idea,
            contrast=plan.contrast,
            sources=draft.sources,
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
            patch=draft.patch,
            conflicts=draft.conflicts,
            transcript=said.transcript,
            cost_usd=said.cost_usd,
            created=now(),
            sources=draft.sources,
        )

    # validate --------------------------------------------------------------------------------------------------------

    def _validate(self) -> Iterator[ev.Event]:
        flight, candidate = self.flight, self.flight.candidate
        if flight.reason:
            self._note(FlightState.MEASURED)
            return
        if flight.kind in {"run", "adopt"} and candidate is not None:
            campaign, memory = self.bench.campaign, self.bench.memory
            before = campaign.sources(candidate.parents[0]) if candidate.parents else {}
            refusal = validate.validate(
                campaign.problem,
                candidate,
                campaign.sources_of_tree(candidate.tree),
                before,
                memory.tried.get(candidate.sources, ""),
                lambda modules: self.bench.missing_imports(flight.slot, modules),
            )
            if refusal is not None:
                self._note(FlightState.MEASURED, gate=refusal.gate, reason=messages.one_line(refusal.reason))
                yield stamp(ev.Rejected(run=flight.label, gate=refusal.gate, reason=refusal.reason))
                return
        self._note(FlightState.RUNNING)

    # execute ---------------------------------------------------------------------------------------------------------

    def _execute(self) -> Iterator[ev.Event]:
        while not self.handle:
            step = execute.next_step(self.bench.campaign.problem, self.flight, self.jobs, self.outcomes, self._wants_seed, self._tries)
            if step is Rest.DONE:
                yield from self._judge_smoke()
                self._note(FlightState.MEASURED)
                return
            if step is Rest.WAITING or (self.is_held and step.step in {"smoke", "train"}):
                return
            self._start(step)
            yield stamp(ev.TrialStarted(run=self.flight.label, seed=step.seed, step=step.step))

    def _judge_smoke(self) -> Iterator[ev.Event]:
        """A smoke run that failed is a gate's refusal; its numbers are compared with nothing."""
        smoke = [(j, self.outcomes[j.key]) for j in self.jobs if j.step == "smoke" and j.key in self.outcomes]
        if smoke and smoke[-1][1].status is not Status.OK:
            job, outcome = smoke[-1]
            said = self._crash_words(job, outcome)
            self._note(self.flight.state, gate="smoke", reason=messages.one_line(f"the smoke run failed: {said}"))
            yield stamp(ev.Rejected(run=self.flight.label, gate="smoke", reason=self.flight.reason))

    def _crash_words(self, job: JobRecord, outcome: Outcome) -> str:
        line = self._line(job.seed, job.attempt, [("train", outcome, self.files[job.key])])
        return f"{line.crash.kind}: {line.crash.message}" if line.crash else outcome.reason

    def _start(self, step: Step) -> None:
        """Write what is intended, start it, write the handle: in that order, so that a start is never paid for twice.

        Where a second start with the same key only finds the first one's job again, the handle is left to the next write. The
        checkout is made after the intent was written: the write also holds the last job's outcome, and what that job left in the
        checkout has to stay until then. A job that a killed loop started is found, and the checkout under it is left alone.
        """
        bench, flight = self.bench, self.flight
        trial = execute.trial_key(flight, self.commit, step.seed, step.attempt)
        key = execute.job_key(trial, step.step)
        others = [j for j in self.jobs if j.key != key]
        entry = JobRecord(key=key, seed=step.seed, step=step.step, attempt=step.attempt, arm=flight.arm)
        self.jobs = (*others, entry)
        self._save()
        reach("intended")
        self.handle = bench.backend.find(key) or bench.backend.start(self._job(step, trial))
        self.jobs = (*others, msgspec.structs.replace(entry, handle=self.handle))
        if not bench.backend.finds_again:
            self._save()
        reach("started")

    def _job(self, step: Step, trial: str) -> Job:
        """The job of a step, its checkout ready. The ruler stands in a checkout of its own, of the baseline's tree."""
        bench, flight = self.bench, self.flight
        ruler = step.step == "evaluate"
        tree = bench.repo.tree_of(bench.memory.baseline.commit if ruler and bench.memory.baseline else self.commit)
        place = bench.place(f"ruler-{flight.slot}" if ruler else flight.slot, trial, tree)
        return execute.make_job(bench.campaign.problem, flight, self.commit, step, place)

    def collect(self) -> Iterator[ev.Event]:
        """The running job has ended: its outcome into the flight, then its folder may go."""
        bench, flight = self.bench, self.flight
        job = next(j for j in self.jobs if j.handle == self.handle)
        outcome = bench.backend.collect(self.handle)
        reach("finished")
        trial = execute.trial_key(flight, self.commit, job.seed, job.attempt)
        slot = f"ruler-{flight.slot}" if job.step == "evaluate" else flight.slot
        place = execute.Place(
            checkout=str(bench.workspace(slot).root),
            cwd=str(bench.workspace(slot).folder(bench.campaign.problem.folder)),
            artifact_dir=str(bench.trial_folder(trial) / "artifacts"),
            data_dir="",
            env={},
        )
        tree = bench.repo.tree_of(self.commit)
        files = execute.gather(bench.campaign.problem, flight, outcome, place, lambda path: bench.repo.blob(tree, path) is not None)
        files = {name: data for name, data in files.items() if objects.can_hold(bench.repo, name)}
        outcome = self._check_imports(job, trial, outcome, files)
        self.outcomes[job.key], self.files[job.key], self._unsaved[job.key] = outcome, files, files
        self._spent.append(self.handle)
        self.handle = ""
        chain = execute.steps_of(bench.campaign.problem, flight)
        if job.step == "smoke" or outcome.status in {Status.INFRASTRUCTURE, Status.CANCELLED}:
            return
        if job.step == chain[-1] or outcome.status is not Status.OK:
            yield self._trial_ended(job)

    def _check_imports(self, job: JobRecord, trial: str, outcome: Outcome, files: dict[str, bytes]) -> Outcome:
        """A trial that imported another checkout's code measured something else: that is never a number of this run."""
        if job.step == "evaluate":
            return outcome
        root = self.bench.workspace(self.flight.slot).root
        imports = import_record.read_imports(self.bench.trial_folder(trial) / "imports.json")
        if not imports:
            return outcome
        files["imports.sha256"] = import_record.digest(imports, root).encode()
        foreign = [f for f in import_record.foreign(imports, root) if not f.startswith(str(self.bench.trial_folder(trial)))]
        if foreign and outcome.status is Status.OK:
            outcome = msgspec.structs.replace(outcome, status=Status.CRASH, reason=f"it imported code from outside its checkout: {foreign[0]}")
            files["outcome.json"] = msgspec.json.encode(msgspec.structs.replace(outcome, folder=""))
        return outcome

    def _trial_ended(self, job: JobRecord) -> ev.Event:
        line = next(t for t in self.lines() if t.seed == job.seed)
        crash = f"{line.crash.kind}: {line.crash.message}" if line.crash else ""
        return stamp(
            ev.TrialEnded(
                run=self.flight.label, seed=line.seed, status=line.status.value, metrics=line.metrics, seconds=line.seconds, crash=crash
            )
        )

    # measure ---------------------------------------------------------------------------------------------------------

    def lines(self) -> list[TrialLine]:
        """Trial lines of every seed whose chain of jobs has ended, in the plan's order of seeds."""
        chain = execute.steps_of(self.bench.campaign.problem, self.flight)
        found = []
        for seed in self.flight.plan.seeds:
            attempt = execute.attempt_of(seed, self.jobs, chain)
            jobs = [j for step in chain for j in self.jobs if (j.seed, j.step, j.attempt) == (seed, step, attempt)]
            done = [(j.step, self.outcomes[j.key], self.files[j.key]) for j in jobs if j.key in self.outcomes]
            lost = any(o.status in {Status.INFRASTRUCTURE, Status.CANCELLED} for _, o, _ in done)
            failed = any(o.status is not Status.OK for _, o, _ in done)
            if done and not lost and (failed or len(done) == len(chain)):
                found.append(self._line(seed, attempt, done))
        return found

    def _line(self, seed: int, attempt: int, steps: list[tuple[str, Outcome, dict[str, bytes]]]) -> TrialLine:
        problem, flight = self.bench.campaign.problem, self.flight
        roots = [str(self.bench.workspace(flight.slot).root)]
        attempt += adopting.READING * flight.reading
        return measure.trial_line(
            problem, flight, self.commit, seed, attempt, steps, lambda path: contract.is_mutable(problem, path), roots
        )

    def _wants_seed(self, n: int) -> bool:
        if self.flight.kind in {"baseline", "replicate"} or self.flight.purpose == "smoke":
            return True
        problem, memory = self.bench.campaign.problem, self.bench.memory
        readings = measure.measurement(problem, self.lines()).values.get(problem.primary.name, ())
        return len(readings) >= n and decide.wants_more_seeds(problem, readings, memory.incumbent, memory.spread.std)

    # review ----------------------------------------------------------------------------------------------------------

    def _review(self) -> None:
        if self.flight.kind != "replicate":
            if not self.bench.reviewer.is_free:
                self._save()  # what was measured is safe before somebody is paid to look at it
            self.wrote = review.review(self.bench.reviewer, self._brief())
        self._note(FlightState.REVIEWED)
        if not self._is_free_to_repeat():
            self._save()
        reach("reviewed")

    def _is_free_to_repeat(self) -> bool:
        """True if a killed loop finds all of it again for nothing: a pinned candidate, one job that its backend keeps, a free review.

        Then the run goes straight into the ledger: half of a flight's objects (11 of some 45 a run) need never be written.
        """
        is_pinned = self.stored.flight.state is FlightState.RUNNING and len(self.jobs) == 1
        return is_pinned and self.bench.backend.finds_again and self.bench.reviewer.is_free

    def _brief(self) -> ReviewBrief:
        bench, flight, candidate = self.bench, self.flight, self.flight.candidate
        problem = bench.campaign.problem
        parent = bench.memory.by_commit.get(candidate.parents[0]) if candidate.parents else None
        measured = measure.measurement(problem, self.lines())
        diff = ""
        if parent is not None:
            diff = change.diff(bench.campaign.sources(parent.commit), bench.campaign.sources_of_tree(candidate.tree))[:DIFF_CAP]
        return ReviewBrief(
            primary=problem.primary,
            emitter=flight.plan.emitter,
            summary=candidate.summary,
            hypothesis=candidate.hypothesis,
            change=candidate.change,
            diff=diff,
            parent=parent.readings if parent is not None else {},
            child=measured.values,
            metrics=problem.metrics,
            spread=bench.memory.spread.std,
            forecast=flight.plan.forecast,
            crash=measured.crash,
            rejected=flight.reason,
        )
