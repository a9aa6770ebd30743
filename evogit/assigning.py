"""Plans for those who drive the lab from outside: the search is asked as the loop asks it, and its answer waits to be submitted.

It moves no ref and writes nothing into history; the plan that waits is a file in the work tree's own git directory.
"""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from urllib.parse import quote

import msgspec

from evogit import starting
from evogit.adopting import next_number, take_in
from evogit.agents.packet import render
from evogit.bench import Bench, now
from evogit.domain.assignment import Assignment, Task
from evogit.errors import UserError
from evogit.git import notes, refs
from evogit.git.campaign import Campaign
from evogit.git.repository import Repository
from evogit.loop import plan_next
from evogit.search.change import line_delta
from evogit.stages import propose

NAMED = 12  # files that a command names one by one


def task(bench: Bench) -> Task:
    """The assignment that waits, if the ledger has not moved since; else a new one, kept until it is submitted.

    Raises UserError without a measured baseline, WorkFailed if no emitter has anything. Costs one plan, 10 to 100 ms.
    """
    take_in(bench)
    campaign = bench.campaign
    if bench.memory.incumbent is None:
        hint = f"measure it: `evogit baseline --tag {campaign.tag}`"
        raise UserError(f"campaign {campaign.tag} has no measured baseline, so there is nothing to compare with", hint=hint)
    waiting = read(campaign.repo, campaign.tag)
    asked, ideas = bench.options.emitters, refs.read(campaign.repo, notes.IDEAS) or ""
    is_of_now = waiting is not None and (waiting.tip, waiting.ideas) == (campaign.history.tip, ideas)
    if waiting is None or not is_of_now or (asked and waiting.plan.emitter not in asked):
        plan = plan_next(bench, next_number(bench))
        start, _ = propose.told(campaign, bench.memory, plan)
        waiting = Assignment(
            campaign=campaign.tag,
            epoch=campaign.history.epoch,
            tip=campaign.history.tip,
            ideas=ideas,
            made=now(),
            plan=plan,
            start=start if plan.merge else plan.parents[0],
            found={} if plan.replicate else _found(campaign, start),
        )
        _keep(campaign.repo, waiting)
    return _task(bench, waiting)


def read(repo: Repository, tag: str) -> Assignment | None:
    """The assignment that waits in this work tree, or None; one that cannot be read any more is none."""
    try:
        return msgspec.json.decode(_place(repo, tag).read_bytes(), type=Assignment)
    except (FileNotFoundError, msgspec.MsgspecError, UnicodeDecodeError):
        return None


def drop(repo: Repository, tag: str) -> None:
    """It was submitted, or is not wanted any more. No error if there is none."""
    _place(repo, tag).unlink(missing_ok=True)


def pending(campaign: Campaign) -> Assignment | None:
    """The assignment that a submission carries out: one of this epoch, whether or not the ledger has moved since."""
    found = read(campaign.repo, campaign.tag)
    return found if found is not None and found.epoch == campaign.history.epoch else None


def check_begun(campaign: Campaign, assignment: Assignment) -> None:
    """Raises UserError where the mutable files are nearer to what was there when the assignment was given out than to its start.

    Measured as another run's change they would be a reject at best, and the assignment would be used up.
    """
    now = starting.differences(campaign, assignment.start)[0] if assignment.found else {}
    to_start = to_before = 0
    for path, before in assignment.found.items():
        start = _text(campaign.repo.blob(assignment.start, path))
        mine = _text(now[path]) if path in now else start
        to_start, to_before = to_start + _apart(start, mine), to_before + _apart(before, mine)
    if to_before >= to_start:
        return
    commands = " && ".join(_restore(campaign, assignment.start, assignment.start, tuple(campaign.sources_of_tree(assignment.start))))
    folder = f"in {campaign.problem.folder}: " if campaign.problem.folder else ""
    raise UserError(
        f"{', '.join(sorted(assignment.found)[:3])}: not the files that the assignment starts from, which has not begun",
        hint=f"begin, change them, submit again; {folder}{commands} (your own edit of them goes). If you have begun, say so: --begun",
    )


def _found(campaign: Campaign, start: str) -> dict[str, str | None]:
    edits = starting.differences(campaign, start)[0]
    return {path: _text(data) for path, data in edits.items()}


def _text(data: bytes | None) -> str | None:
    return None if data is None else data.decode("utf-8", "replace")


def _apart(one: str | None, other: str | None) -> int:
    """Lines in which two texts of a file differ; one more where only one of them exists."""
    sides = [{} if text is None else {"": text} for text in (one, other)]
    return sum(line_delta(*sides)) + ((one is None) != (other is None))


def _place(repo: Repository, tag: str) -> Path:
    return Path(repo.git.path) / "evogit" / f"assignment-{quote(tag, safe='')}.json"


def _keep(repo: Repository, assignment: Assignment) -> None:
    path = _place(repo, assignment.campaign)
    path.parent.mkdir(exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.write_bytes(msgspec.json.encode(assignment))
    os.replace(draft, path)


def _task(bench: Bench, assignment: Assignment) -> Task:
    campaign, history = bench.campaign, bench.campaign.history
    problem, plan = campaign.problem, assignment.plan
    tree, briefing = propose.told(campaign, bench.memory, plan)
    return Task(
        assignment=assignment,
        problem=problem.name,
        folder=problem.folder,
        metric=problem.primary,
        parents=tuple(history.by_commit[p] for p in plan.parents if p in history.by_commit),
        files=tuple(briefing.sources),
        restore=_restore(campaign, tree, assignment.start, tuple(briefing.sources)) if not plan.replicate else (),
        packet=render(briefing, by_tools=False).text,
    )


def _restore(campaign: Campaign, tree: str, start: str, files: tuple[str, ...]) -> tuple[str, ...]:
    """What makes the work tree's mutable files those of the start: files that it lacks are removed, the others taken from git."""
    differs, _ = starting.differences(campaign, tree)
    if not differs:
        return ()
    folder = campaign.problem.folder
    cut = len(folder) + 1 if folder else 0
    extra = [path[cut:] for path in sorted(differs) if campaign.repo.blob(tree, path) is None]
    if len(files) <= NAMED:
        paths = shlex.join(files)
    else:
        paths = shlex.join(f":(glob){glob}" for glob in campaign.problem.mutable)
    remove = (f"rm {shlex.join(extra)}",) if extra else ()
    return (*remove, f"git restore --source {start[:12]} -- {paths}")
