"""The bench that runs are made on: a campaign's books, its memory, the hands that were chosen, and the places they work.

It wires and caches; the story itself is told in `loop`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import datetime, timezone
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

import msgspec

from evogit import hiring, keys, registry, removal
from evogit.backends import sandbox
from evogit.domain.event import Event
from evogit.domain.options import LoopOptions
from evogit.domain.run import Judgement
from evogit.errors import EvogitError, UserError
from evogit.git import datasets, environment, visible
from evogit.git.campaign import Campaign
from evogit.git.environment import Environment
from evogit.git.repository import Repository
from evogit.git.workspace import Workspace
from evogit.ideabook import Ideabook, idea_warnings, reviews_of
from evogit.purse import Purse
from evogit.replaying import Replayer, replayer_of
from evogit.seams import Agent, Backend, Emitter, Policy, Reviewer
from evogit.search.memory import Memory
from evogit.search.warnings import warnings
from evogit.stages.execute import Place
from evogit.turns import Pace, Turn

if TYPE_CHECKING:
    from evogit.holdout_desk import Desk


def now() -> str:
    """This moment as ISO 8601 UTC, to the millisecond."""
    return datetime.now(timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class Bench:
    """Everything that a loop needs, opened once. `close` lets workspaces and the backend go."""

    FIRST = "0"  # workspace of a run that is in the air alone

    def __init__(self, campaign: Campaign, options: LoopOptions) -> None:
        self.campaign, self.options = campaign, options
        self.repo: Repository = campaign.repo
        self.turn = Turn()
        self.bell = threading.Event()  # rung when a hand that works beside the loop is ready
        self.pace = Pace()
        self.has_room: Callable[[], bool] = lambda: True  # False while as many trials run as may
        self.purse = Purse(options.max_cost, problem=campaign.problem, turn=self.turn)
        self.said = [(line, "mend that line, or take it out") for line in keys.load(self._key_folders())]  # for the person, once
        self.said += hiring.caveats(options)
        self.home = self.repo.cache / "campaigns" / quote(campaign.tag, safe="")
        self.memory = self._remember()
        self._judged = len(campaign.history.judgements)
        self.left = ""  # of the budget, in words, for those who propose
        self.mended: set[str] = set()  # runs whose crash a flight of this loop repairs
        self.desk: Desk | None = None  # takes looks at held-out data beside a night; None in an errand
        self._policies: dict[str, Policy] = {}
        self._warned: set[tuple[str, str]] = set()  # kinds of warnings, and what they were about, that this loop told
        self._warned_at = -1
        self._workspaces: dict[str, Workspace] = {}
        self._environments: dict[str, Environment] = {}
        self._data: str | None = None
        self._replays: dict[str, bool] = {}
        self._rest: list[Callable[[], None]] = []
        self._rubbish: list[Callable[[], None]] = []
        self._sweeper = ThreadPoolExecutor(max_workers=1, thread_name_prefix="evogit-sweeper")

    @cached_property
    def emitters(self) -> list[Emitter]:
        """The search roles, in the order of their turns."""
        return [registry.find("emitters", name)() for name in self.options.emitters or registry.names("emitters")]

    @property
    def policy(self) -> Policy:
        """Who chooses among them: as asked, else the problem's, else the default."""
        name = self.options.policy or self.campaign.problem.search.policy or registry.DEFAULT_POLICY
        if name not in self._policies:
            self._policies[name] = registry.find("policies", name)()
        return self._policies[name]

    @cached_property
    def agent(self) -> Agent:
        """The worker that edits."""
        return self.replayer or registry.make("agents", self.options.agent, self.options.agent_options, purse=self.purse)

    @cached_property
    def replayer(self) -> Replayer | None:
        """The agent that repeats another campaign, and its plans; None where the search plans."""
        found = Replayer.of(self.repo, self.options.agent)
        if found is not None and found.tag == self.campaign.tag:
            raise UserError(f"campaign {found.tag} cannot repeat itself", hint="begin another one: `evogit start`, then loop with --tag")
        return found

    @cached_property
    def reviewer(self) -> Reviewer:
        """Who interprets runs."""
        return registry.make("reviewers", self.options.reviewer, self.options.reviewer_options, purse=self.purse)

    @cached_property
    def stand_in(self) -> Reviewer:
        """Who interprets runs for nothing: what a gate refused is worth no money."""
        return registry.make("reviewers", registry.FREE_REVIEWER, {})

    @cached_property
    def knows_the_purse(self) -> frozenset[str]:
        """Those of "agent" and "reviewer" that reserve and settle what they pay; what the others paid is charged from their account."""
        asked = {"agent": self.options.agent, "reviewer": self.options.reviewer}
        made = {who: name for who, name in asked.items() if who != "agent" or self.replayer is None}
        return frozenset(who for who, name in made.items() if registry.takes(registry.find(f"{who}s", name), "purse"))

    def can_replay(self, agent: str) -> bool:
        """True if the agent of that name makes its proposals again from what is recorded."""
        if agent not in self._replays:
            self._replays[agent] = replayer_of(agent) is not None
        return self._replays[agent]

    def _key_folders(self) -> list[Path]:
        """Where a `.env` may lie: beside the problem, at the repository's top."""
        return [self.repo.top / self.campaign.problem.folder, self.repo.top]

    @cached_property
    def backend(self) -> Backend:
        """Where trials run. Raises UserError where its sandbox is less than is required."""
        problem = self.campaign.problem
        made = hiring.backend(self.options, problem, self.home / "jobs", self.repo.top / problem.folder)
        try:
            here = made.resources()
            level = str(here.get("sandbox", "none"))
            each = list((here.get("backends") or {"": here}).values())
            unfiltered = list(dict.fromkeys(str(one["unfiltered"]) for one in each if one.get("unfiltered")))
            sandbox.demand(problem.sandbox.require, level, *here.get("caveat", ())[:1], unfiltered="; ".join(unfiltered))
        except EvogitError:
            made.close()
            raise
        unheld = [one for one in each if one.get("sandbox", "none") == "none"]
        self.said += dict.fromkeys(one.get("caveat") or sandbox.warning() for one in unheld)
        self.said += map(sandbox.filter_warning, unfiltered)
        return made

    @property
    def rooms(self) -> list[Path]:
        """Folders of jobs, one a backend, of backends too that this loop does not use. Some may not be there."""
        return list(hiring.rooms(self.home / "jobs").values())

    def has_begun(self, job: str) -> bool:
        """True if a backend of this loop has a folder of the job of that key: it was asked to start it."""
        return any((self.home / "jobs" / name / job).is_dir() for name in hiring.places(self.options))

    def _remember(self) -> Memory:
        history = self.campaign.history
        self._told, self._revision = history.told, history.revision
        memory = Memory.of(self.campaign.problem, history.lessons(), self.campaign, history.incumbent)
        memory.ideas.has_reader = self.options.agent != registry.RULES
        for run in memory.pool():
            for review in reviews_of(self.repo, run.commit):  # the pool alone is asked: notes are one look-up each
                memory.advice[run.commit] = review.branch_recommendation
        self.book = Ideabook(self.repo, history, memory.ideas)
        self.heard = list(self.book.recall())  # why ideas were refused, for the person at the loop
        return memory

    def catch_up(self) -> None:
        """Teach memory what the ledger says since it was last told; all again where something was told differently."""
        history = self.campaign.history
        if history.revision != self._revision:
            self._remember_anew()
            return
        for lesson in history.lessons(self._told):
            self.memory.take(lesson)
        self.memory.follow(history.incumbent)
        self._told = history.told

    def _remember_anew(self) -> None:
        """Fold the whole ledger again; what is in the air stays known."""
        before = self.memory
        self.memory = self._remember()
        self.memory.pending = before.pending
        self.memory.ideas.inherit(before.ideas)

    def news(self) -> list[tuple[str, str]]:
        """Take in the ideas that people wrote down since. Returns what there is to say, and what to do about it, each thing once.

        That is, why an idea was refused, what memory warns of, and why trials wait on a backend that tells. A look at a ref unless a run
        was decided since.
        """
        found = idea_warnings((*self.heard, *self.book.look()), self.campaign.tag)
        self.heard = []
        if self._warned_at != self._told:
            self._warned_at = self._told
            found += warnings(self.memory, [e.name for e in self.emitters])
        new = [w for w in found if (w.kind, w.about) not in self._warned]
        self._warned.update((w.kind, w.about) for w in new)
        said, self.said = self.said, []
        if "backend" in self.__dict__:
            said = [*said, *getattr(self.backend, "news", list)()]
        return [*said, *((w.message, w.hint) for w in new)]

    def judgements(self) -> list[tuple[str, Judgement]]:
        """What people judged since this was asked last: label of the run, and the judgement."""
        new = self.campaign.history.judgements[self._judged :]
        self._judged += len(new)
        return new

    def begin_epoch(self) -> None:
        """A new epoch changes the problem: fold history again under its contract, prepare environment and data again."""
        self._remember_anew()
        self.purse.problem = self.campaign.problem
        self._environments.clear()
        self._data = None

    def is_quick(self, hand: Agent | Reviewer | Backend) -> bool:
        """True if a hand answers, or a backend starts a job, at once, so that it is asked in line; others in a thread of their own."""
        return getattr(hand, "is_quick", False)

    @cached_property
    def workers(self) -> int:
        """How many trials may run at once: what was asked for, or as many as the backend has room for."""
        if self.options.workers > 0:
            return self.options.workers
        from evogit.backends.fleet import room

        budget = self.campaign.problem.budget
        return room(self.backend.resources(), budget.cpus, budget.gpus)

    def expect(self) -> None:
        """Tell a backend that can make something ready how many trials may soon run at once."""
        getattr(self.backend, "expect", lambda count: None)(self.workers)

    def workspace(self, slot: str) -> Workspace:
        """The checkout of a slot; `ruler-<slot>` is where the locked ruler stands."""
        if slot not in self._workspaces:
            self._workspaces[slot] = Workspace.open(self.repo, self.campaign.tag, slot, owner=sandbox.user())
        return self._workspaces[slot]

    def environment(self, slot: str) -> Environment:
        """The prepared environment of a slot: made once per lock file, asked for at every trial."""
        if slot not in self._environments:
            workspace = self.workspace(slot)
            workspace.materialise(self.repo.tree_of(self.campaign.in_force))
            self._environments[slot] = environment.prepare(self.repo, self.campaign.problem, workspace, slot=slot)
        return self._environments[slot]

    def missing_imports(self, slot: str, modules: set[str]) -> set[str]:
        """Those top-level modules that the problem's environment cannot find."""
        cwd = self.workspace(slot).folder(self.campaign.problem.folder)
        return environment.importable(self.environment(slot), modules, cwd)

    def data_dir(self) -> str:
        """The problem's prepared data, "" if it declares none. The first call may take long: it runs `[data] prepare`.

        In a checkout of its own: in any other a trial may be at work that a killed loop started.
        """
        if self._data is None:
            data = self.campaign.problem.data
            is_declared = data.path or data.url or data.prepare
            self._data = (
                datasets.prepare(self.repo, self.campaign.problem, self.workspace("data"), self.environment("data")) if is_declared else ""
            )
        return self._data

    def trial_folder(self, trial: str) -> Path:
        """Where the jobs of one trial leave their artifacts until git has them."""
        return self.home / "trials" / trial

    def place(self, slot: str, trial: str, tree: str) -> Place:
        """A clean checkout of `tree` in a slot, and all that a job needs to know of it."""
        workspace, problem = self.workspace(slot), self.campaign.problem
        prepared, data = self.environment(slot), self.data_dir()
        workspace.materialise(tree)
        artifacts, records = (self.trial_folder(trial) / name for name in ("artifacts", "records"))
        for folder in (artifacts, records):
            folder.mkdir(parents=True, exist_ok=True)
        env = environment.base_env(prepared, workspace, problem)
        env |= {"TMPDIR": env["HOME"], "EVOGIT_IMPORTS_FILE": str(records / "imports.json")}
        ground = visible.Ground(
            repo=self.repo, problem=problem, workspace=workspace, environment=prepared, data_dir=data,
            artifacts=str(artifacts), records=str(records), is_ruler=slot.startswith("ruler-"),
        )  # fmt: skip
        return Place(
            checkout=str(workspace.root),
            cwd=str(workspace.folder(problem.folder)),
            artifact_dir=str(artifacts),
            data_dir=data,
            env=env,
            view=visible.view(ground),
            tree=tree,
        )

    def unseen(self, reason: str) -> str:
        """What to do where a trial failed at a file that is here, but that trials are not shown; "" if that is not it."""
        if self.backend.resources().get("sandbox", "none") == "none":
            return ""
        if path := visible.absent(reason):
            return f'{path} exists here, but trials do not see it: write it under [sandbox] read = ["{path}"] in evogit.toml'
        path = visible.forbidden(reason) if sandbox.user() >= 0 else ""
        return f"as root, trials run as user {sandbox.user()}, who may not read {path}: `chmod -R o+rX {path}`" if path else ""

    def forget_job(self, handle: str) -> None:
        """The job's outcome is safe in git: its folder goes with the next `sweep`."""
        self._rubbish.append(lambda: self.backend.forget(handle))

    def forget_found(self, key: str) -> None:
        """The same for a job whose handle nobody has: who started it was killed."""
        self._rubbish.append(lambda: self._forget_found(key))

    def _forget_found(self, key: str) -> None:
        if handle := self.backend.find(key):
            self.backend.forget(handle)

    def forget_trial(self, trial: str) -> None:
        """The trial is recorded: what it left outside git goes with the next `sweep`."""
        self._rubbish.append(lambda: removal.discard(self.trial_folder(trial)))

    def defer(self, rest: Callable[[], None]) -> None:
        """What a recorded run has left to do, and nobody waits for: it is done by `settle`, and by recovery if that never comes."""
        self._rest.append(rest)

    def settle(self) -> None:
        """Do what was deferred, in its order: the tip follows the branch, flights of recorded runs go."""
        rest, self._rest = self._rest, []
        for do in rest:
            do()

    def sweep(self) -> None:
        """Have what was forgotten removed by a thread: folders are slow to remove (7 ms a run were measured) and nobody waits for it."""
        rubbish, self._rubbish = self._rubbish, []
        for remove in rubbish:
            self._sweeper.submit(remove)

    def sweep_leftovers(self, trials: Collection[str], jobs: Collection[str]) -> None:
        """At the start of a loop: folders that a killed one left, of trials and jobs that no flight speaks of."""
        for place, known in ((self.home / "trials", trials), *((room, jobs) for room in self.rooms)):
            for folder in place.iterdir() if place.is_dir() else ():
                if folder.name not in known and folder.is_dir():
                    removal.discard(folder)

    def close(self) -> None:
        """Running jobs go on; everything else is let go. What cannot be settled now is left to the next loop's recovery."""
        with suppress(EvogitError, OSError):
            self.settle()
        if self.desk is not None:
            self.desk.close()
        self.sweep()
        self._sweeper.shutdown(wait=True)
        if "backend" in self.__dict__:
            self.backend.close()
        for workspace in self._workspaces.values():
            workspace.close()


def require_smoke(bench: Bench) -> None:
    """`--smoke` needs a smoke command. Raises UserError."""
    if bench.options.smoke and not bench.campaign.problem.smoke:
        raise UserError("the problem declares no smoke command", hint='add `smoke = "..."` under [problem], or leave out --smoke')


def stamp(event: Event) -> Event:
    """The event with the time on it."""
    return msgspec.structs.replace(event, time=now())
