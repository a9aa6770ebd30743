"""What a person begins: a campaign, a run of their own working tree, more readings of the baseline. The loop does the rest."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import msgspec

from evogit import adopting, keys
from evogit import problem as contract
from evogit.bench import Bench
from evogit.domain.assignment import Assignment
from evogit.domain.options import LoopOptions
from evogit.domain.plan import Plan
from evogit.domain.problem import Problem
from evogit.domain.proposal import Proposal
from evogit.domain.report import Started
from evogit.domain.run import Run
from evogit.errors import ProblemError, UserError
from evogit.git import flights, refs
from evogit.git.campaign import Campaign, TreeFiles
from evogit.git.flights import StoredFlight
from evogit.git.objects import put_paths
from evogit.git.repository import Repository
from evogit.loop import Voyage
from evogit.stages import propose
from evogit.strangers import read_regular


def start(repo: Repository, problem: Problem, tag: str) -> Started:
    """The branch at HEAD, its tip, and run 0's flight. Touches no checkout. Raises ProblemError if HEAD lacks the problem."""
    base = repo.resolve("HEAD")
    if base is None:
        raise UserError("HEAD points to no commit", hint="commit something first")
    try:
        committed = contract.load_from(TreeFiles(repo, repo.tree_of(base)), problem.folder, top_name=repo.top.name)
    except ProblemError as error:
        where = problem.folder or "the repository's top"
        hint = f"`git add {problem.folder or '.'} && git commit`, then start again"
        raise ProblemError(error.where, f"the problem in {where} is not committed as it stands ({error.message})", fix=hint) from error
    files = TreeFiles(repo, repo.tree_of(base)).listing()
    contract.check_mutable(committed, files)
    refs.move(repo, refs.branch(tag), base, None, "evogit: start")
    refs.move(repo, refs.tip(tag), base, None, "evogit: start")
    campaign = Campaign.open(repo, tag, fallback=lambda: repo.top / problem.folder)
    adopting.baseline(Bench(campaign, LoopOptions()), "0")
    return Started(
        campaign=tag,
        branch=f"autoresearch/{tag}",
        base=base,
        problem=problem.name,
        refspecs=(f"refs/heads/autoresearch/{tag}", "refs/notes/evogit/*:refs/notes/evogit/*", f"refs/evogit/{tag}/*:refs/evogit/{tag}/*"),
    )


def person_voyage(bench: Bench, parent: str, said: Proposal) -> Voyage:
    """The working tree's mutable files on top of a run, as a run of a person's own.

    parent: a run's label, "" for the incumbent. Other files that differ from that run's are named; they turn the run into
    a reject, since its numbers would be about another problem. Raises UserError if nothing differs, or for a run of an older epoch.
    """
    run = bench.campaign.history.find(parent or "incumbent")
    _check_epoch(bench, run)
    return _by_hand(bench, run.commit, said)


def assigned_voyage(bench: Bench, assignment: Assignment, said: Proposal) -> Voyage:
    """The same for a plan of the search that was given out: its emitter, odds, forecast and idea are registered with the run.

    A plan that asks for another reading of a run needs no change. Raises as `person_voyage`.
    """
    plan = assignment.plan
    for commit in plan.parents:
        _check_epoch(bench, bench.campaign.history.find(commit))
    if plan.replicate:
        return Voyage(bench, adopting.planned(bench, lambda number: plan, bench.FIRST))
    return _by_hand(bench, assignment.plan.parents[0], said, plan)


def _check_epoch(bench: Bench, run: Run) -> None:
    epoch = bench.campaign.history.epoch
    if run.epoch != epoch:
        raise UserError(
            f"run {run.label} belongs to epoch {run.epoch}, and its numbers are not compared with those of epoch {epoch}",
            hint="start from a run of this epoch: `evogit leaderboard` lists them",
        )


def _by_hand(bench: Bench, start: str, said: Proposal, plan: Plan | None = None) -> Voyage:
    campaign, repo = bench.campaign, bench.repo
    edits, frozen = differences(campaign, start)
    if not edits and not frozen:
        label = campaign.history.find(start).label
        raise UserError(f"no mutable file differs from run {label}", hint=f"edit {campaign.problem.mutable[0]} first")
    for path, data in edits.items():
        if data and (found := keys.new_secrets(data, repo.blob(start, path) or b"")):
            raise UserError(f"{path}: {found[0]}", hint="history is for ever: read it from the environment, or leave it out")
    summary = said.summary or f"a person's change of {', '.join(sorted(edits) or frozen)}"
    tree = put_paths(repo, repo.tree_of(start), edits) if edits else repo.tree_of(start)
    said = keys.redacted(msgspec.structs.replace(said, summary=summary))
    return Voyage(bench, adopting.person(bench, bench.FIRST, tree=tree, parent=start, said=said, plan=plan, stripped=frozen))


def differences(campaign: Campaign, start: str) -> tuple[dict[str, bytes | None], list[str]]:
    """Mutable files of the work tree that differ from those of a commit or tree, and frozen files of the problem's folder that do."""
    problem, repo = campaign.problem, campaign.repo
    top = repo.top / problem.folder
    prefix = f"{problem.folder}/" if problem.folder else ""
    listed = [f for f in TreeFiles(repo, str(repo.tree(start).id)).listing() if f.startswith(prefix)]
    there = {prefix + p.relative_to(top).as_posix() for p in _files(top)} if problem.mutable else set()
    edits: dict[str, bytes | None] = {}
    frozen: list[str] = []
    for path in sorted({*listed, *contract.mutable_paths(problem, there)}):
        data = read_regular(repo.top / path, propose.FILE_CAP)
        if data == repo.blob(start, path):
            continue
        if contract.is_mutable(problem, path):
            edits[path] = data
        elif data is not None:
            frozen.append(path)
    return edits, frozen


def _files(top: Path) -> list[Path]:
    """Regular files of the problem's folder, `.git` and virtual environments left out."""
    found = []
    for folder, folders, names in os.walk(top):
        folders[:] = [f for f in folders if f != ".git" and not (Path(folder, f) / "pyvenv.cfg").exists() and f != "__pycache__"]
        found += [Path(folder, name) for name in names]
    return found


def again_voyage(bench: Bench, label: str) -> Voyage:
    """One run under its own seeds once more. Raises UserError for a run of an older epoch."""
    run = bench.campaign.history.find(label)
    if run.epoch != bench.campaign.history.epoch:
        raise UserError(
            f"run {run.label} belongs to epoch {run.epoch}, whose ruler is no longer in force", hint="replay it without --measure"
        )
    seeds = tuple(dict.fromkeys(t.seed for t in run.trials if t.purpose == "select")) or bench.campaign.problem.budget.seeds
    return Voyage(bench, adopting.again(bench, run.commit, seeds, bench.FIRST, "replayed", emitter="replay"))


def baseline_voyage(bench: Bench, seeds: int, *, is_new: bool = False) -> Voyage | None:
    """More readings of the baseline, under seeds that it was not measured with, until it has `seeds` in all.

    is_new: the baseline was measured by this very invocation; None then means that it has them. Else that raises UserError.
    """
    run = bench.campaign.history.find("baseline")
    used = _used(bench, run)
    fresh = _fresh(used, seeds - len(used))
    if not fresh and is_new:
        return None
    if not fresh:
        raise UserError(f"the baseline has {len(used)} readings already", hint=f"ask for more: `evogit baseline --seeds {len(used) + 2}`")
    return Voyage(bench, adopting.again(bench, run.commit, fresh, bench.FIRST, "calibrates the noise between seeds", emitter="baseline"))


def more_readings(bench: Bench, asked: str, count: int, slot: str, why: str, rng: int = 0) -> StoredFlight:
    """A flight that reads a run `count` times more, under the lowest seeds that it was not read under. Raises UserError, UnknownName."""
    run = bench.campaign.history.find(asked)
    if run.epoch != bench.campaign.history.epoch:
        raise UserError(f"run {run.label} belongs to epoch {run.epoch}, whose ruler is no longer in force", hint="name a run of this epoch")
    plans = [stored.flight.plan for stored in flights.listing(bench.repo, bench.campaign.tag, bench.repo.clone)]
    flying = [seed for plan in plans if plan.replicate and plan.parents[:1] == (run.commit,) for seed in plan.seeds]
    seeds = _fresh([*_used(bench, run), *flying], count)
    return adopting.again(bench, run.commit, seeds, slot, why, emitter=adopting.ASKED, rng=rng)


def _used(bench: Bench, run: Run) -> list[int]:
    """Seeds that a run was read under."""
    return [t.seed for t in (*run.trials, *bench.campaign.history.replicates.get(run.commit, ()))]


def _fresh(used: Sequence[int], count: int) -> tuple[int, ...]:
    """The lowest `count` seeds that are not used."""
    return tuple(seed for seed in range(len(used) + max(count, 0)) if seed not in used)[: max(count, 0)]
