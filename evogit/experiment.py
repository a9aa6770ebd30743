"""One command, run as a trial would be and recorded nowhere: a working tree as it stands, on any backend, its output as it comes.

It needs no campaign, writes no commit and judges nothing. Who parses a command line and prints errors is `scripts/run_experiment.py`.
"""

from __future__ import annotations

import inspect
import os
import re
import secrets
import shlex
import signal
import sys
import time
from collections.abc import Iterable
from pathlib import Path

import msgspec

from evogit import problem as contract
from evogit import registry, removal, strangers
from evogit.backends import sandbox
from evogit.domain.metric import Direction, Metric
from evogit.domain.problem import Budget, Problem
from evogit.domain.trial import Job, Outcome, Status
from evogit.errors import UserError
from evogit.git import datasets, environment, visible
from evogit.git.working_copy import Ground, States, WorkingCopy
from evogit.relaying import relay
from evogit.seams import Backend

OUTPUT_CAP = 256 << 20  # bytes of each stream that are passed on whole
RUNS_KEPT = 20  # folders with what earlier commands wrote
TIMEOUT_S = 600.0
LEFTOVER_S = 30.0
NAMES_TOLD = 8
DOWN, TIMED_OUT, NO_MEMORY = 3, 124, 137


class Wish(msgspec.Struct, frozen=True, kw_only=True):
    """What a person asked for. 0 and "" mean: what the problem's budget says, else the default."""

    argv: tuple[str, ...]
    folder: str = "."
    backend: str = "local"
    settings: dict[str, object] = {}  # of the backend, over those of evogit.toml
    gpu: str = ""  # "H100", "H100:2", "any"
    cpus: int = 0
    memory_mib: int = 0
    timeout_s: float = 0.0
    is_sandboxed: bool = True
    is_in_place: bool = False
    env: dict[str, str] = {}


def run(wish: Wish) -> int:
    """Run it to its end; the exit code to leave with: the command's own, 128+n for a signal, else one of this module's constants.

    The first SIGINT or SIGTERM cancels the command, and its code is 128+n then; the second leaves at once. Raises UserError,
    ServiceDown and WorkFailed before anything runs, BackendDown while it does. Beyond the command: copying the folder, and what a trial costs.
    """
    ground = Ground.of(Path(wish.folder))
    problem = _problem(ground, Path(os.path.realpath(wish.folder)), wish)
    backend = _backend(ground, problem, wish)
    try:
        if wish.is_sandboxed:
            _demand_sandbox(backend, problem)
        is_direct = wish.is_in_place and wish.backend == "local" and (not wish.is_sandboxed or sandbox.user() < 0)
        owner = -1 if is_direct or not wish.is_sandboxed else sandbox.user()
        copy = WorkingCopy.open(ground, owner=owner, is_in_place=is_direct)
        try:
            return _run_in(copy, ground, problem, backend, wish)
        finally:
            copy.close()
    finally:
        backend.close()


def _run_in(copy: WorkingCopy, ground: Ground, problem: Problem, backend: Backend, wish: Wish) -> int:
    _end_leftover(copy, backend, wish.backend)
    copy.skip((1, 2))
    copy.materialise()
    results = ground.cache / "experiments" / "runs" / f"{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(3)}"
    try:
        job = _job(copy, ground, problem, backend, wish, results)
        before = copy.states()
        (copy.slot / "job").write_text(f"{wish.backend} {job.key}\n", encoding="utf-8")
        ended = relay(backend, job, _say)
        _report(ended.outcome, copy, before, results, wish)
        backend.forget(ended.handle)
        (copy.slot / "job").unlink(missing_ok=True)
        return _exit_code(ended.outcome, ended.heard)
    finally:
        _tidy(results)


def _problem(ground: Ground, folder: Path, wish: Wish) -> Problem:
    """The problem that the folder belongs to, with what was asked for in its budget; one that allows everything where there is none."""
    top = ground.top
    above = [place for place in (folder, *folder.parents) if place == top or top in place.parents]
    found = next((place for place in above if contract.is_problem(place)), None)
    if found is not None:
        problem = contract.load(found, top)
    else:
        cpus = len(os.sched_getaffinity(0)) if wish.backend == "local" and hasattr(os, "sched_getaffinity") else 1
        problem = Problem(
            name=folder.name, folder="", layout="", goal="", mutable=("**",), command="true",
            metrics=(Metric(name="none", direction=Direction.MINIMIZE),), budget=Budget(timeout_s=TIMEOUT_S, cpus=cpus),
        )  # fmt: skip
    kind, count = _gpus(wish.gpu)
    asked = {"cpus": wish.cpus, "memory_mib": wish.memory_mib, "timeout_s": wish.timeout_s, "gpus": count}
    budget = msgspec.structs.replace(problem.budget, **{name: value for name, value in asked.items() if value})
    if wish.gpu:
        budget = msgspec.structs.replace(budget, gpu_kind=kind)
    return msgspec.structs.replace(problem, budget=budget)


def _gpus(text: str) -> tuple[str, int]:
    """ "H100:2" -> ("H100", 2). Raises UserError."""
    kind, colon, count = text.partition(":")
    if not text:
        return "", 0
    if not kind or (colon and not (count.isdigit() and int(count))):
        raise UserError(f"--gpu {text} names no kind of GPU", hint="--gpu H100, --gpu H100:2 for two of them, --gpu any")
    return "" if kind == "any" else kind, int(count or 1)


def _backend(ground: Ground, problem: Problem, wish: Wish) -> Backend:
    """The backend with the problem's options for it and the person's. Raises UserError."""
    hand = registry.find("backends", wish.backend)
    settings = dict(problem.backend.get(wish.backend, {}))
    for name, value in wish.settings.items():
        settings[name] = {**settings[name], **value} if isinstance(value, dict) and isinstance(settings.get(name), dict) else value
    if registry.takes(hand, "problem_folder"):
        settings.setdefault("problem_folder", str(ground.top / problem.folder))
    if registry.takes(hand, "leash"):
        settings["leash"] = True  # nobody comes back for a command whose runner was killed
    jobs = ground.cache / "experiments" / "jobs"
    try:
        inspect.signature(hand).bind(jobs, **settings)
    except TypeError as error:
        raise UserError(f"backend {wish.backend}: {error}", hint="its options are in docs/backends.md") from error
    jobs.mkdir(parents=True, exist_ok=True)
    return hand(jobs, **settings)


def _demand_sandbox(backend: Backend, problem: Problem) -> None:
    """Refuse less than the problem requires, and say where there is none. Raises UserError, BackendDown."""
    told = backend.resources()
    level = str(told.get("sandbox", "none"))
    unfiltered = str(told.get("unfiltered", ""))
    sandbox.demand(problem.sandbox.require, level, unfiltered=unfiltered)
    if unfiltered:
        _say(*sandbox.filter_warning(unfiltered))
    if level == "none":
        _say(*(told.get("caveat") or sandbox.warning()))


def _end_leftover(copy: WorkingCopy, backend: Backend, name: str) -> None:
    """A command that a killed runner left in this slot is ended before its files are taken away."""
    note = copy.slot / "job"
    words = note.read_text(encoding="utf-8").split() if note.exists() else []
    if len(words) == 2 and words[0] != name:
        _say(f"an earlier command may still run on {words[0]}, as {words[1]}")
    elif len(words) == 2 and (handle := backend.find(words[1])):
        backend.cancel(handle)
        backend.wait([handle], LEFTOVER_S)
        backend.forget(handle)
    note.unlink(missing_ok=True)


def _job(copy: WorkingCopy, ground: Ground, problem: Problem, backend: Backend, wish: Wish, results: Path) -> Job:
    """What a backend is given: as `stages.execute` makes it for a trial, but for the command."""
    artifacts, records = results / "artifacts", copy.slot / "records"
    for folder in (artifacts, records):
        folder.mkdir(parents=True, exist_ok=True)
    prepared = _environment(copy, ground, problem, backend, wish)
    data = datasets.prepare(ground, problem, copy, prepared)
    env = environment.base_env(prepared, copy, problem)
    env |= {"TMPDIR": env["HOME"], "EVOGIT_IMPORTS_FILE": str(records / "imports.json")}
    env |= contract.trial_env(
        problem, label="experiment", number=0, seed=problem.budget.seeds[0], artifact_dir=str(artifacts), data_dir=data
    )
    stands = visible.Ground(
        repo=ground, problem=problem, workspace=copy, environment=prepared, data_dir=data, artifacts=str(artifacts),
        records=str(records), is_ruler=False,
    )  # fmt: skip
    cwd = copy.root / os.path.relpath(os.path.realpath(wish.folder), ground.top)
    cwd.mkdir(parents=True, exist_ok=True)
    budget = problem.budget
    return Job(
        key=secrets.token_hex(12), label="experiment", argv=wish.argv, cwd=os.path.normpath(cwd), source=str(copy.root), env=env | wish.env,
        artifact_dir=str(artifacts), timeout_s=budget.timeout_s, memory_mib=budget.memory_mib, cpus=budget.cpus, gpus=budget.gpus,
        gpu_kind=budget.gpu_kind, network=problem.sandbox.network or not wish.is_sandboxed, output_cap=OUTPUT_CAP, view=visible.view(stands), data=data,
        require=problem.sandbox.require if wish.is_sandboxed else "", at_most="" if wish.is_sandboxed else "none",
    )  # fmt: skip


def _environment(copy: WorkingCopy, ground: Ground, problem: Problem, backend: Backend, wish: Wish) -> environment.Environment:
    """The problem's environment for this command: `uv run` gets one that is synced, as it would in a trial."""
    asked = msgspec.structs.replace(problem, command=shlex.join(wish.argv), smoke="", evaluate=None)
    if getattr(backend, "brings_environment", False):
        return environment.of_this_machine(ground, asked, copy)
    return environment.prepare(ground, asked, copy, progress=_say)


def _report(outcome: Outcome, copy: WorkingCopy, before: States, results: Path, wish: Wish) -> None:
    """Say how it ended where its exit code does not, and where what it wrote lies."""
    after = copy.states()
    written = sorted(name for name, state in after.items() if before.get(name) != state)
    if outcome.status is not Status.OK and outcome.reason != f"exit code {outcome.exit_code}":
        _say(outcome.reason or outcome.status.value)
    artifacts = sorted(strangers.text(found.below) for found in strangers.walk(results / "artifacts") if not found.why)
    if artifacts:
        _say(f"{_listed(artifacts, 'artifact')}, in {results / 'artifacts'}")
    if wish.is_in_place and not copy.is_in_place:
        refused = copy.take_over(written, sorted(before.keys() - after.keys()))
        written = [name for name in written if name not in set(refused)]
        if refused:
            _say(f"{_listed(refused, 'file')} left out: a link or a folder stands there, or it is a link that leads out")
    elif not wish.is_in_place:
        _put_aside(copy, written, results / "files")
    if written:
        _say(f"it wrote {_listed(written, 'file')}, in {copy.ground.top if wish.is_in_place else results / 'files'}")


def _put_aside(copy: WorkingCopy, names: Iterable[str], target: Path) -> None:
    """Move what the command wrote out of the slot, which the next command takes over."""
    for name in names:
        target.mkdir(exist_ok=True)
        strangers.make_folders(target, os.path.dirname(name))
        os.rename(copy.root / name, target / name)


def _listed(names: list[str], what: str) -> str:
    shown = ", ".join(names[:NAMES_TOLD]) + (f" and {len(names) - NAMES_TOLD} more" if len(names) > NAMES_TOLD else "")
    return f"{len(names)} {what}{'' if len(names) == 1 else 's'} ({shown})"


def _exit_code(outcome: Outcome, heard: int) -> int:
    """The command's own code where it has one; the shell's words for everything else. `heard`: the signal that ended it, 0 for none."""
    if outcome.status is Status.INFRASTRUCTURE:
        return DOWN
    if outcome.exit_code is not None:
        return outcome.exit_code
    if outcome.status is Status.CANCELLED:
        return 128 + (heard or signal.SIGTERM)
    ours = {Status.TIMEOUT: TIMED_OUT, Status.MEMORY: NO_MEMORY}
    if outcome.status in ours:
        return ours[outcome.status]
    killed = re.match(r"killed by (?:signal (\d+)|(SIG\w+))", outcome.reason)
    return 128 + (int(killed[1]) if killed[1] else signal.Signals[killed[2]]) if killed else 1


def _tidy(results: Path) -> None:
    """Take away what nothing was left in, and results of long ago."""
    for folder in (results / "artifacts", results):
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()
    runs = sorted(path for path in results.parent.glob("2*") if path.is_dir()) if results.parent.is_dir() else []
    for old in runs[:-RUNS_KEPT]:
        removal.discard(old)


def _say(*lines: str) -> None:
    """To the person; stdout is the command's."""
    for line in filter(None, lines):
        print(f"evogit: {line}", file=sys.stderr, flush=True)
