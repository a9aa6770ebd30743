"""One campaign's books together: its history, the problem at its incumbent, and the mutable files of any run.

It reads; of refs it moves only those that begin a campaign. It judges nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import date
from pathlib import Path

from evogit import problem as contract
from evogit.domain.problem import Problem
from evogit.errors import RepositoryError, UnknownName, UserError
from evogit.git import flights, ledger, messages, refs, snapshot, wholeness
from evogit.git.history import History
from evogit.git.repository import Repository

FROZEN_CAP = 1 << 20  # bytes of frozen sources that are looked at
SOURCES_KEPT = 64  # trees whose mutable files stay in memory: a parent is asked for again and again


class TreeFiles:
    """Files of a git tree, as `problem.load_from` reads them."""

    def __init__(self, repo: Repository, tree: str) -> None:
        self._repo, self._tree = repo, repo.tree(tree)

    def read(self, path: str) -> bytes | None:
        """Bytes of a file, None if there is none."""
        return self._repo.blob(str(self._tree.id), path)

    def listing(self) -> list[str]:
        """Every path of the tree, folders left out. O(files)."""
        return list(_paths(self._repo, str(self._tree.id), ""))


def _paths(repo: Repository, tree: str, below: str) -> Iterable[str]:
    for entry in repo.tree(tree):
        path = f"{below}{entry.name}"
        if entry.type_str == "tree":
            yield from _paths(repo, str(entry.id), f"{path}/")
        elif entry.type_str == "blob":
            yield path


class Campaign:
    """An open campaign. `refresh` takes in what other processes wrote."""

    def __init__(self, repo: Repository, history: History, problem: Problem) -> None:
        self.repo, self.history, self.problem = repo, history, problem
        self._sources: dict[str, dict[str, str]] = {}
        self._mutable: dict[str, list[str]] = {}
        self._frozen: tuple[str, dict[str, str]] = ("", {})

    @classmethod
    def open(cls, repo: Repository, tag: str, fallback: Callable[[], Path] | None = None) -> Campaign:
        """Read the campaign's history and its problem. Raises UnknownName, ProblemError, RepositoryError (damaged by a crash).

        fallback: the problem's folder in the work tree, asked for where neither a decided run nor a flight names one.
        """
        wholeness.check_after_restart(repo)
        history = snapshot.read(repo, tag)
        folder = history.problem_folder if history.runs else folder_in_flight(repo, tag)
        if folder is None:
            below = fallback().relative_to(repo.top).as_posix() if fallback else "."
            folder = "" if below == "." else below
        return cls(repo, history, _contract(repo, in_force(repo, history), folder))

    @property
    def tag(self) -> str:
        """The campaign's name, without `autoresearch/`."""
        return self.history.tag

    @property
    def in_force(self) -> str:
        """Hash of the commit whose frozen files hold now."""
        return in_force(self.repo, self.history)

    def read_anew(self) -> None:
        """The history from the branch itself, whatever is kept of it."""
        self.history = History.at(self.repo, self.tag, self.history.tip)

    def under(self, commit: str) -> Campaign:
        """The same books under the contract as that commit has it. Raises ProblemError."""
        return Campaign(self.repo, self.history, _contract(self.repo, commit, self.problem.folder))

    def reload_problem(self) -> None:
        """Read the contract again: a new epoch began. Raises ProblemError."""
        self.problem = _contract(self.repo, self.in_force, self.problem.folder)
        self._sources.clear()
        self._mutable.clear()
        self._frozen = ("", {})

    def mutable_paths(self, tree: str) -> list[str]:
        """Repository paths of a tree's mutable files, sorted. Named files cost a look-up each, globs a walk of the folder."""
        folder = self.problem.folder
        if not any(c in glob for glob in self.problem.mutable for c in "*?["):
            names = [f"{folder}/{glob}" if folder else glob for glob in self.problem.mutable]
            return sorted(name for name in names if self.repo.blob(tree, name) is not None)
        known = self._mutable.get(tree)
        if known is None:
            below = self.repo.tree(tree)
            try:
                root = below[folder] if folder else below
            except KeyError:
                raise UnknownName(f"the problem's folder {folder!r} is not in this commit", hint="`evogit doctor`") from None
            prefix = f"{folder}/" if folder else ""
            known = contract.mutable_paths(self.problem, _paths(self.repo, str(root.id), prefix))
            self._mutable = {**dict(list(self._mutable.items())[-SOURCES_KEPT:]), tree: known}
        return known

    def sources(self, commit: str) -> dict[str, str]:
        """Mutable files of a commit: path below the problem's folder -> text. Undecodable bytes become replacement characters."""
        return self.sources_of_tree(self.repo.tree_of(commit))

    def sources_of_tree(self, tree: str) -> dict[str, str]:
        """The same of a tree. Those asked for last are kept: treat them as frozen."""
        found = self._sources.pop(tree, None)
        if found is None:
            cut = len(self.problem.folder) + 1 if self.problem.folder else 0
            files = ((path, self.repo.blob(tree, path)) for path in self.mutable_paths(tree))
            found = {path[cut:]: data.decode("utf-8", "replace") for path, data in files if data is not None}
            if len(self._sources) >= SOURCES_KEPT:
                self._sources.pop(next(iter(self._sources)))
        self._sources[tree] = found
        return found

    def frozen_sources(self) -> dict[str, str]:
        """Frozen Python of the problem's folder as the contract in force has it: path below that folder -> text. 1 MiB at most, the top first.

        Read once a tree: treat it as frozen.
        """
        tree = self.repo.tree_of(self.in_force)
        if self._frozen[0] != tree:
            folder = self.problem.folder
            prefix = f"{folder}/" if folder else ""
            below = self.repo.tree(tree)
            paths = _paths(self.repo, str((below[folder] if folder else below).id), prefix)
            named = [path for path in paths if path.endswith(".py") and not contract.is_mutable(self.problem, path)]
            found: dict[str, str] = {}
            left = FROZEN_CAP
            for path in sorted(named, key=lambda path: (path.count("/"), path)):
                data = self.repo.blob(tree, path) or b""
                if len(data) <= left:
                    left -= len(data)
                    found[path[len(prefix) :]] = data.decode("utf-8", "replace")
            self._frozen = (tree, found)
        return self._frozen[1]

    def strayed(self, tree: str) -> list[str]:
        """Frozen paths in which a tree differs from the epoch's baseline; [] before there is one. A walk of what differs."""
        baseline = self.history.baseline
        if not baseline or not self.repo.exists(baseline):
            return []
        diff = self.repo.tree(self.repo.tree_of(baseline)).diff_to_tree(self.repo.tree(tree))
        paths = {side.path for delta in diff.deltas for side in (delta.old_file, delta.new_file) if side.path}
        return sorted(path for path in paths if not contract.is_mutable(self.problem, path))

    def goal(self, commit: str) -> str:
        """Text of the goal file, "" if the problem has none."""
        name = self.problem.goal
        if not name:
            return ""
        path = f"{self.problem.folder}/{name}" if self.problem.folder else name
        return (self.repo.blob(commit, path) or b"").decode("utf-8", "replace")

    def contract_beside(self) -> str:
        """Path of the problem's file in the user's checkout, if that was changed to what this campaign never had; "" otherwise.

        A checkout that is as it was when the campaign left it has nothing to say. 0.1 ms an epoch.
        """
        path = f"{self.problem.folder}/{contract.FILE}" if self.problem.folder else contract.FILE
        here = contract.DiskFiles(self.repo.top).read(path)
        begun = [run.commit for run in self.history.runs if run.generation == 0]
        ours = {self.repo.blob(commit, path) for commit in (*begun, self.in_force, self.history.tip, *self._left_at())}
        plain = {(data or b"").replace(b"\r\n", b"\n") for data in ours}
        return path if here is not None and here.replace(b"\r\n", b"\n") not in plain else ""

    def _left_at(self) -> list[str]:
        """The commit where the campaign left the history that is checked out; [] where they have none in common."""
        git = self.repo.git
        found = None if git.head_is_unborn else git.merge_base(git.head.target, self.history.tip)
        return [str(found)] if found is not None else []

    def check_not_rewritten(self) -> None:
        """The branch must descend from where evogit last left it. Raises RepositoryError that says how to restore it."""
        mine, branch = refs.read(self.repo, refs.tip(self.tag)), refs.read(self.repo, refs.branch(self.tag))
        if mine is None or branch is None or mine == branch or (self.repo.exists(branch) and mine in self.repo.parents(branch)):
            return  # one step on is where the loop itself leaves them; asking for ancestry may walk the whole ledger
        if not self.repo.exists(mine) or not self.repo.git.descendant_of(branch, mine):
            name = refs.branch(self.tag)
            raise RepositoryError(
                f"autoresearch/{self.tag} was rewritten: it no longer contains {mine[:12]}, where evogit left it",
                hint=f"to restore it: `git update-ref {name} {refs.tip(self.tag)}` (your version stays in `git reflog {name}`)",
            )


def in_force(repo: Repository, history: History) -> str:
    """The commit that holds the contract in force: the incumbent; while an epoch's baseline is measured, that; the tip before run 0 is decided.

    What a person changed at the tip holds once its epoch is open, not before: flights in the air began under the old contract.
    """
    if history.baseline and history.baseline not in history.by_commit:
        return history.baseline if repo.exists(history.baseline) else history.tip
    return history.incumbent or history.tip


def _contract(repo: Repository, commit: str, folder: str) -> Problem:
    return contract.load_from(TreeFiles(repo, repo.tree_of(commit)), folder, top_name=repo.top.name)


def folder_in_flight(repo: Repository, tag: str) -> str | None:
    """The problem's folder as run 0's commit names it while it is still in flight; None if there is no such flight."""
    for stored in flights.listing(repo, tag):
        if stored.flight.kind == "baseline" and stored.flight.candidate is not None:
            commit = ledger.commit(repo, stored.flight.candidate.commit)
            said = messages.parse_run(commit.text, commit.hash)
            return said.baseline.problem if said.baseline else None
    return None


def new_tag(repo: Repository, problem: Problem, today: date) -> str:
    """A name for a new campaign: `nov20`, `nov20-digits` if that is taken, then `nov20-digits-2` and so on."""
    taken = set(refs.campaigns(repo))
    day = f"{today:%b}".lower() + f"{today.day:02d}"
    slug = "".join(c if c.isalnum() and c.isascii() else "-" for c in problem.name.lower()).strip("-") or "problem"
    names = [day, f"{day}-{slug}", *(f"{day}-{slug}-{n}" for n in range(2, 1000))]
    free = (name for name in names if not any(t == name or t.startswith(f"{name}/") for t in taken))
    return next(name for name in free if refs.read(repo, refs.tip(name)) is None and refs.read(repo, refs.archive(name)) is None)


def check_new_tag(repo: Repository, tag: str) -> None:
    """Refuse a name that exists, or that git would refuse. Raises UserError."""
    import pygit2

    if not tag or not pygit2.reference_is_valid_name(refs.branch(tag)) or tag.startswith("-"):
        raise UserError(f"{tag!r} cannot be a campaign's name", hint="letters, digits and dashes make a good one: `evogit start nov20`")
    if tag == refs.RESERVED or tag.startswith(f"{refs.RESERVED}/"):
        raise UserError(f"{tag!r} is where archived campaigns are kept", hint="choose another name")
    if refs.read(repo, refs.archive(tag)) is not None:
        raise UserError(f"campaign {tag} is archived", hint=f"to have it back: `evogit prune --restore {tag}`; or choose another name")
    if tag in refs.campaigns(repo):
        raise UserError(f"campaign {tag} exists already", hint=f"go on with it: `evogit loop --tag {tag}`, or choose another name")
    if refs.read(repo, refs.tip(tag)) is not None:
        raise UserError(
            f"campaign {tag} was here before: its branch is gone, its other refs are not",
            hint=f"to restore it: `git branch autoresearch/{tag} {refs.tip(tag)}`; or choose another name",
        )
    clash = next((t for t in refs.campaigns(repo) if t.startswith(f"{tag}/") or tag.startswith(f"{t}/")), None)
    if clash:
        raise UserError(f"git cannot hold {tag} beside {clash}: one is a folder of the other", hint="choose another name")
