"""The trials of one flight: which jobs there are, what came of them, and the lines that history keeps.

It starts and collects jobs and reads numbers from what they left. It judges nothing and writes nothing: the voyage that it
belongs to saves its flight before a job is started and after it was collected.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from evogit import adopting, hiring, keys, strangers
from evogit import problem as contract
from evogit.backends import fleet
from evogit.bench import stamp
from evogit.domain import event as ev
from evogit.domain.flight import JobRecord
from evogit.domain.trial import Job, Measurement, Outcome, Status, TrialLine
from evogit.errors import EvogitError, UserError
from evogit.failpoint import reach
from evogit.git import artifacts, flights, import_record, objects
from evogit.purse import Ticket
from evogit.stages import decide, execute, freeze, measure, validate
from evogit.stages.execute import Rest, Step
from evogit.turns import Beside
from evogit.weighing import complexity

if TYPE_CHECKING:
    from evogit.loop import Voyage

LOST = frozenset({Status.INFRASTRUCTURE, Status.CANCELLED})  # tried again; says nothing about the candidate


def _crashed(outcome: Outcome, reason: str) -> Outcome:
    return msgspec.structs.replace(outcome, status=Status.CRASH, reason=reason)


class Trials:
    """Jobs, outcomes and kept files of a flight, those that an earlier process left included."""

    def __init__(self, voyage: Voyage) -> None:
        self._voyage, self._bench = voyage, voyage.bench
        self.handle = ""  # of the job that runs now
        self.jobs: tuple[JobRecord, ...] = voyage.stored.jobs  # newer than the flight in git until it is saved
        self.outcomes: dict[str, Outcome] = {}
        self.files: dict[str, dict[str, bytes]] = {}
        self.unsaved: dict[str, dict[str, bytes]] = {}  # outcomes that are not in the flight yet
        self.spent: list[str] = []  # handles whose outcome is safe once the flight is saved
        self.ticket: Ticket | None = None  # for what the running job may cost
        self._starting: tuple[Step, Beside[str]] | None = None  # a job that its backend is starting beside the loop
        self._is_asked = threading.Event()  # nothing of the books is needed any more for that
        self._lines: dict[tuple[str, ...], TrialLine] = {}
        self._recall()
        # A person who starts the loop again has mended the backend: what it lost before is no longer held against it.
        self._tries = execute.LOST_TRIES + self.losses

    def _recall(self) -> None:
        """Outcomes that are in the flight already, and the handle of a job that was started and not collected.

        Raises UserError where that job may still run on a backend that this loop does not use: begun here too, it would run twice.
        """
        known = []
        for job in self.jobs:
            files = flights.outcome(self._bench.repo, self._voyage.stored, job.key)
            if files:
                self.files[job.key] = files
                self.outcomes[job.key] = msgspec.json.decode(files["outcome.json"], type=Outcome)
                job = self._read_here(job, is_over=True)
                if job.handle:
                    self._bench.forget_job(job.handle)
            else:
                job = self._read_here(job, is_over=self._voyage.is_recorded)
                self.handle = job.handle or self.handle
                self.ticket = self._bench.purse.found(self._dollars(self._timeout_s))
            known.append(job)
        self.jobs = tuple(known)

    def _read_here(self, job: JobRecord, *, is_over: bool) -> JobRecord:
        """The job with its handle in the words of this loop's backends, "" where there is none, or it is over and was another's."""
        bench, was = self._bench, self._voyage.flight.backend
        places = hiring.places(bench.options)
        others = [name for name in (fleet.place_of(job.handle) or was).split("+") if name not in places]
        is_here = not others or (not job.handle and bench.has_begun(job.key))
        if not is_here and not is_over:
            raise fleet.elsewhere(f"run {self._voyage.flight.label}'s trial, which may still run,", others)
        return msgspec.structs.replace(job, handle=fleet.as_read_by(places, job.handle, job.key, was) if is_here else "")

    @property
    def losses(self) -> int:
        """How often the backend lost a job of this flight."""
        return sum(outcome.status is Status.INFRASTRUCTURE for outcome in self.outcomes.values())

    @property
    def keys(self) -> set[str]:
        """Identities of its trials: names of the folders that their jobs share."""
        return {execute.trial_key(self._voyage.flight, self._voyage.commit, job) for job in self.jobs}

    def next(self) -> Step | Rest:
        """What to start now. Raises BackendDown if the backend lost one trial too often."""
        problem = self._bench.campaign.problem
        return execute.next_step(problem, self._voyage.flight, self.jobs, self.outcomes, self._wants_seed, self._tries)

    def _wants_seed(self, n: int) -> bool:
        flight, memory = self._voyage.flight, self._bench.memory
        if flight.kind in {"baseline", "replicate"} or flight.purpose == "smoke":
            return True
        problem, measured = self._bench.campaign.problem, self.measurement()
        name = problem.primary.name
        readings = {t.seed: t.metrics[name] for t in measured.trials if name in t.metrics}
        if len(readings) < n:
            return False
        weight = complexity(self._bench, flight, measured)
        return decide.wants_more_seeds(problem, readings, memory.standing(flight.plan.parents[0]), weight, measured.means)

    # jobs ------------------------------------------------------------------------------------------------------------

    def start(self, step: Step) -> None:
        """Write what is intended, start it, write the handle: in that order, so that a start is never paid for twice. A backend that is slow
        to start is asked beside the loop: `started` takes what came of it.

        Where a second start with the same key only finds the first one's job again, the handle is left to the next write. The
        checkout is made after the intent was written: the write also holds the last job's outcome, and what that job left in the
        checkout has to stay until then. A job that a killed loop started is found, and the checkout under it is left alone.
        """
        bench, flight = self._bench, self._voyage.flight
        self.ticket = self.ticket or self._bench.purse.hold(self._dollars(self._timeout_s))
        self._voyage.note(flight.state, reserved_usd=self.ticket.usd, backend=self._bench.options.backend)
        trial = execute.trial_key(flight, self._voyage.commit, step)
        key = execute.job_key(trial, step.step)
        entry = JobRecord(key=key, seed=step.seed, step=step.step, attempt=step.attempt, arm=flight.arm)
        self.jobs = (*(j for j in self.jobs if j.key != key), entry)
        self._voyage.save()
        reach("intended")
        if bench.is_quick(bench.backend):
            self._began(self._begin(step, trial, key))
        else:
            self._is_asked.clear()
            self._starting = step, Beside(bench.turn, lambda: self._begin(step, trial, key), bench.bell)

    def _begin(self, step: Step, trial: str, key: str) -> str:
        """Handle of the job, found or started. The turn is given away while the backend is asked."""
        backend, turn = self._bench.backend, self._bench.turn
        try:
            with turn.away():
                handle = backend.find(key)
            job = None if handle else self._job(step, trial)
        finally:
            self._is_asked.set()
        if job is None:
            return handle
        with turn.away():
            return backend.start(job)

    def _began(self, handle: str) -> None:
        """The newest job runs under this handle."""
        self.handle = handle
        self.jobs = (*self.jobs[:-1], msgspec.structs.replace(self.jobs[-1], handle=handle))
        if not self._bench.backend.finds_again:
            self._voyage.save()
        reach("started")

    @property
    def is_starting(self) -> bool:
        """True while a backend starts a job of it beside the loop, or what came of that has not been taken."""
        return self._starting is not None

    def see_off(self, within_s: float) -> None:
        """Let the one who starts a job beside the loop have the turn, until only the backend is to be asked or the time is over."""
        if self._starting is not None:
            with self._bench.turn.away():
                self._is_asked.wait(within_s)

    def started(self) -> Step | None:
        """What has been started beside the loop since, None while that goes on. Raises what the backend raised."""
        if self._starting is None or not self._starting[1].is_over:
            return None
        (step, beside), self._starting = self._starting, None
        self._began(beside.take())
        return step

    def let_start(self) -> None:
        """Wait until the backend has started what it is at. What it raises is the loop's end already."""
        if self._starting is not None:
            with self._bench.turn.away():
                self._starting[1].wait()
            with suppress(EvogitError):
                self.started()

    @property
    def _timeout_s(self) -> float:
        """The longest that one job may take."""
        return self._voyage.flight.timeout_s or self._bench.campaign.problem.budget.timeout_s

    def _dollars(self, seconds: float) -> float:
        """What the backend takes for so long."""
        return seconds / 3600 * self._bench.campaign.problem.budget.usd_per_hour

    def _job(self, step: Step, trial: str) -> Job:
        """The job of a step, its checkout ready. The ruler stands in a checkout of its own, of the baseline's tree."""
        bench, flight, commit = self._bench, self._voyage.flight, self._voyage.commit
        if step.step == "evaluate":  # an environment may still lead into the candidate's checkout: nothing of it is there any more
            bench.workspace(flight.slot).materialise(self._tree("evaluate"))
        place = bench.place(self._slot(step.step), trial, self._tree(step.step))
        return execute.make_job(bench.campaign.problem, flight, commit, step, place)

    def _tree(self, step: str) -> str:
        """The tree of a step's checkout."""
        bench = self._bench
        is_ruler = step == "evaluate" and bench.memory.baseline is not None
        return bench.repo.tree_of(bench.memory.baseline.commit if is_ruler else self._voyage.commit)

    def _slot(self, step: str) -> str:
        slot = self._voyage.flight.slot
        return f"ruler-{slot}" if step == "evaluate" else slot

    def collect(self) -> Iterator[ev.Event]:
        """The running job has ended: take its outcome and what git keeps of it. Its folder stays until that is saved."""
        bench, flight = self._bench, self._voyage.flight
        job = next(j for j in self.jobs if j.handle == self.handle)
        with bench.turn.away():  # it may have gigabytes to bring home
            outcome = bench.backend.collect(self.handle)
        if self.ticket is not None:
            self.ticket.settle(self._dollars(outcome.seconds))
            self.ticket = None
            self._voyage.note(flight.state, reserved_usd=0.0)
        reach("finished")
        bench.pace.ran(outcome.seconds)
        trial = bench.trial_folder(execute.trial_key(flight, self._voyage.commit, job))
        outcome, files = self._taken_in(job, outcome, trial)
        self.outcomes[job.key], self.files[job.key], self.unsaved[job.key] = outcome, files, files
        self.spent.append(self.handle)
        self.handle = ""
        is_last = job.step == execute.steps_of(bench.campaign.problem, flight)[-1] or outcome.status is not Status.OK
        if is_last and job.step != "smoke" and outcome.status not in LOST:
            yield self._ended(job.seed)

    def _taken_in(self, job: JobRecord, outcome: Outcome, trial: Path) -> tuple[Outcome, dict[str, bytes]]:
        """What git keeps of a job that has ended. What it left was a stranger's to fill: where it cannot be taken in, it is a crash."""
        try:
            return self._looked_at(job, outcome, trial)
        except (OSError, RecursionError, UnicodeError) as fault:
            if isinstance(fault, OSError) and strangers.is_ours(fault):
                raise
            told = fault.strerror if isinstance(fault, OSError) and fault.strerror else type(fault).__name__
            outcome = _crashed(outcome, f"what it left cannot be taken in: {told.lower()}") if outcome.status is Status.OK else outcome
            return outcome, {name: keys.redact_bytes(data) for name, data in execute.said(outcome).items()}

    def _looked_at(self, job: JobRecord, outcome: Outcome, trial: Path) -> tuple[Outcome, dict[str, bytes]]:
        bench = self._bench
        tree = bench.repo.tree_of(self._voyage.commit)
        outcome, held = self._hold_still(job, outcome, trial / "artifacts")
        checkout = bench.workspace(self._slot(job.step)).root
        kept = execute.gather(
            bench.campaign.problem,
            self._voyage.flight,
            outcome,
            checkout,
            trial / "artifacts",
            lambda path: bench.repo.blob(tree, path) is not None,
        )
        files = {name: keys.redact_bytes(data) for name, data in kept.items() if objects.can_hold(bench.repo, name)}
        files |= held
        outcome = self._check_frozen(job, outcome, files)
        if job.step != "evaluate":
            outcome = self._check_imports(trial / "records" / "imports.json", outcome, files)
        return outcome, files

    def _check_imports(self, record: Path, outcome: Outcome, files: dict[str, bytes]) -> Outcome:
        """A trial that imported another checkout's code measured something else: that is never a number of this run."""
        root = self._bench.workspace(self._voyage.flight.slot).root
        imports = import_record.read_imports(record)
        if imports is None:
            files["imports.txt"] = import_record.TOO_MUCH.encode()
        if not imports:
            return outcome
        files["imports.sha256"] = import_record.digest(imports, root).encode()
        foreign = [path for path in import_record.foreign(imports, root) if not path.startswith(str(record.parent.parent))]
        if foreign and outcome.status is Status.OK:
            outcome = _crashed(outcome, f"it imported code from outside its checkout: {strangers.text(foreign[0])}")
            files["outcome.json"] = msgspec.json.encode(msgspec.structs.replace(outcome, folder=""))
        return outcome

    def _hold_still(self, job: JobRecord, outcome: Outcome, folder: Path) -> tuple[Outcome, dict[str, bytes]]:
        """Where a ruler is locked: what a job left, fit to be read by the next one, and listings of it to be kept."""
        if job.step not in {"train", "predict"} or len(execute.steps_of(self._bench.campaign.problem, self._voyage.flight)) == 1:
            return outcome, {}
        left = freeze.outputs(folder, self._made_by_predict() if job.step == "train" else ())
        if left.refusal and outcome.status is Status.OK:
            outcome = _crashed(outcome, left.refusal)
        held = {"listing.json": msgspec.json.encode(left.files)}
        return outcome, held | ({"taken_out.json": msgspec.json.encode(left.taken)} if left.taken else {})

    def _made_by_predict(self) -> frozenset[str]:
        """What the baseline's `predict` made, and its `train` did not: found before `predict` ran, it was forged."""
        bench, baseline = self._bench, self._bench.memory.baseline
        if baseline is None or baseline.commit == self._voyage.commit:
            return frozenset()
        for seed in dict.fromkeys(t.seed for t in baseline.trials):
            paths = (f"trials/s{seed}/{step}listing.json" for step in ("", "predict/"))
            made = freeze.made_by_predict(*(artifacts.read(bench.repo, bench.campaign.tag, baseline.commit, path) for path in paths))
            if made:
                return made
        return frozenset()

    def _check_frozen(self, job: JobRecord, outcome: Outcome, files: dict[str, bytes]) -> Outcome:
        """Frozen code that is not as it was, or has something in front of it, measured nothing; the baseline may do what it does."""
        bench, problem = self._bench, self._bench.campaign.problem
        facts = validate.facts_of(problem, bench.campaign.frozen_sources())
        try:
            changes = bench.workspace(self._slot(job.step)).changes(self._tree(job.step))
            found = freeze.code_changes(changes, problem.folder, lambda path: contract.is_mutable(problem, path), facts)
        except UserError as error:
            found = ((problem.folder or ".", f"cannot be looked at any more ({error.message})"),)
        if not found:
            return outcome
        files["frozen.json"] = msgspec.json.encode(found)
        allowed = {path for path, _ in found} if self._voyage.flight.kind == "baseline" else self._allowed()
        path, what = next(((path, what) for path, what in found if path not in allowed), ("", ""))
        if path and outcome.status is Status.OK:
            outcome = _crashed(outcome, f"{path} {what} while it ran")
            files["tampered"] = outcome.reason.encode("utf-8", "replace")
            files["outcome.json"] = msgspec.json.encode(msgspec.structs.replace(outcome, folder=""))
        return outcome

    def _allowed(self) -> set[str]:
        """Frozen files that the baseline's own trials changed."""
        bench, baseline = self._bench, self._bench.memory.baseline
        if baseline is None:
            return set()
        tag, commit = bench.campaign.tag, baseline.commit
        kept = [name for name in artifacts.listing(bench.repo, tag, commit) if name.endswith("/frozen.json")]
        told = (artifacts.read(bench.repo, tag, commit, name) or b"[]" for name in kept)
        return {path for text in told for path, _ in msgspec.json.decode(text, type=list[tuple[str, str]])}

    def _ended(self, seed: int) -> ev.Event:
        line = next(t for t in self.lines() if t.seed == seed)
        crash = f"{line.crash.kind}: {line.crash.message}" if line.crash else ""
        label, status = self._voyage.flight.label, line.status.value
        return stamp(ev.TrialEnded(run=label, seed=seed, status=status, metrics=line.metrics, seconds=line.seconds, crash=crash))

    # numbers ---------------------------------------------------------------------------------------------------------

    def measurement(self) -> Measurement:
        """The readings so far."""
        return measure.measurement(self._bench.campaign.problem, self.lines())

    def lines(self) -> list[TrialLine]:
        """Trial lines of every seed whose chain of jobs has ended, in the plan's order of seeds."""
        chain = execute.steps_of(self._bench.campaign.problem, self._voyage.flight)
        found = []
        for seed in self._voyage.flight.plan.seeds:
            attempt = execute.attempt_of(seed, self.jobs, chain)
            jobs = [
                j for step in chain for j in self.jobs if (j.seed, j.step, j.attempt) == (seed, step, attempt) and j.key in self.outcomes
            ]
            statuses = [self.outcomes[j.key].status for j in jobs]
            has_failed = any(status is not Status.OK for status in statuses)
            if jobs and not LOST.intersection(statuses) and (has_failed or len(jobs) == len(chain)):
                found.append(self._line(seed, attempt, jobs))
        return found

    def _line(self, seed: int, attempt: int, jobs: list[JobRecord]) -> TrialLine:
        """One trial's line, read once: reading means parsing what the candidate printed."""
        key = tuple(job.key for job in jobs)
        if key not in self._lines:
            steps = [(job.step if job.step != "smoke" else "train", self.outcomes[job.key], self.files[job.key]) for job in jobs]
            problem, flight = self._bench.campaign.problem, self._voyage.flight
            roots = [str(self._bench.workspace(flight.slot).root)]
            reading = attempt + adopting.READING * flight.reading
            self._lines[key] = measure.trial_line(
                problem, flight, self._voyage.commit, seed, reading, steps, lambda path: contract.is_mutable(problem, path), roots
            )
        return self._lines[key]

    def smoke_failure(self) -> str:
        """Why the smoke run failed, in words; "" if it did not, or there was none."""
        smoke = next((j for j in reversed(self.jobs) if j.step == "smoke" and j.key in self.outcomes), None)
        if smoke is None or self.outcomes[smoke.key].status is Status.OK:
            return ""
        crash = self._line(smoke.seed, smoke.attempt, [smoke]).crash
        return f"{crash.kind}: {crash.message}" if crash else self.outcomes[smoke.key].reason
