"""The lab: open a repository, find the campaign, wire the parts. The only door that faces use, and the public Python API.

>>> lab = Lab.open(".", tag="nov20")
>>> for event in lab.loop(LoopOptions(max_runs=10)): print(event)
>>> lab.frontier()

It decides nothing itself. Reading needs no loop and disturbs none.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from datetime import date
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from evogit import keys, present, registry, views
from evogit import problem as contract
from evogit.domain.moment import seconds_of_age, seconds_of_moment
from evogit.domain.options import LoopOptions
from evogit.domain.problem import Problem
from evogit.domain.proposal import Proposal
from evogit.domain.report import Finding, InFlight, RunDetail, Started, Status
from evogit.domain.run import Run
from evogit.driven import Driven
from evogit.errors import UnknownName, UserError
from evogit.git import artifacts, flights, refs, wholeness
from evogit.git.campaign import Campaign, check_new_tag, new_tag
from evogit.git.locks import loop_holder
from evogit.git.repository import Repository
from evogit.harvested import Harvested
from evogit.ideabook import reviews_of
from evogit.learnt import Learnt
from evogit.peeking import Peeking
from evogit.reread import Reread
from evogit.steering import Steered
from evogit.withheld import Withheld

if TYPE_CHECKING:
    from evogit.bench import Bench
    from evogit.domain.event import Event
    from evogit.domain.metric import Metric
    from evogit.stopping import Stopper


WHEN = "say a run (12, incumbent), a date (2026-11-29, 2026-11-29T23:00+01:00; UTC where it names no offset) or an age (12h, 30d, 2w)"


class Lab(Learnt, Driven, Reread, Withheld, Harvested, Steered, Peeking):
    """One repository, one problem, one campaign at a time. Open it anew to see another campaign, and one for each thread."""

    def __init__(self, repo: Repository, where: Path, problem: str | None, tag: str | None) -> None:
        self.repo, self._where, self._problem_asked, self._tag_asked = repo, where, problem, tag
        self._opened: dict[str, Campaign] = {}

    @classmethod
    def open(cls, path: str | Path = ".", *, problem: str | None = None, tag: str | None = None) -> Lab:
        """Find the repository around `path`. Problem and campaign are looked for when they are needed. Raises RepositoryError."""
        where = Path(path)
        if not where.is_dir():
            raise UserError(f"{where} is not a folder", hint="name a folder inside a git repository")
        return cls(Repository.open(where), where.resolve(), problem, tag)

    # where we are ----------------------------------------------------------------------------------------------------

    @property
    def repo_top(self) -> Path:
        """Top of the work tree."""
        return self.repo.top

    @cached_property
    def problem_folder(self) -> Path:
        """The problem's folder in the work tree. Raises UserError if there is none, or several."""
        asked = self._problem_asked
        start = (self._where / asked).resolve() if asked else self._where
        if asked and not start.is_dir():
            raise UserError(f"{asked} is not a folder", hint="`--problem DIR` names the folder that holds evogit.toml")
        return contract.find(start, self.repo.top)

    @cached_property
    def tag(self) -> str:
        """The campaign: as asked, else the current branch's, else the problem's newest. Raises UnknownName."""
        known = refs.campaigns(self.repo)
        if self._tag_asked:
            tag = self._tag_asked.removeprefix("refs/heads/").removeprefix("autoresearch/")
            if tag not in known and tag in self.archived():
                raise UnknownName(f"campaign {tag} is archived", hint=f"to have it back: `evogit prune --restore {tag}`")
            if tag not in known:
                raise UnknownName(f"there is no campaign {tag!r} here", hint=self._campaigns_hint(known))
            return tag
        tag = self._find_tag(known)
        if tag is None:
            raise UnknownName("there is no campaign yet", hint="start one with `evogit start`, or start and run it with `evogit loop`")
        return tag

    @staticmethod
    def _campaigns_hint(known: Sequence[str]) -> str:
        return f"there are: {', '.join(known)}" if known else "start one with `evogit start TAG`"

    def _find_tag(self, known: Sequence[str]) -> str | None:
        """The campaign whose branch is checked out, else the problem's whose branch moved last. A problem that was asked for comes first."""
        if not self.repo.git.head_is_unborn and not self.repo.git.head_is_detached:
            tag = self.repo.git.head.name.removeprefix(refs.BRANCHES)
            if tag in known and (not self._problem_asked or self._is_mine(tag)):
                return tag
        wholeness.check_after_restart(self.repo)
        times = {tag: self.repo.commit(refs.read(self.repo, refs.branch(tag)) or "").commit_time for tag in known}
        newest = sorted(known, key=lambda tag: (times[tag], tag), reverse=True)
        return next((tag for tag in newest if self._is_mine(tag)), None)

    def _is_mine(self, tag: str) -> bool:
        """True if the campaign is about the problem that is meant here; where several could be meant, about any."""
        try:
            folder = self.problem_folder.relative_to(self.repo.top).as_posix()
        except UserError:
            if self._problem_asked:
                raise
            return True
        return self._open_campaign(tag).problem.folder == ("" if folder == "." else folder)

    def _open_campaign(self, tag: str) -> Campaign:
        if tag not in self._opened:
            self._opened[tag] = Campaign.open(self.repo, tag, fallback=lambda: self.problem_folder)
        return self._opened[tag]

    @cached_property
    def campaign(self) -> Campaign:
        """The campaign's books, read once; `refresh` takes in what was written since."""
        return self._open_campaign(self.tag)

    @property
    def has_campaign(self) -> bool:
        """True if there is one to read, or one was asked for by name (which may turn out not to exist)."""
        return "campaign" in self.__dict__ or bool(self._tag_asked) or self._find_tag(refs.campaigns(self.repo)) is not None

    def refresh(self) -> list[Run]:
        """Runs that were decided since the books were read. O(new runs)."""
        return self.campaign.history.advance(self.repo, refs.read(self.repo, refs.branch(self.tag)) or "")

    @property
    def problem(self) -> Problem:
        """The campaign's problem, or the folder's where there is no campaign yet."""
        if self.has_campaign:
            return self.campaign.problem
        return contract.load(self.problem_folder, self.repo.top)

    @property
    def metric(self) -> Metric:
        """The primary metric."""
        return self.problem.primary

    def campaigns(self) -> list[str]:
        """Tags of all campaigns here, sorted."""
        return refs.campaigns(self.repo)

    # doing -----------------------------------------------------------------------------------------------------------

    def start(self, tag: str | None = None, *, today: date | None = None) -> Started:
        """Make the campaign's branch at HEAD, and run 0's flight. The checkout is not touched. Raises UserError."""
        from evogit import starting

        problem = contract.load(self.problem_folder, self.repo.top)
        tag = (tag or new_tag(self.repo, problem, today or date.today())).removeprefix("autoresearch/")
        check_new_tag(self.repo, tag)
        self._tag_asked = tag
        self.__dict__.pop("tag", None)
        self.__dict__.pop("campaign", None)
        return starting.start(self.repo, problem, tag)

    @cached_property
    def stopper(self) -> Stopper:
        """For `loop(stop=lab.stopper)` and a signal handler: request() once lets running trials finish, twice cancels them."""
        from evogit.stopping import Stopper

        return Stopper()

    def loop(self, options: LoopOptions, stop: Stopper | None = None) -> Iterator[Event]:
        """Run the campaign, starting one where none is. Yields events as they happen. Raises Busy, UserError, WorkFailed, ServiceDown."""
        from evogit import hiring
        from evogit.replaying import Replayer
        from evogit.scheduler import Loop

        self._load_keys()
        hiring.check(options, self._contracts(), asks_agent=Replayer.of(self.repo, options.agent) is None)
        self._at_work = self._bench(options)
        yield from Loop(self._at_work, stop).run()

    def measure(
        self, *, parent: str | None, hypothesis: str, message: str, options: LoopOptions, stop: Stopper | None = None
    ) -> Iterator[Event]:
        """The working tree's mutable files as a run of a person's own, on top of `parent` (default: the incumbent)."""
        from evogit import starting
        from evogit.scheduler import Loop

        bench = self._bench(options)
        yield from Loop(bench, stop).run_one(
            lambda: starting.person_voyage(bench, parent or "", Proposal(summary=message, hypothesis=hypothesis))
        )

    def _load_keys(self) -> None:
        """What a `.env` says, before hands are made to see whether they lack a key. What cannot be read of it the loop tells."""
        keys.load([self.repo.top / self.problem.folder, self.repo.top])

    def _contracts(self) -> list[Problem]:
        """The contract that holds, and the one at the branch's tip, whose epoch the next loop opens."""
        if not self.has_campaign:
            return [self.problem]
        self.refresh()
        return [self.problem, self.campaign.under(self.campaign.history.tip).problem]

    def _ensure_campaign(self) -> None:
        if not self.has_campaign:
            self.start()

    def _bench(self, options: LoopOptions) -> Bench:
        from evogit import hiring
        from evogit.bench import Bench

        self._load_keys()
        registry.check("reviewers", options.reviewer, options.reviewer_options)
        hiring.places(options)
        self._ensure_campaign()
        self.refresh()
        return Bench(self.campaign, options)

    # reading ---------------------------------------------------------------------------------------------------------

    def runs(self, *, verdict: str = "", emitter: str = "", since: str = "", grep: str = "", limit: int = 0) -> list[Run]:
        """Decided runs, oldest first. since: a moment, an age, or a run; grep: text in summary or hypothesis, case ignored; limit: the newest n.

        A moment is ISO 8601, UTC where it names no offset; an age is `12h`, `30d` or `2w`. Raises UnknownName where `since` is none of these.
        """
        found = self._since(since) if since else self.campaign.history.runs
        needle = grep.casefold()
        found = [
            r
            for r in found
            if (not verdict or r.verdict.value == verdict)
            and (not emitter or r.emitter == emitter)
            and (not needle or needle in f"{r.summary}\n{r.hypothesis}".casefold())
        ]
        return found[-limit:] if limit else list(found)

    def _since(self, when: str) -> list[Run]:
        """Runs that began at a moment or later, or were decided after a run. Whole seconds, as a run's own beginning is told."""
        runs, age = self.campaign.history.runs, seconds_of_age(when)
        moment = time.time() - age if age is not None else seconds_of_moment(when)
        if moment is not None:
            return [r for r in runs if (seconds_of_moment(r.started) or 0.0) >= moment]
        try:
            after = self.campaign.history.find(when).seq
        except UnknownName:
            raise UnknownName(f"{when!r} is no run of campaign {self.tag}, no date and no age", hint=WHEN) from None
        return [r for r in runs if r.seq > after]

    def run(self, label: str) -> Run:
        """One run by label, hash, "incumbent" or "baseline". Raises UnknownName."""
        return self.campaign.history.find(label)

    def read_by(self, label: str) -> list[str]:
        """Labels of the runs that were read once more under a number which is no run's, the newest reading's first."""
        return self.campaign.history.read_by(label)

    def show(self, label: str) -> RunDetail:
        """All that is known about a run, or about the one that was read under that number."""
        label = next(iter(self.read_by(label)), label)
        run = self.run(label)
        history = self.campaign.history
        return RunDetail(
            run=run,
            parents=tuple(history.by_commit[p] for p in run.parents if p in history.by_commit),
            plan=self._plan(run),
            diff=self.diff(label),
            extra_trials=(*history.replicates.get(run.commit, ()), *history.certifications.get(run.commit, ())),
            reviews=tuple(reviews_of(self.repo, run.commit)),
            files=artifacts.listing(self.repo, self.tag, run.commit),
        )

    def _plan(self, run: Run) -> str:
        text = artifacts.read(self.repo, self.tag, run.commit, "plan.json")
        return str(msgspec.json.decode(text).get("instruction", "")) if text else ""

    def artifact(self, label: str, path: str) -> bytes:
        """Bytes of one artifact. Raises UnknownName that lists what there is."""
        run = self.run(label)
        data = artifacts.read(self.repo, self.tag, run.commit, path)
        if data is None:
            there = sorted(artifacts.listing(self.repo, self.tag, run.commit))
            hint = f"it has: {', '.join(there[:12])}" if there else "artifacts are not pushed with the branch; fetch refs/evogit/* as well"
            raise UnknownName(f"run {run.label} has no artifact {path!r}", hint=hint)
        return data

    def diff(self, a: str, b: str = "") -> str:
        """Unified diff: of one run against its first parent ("" for a baseline), or from run `a` to run `b`."""
        after = self.run(b or a)
        before = self.run(a).commit if b else next(iter(after.parents), "")
        if not before:
            return ""
        return self.repo.tree(before).diff_to_tree(self.repo.tree(after.commit)).patch or ""

    def leaderboard(self, limit: int = 20) -> list[Run]:
        """Measured runs of this epoch, best primary metric first; ties to the earlier run."""
        metric = self.metric
        sign = 1.0 if metric.direction.value == "minimize" else -1.0
        ranked = [(sign * mean, r.seq, r) for r in self.comparable() if (mean := r.mean(metric.name)) is not None]
        ranked.sort(key=lambda item: item[:2])
        return [run for _, _, run in (ranked[:limit] if limit else ranked)]

    def frontier(self, over: tuple[str, ...] = ()) -> list[Run]:
        """The Pareto set of this epoch over the problem's objectives, or over the metrics named. Raises UnknownName."""
        return self._glance.front(self.objectives(over))

    def lineage(self, label: str) -> list[Run]:
        """A run and all runs it descends from, oldest first."""
        history, seen, todo = self.campaign.history, {}, [self.run(label)]
        while todo:
            run = todo.pop()
            if run.commit not in seen:
                seen[run.commit] = run
                todo += [history.by_commit[p] for p in run.parents if p in history.by_commit]
        return sorted(seen.values(), key=lambda r: r.seq)

    def status(self) -> Status:
        """The campaign at a glance. About 15 us a run the first time, later the new ones alone; 0.1 ms a review of the newest 120 runs."""
        history, problem, facts, count = self.campaign.history, self.problem, self.facts(), self._glance.count()
        bill, pid = count.sum.bill(history.tag), loop_holder(self.repo, self.tag)
        cap, paid = views.read_purse(self.repo, self.tag, pid) if pid else (0.0, 0.0)
        return Status(
            campaign=self.tag,
            branch=refs.branch(self.tag),
            problem=problem.name,
            folder=problem.folder,
            metric=problem.primary,
            runs=len(history.runs),
            verdicts=dict(count.verdicts),
            baselines=count.baselines,
            baseline=history.by_commit.get(history.baseline),
            incumbent=history.by_commit.get(history.incumbent),
            spread=facts.spread.std,
            seconds=count.seconds,
            cost_usd=bill.total_usd,
            known_usd=bill.usd,
            spent=bill.spent,
            in_flight=tuple(self.in_flight()),
            loop_pid=pid,
            campaigns=tuple(self.campaigns()),
            emitters={name: dict(tally) for name, tally in count.emitters.items()},
            epoch=history.epoch,
            warnings=tuple(self.warnings(facts)),
            max_cost=cap,
            loop_usd=paid,
            is_paused=bool(pid and (helm := self.helm()) and helm.is_paused),
        )

    def in_flight(self) -> list[InFlight]:
        """Runs that are not decided yet, by number. 0.2 ms each."""
        found = (stored.flight for stored in flights.listing(self.repo, self.tag))
        return [
            InFlight(run=f.label, state=f.state.value, emitter=f.plan.emitter, clone=f.clone, since=f.written, backend=f.backend)
            for f in found
        ]

    def export(self) -> str:
        """results.tsv, from history."""
        return present.tsv(self.campaign.history.runs, self.metric)

    def doctor(self, fix: bool = False) -> list[Finding]:
        """Check problem, books, locks and flights; with `fix`, repair what is safe to repair."""
        from evogit import doctor

        return doctor.examine(self, fix=fix)
