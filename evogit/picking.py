"""A run's gains as clean commits: which steps its line of descent comes to, and what each commit says. Git work is in `git.picks`.

A step is a kept ancestor, and the run itself. Runs between them that were not kept are part of the next step, so each commit is a
program that was measured; its message and the notes name them. It measures nothing, and it never commits on a campaign's branch.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from evogit import problem as contract
from evogit.domain.run import Run
from evogit.domain.verdict import Verdict
from evogit.errors import RefMoved, UserError
from evogit.git import checkout, picks, refs
from evogit.git.campaign import Campaign
from evogit.git.messages import one_line, paragraphs
from evogit.git.picks import Step
from evogit.git.repository import Repository
from evogit.present import claim, number, std

TRIES = 5  # a branch that moves five times while we look is somebody's at this moment
SUBJECT = 120  # characters


class Pick(msgspec.Struct, frozen=True, kw_only=True):
    """What a pick did, or would do."""

    branch: str  # without refs/heads/
    commits: tuple[tuple[str, str], ...]  # hash and subject, oldest first
    present: tuple[str, ...]  # labels of runs whose changes are there already
    clash: str = ""  # label of the run that does not apply
    conflicts: tuple[str, ...] = ()  # paths
    rest: tuple[str, ...] = ()  # labels of runs that wait behind it
    is_done: bool = False  # the branch has the commits
    is_left: bool = False  # a cherry-pick waits for a person
    notes: tuple[str, ...] = ()  # what a person should know


def pick(
    repo: Repository, campaign: Campaign, asked: Sequence[str], *, onto: str = "", squash: bool = False, is_trial: bool = False
) -> Pick:
    """Take runs home onto a branch ("": the one that is checked out). is_trial: say what would happen, and change nothing.

    Raises UserError, UnknownName, Busy, RepositoryError.
    """
    runs = list(dict.fromkeys(campaign.history.find(label).commit for label in asked))
    chosen = [campaign.history.by_commit[commit] for commit in runs]
    if not chosen:
        raise UserError("no run is named", hint="`evogit pick incumbent` takes the best one home")
    for run in chosen:
        _refuse(run, campaign.problem.primary.name)
    steps = _steps(repo, campaign, chosen)
    if squash:
        steps = _squashed(repo, campaign, chosen, steps)
    ref = picks.target(repo, onto)
    is_here = picks.is_here(repo, ref)
    for _ in range(TRIES):
        tip = refs.read(repo, ref) or ""
        before = picks.named(repo, tip, campaign.history.base, [step.author for step in steps])
        planned = picks.plan(repo, tip, [step for step in steps if step.author not in before])
        try:
            is_left = _carry_out(repo, ref, planned, is_here) if not is_trial else False
            break
        except RefMoved:
            continue
    else:
        raise UserError(f"{ref.removeprefix('refs/heads/')} moves all the time", hint="pick again when nobody works on it")
    return Pick(
        branch=ref.removeprefix("refs/heads/"),
        commits=tuple((c, step.message.partition("\n")[0]) for c, step in zip(planned.commits, planned.picked)),
        present=tuple(step.label for step in steps if step.author in before or step in planned.present),
        clash=planned.clash.label if planned.clash else "",
        conflicts=planned.conflicts,
        rest=tuple(step.label for step in planned.rest),
        is_done=not is_trial and (planned.clash is None or (is_here and not is_left)),
        is_left=is_left,
        notes=(*_notes(repo, campaign, chosen), *_carried(planned), *(_in_the_way(repo, ref, steps) if is_trial and is_here else ())),
    )


def _carry_out(repo: Repository, ref: str, planned: picks.Planned, is_here: bool) -> bool:
    """True if a conflict was left to the person. On a branch that is not checked out a conflict changes nothing."""
    if planned.clash is None:
        picks.settle(repo, ref, planned)
        return False
    return is_here and picks.leave(repo, planned)


def _refuse(run: Run, metric: str) -> None:
    if not run.generation:
        raise UserError(f"run {run.label} is the baseline: your code has it already", hint="`evogit leaderboard` lists what is better")
    if run.verdict in (Verdict.CRASH, Verdict.REJECT) or run.mean(metric) is None:
        hint = f"to have its code all the same: `git cherry-pick {run.commit[:12]}`"
        raise UserError(f"run {run.label} has no {metric}: nobody knows what it does", hint=hint)


def line_of(repo: Repository, campaign: Campaign, run: Run) -> list[Run]:
    """The run's line of first parents from the campaign's baseline on, oldest first, through earlier epochs."""
    known, found = campaign.history.by_commit, [run]
    while True:
        above = found[-1].parents[:1]
        if not above:  # a baseline: below its base stands the incumbent of the epoch before
            base = repo.parents(found[-1].commit)[:1]
            above = repo.parents(base[0])[:1] if base else ()
        if not above or above[0] not in known:
            return found[::-1]
        found.append(known[above[0]])


def _steps(repo: Repository, campaign: Campaign, runs: Sequence[Run]) -> list[Step]:
    """One step a kept run of their lines, those that they share once. A baseline is where a line begins, or another epoch."""
    done: dict[str, str] = {}  # run -> its tree with the frozen files of the campaign's beginning
    found: list[Step] = []
    for run in runs:
        line = line_of(repo, campaign, run)
        tree, last, carries = repo.tree_of(line[0].commit), line[0], []
        for each in line[1:]:
            if not (each.is_kept or each is run or not each.generation):
                carries.append(_carry(each))
                continue
            if each.commit not in done:
                done[each.commit] = _tree_after(repo, campaign, tree, last, each)
                if done[each.commit] != tree:
                    said = message(campaign, each, last, carries)
                    after = done[each.commit]
                    found.append(Step(before=tree, after=after, message=said, author=each.commit, label=each.label, carries=tuple(carries)))
            tree, last, carries = done[each.commit], each, []
    return found


def _carry(run: Run) -> str:
    """Which run, and why it has no commit of its own."""
    why = one_line(run.judged or run.reason, SUBJECT)
    verdict = run.verdict.value + (f"{' by' if run.judged else ':'} {why}" if why else "")
    return f"run {run.label}: {one_line(run.summary, SUBJECT)} ({verdict})"


def _tree_after(repo: Repository, campaign: Campaign, tree: str, last: Run, run: Run) -> str:
    """The tree before with the run's mutable files. Across epochs, mutable is what the later one's contract says."""
    problem = campaign.problem if run.epoch == campaign.history.epoch else campaign.under(run.commit).problem
    return picks.step_tree(repo, tree, last.commit, run.commit, lambda path: contract.is_mutable(problem, path))


def _squashed(repo: Repository, campaign: Campaign, runs: Sequence[Run], steps: Sequence[Step]) -> list[Step]:
    """All steps as one: their trees merged on top of the first one's. Raises UserError where the runs do not go together."""
    if not steps:
        return []
    base = repo.git.create_commit(None, repo.identity(), repo.identity(), "base\n", repo.tree(steps[0].before).id, [])
    planned = picks.plan(repo, str(base), steps)
    if planned.clash is not None:
        labels = " and ".join(run.label for run in runs)
        raise UserError(
            f"runs {labels} change the same lines of {planned.conflicts[0]}, so they do not make one commit",
            hint="pick one, or leave --squash away: then git shows the conflict",
        )
    after = repo.tree_of(planned.commits[-1]) if planned.commits else steps[0].before
    said = squashed_message(campaign, runs, steps)
    carries = tuple(words for step in steps for words in step.carries)
    return [Step(before=steps[0].before, after=after, message=said, author=runs[-1].commit, label=runs[-1].label, carries=carries)]


# messages -------------------------------------------------------------------------------------------------------------


def message(campaign: Campaign, run: Run, before: Run, carries: Sequence[str] = ()) -> str:
    """Subject: what was changed; then why, what was measured, what else is in it, and which run it was. No line of it is a trailer of evogit's."""
    if not run.generation:
        return f"{_subject(f'begin epoch {run.epoch}: {run.hypothesis}')}\n\n{_origin(run)}\n"
    parts = [
        _subject(run.summary),
        paragraphs(run.hypothesis),
        "\n".join(_numbers(campaign, run, before)),
        _joined(campaign, run),
        _also(carries),
        _origin(run),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def squashed_message(campaign: Campaign, runs: Sequence[Run], steps: Sequence[Step]) -> str:
    """The newest run's subject and hypothesis, its numbers beside the baseline's, and the steps that led there."""
    history, run = campaign.history, runs[-1]
    beginning = history.by_commit.get(history.baseline) if run.epoch == history.epoch else None
    listed = "\n".join(f"- {step.message.partition(chr(10))[0]} (run {step.label}, {step.author})" for step in steps)
    numbers = "\n".join(_numbers(campaign, run, beginning or run))
    carries = _also([words for step in steps for words in step.carries])
    parts = [_subject(run.summary), paragraphs(run.hypothesis), numbers, listed if len(steps) > 1 else "", carries]
    parts += [_origin(each) for each in runs]
    return "\n\n".join(part for part in parts if part) + "\n"


def _subject(text: str) -> str:
    """A subject that git keeps: one that begins with `#` would be a comment where a person continues a cherry-pick."""
    return one_line(text, SUBJECT).lstrip("# ") or "a change without a summary"


def _numbers(campaign: Campaign, run: Run, before: Run) -> list[str]:
    """A line a metric: mean, spread over seeds, and the same of the run before, where they may be compared."""
    found = []
    for metric in campaign.problem.metrics:
        values = run.readings.get(metric.name, ())
        mine, theirs = run.mean(metric.name), before.mean(metric.name) if before.epoch == run.epoch and before is not run else None
        if mine is None:
            continue
        spread = f" +- {number(std(values))}" if len(values) > 1 and std(values) > 0 else ""
        was = f", was {number(theirs)} in run {before.label}" if theirs is not None else ""
        found.append(
            f"{one_line(metric.name)} {number(mine)}{spread} (mean of {len(values)} {'seed' if len(values) == 1 else 'seeds'}){was}"
        )
    return found


def _joined(campaign: Campaign, run: Run) -> str:
    other = campaign.history.by_commit.get(run.parents[1]) if len(run.parents) > 1 else None
    return f"It brings in run {other.label}: {one_line(other.summary, SUBJECT)}" if other else ""


def _also(carries: Sequence[str]) -> str:
    return "\n".join(f"It also carries {words}" for words in carries)


def _origin(run: Run) -> str:
    worth = claim(run)
    return (
        f"This is run {run.label} of campaign {one_line(run.campaign)}, {run.verdict.value}"
        + (f", {worth}" if worth else "")
        + f": {run.commit}"
    )


def _notes(repo: Repository, campaign: Campaign, runs: Sequence[Run]) -> list[str]:
    """What a person should know: verdicts that say no, and frozen files that the numbers rest on and that stay behind."""
    said = [f"run {run.label} was discarded: {run.judged or run.reason}" for run in runs if run.verdict is Verdict.DISCARD]
    for run in runs:
        line = line_of(repo, campaign, run)
        begun = [each for each in line[1:] if not each.generation]
        if begun:
            first, last = line[0], begun[-1]
            problem = campaign.under(last.commit).problem
            diff = repo.tree(first.commit).diff_to_tree(repo.tree(last.commit))
            frozen = sorted(d.new_file.path for d in diff.deltas if not contract.is_mutable(problem, d.new_file.path))
            if frozen:
                more = f" and {len(frozen) - 1} more" if len(frozen) > 1 else ""
                said.append(f"{frozen[0]}{more} changed in epoch {last.epoch} and stay behind: pick takes mutable files alone")
    return list(dict.fromkeys(said))


def _carried(planned: picks.Planned) -> list[str]:
    """Runs that nobody kept, and whose changes come along."""
    ahead = [*planned.picked, *([planned.clash] if planned.clash else []), *planned.rest]
    return [f"the commit of run {step.label} also carries {words}" for step in ahead for words in step.carries]


def _in_the_way(repo: Repository, ref: str, steps: Sequence[Step]) -> list[str]:
    """For a dry run: uncommitted work that git would not overwrite."""
    dirty = sorted(set(checkout.dirty(repo, ref)) & picks.paths_of(repo, steps))
    return [f"uncommitted changes stand in the way: {', '.join(dirty[:3])}"] if dirty else []
