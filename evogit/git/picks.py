"""Taking runs home: clean commits made of a run's line of descent, put on top of a branch by three-way merges.

Without a conflict nothing is written but objects, and then one ref. A conflict is shown, or left to the person in their checkout as
`git cherry-pick` leaves it. It never overwrites uncommitted work, and it picks mutable files alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import islice
from pathlib import Path

import msgspec
import pygit2

from evogit.errors import RefMoved, UserError
from evogit.git import checkout, objects, porcelain, refs
from evogit.git.repository import Repository

LOOK_BACK = 2000  # commits
_UNDER_WAY = {
    "CHERRY_PICK_HEAD": "cherry-pick",
    "MERGE_HEAD": "merge",
    "REVERT_HEAD": "revert",
    "rebase-merge": "rebase",
    "rebase-apply": "rebase",
    "sequencer": "cherry-pick",
}


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """One commit to be: what differs between two trees, said in a message, by the author of a commit."""

    before: str  # tree
    after: str  # tree
    message: str
    author: str  # commit whose author and time it gets
    label: str  # of the run, for people
    carries: tuple[str, ...] = ()  # of runs without a commit of their own that are within it: which, and why not


class Planned(msgspec.Struct, frozen=True, kw_only=True):
    """What steps come to on top of a commit, as far as the first conflict."""

    onto: str  # commit
    commits: tuple[str, ...]  # written, and reachable from nowhere yet
    picked: tuple[Step, ...]  # the steps that those are of
    present: tuple[Step, ...]  # steps that change nothing: their changes are there already
    clash: Step | None = None  # the first one that does not apply
    conflicts: tuple[str, ...] = ()  # paths in which it does not
    rest: tuple[Step, ...] = ()  # what comes after it


def step_tree(repo: Repository, tree: str, before: str, after: str, is_wanted: Callable[[str], bool]) -> str:
    """`tree` with what differs between the trees of two commits, in files for which `is_wanted(path)` is true."""
    diff = repo.tree(before).diff_to_tree(repo.tree(after))
    paths = {file.path for delta in diff.deltas for file in (delta.old_file, delta.new_file) if file.path and is_wanted(file.path)}
    new = repo.tree(after)
    return objects.put_paths(repo, tree, {path: str(new[path].id) if path in new else None for path in paths})


def plan(repo: Repository, onto: str, steps: Sequence[Step]) -> Planned:
    """The steps as commits on top of commit `onto`, by three-way merges in memory; it ends at the first conflict. 1 ms a step."""
    commits: list[str] = []
    picked: list[Step] = []
    present: list[Step] = []
    tip = onto
    for number, step in enumerate(steps):
        tree, conflicts = _applied(repo, repo.tree_of(tip), step)
        if conflicts:
            found = {"clash": step, "conflicts": tuple(sorted(conflicts)), "rest": tuple(steps[number + 1 :])}
            return Planned(onto=onto, commits=tuple(commits), picked=tuple(picked), present=tuple(present), **found)
        if tree == repo.tree_of(tip):
            present.append(step)
            continue
        tip = _commit(repo, tree, tip, step)
        commits.append(tip)
        picked.append(step)
    return Planned(onto=onto, commits=tuple(commits), picked=tuple(picked), present=tuple(present))


def _applied(repo: Repository, ours: str, step: Step) -> tuple[str, list[str]]:
    """(tree, paths in conflict). Renames are not followed: a file is its path, as in a recombination."""
    index = repo.git.merge_trees(repo.tree(step.before), repo.tree(ours), repo.tree(step.after), flags=pygit2.enums.MergeFlag(0))
    conflicts = [next(side.path for side in sides if side is not None) for sides in index.conflicts or ()]
    return ("", conflicts) if conflicts else (str(index.write_tree(repo.git)), [])


def _commit(repo: Repository, tree: str, parent: str, step: Step) -> str:
    author = repo.commit(step.author).author
    return str(repo.git.create_commit(None, author, repo.identity(), step.message, pygit2.Oid(hex=tree), [pygit2.Oid(hex=parent)]))


def paths_of(repo: Repository, steps: Sequence[Step]) -> set[str]:
    """Every path that the steps touch."""
    diffs = (repo.tree(step.before).diff_to_tree(repo.tree(step.after)) for step in steps)
    return {file.path for diff in diffs for delta in diff.deltas for file in (delta.old_file, delta.new_file) if file.path}


def named(repo: Repository, tip: str, base: str, hashes: Sequence[str]) -> set[str]:
    """Those hashes that commits of `tip` name in their messages: what was picked before. It looks at the newest 2,000 beyond `base`."""
    walker = repo.git.walk(pygit2.Oid(hex=tip))
    walker.hide(pygit2.Oid(hex=base))
    text = "\n".join(commit.message for commit in islice(walker, LOOK_BACK))
    return {name for name in hashes if name in text}


# where to -------------------------------------------------------------------------------------------------------------


def target(repo: Repository, asked: str) -> str:
    """Full name of the branch that is meant: the one that is checked out where none is named. Raises UserError."""
    if not asked:
        if repo.git.head_is_detached:
            hint = "name a branch with --onto, or make one here: `git switch -c NAME`"
            raise UserError("HEAD is detached: commits picked here would be on no branch", hint=hint)
        ref = str(repo.git.lookup_reference("HEAD").target)
    else:
        ref = f"refs/heads/{asked.removeprefix('refs/heads/')}"
    name = ref.removeprefix("refs/heads/")
    if ref.startswith(refs.BRANCHES):
        hint = "name another one: `--onto main`"
        raise UserError(f"{name} is a campaign's own branch: what is committed there is measured as a run", hint=hint)
    if refs.read(repo, ref) is None:
        known = ", ".join(sorted(b for b in repo.git.branches.local if not b.startswith("autoresearch/"))[:8])
        where = repo.resolve(name)
        hint = f"`git branch {name.rpartition('/')[2]} {name}` makes one there" if where else f"`git branch {name}` makes it"
        raise UserError(f"there is no branch {name!r}" + (f"; there are: {known}" if known else ""), hint=hint)
    return ref


def under_way(repo: Repository) -> str:
    """A merge, rebase or the like that a person began in this work tree and has not ended; "" if there is none."""
    own = Path(repo.git.path)
    return next((what for name, what in _UNDER_WAY.items() if (own / name).exists()), "")


def is_here(repo: Repository, ref: str) -> bool:
    """True if the branch is checked out in the work tree that we were opened from. Raises UserError if it is in another one."""
    folders = checkout.view_paths(repo, ref)
    if folders and repo.top not in folders:
        name = ref.removeprefix("refs/heads/")
        raise UserError(f"{name} is checked out in {folders[0]}", hint=f"pick there: `evogit -C {folders[0]} pick ...`")
    return bool(folders)


# doing it -------------------------------------------------------------------------------------------------------------


def settle(repo: Repository, ref: str, planned: Planned) -> None:
    """Put the planned commits on the branch. Where it is checked out here, files follow; uncommitted work in the way is a UserError.

    Raises RefMoved if the branch moved meanwhile. A plan with a conflict is not settled: see `leave`.
    """
    if not planned.commits:
        return
    new = planned.commits[-1]
    if not is_here(repo, ref):
        refs.move(repo, ref, new, planned.onto, "evogit: pick")
        return
    _refuse_unfinished(repo)
    if refs.read(repo, ref) != planned.onto:
        raise RefMoved(ref)
    done = porcelain.attempt(repo, "merge", "--ff-only", "--quiet", new, as_user=True, env={"GIT_REFLOG_ACTION": "evogit: pick"})
    if done.status != 0:
        raise UserError(f"git does not take the step: {_in_the_way(done)}", hint="commit or stash them (`git stash`), then pick again")


def leave(repo: Repository, planned: Planned) -> bool:
    """Run `git cherry-pick` over all steps in this work tree: it stops at the conflict, which is the person's to resolve.

    False if it did not stop: git, which follows renames, found none.

    Raises UserError where uncommitted work stands in the way; nothing has changed then.
    """
    _refuse_unfinished(repo)
    line = [_standalone(repo, step) for step in (*planned.picked, planned.clash, *planned.rest) if step is not None]
    done = porcelain.attempt(repo, "cherry-pick", *line, as_user=True)
    if done.status != 0 and not under_way(repo):
        raise UserError(f"git does not begin: {_in_the_way(done)}", hint="commit or stash what stands in the way, then pick again")
    return done.status != 0


def _standalone(repo: Repository, step: Step) -> str:
    """A commit that says the step to git: its parent has the tree before, it has the tree after."""
    me = repo.identity()
    parent = repo.git.create_commit(None, me, me, "before the step\n", pygit2.Oid(hex=step.before), [])
    return _commit(repo, step.after, str(parent), step)


def _refuse_unfinished(repo: Repository) -> None:
    what = under_way(repo)
    if what:
        hint = f"end it first: `git {what} --continue`, or `git {what} --abort`"
        raise UserError(f"a {what} is under way in {repo.top}", hint=hint)


def _in_the_way(done: porcelain.Done) -> str:
    """git's complaint with the first file that it names."""
    files = [line.strip() for line in done.stderr.splitlines() if line.startswith("\t")]
    return done.complaint + (f" {files[0]}" if files else "")
