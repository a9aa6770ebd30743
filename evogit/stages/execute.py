"""Candidate -> Trials -> Outcomes: which job comes next, what it looks like, and what is kept of it. It waits for nothing.

A trial is a chain of jobs (`train`, then `predict` and `evaluate` where a ruler is locked). What is next follows from
the jobs and outcomes written in the flight alone, so a resumed loop goes on exactly where a killed one stopped.
"""

from __future__ import annotations

import hashlib
import stat
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from enum import Enum
from pathlib import Path

import msgspec

from evogit import problem as contract
from evogit import strangers
from evogit.domain.flight import Flight, JobRecord
from evogit.domain.options import resuming
from evogit.domain.problem import Problem
from evogit.domain.trial import Job, Outcome, Status, View
from evogit.errors import BackendDown
from evogit.strangers import TooMuch, read_below, read_regular

LOST_TRIES = 3  # times a backend may lose one trial before a loop gives up on the backend
TEXT_CAP = 256 << 10  # bytes of one text artifact that go into git
TOTAL_CAP = 2 << 20  # bytes of all artifacts of one trial that go into git
FILES_CAP = 1000  # files of one trial that go into git, and others that are listed
LOOK_CAP = 5000  # files of one trial that are looked at
FOLDERS_CAP = 10_000  # folders of one trial that are looked into
HASH_CAP = 2 << 30  # bytes of outputs that are read for the sha256 in their list: what is beyond is listed without
_RESULTS = ("metrics.json", "metrics", "runs")

FRESH = ("train", "smoke", "evaluate")  # steps whose checkout nothing has worked in yet


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """The next job to start."""

    seed: int
    step: str
    attempt: int


class Rest(Enum):
    """There is no job to start: one is running, or the flight has all it will get."""

    WAITING = "waiting"
    DONE = "done"


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """Where a job works."""

    checkout: str  # absolute, top of the clean checkout
    cwd: str  # absolute, the problem's folder in it
    artifact_dir: str  # absolute, shared by the jobs of one trial
    data_dir: str  # absolute, "" if the problem declares no data
    env: dict[str, str]  # of the environment: PATH, threads, caches
    view: View = View()
    tree: str = ""  # what the checkout holds


def steps_of(problem: Problem, flight: Flight) -> tuple[str, ...]:
    """The jobs of one trial, in order."""
    if flight.purpose == "smoke" or problem.evaluate is None:
        return ("train",)
    return ("train", "predict", "evaluate") if problem.evaluate.predict else ("train", "evaluate")


def is_gated(problem: Problem, flight: Flight) -> bool:
    """True if a smoke run comes before the real one."""
    return bool(problem.smoke) and flight.kind in {"run", "adopt"} and flight.purpose == "select"


def next_step(
    problem: Problem,
    flight: Flight,
    jobs: Sequence[JobRecord],
    outcomes: Mapping[str, Outcome],
    wants_seed: Callable[[int], bool],
    tries: int = LOST_TRIES,
) -> Step | Rest:
    """What to start now. `wants_seed(n)` is asked whether an n-th further seed (n >= 1) could still change the verdict.

    Raises BackendDown if the backend lost one trial `tries` times.
    """
    seeds = flight.plan.seeds
    if is_gated(problem, flight):
        gate = _next_of_trial(flight, ("smoke",), seeds[0], jobs, outcomes, tries)
        if gate is not Rest.DONE or _failed(("smoke",), seeds[0], jobs, outcomes):
            return gate
    for n, seed in enumerate(seeds):
        steps = steps_of(problem, flight)
        is_begun = any(j.seed == seed and j.step in steps for j in jobs)  # what was begun is ended, whatever else was decided meanwhile
        if n and not is_begun and not wants_seed(n):
            return Rest.DONE
        found = _next_of_trial(flight, steps, seed, jobs, outcomes, tries)
        if found is not Rest.DONE or _failed(steps, seed, jobs, outcomes):
            return found
    return Rest.DONE


def attempt_of(seed: int, jobs: Sequence[JobRecord], steps: Sequence[str]) -> int:
    """The newest attempt at a seed's trial; 1 before there is any."""
    return max((j.attempt for j in jobs if j.seed == seed and j.step in steps), default=1)


def _next_of_trial(
    flight: Flight, steps: Sequence[str], seed: int, jobs: Sequence[JobRecord], outcomes: Mapping[str, Outcome], tries: int
) -> Step | Rest:
    attempt = attempt_of(seed, jobs, steps)
    lost, reason = 0, ""
    for job in jobs:
        if job.seed == seed and job.step in steps and job.key in outcomes:
            status = outcomes[job.key].status
            if status is Status.INFRASTRUCTURE:
                lost, reason = lost + 1, outcomes[job.key].reason
            if status in {Status.INFRASTRUCTURE, Status.CANCELLED} and job.attempt == attempt:
                attempt += 1
    if lost >= tries:
        raise BackendDown(
            f"the backend lost the same trial {lost} times, last because: {reason}",
            hint=f"mend the backend, then `{resuming(flight.campaign, flight.backend)}` goes on with this run",
        )
    for step in steps:
        record = next((j for j in jobs if (j.seed, j.step, j.attempt) == (seed, step, attempt)), None)
        if record is None:
            return Step(seed=seed, step=step, attempt=attempt)
        if record.key not in outcomes:
            return Rest.WAITING if record.handle else Step(seed=seed, step=step, attempt=attempt)
        if outcomes[record.key].status is not Status.OK:
            return Rest.DONE
    return Rest.DONE


def _failed(steps: Sequence[str], seed: int, jobs: Sequence[JobRecord], outcomes: Mapping[str, Outcome]) -> bool:
    attempt = attempt_of(seed, jobs, steps)
    mine = [j for j in jobs if j.seed == seed and j.step in steps and j.attempt == attempt]
    return any(j.key in outcomes and outcomes[j.key].status is not Status.OK for j in mine)


def trial_key(flight: Flight, commit: str, job: Step | JobRecord) -> str:
    """Identity of the trial that a job belongs to: 24 hex digits, the name of the folder that the trial's jobs share.

    A smoke run is a trial of its own, so that what it left is never read as the real run's. A replicate's number may have been
    another replicate's before it; its reading was not.
    """
    purpose = "smoke" if job.step == "smoke" else flight.purpose
    numbers = (flight.number, flight.reading, job.seed, job.attempt)
    text = "\0".join((flight.campaign, flight.clone, commit, flight.arm, purpose, *map(str, numbers)))
    return hashlib.sha256(text.encode()).hexdigest()[:24]


def job_key(trial: str, step: str) -> str:
    """Identity of one job of a trial: starting the same key twice runs it once."""
    return hashlib.sha256(f"{trial}\0{step}".encode()).hexdigest()[:24]


def make_job(problem: Problem, flight: Flight, commit: str, step: Step, place: Place) -> Job:
    """The job of one step, ready for any backend."""
    budget = problem.budget
    train_s = flight.train_s or budget.train_s
    env = dict(place.env)
    env |= contract.trial_env(
        problem,
        label=flight.label,
        number=flight.number,
        seed=step.seed,
        train_s=train_s,
        artifact_dir=place.artifact_dir,
        data_dir=place.data_dir,
    )
    return Job(
        key=job_key(trial_key(flight, commit, step), step.step),
        label=f"{flight.label} seed {step.seed} {step.step}",
        argv=contract.argv(problem, _command(problem, flight, step.step), flight.number, _extra(flight, step.step)),
        cwd=place.cwd,
        source=place.checkout,
        env=env,
        artifact_dir=place.artifact_dir,
        timeout_s=flight.timeout_s or budget.timeout_s,
        memory_mib=budget.memory_mib,
        cpus=budget.cpus,
        gpus=budget.gpus if step.step != "evaluate" else 0,
        gpu_kind=budget.gpu_kind,
        network=problem.sandbox.network,
        view=place.view,
        require=problem.sandbox.require,
        tree=place.tree if step.step in FRESH else "",
        data=place.data_dir,
    )


def _command(problem: Problem, flight: Flight, step: str) -> str:
    if step == "smoke" or (step == "train" and flight.purpose == "smoke"):
        return problem.smoke
    if step == "train" or problem.evaluate is None:
        return problem.command
    return problem.evaluate.predict if step == "predict" else problem.evaluate.command


def _extra(flight: Flight, step: str) -> tuple[str, ...]:
    """A person's arguments after `--` belong to the problem's command, not to its smoke run or its ruler."""
    return flight.arguments if step == "train" and flight.purpose != "smoke" else ()


def said(outcome: Outcome) -> dict[str, bytes]:
    """What git keeps of any job that has ended: how it ended, and what it printed."""
    kept = {"outcome.json": msgspec.json.encode(msgspec.structs.replace(outcome, folder=""))}
    return kept | {name: read_regular(Path(outcome.folder, name), 8 << 20) or b"" for name in ("stdout", "stderr")}


def gather(
    problem: Problem, flight: Flight, outcome: Outcome, checkout: Path, artifact_dir: Path, was_there: Callable[[str], bool]
) -> dict[str, bytes]:
    """What git keeps of a job that has ended: output, small text artifacts, and a list of the rest with sha256.

    checkout: top of the checkout that it ran in. was_there: True for a repository path that the checkout came with; a committed
    metrics.json is no result. Reads regular files only and goes through no link: both folders were the candidate's to fill.
    """
    kept = said(outcome)
    run_id = f"run_{flight.number:06d}"
    for name in (
        f"runs/{run_id}/metrics.json",
        *(t.format(run_id=run_id) for t in (problem.metrics_file, problem.events_file, problem.summary_file) if t),
    ):
        path = f"{problem.folder}/{name}" if problem.folder else name
        text = read_below(checkout, path, TEXT_CAP)
        if text is not None and not was_there(path):
            kept[f"workspace/{name}"] = text
    _gather_artifacts(artifact_dir, kept)
    return kept


def _gather_artifacts(root: Path, kept: dict[str, bytes], hashed: int = HASH_CAP) -> None:
    """Text files while there is room, and a list of others; a trial that wrote a million costs a look at some thousand of them.

    Results first: no flood of other files may push them out. Of FOLDERS_CAP folders, and none that cannot be listed. `hashed`: bytes
    that are read for the list, holes counted.
    """
    left, texts, large, looked = TOTAL_CAP, 0, [], 0
    with suppress(TooMuch):  # a folder of a million, of which as many were looked at as of any
        for found in strangers.walk(root, folders=FOLDERS_CAP, key=lambda name: (name not in _RESULTS, name)):
            looked += not found.why
            if looked > LOOK_CAP:
                large.append({"path": "", "left_out": f"all but {LOOK_CAP} files"})
                break
            text = read_regular(found.path, min(TEXT_CAP, left)) if texts < FILES_CAP and left else None
            if text is not None and b"\0" not in text[:8000]:
                left, texts = left - len(text), texts + 1
                kept[f"artifacts/{found.below}"] = text
            elif len(large) < FILES_CAP and stat.S_ISREG(found.state.st_mode):
                sha256 = strangers.digest(found.path, hashed) if (size := found.state.st_size) <= hashed else ""
                hashed -= size if sha256 else 0
                large.append({"path": strangers.text(found.below), "bytes": size, **({"sha256": sha256} if sha256 else {})})
    if large:
        kept["outputs.json"] = msgspec.json.encode(large)
