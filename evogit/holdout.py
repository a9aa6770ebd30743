"""Looks at held-out data: asked for when a run is kept or by a person, taken beside the search, written down for people alone.

One look is a trial of its own kind: what the run trained (a copy, or trained again) -> `predict` on the held-out inputs ->
`[holdout] command` from the baseline's tree. Its jobs are the backend's, and what they print stays in the user's state folder. It
decides nothing, changes no ref, says no event, and a run never fails because of it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from evogit import adopting, removal
from evogit import problem as contract
from evogit.bench import Bench, now
from evogit.domain.flight import Flight, FlightState
from evogit.domain.holdout import Look, Request
from evogit.domain.options import LoopOptions
from evogit.domain.plan import Plan
from evogit.domain.problem import Data, Evaluate, Problem
from evogit.domain.run import Run
from evogit.domain.trial import Outcome, Status
from evogit.errors import BackendDown, EvogitError, UserError
from evogit.failpoint import reach
from evogit.git import datasets
from evogit.git.campaign import Campaign
from evogit.git.holdout_book import HoldoutBook, give, refused
from evogit.git.workspace import Workspace
from evogit.problem import readings
from evogit.stages import execute, freeze
from evogit.stages.execute import Step
from evogit.strangers import read_regular

if TYPE_CHECKING:
    from evogit.loop import Voyage

OUTPUT_CAP = 8 << 20  # bytes read of what a job printed
_SPOKEN = {"train": "training", "predict": "predict", "evaluate": "the held-out command"}


def book_of(campaign: Campaign) -> HoldoutBook:
    """The campaign's book of looks. Raises nothing where there is none yet."""
    runs = campaign.history.runs
    return HoldoutBook(campaign.repo, campaign.tag, runs[0].commit if runs else campaign.history.tip)


def seed_of(run: Run) -> int | None:
    """The seed of the trial that a look scores: the first that gave numbers; None if none did."""
    return next((t.seed for t in run.trials if t.purpose == "select" and t.metrics), None)


# asking --------------------------------------------------------------------------------------------------------------


def ask_after_keep(voyage: Voyage) -> None:
    """Save a look at a run that has just been kept, while what it trained is still there. Asked again after a crash, it is one look.

    Costs a copy of its artifacts. A disk that refuses is told to the person at the console, and to nobody else.
    """
    bench, flight = voyage.bench, voyage.flight
    run = bench.campaign.history.by_commit.get(voyage.commit)
    is_ours = flight.kind != "replicate" and flight.purpose == "select" and bench.campaign.problem.holdout is not None
    if not is_ours or run is None or not run.is_kept or (seed := seed_of(run)) is None:
        return
    try:
        book = book_of(bench.campaign)
        if book.next_look(run.commit) == 1:
            asked = msgspec.structs.replace(
                request(run, seed, 1, "loop"), arguments=flight.arguments, timeout_s=flight.timeout_s, train_s=flight.train_s
            )
            book.ask(asked, *_left_behind(voyage, seed))
    except OSError as fault:
        if bench.desk is not None:
            words = f"the look at run {run.label} could not be saved ({(fault.strerror or str(fault)).lower()})"
            bench.desk.faults.append(f"{words}; `evogit holdout look {run.label}` takes it later")
        return
    reach("look-saved")
    if bench.desk is not None:
        bench.defer(bench.desk.begin)


def request(run: Run, seed: int, look: int, asked: str) -> Request:
    """What there is to say of a look before it is taken."""
    return Request(
        id=f"{run.commit[:16]}.{look}", run=run.commit, label=run.label, epoch=run.epoch, seed=seed, look=look, asked=asked, time=now()
    )


def _left_behind(voyage: Voyage, seed: int) -> tuple[Path | None, set[str]]:
    """The folder that a trial left, None if it is gone; and what is no part of the trained model: what came after training."""
    jobs = {job.step: job for job in sorted(voyage.trials.jobs, key=lambda job: job.attempt) if job.seed == seed and job.step != "smoke"}
    if "train" not in jobs:
        return None, set()
    folder = voyage.bench.trial_folder(execute.trial_key(voyage.flight, voyage.commit, jobs["train"])) / "artifacts"
    named = {step: _named(voyage.trials.files.get(job.key, {})) for step, job in jobs.items()}
    later = named.get("predict", set()) | named.get("evaluate", set()) if predicts(voyage.bench.campaign.problem) else set()
    return folder if folder.is_dir() else None, later - named["train"]


def _named(kept: Mapping[str, bytes]) -> set[str]:
    """Paths of a job's artifacts, as git keeps them or lists them."""
    listed = msgspec.json.decode(kept["outputs.json"], type=list[dict[str, object]]) if "outputs.json" in kept else []
    texts = {name.removeprefix("artifacts/") for name in kept if name.startswith("artifacts/")}
    return texts | {str(item["path"]) for item in listed if "path" in item}


def ask_by_person(bench: Bench, label: str) -> Request:
    """A further look at a run, or the one that waits for it already.

    Raises UnknownName, UserError for a run that has no number, is of an older epoch, or was made under other arguments than these.
    """
    run, options = bench.campaign.history.find(label), bench.options
    if run.epoch != bench.campaign.history.epoch:
        raise UserError(f"run {run.label} belongs to epoch {run.epoch}, whose ruler is no longer in force", hint="name a run of this epoch")
    seed = seed_of(run)
    if seed is None:
        raise UserError(f"run {run.label} has no number to compare with", hint="`evogit leaderboard` lists the runs that have")
    book = book_of(bench.campaign)
    waiting = next((each for each in book.pending() if each.run == run.commit), None)
    if waiting is not None:
        return waiting
    arm = run.trials[0].arm
    if arm != adopting.arm(bench):
        raise UserError(
            f"run {run.label} was trained with {arm or 'no'} overrides, and it is trained again for this look",
            hint=f"repeat them: evogit holdout look {run.label} -- {arm}" if arm else "leave them out",
        )
    asked = request(run, seed, book.next_look(run.commit), "person")
    asked = msgspec.structs.replace(asked, arguments=options.arguments, timeout_s=options.timeout_s, train_s=options.train_s)
    try:
        return book.ask(asked)
    except OSError as error:
        raise refused(error, book.room) from error


# taking --------------------------------------------------------------------------------------------------------------


def predicts(problem: Problem) -> bool:
    """True if a look runs the candidate on inputs of its own; else the command scores what training left."""
    held, ruler = problem.holdout, problem.evaluate
    return held is not None and ruler is not None and bool(ruler.predict) and bool(held.data or held.prepare)


def judged_by_holdout(problem: Problem) -> Problem:
    """The problem with `[holdout]` in place of its ruler and its data: what the jobs of a look are made from."""
    held = problem.holdout
    if held is None:
        raise UserError(
            f"problem {problem.name} declares no [holdout]", hint='add it to evogit.toml: [holdout] command = "python holdout.py"'
        )
    ruler = Evaluate(command=held.command, predict=problem.evaluate.predict if predicts(problem) and problem.evaluate else "")
    return msgspec.structs.replace(problem, evaluate=ruler, data=Data(path=held.data, prepare=held.prepare), metrics_file="")


class SideBench(Bench):
    """A bench beside the loop's: checkouts, folders and jobs of its own, so that a look is in no trial's way.

    Jobs lie in the state folder, since what the ruler prints is in them; what candidates work in lies in the cache, as always.
    """

    def __init__(self, campaign: Campaign, options: LoopOptions, shelf: HoldoutBook) -> None:
        super().__init__(campaign, options)
        self.work, self.home = self.home / "holdout", shelf.room
        self.shelf = shelf
        self.is_held_out = False  # which data a place is given
        self._held: str | None = None

    def trial_folder(self, trial: str) -> Path:
        """In the cache: whoever a trial runs as, it can reach that and not the state folder."""
        return self.work / trial

    def workspace(self, slot: str) -> Workspace:
        """A checkout that no loop uses."""
        return super().workspace(f"holdout-{slot}")

    def data_dir(self) -> str:
        """The held-out inputs where a look is at them, else the problem's data. The first call may take long."""
        problem = self.campaign.problem
        held = judged_by_holdout(problem)
        if not self.is_held_out or not (held.data.path or held.data.prepare):
            return super().data_dir()
        if self._held is None:
            workspace, environment = self.workspace("data"), self.environment("data")
            workspace.materialise(self.repo.tree_of(self.campaign.in_force))
            self._held = datasets.prepare(self.repo, held, workspace, environment, "holdout")
        return self._held

    def begin_epoch(self) -> None:
        """The held-out data belong to the contract too."""
        super().begin_epoch()
        self._held = None


class _Sitting:
    """One attempt at one look: its jobs, found again where a killed process started them."""

    def __init__(self, bench: SideBench, request: Request, attempt: int) -> None:
        self.bench, self.request, self.attempt = bench, request, attempt
        self.problem, self.run = bench.campaign.problem, bench.campaign.history.by_commit[request.run]
        plan = Plan(emitter="person", parents=(request.run,), seeds=(request.seed,), rng=0, replicate=True)
        self.flight = Flight(
            campaign=bench.campaign.tag,
            number=int(request.label.rpartition("/")[2]),
            label=request.label,
            clone=bench.repo.clone,
            kind="replicate",
            state=FlightState.RUNNING,
            plan=plan,
            purpose="holdout",
            reading=request.look,
            arguments=request.arguments,
            timeout_s=request.timeout_s,
            train_s=request.train_s,
            backend=bench.options.backend,
        )
        self.trial = execute.trial_key(self.flight, request.run, self._step("train"))
        self.base = bench.repo.tree_of(bench.memory.baseline.commit)
        self.handles: list[str] = []

    def steps(self) -> Iterator[str]:
        """The jobs of the look, in order."""
        if not self.request.has_copy:
            yield "train"
        if predicts(self.problem):
            yield "predict"
        yield "evaluate"

    def outcomes(self) -> dict[str, Outcome]:
        """Run the jobs until one fails. Raises EvogitError where the host's part fails."""
        found: dict[str, Outcome] = {}
        for name in self.steps():
            handle = self.bench.backend.find(execute.job_key(self.trial, name)) or self._start(name, is_first=not found)
            self.handles.append(handle)
            self.bench.backend.wait([handle], None)
            found[name] = self.bench.backend.collect(handle)
            if found[name].status is not Status.OK:
                break
            if name != "evaluate" and (why := self._hold_still()):
                found[name] = msgspec.structs.replace(found[name], status=Status.CRASH, reason=why)
                break
        return found

    def _hold_still(self) -> str:
        """As in a trial: what a job left has no links for the next one, and no file of the candidate's lies where the ruler could find it.

        Why it cannot be held still: such a run has no held-out score. "" if it can.
        """
        self.bench.workspace("0").materialise(self.base)
        return freeze.outputs(self.bench.trial_folder(self.trial) / "artifacts").refusal

    def _step(self, name: str) -> Step:
        return Step(seed=self.request.seed, step=name, attempt=self.attempt)

    def _start(self, name: str, *, is_first: bool) -> str:
        bench, is_ruler = self.bench, name == "evaluate"
        if is_first:
            removal.discard(bench.trial_folder(self.trial))
        bench.is_held_out = name != "train"
        place = bench.place("ruler-0" if is_ruler else "0", self.trial, self.base if is_ruler else bench.repo.tree_of(self.request.run))
        if is_first and self.request.has_copy:
            give(bench.shelf.copy_of(self.request), Path(place.artifact_dir), os.stat(place.env["HOME"]))
        problem = self.problem if name == "train" else judged_by_holdout(self.problem)
        return bench.backend.start(execute.make_job(problem, self.flight, self.request.run, self._step(name), place))

    def clear_cache(self) -> None:
        """What the ruler may have written where trials of other campaigns could find it: gone before the look is written down."""
        removal.discard(self.bench.trial_folder(self.trial))
        self.bench.workspace("ruler-0").materialise(self.base)

    def forget_jobs(self) -> None:
        """What the jobs printed: needed until the look is written down."""
        for handle in self.handles:
            self.bench.backend.forget(handle)


def attend(
    campaign: Campaign, options: LoopOptions, only: Collection[str] | None = None, say: Callable[[str], None] = lambda line: None
) -> tuple[list[Look], list[EvogitError]]:
    """Take the looks that wait (those whose ids are in `only`), one after the other, and write each down. Waits for whoever takes looks now.

    Returns the looks, and what the host could not do: such a look goes on waiting. One that was written down already is not taken
    again. Raises UserError if the state folder refuses.
    """
    book = book_of(campaign)
    taken: list[Look] = []
    faults: list[EvogitError] = []
    if not book.pending():
        return taken, faults
    with book.lock():
        bench = SideBench(campaign, options, book)
        try:
            adopting.take_in(bench)
            _sweep(bench)
            for asked in book.pending():
                run = campaign.history.by_commit.get(asked.run)
                if run is None or (only is not None and asked.id not in only):
                    continue  # another clone's, or not meant now
                try:
                    taken += _attend(bench, asked, run, say)
                except (EvogitError, OSError) as fault:
                    faults.append(fault if isinstance(fault, EvogitError) else _in_words(fault))
                    with suppress(OSError):
                        book.note_fault(asked, faults[-1].message)
        finally:
            bench.close()
    return taken, faults


def _in_words(fault: OSError) -> UserError:
    """What stood in the way of a look, where it was a disk."""
    place = f"{os.fsdecode(fault.filename)}: " if fault.filename else ""
    return UserError(f"{place}{(fault.strerror or str(fault)).lower()}", hint="mend that, then `evogit holdout` takes the look")


def _sweep(bench: SideBench) -> None:
    """What a process left that was killed after its look was written down: jobs and folders that no request speaks of."""
    known = [asked for asked in bench.shelf.pending() if asked.run in bench.campaign.history.by_commit]
    sittings = [_Sitting(bench, asked, attempt) for asked in known for attempt in range(1, execute.LOST_TRIES + 1)]
    trials = {sitting.trial for sitting in sittings}
    jobs = {execute.job_key(sitting.trial, name) for sitting in sittings for name in ("train", "predict", "evaluate")}
    for place, wanted in ((bench.work, trials), *((room, jobs) for room in bench.rooms)):
        for folder in [each for each in place.glob("[!.]*") if each.is_dir() and each.name not in wanted]:
            if place != bench.work and (handle := bench.backend.find(folder.name)):
                bench.backend.forget(handle)
            removal.discard(folder)


def _attend(bench: SideBench, asked: Request, run: Run, say: Callable[[str], None]) -> list[Look]:
    """One look; [] where it was taken before, or its epoch is over and nothing is in force that it could be taken with."""
    book = bench.shelf
    if asked.epoch != bench.campaign.history.epoch or asked.id in {look.id for look in book.looks()}:
        book.forget(asked)
        return []
    again = "" if asked.has_copy else ", which is trained again"
    say(f"looking at run {asked.label} on held-out data{again}")
    for attempt in range(1, execute.LOST_TRIES + 1):
        sitting = _Sitting(bench, asked, attempt)
        outcomes = sitting.outcomes()
        if list(outcomes.values())[-1].status not in (Status.INFRASTRUCTURE, Status.CANCELLED):
            break
        sitting.forget_jobs()
    else:
        raise BackendDown(f"the backend lost the look at run {asked.label} {execute.LOST_TRIES} times", hint="mend the backend first")
    look = _look(bench, asked, run, sitting, outcomes)
    sitting.clear_cache()
    book.append(look)
    reach("look-logged")
    book.forget(asked)
    sitting.forget_jobs()
    return [look]


def _look(bench: SideBench, asked: Request, run: Run, sitting: _Sitting, outcomes: dict[str, Outcome]) -> Look:
    name, last = list(outcomes.items())[-1]
    metrics, reason = _read(bench.campaign.problem, asked, name, last)
    return Look(
        id=asked.id,
        run=asked.run,
        label=asked.label,
        epoch=asked.epoch,
        seed=asked.seed,
        look=asked.look,
        asked=asked.asked,
        time=now(),
        metrics=metrics,
        validation=run.by_seed.get(asked.seed, {}),
        reason=reason,
        how="kept" if asked.has_copy else "trained",
        seconds=round(sum(outcome.seconds for outcome in outcomes.values()), 3),
        ruler=sitting.base,
        backend=last.backend,
        sandbox=last.sandbox,
    )


def _read(problem: Problem, asked: Request, name: str, outcome: Outcome) -> tuple[dict[str, float], str]:
    """The numbers of a look, or why it has none: by the rules that the evaluator's output is read by, and none of the candidate's own."""
    out, err = (read_regular(Path(outcome.folder, stream), OUTPUT_CAP) or b"" for stream in ("stdout", "stderr"))
    if outcome.status is not Status.OK:
        crash = readings.crash_of(err, out, lambda path: contract.is_mutable(problem, path), ())
        is_told_by_host = outcome.status is not Status.CRASH or (outcome.exit_code == 0 and outcome.reason)
        why = "" if is_told_by_host else crash.message
        return {}, f"{_SPOKEN[name]}: {why or outcome.reason or outcome.status.value}"
    number = int(asked.label.rpartition("/")[2])
    reading = readings.read(
        judged_by_holdout(problem), stdout=b"", files=lambda path: None, evaluator_stdout=out, run_id=contract.run_id(number)
    )
    return reading.metrics, reading.crash.message if reading.crash else ""
