"""The doctor: looks at a problem and a campaign's books, says what it finds, and repairs what cannot lose anything.

It never moves a branch, never deletes a run, a note or a flight that is not decided.
"""

from __future__ import annotations

import os
import shlex
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from evogit import problem as contract
from evogit import surroundings, views
from evogit.domain.options import resuming
from evogit.domain.report import Finding
from evogit.errors import EvogitError
from evogit.git import checkout, flights, ledger, notes, refs, snapshot
from evogit.git.locks import loop_holder, write_lock
from evogit.git.repository import Repository
from evogit.stages import record

if TYPE_CHECKING:
    from evogit.domain.problem import Problem
    from evogit.lab import Lab

STALE_S = 60.0  # git holds a lock for a second at most, but for an index: `git commit` has it while somebody writes a message


def examine(lab: Lab, *, fix: bool) -> list[Finding]:
    """Every check in turn; one that cannot be made is an error among the findings. O(runs). Raises UnknownName for an unknown campaign.

    Where an object that history needs is damaged, nothing else is looked at: it could not be read.
    """
    findings, is_readable = surroundings.object_store(lab.repo, fix)
    if not is_readable:
        return findings
    tag = lab.tag if lab.has_campaign else ""
    checks: list[tuple[str, Callable[[Lab, bool], Iterator[Finding]]]] = [("repository", _machine), ("problem", _problem)]
    if tag:
        checks += [("branch", _branch), ("books", _books), ("notes", _notes), ("flights", _flights), ("locks", _locks), ("views", _views)]
        checks += [("clock", surroundings.clock), ("leftovers", surroundings.leftovers)]
    else:
        findings.append(Finding(level="note", check="branch", message="no campaign yet", fix="`evogit start`"))
    for name, check in checks:
        try:
            findings += check(lab, fix)
        except EvogitError as error:
            findings.append(Finding(level="error", check=name, message=error.message, fix=error.hint))
    return findings


def _machine(lab: Lab, fix: bool) -> Iterator[Finding]:
    yield from surroundings.machine(lab.repo, fix)
    yield surroundings.isolation()


def _problem(lab: Lab, fix: bool) -> Iterator[Finding]:
    root = lab.repo.top / lab.campaign.problem.folder if lab.has_campaign else lab.problem_folder
    if lab.has_campaign and not contract.is_problem(root):
        yield Finding(
            level="note", check="problem", message="it is not in this checkout; the campaign has its own", fix="nothing needs doing"
        )
        return
    problem = contract.load(root, lab.repo.top)
    prefix = f"{problem.folder}/" if problem.folder else ""
    names = [prefix + name for name in contract.DiskFiles(root).listing()]
    contract.check_mutable(problem, names)
    mutable = contract.mutable_paths(problem, names)
    words = f"{problem.name} ({problem.layout} layout): {len(mutable)} mutable file{'s' * (len(mutable) != 1)}, measured by {problem.primary.name}"
    if problem.evaluate is None:  # not wrong, and worth knowing
        words += ", self-reported: declare [evaluate], and candidates cannot print their own numbers"
    yield Finding(level="ok", check="problem", message=words)
    for label, command in _commands(problem):
        yield from _command(label, command, root)
    if not problem.goal:
        yield Finding(
            level="warning", check="problem", message="it has no goal file", fix="agents read it: write a program.md and commit it"
        )


def _command(label: str, command: str, root: Path) -> Iterator[Finding]:
    """What a command names and is not here. One that needs a shell is not looked into."""
    if contract.needs_shell(command):
        return
    program, *words = shlex.split(command)
    if shutil.which(program) is None and not (root / program).exists() and program not in {"python", "python3"}:
        yield Finding(level="error", check="problem", message=f"the {label} needs {program!r}, which is not here", fix=f"install {program}")
    for word in words:
        if word.endswith(".py") and not word.startswith("-") and not (root / word).exists():
            yield Finding(
                level="error", check="problem", message=f"the {label} names {word}, which is not in {root.name}", fix="correct it"
            )


def _commands(problem: Problem) -> list[tuple[str, str]]:
    ruler = problem.evaluate
    pairs = [("command", problem.command), ("smoke command", problem.smoke), ("prepare command", problem.data.prepare)]
    pairs += [("predict command", ruler.predict), ("evaluate command", ruler.command)] if ruler else []
    return [(label, command) for label, command in pairs if command.strip()]


def _branch(lab: Lab, fix: bool) -> Iterator[Finding]:
    repo, tag = lab.repo, lab.tag
    lab.campaign.read_anew()  # every check from here on is about what git has
    lab.campaign.check_not_rewritten()
    mine, branch = refs.read(repo, refs.tip(tag)), refs.read(repo, refs.branch(tag))
    if mine == branch:
        yield Finding(level="ok", check="branch", message=f"autoresearch/{tag} is where evogit left it")
    else:
        done = fix and loop_holder(repo, tag) == 0
        if done:
            record.catch_up(repo, tag, is_ours=not lab.campaign.history.people)
        what = "has no record of its tip yet" if mine is None else "has commits that evogit has not taken in"
        yield Finding(
            level="note", check="branch", message=f"autoresearch/{tag} {what}", fix="the next `evogit loop` does; or --fix", fixed=done
        )
    for path in checkout.dirty(repo, refs.branch(tag))[:1]:
        yield Finding(
            level="note",
            check="branch",
            message=f"uncommitted changes where it is checked out, first {path}",
            fix="`evogit run` measures them",
        )


def _books(lab: Lab, fix: bool) -> Iterator[Finding]:
    repo = lab.repo
    history = lab.campaign.history
    yield from _kept(lab, fix)
    yield Finding(level="ok", check="books", message=f"{len(history.runs)} runs are decided, every entry can be read")
    is_settled = history.baseline in history.by_commit and not history.people  # else the tip's tree is a person's, or a new epoch's
    if is_settled and repo.tree_of(history.tip) != repo.tree_of(history.incumbent):
        yield Finding(
            level="error",
            check="books",
            message="the tip's tree is not the incumbent's",
            fix="was the branch edited by hand? see `git log -p -1`",
        )
    for run in history.runs:
        if run.generation and run.epoch == history.epoch and (strange := _frozen_edits(lab, run.parents[0], run.commit)):
            yield Finding(
                level="error",
                check="books",
                message=f"run {run.label} changed {strange[0]}, which is frozen",
                fix="do not trust its numbers",
            )


def _kept(lab: Lab, fix: bool) -> Iterator[Finding]:
    """What is kept of the branch, that it opens sooner, and says something else."""
    kept = snapshot.load(lab.repo, lab.tag)
    if kept is None:
        return
    kept.advance(lab.repo, lab.campaign.history.tip)
    if snapshot.tells_alike(kept, lab.campaign.history):
        return
    if fix:
        snapshot.place(lab.repo, lab.tag).unlink(missing_ok=True)
    message = "what is kept of the branch, so that it opens sooner, is not what the branch says"
    yield Finding(level="error", check="books", message=message, fix="--fix removes it; it is made anew", fixed=fix)


def _frozen_edits(lab: Lab, before: str, after: str) -> list[str]:
    repo = lab.repo
    diff = repo.tree(before).diff_to_tree(repo.tree(after))
    return [d.new_file.path for d in diff.deltas if not contract.is_mutable(lab.campaign.problem, d.new_file.path)]


def _notes(lab: Lab, fix: bool) -> Iterator[Finding]:
    """Notes repeat what the branch says, for people: what is missing there is written again from the branch."""
    repo, history = lab.repo, lab.campaign.history
    wanted: dict[str, list[bytes]] = {}
    for entry in ledger.walk(repo, history.tip, campaign=lab.tag):
        about = entry.decides or entry.of
        if entry.lines and about:
            wanted.setdefault(about, []).extend(entry.lines)
    missing = {}
    for run, lines in wanted.items():
        there = set(notes.read(repo, notes.METRICS, run))
        if lost := [line for line in lines if line not in there]:
            missing[run] = lost
    if missing:
        if fix:
            notes.add(repo, notes.METRICS, missing, "evogit doctor: notes from the branch")
        message = f"the notes of {len(missing)} runs lack numbers that the branch has"
        yield Finding(level="warning", check="notes", message=message, fix="--fix writes them again", fixed=fix)
    else:
        yield Finding(level="ok", check="notes", message=f"the notes of {len(wanted)} runs agree with the branch")
    yield from _strangers(repo)
    for ref in (notes.METRICS, notes.REVIEWS):
        for clash in list(notes.conflicts(repo, ref))[:1]:
            yield Finding(
                level="warning",
                check="notes",
                message=f"{ref}: two lines with one id and other bytes: {clash}",
                fix="both are kept; look at them",
            )


def _strangers(repo: Repository) -> Iterator[Finding]:
    """Lines that no evogit wrote: nobody reads them, and nobody takes them away."""
    for ref in (notes.METRICS, notes.REVIEWS, notes.IDEAS):
        odd = [commit for commit, lines in notes.items(repo, ref) for line in lines if not notes.line_id(line)]
        if odd:
            message = f"{ref}: {len(odd)} lines are no records, first on {odd[0][:12]}"
            fix_words = f"they are kept and not read; `git notes --ref={ref.removeprefix('refs/notes/')} edit {odd[0][:12]}` takes them out"
            yield Finding(level="note", check="notes", message=message, fix=fix_words)


def _flights(lab: Lab, fix: bool) -> Iterator[Finding]:
    repo, tag = lab.repo, lab.tag
    found = flights.examine(repo, tag)
    for ref, why in found.broken.items():
        yield Finding(level="error", check="flights", message=f"{ref} cannot be read: {why}", fix=f"look at it: `git show {ref}`")
    for stored in found.flights:
        flight = stored.flight
        decided = flight.candidate is not None and flight.candidate.commit in lab.campaign.history.by_commit
        if decided:
            done = fix and loop_holder(repo, tag) == 0
            if done:
                flights.remove(repo, stored)
            yield Finding(
                level="note",
                check="flights",
                message=f"run {flight.label} is decided, its flight is left over",
                fix="--fix removes it",
                fixed=done,
            )
        elif flight.clone != repo.clone:
            yield Finding(
                level="note",
                check="flights",
                message=f"run {flight.label} is in flight on clone {flight.clone}",
                fix="that clone goes on with it",
            )
        elif loop_holder(repo, tag) == 0:
            fix_words = f"`{resuming(tag, flight.backend)}` goes on with it"
            yield Finding(level="note", check="flights", message=f"run {flight.label} was left {flight.state.value}", fix=fix_words)
            yield from surroundings.untaken(lab, stored)
    if not found.flights and not found.broken:
        yield Finding(level="ok", check="flights", message="nothing is left in flight")


def _locks(lab: Lab, fix: bool) -> Iterator[Finding]:
    repo, holder = lab.repo, loop_holder(lab.repo, lab.tag)
    if holder:
        yield Finding(level="ok", check="locks", message=f"a loop is running (pid {holder})")
    found = _lock_files(repo.common)
    is_git_here = bool(found) and _git_runs(repo)
    for path in found:
        name, age_s = path.relative_to(repo.common).as_posix(), _age_s(path)
        if age_s < STALE_S or is_git_here:
            message = f"{name} is {age_s:.0f} s old: a git command {'is' if is_git_here else 'may be'} at work"
            yield Finding(
                level="note",
                check="locks",
                message=message,
                fix="look again when it has ended" if is_git_here else "look again in a minute",
            )
            continue
        done = fix and not holder
        if done:
            with write_lock(repo):
                path.unlink(missing_ok=True)
        fix_words = "--fix removes it when no loop runs"
        yield Finding(level="warning", check="locks", message=f"{name} was left by a killed git", fix=fix_words, fixed=done)
    if not found and not holder:
        yield Finding(level="ok", check="locks", message="no lock is held or left over")


def _lock_files(common: Path) -> list[Path]:
    """git's own locks: on evogit's refs, on what all refs share, on the index and HEAD of each work tree, on its settings and its gc."""
    tops = (common / "refs" / "evogit", common / "refs" / "notes" / "evogit", common / "refs" / "heads" / "autoresearch")
    shared = ("packed-refs.lock", "index.lock", "HEAD.lock", "config.lock", "gc.pid.lock")
    linked = sorted(path for name in ("index.lock", "HEAD.lock") for path in common.glob(f"worktrees/*/{name}"))
    return [
        *(path for name in shared if (path := common / name).exists()),
        *linked,
        *(p for top in tops if top.is_dir() for p in sorted(top.rglob("*.lock"))),
    ]


def _git_runs(repo: Repository) -> bool:
    """True if a git command works in this repository, as far as /proc tells: one that waits in an editor holds its lock for hours."""
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if (process / "comm").read_text().strip() == "git" and Path(os.readlink(process / "cwd")).is_relative_to(repo.top):
                return True
        except OSError:
            continue
    return False


def _age_s(path: Path) -> float:
    try:
        return abs(time.time() - path.stat().st_mtime)  # one from the future was made before the clock was set back
    except FileNotFoundError:
        return 0.0


def _views(lab: Lab, fix: bool) -> Iterator[Finding]:
    path = views.folder(lab.repo, lab.tag) / views.NAME
    right = lab.export()
    if path.exists() and path.read_text(encoding="utf-8") == right:
        yield Finding(level="ok", check="views", message="results.tsv agrees with the branch")
        return
    if fix:
        views.rebuild(lab.repo, lab.campaign)
    yield Finding(
        level="note", check="views", message="results.tsv is missing or behind", fix="--fix (or the next loop) writes it again", fixed=fix
    )
