"""What an open lab shows to those who sit in front of it: the branch's end at once, what is in the air, logs, the search's mind.

Everything here is a look: it moves no ref and waits for nobody. What takes long is handed out in pieces, so that one thread can look
at a campaign ten times a second and still fold all of it.
"""

from __future__ import annotations

import json
import os
import random
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

import msgspec
import pygit2

from evogit import problem as contract
from evogit import registry, views
from evogit.domain.options import LoopOptions
from evogit.domain.run import Run
from evogit.domain.sight import Flying, LogTail, Newest, Portfolio, Role, Sight
from evogit.errors import BackendDown, EvogitError, RepositoryError, UnknownName, UserError, WorkFailed
from evogit.git import artifacts, flights, ledger, messages, notes, recorded, refs
from evogit.git.campaign import Campaign, TreeFiles
from evogit.git.flights import StoredFlight
from evogit.ideabook import Ideabook, reviews_of

if TYPE_CHECKING:
    from evogit.domain.event import Event
    from evogit.domain.flight import JobRecord
    from evogit.domain.problem import Problem
    from evogit.domain.report import RunDetail
    from evogit.git.history import History
    from evogit.git.repository import Repository
    from evogit.overhearing import Overheard
    from evogit.search.facts import Facts
    from evogit.search.memory import Memory

# What a look may meet while somebody else deletes a campaign, repacks the repository or removes it.
FAULTS = (EvogitError, OSError, LookupError, ValueError, pygit2.GitError, msgspec.MsgspecError)
SLICE = 100  # lessons folded at a time: some 30 ms
STRETCHES = 15  # of the window: how what a role earned is told over time
LOG_CAP = 256 << 10  # bytes of a log that are read at most


class Stir(msgspec.Struct, frozen=True):
    """What is compared to know whether anything happened: 60 us to read, whatever the campaign's size."""

    tip: str  # of the branch, "" if it is gone
    said: int  # bytes of the event log
    ideas: str
    metrics: str  # of the notes: what was measured again


class Caught(msgspec.Struct, frozen=True):
    """What was decided since the books were told last."""

    runs: tuple[Run, ...]
    is_retold: bool  # what was known is told differently: a person judged, a run was certified, books were joined, an epoch began


class Whole(msgspec.Struct, frozen=True):
    """A campaign's books as they are now."""

    runs: tuple[Run, ...]
    incumbent: str  # full hash, "" before run 0 is decided
    spread: float  # one standard deviation between seeds, 0.0 if unknown


class Mark(msgspec.Struct, frozen=True):
    """How far, and in which words, a history was told."""

    revision: int
    epoch: int
    lessons: int
    runs: int

    @classmethod
    def of(cls, history: History) -> Mark:
        """Where it stands now."""
        return cls(history.revision, history.epoch, history.told, len(history.runs))


class Peeking:
    """The part of `Lab` that screens look through."""

    repo: Repository
    campaign: Campaign
    problem: Problem
    problem_folder: Path
    tag: str
    _tag_asked: str | None
    _overheard: Overheard | None = None  # the job elsewhere whose log was asked for last
    _mark: Mark | None = None  # of what was told last: judgements and messages of this very lab move the history on as well
    _minded: tuple[int, int, Memory] | None = None  # memory as far as it was folded: revision of the history, lessons, and itself

    if TYPE_CHECKING:

        def show(self, label: str) -> RunDetail: ...
        def run(self, label: str) -> Run: ...
        def facts(self) -> Facts: ...

    def stir(self) -> Stir:
        """What may have changed since the last look."""
        tip, ideas, metrics = (refs.read(self.repo, ref) or "" for ref in (refs.branch(self.tag), notes.IDEAS, notes.METRICS))
        return Stir(tip, views.log_size(self.repo, self.tag), ideas, metrics)

    def whole(self) -> Whole:
        """Every run, read if it was not before: 0.1 ms each then."""
        history = self.campaign.history
        self._mark = Mark.of(history)
        return Whole(tuple(history.runs), history.incumbent, self.facts().spread.std)

    def catch_up(self) -> Caught:
        """What the branch has got since this or `whole` told last. O(new entries). Raises UnknownName where it is gone, and what `refresh` raises."""
        tip = refs.read(self.repo, refs.branch(self.tag))
        if not self.repo.common.is_dir():
            raise RepositoryError(f"the repository {self.repo.top} is gone")
        if tip is None:
            hint = f"if it was archived: `evogit prune --restore {self.tag}`"
            raise UnknownName(f"campaign {self.tag} is gone: its branch was deleted", hint=hint)
        history = self.campaign.history
        before = self._mark or Mark.of(history)
        history.advance(self.repo, tip)
        self._mark = now = Mark.of(history)
        if now.epoch != before.epoch:
            self.campaign.reload_problem()
        runs = tuple(history.runs[before.runs :])
        is_retold = (now.revision, now.epoch) != (before.revision, before.epoch) or now.lessons - before.lessons != len(runs)
        return Caught(runs, is_retold)

    def newest(self, limit: int = 200) -> Newest | None:
        """The newest runs, without reading the history below them: what can be shown while that is read. 0.1 ms a run.

        None where finding the campaign or its problem would need more than a look.
        """
        tag = self._plain_tag()
        tip = refs.read(self.repo, refs.branch(tag)) if tag else None
        if not tag or not tip:
            return None
        try:
            below = self.problem_folder.relative_to(self.repo.top).as_posix()
            problem = contract.load_from(TreeFiles(self.repo, self.repo.tree_of(tip)), "" if below == "." else below)
        except UserError:
            return None
        entries, is_whole = ledger.newest(self.repo, tip, limit, campaign=tag)
        return Newest(campaign=tag, problem=problem.name, metrics=problem.metrics, runs=tuple(_told(self.repo, entries)), is_whole=is_whole)

    def _plain_tag(self) -> str:
        """The campaign where the choice needs no reading: as asked, checked out, or the only one. "" otherwise."""
        known = refs.campaigns(self.repo)
        asked = (self._tag_asked or "").removeprefix("refs/heads/").removeprefix("autoresearch/")
        if asked or len(known) == 1:
            return asked if asked in known else "" if asked else known[0]
        git = self.repo.git
        head = "" if git.head_is_unborn or git.head_is_detached else git.head.name.removeprefix(refs.BRANCHES)
        return head if head in known else ""

    def events(self, start: int) -> tuple[list[Event], int]:
        """Events that loops told from byte `start` of their log on (the last -start bytes if it is negative), and where to go on."""
        return views.heard(self.repo, self.tag, start)

    def flying(self) -> list[Flying]:
        """Runs in the air, by number. 0.3 ms each."""
        labels = {commit: run.label for commit, run in self.campaign.history.by_commit.items()} if self._any_flight() else {}
        return [self._flying(stored, labels) for stored in flights.listing(self.repo, self.tag)]

    def _any_flight(self) -> bool:
        return bool(refs.listing(self.repo, refs.inflight(self.tag)))

    def _flying(self, stored: StoredFlight, labels: Mapping[str, str]) -> Flying:
        flight, plan, made = stored.flight, stored.flight.plan, stored.flight.candidate
        folder = self._job_folder(stored)
        return Flying(
            run=flight.label,
            of=labels.get(plan.parents[0], "") if flight.kind == "replicate" and plan.parents else "",
            state=flight.state.value,
            emitter=plan.emitter,
            agent=made.agent if made else "",
            summary=made.summary if made else plan.instruction,
            parents=tuple(labels.get(p, p) for p in (made.parents if made else plan.parents)),
            slot=flight.slot,
            backend=flight.backend,
            clone=flight.clone,
            rss_mib=_rss_mib(folder) if folder is not None else 0,
            reserved_usd=flight.reserved_usd,
        )

    def _job_folder(self, stored: StoredFlight) -> Path | None:
        """Where the newest job of a flight writes on this machine, None if it runs elsewhere or nothing was started."""
        jobs = self.repo.cache / "campaigns" / quote(self.tag, safe="") / "jobs" / "local"
        for job in reversed(stored.jobs):
            folder = _folder_of(job.handle) or jobs / job.key
            if os.path.lexists(folder / "claim"):
                return folder
        return None

    def log_tail(self, label: str, stream: str = "stdout", size: int = 64 << 10) -> LogTail:
        """The end of what a run's trial writes, while it runs; of a decided run the end of what the newest trial kept. Raises UnknownName."""
        size = min(size, LOG_CAP)
        stored = next((s for s in flights.listing(self.repo, self.tag) if s.flight.label == label), None)
        if stored is not None and stored.flight.backend != "local" and stored.jobs:
            return self._overheard_tail(stored, stored.jobs[-1], stream, size)
        if stored is not None and (folder := self._job_folder(stored)) is not None:
            data, whole = _end_of(folder / stream, size)
            return LogTail(run=label, stream=stream, data=data, size=whole, is_live=not (folder / "outcome.json").exists())
        run = self.run(label)
        kept = artifacts.listing(self.repo, self.tag, run.commit)
        path = next((p for p in _logs_first(kept) if p.rpartition("/")[2] == stream), "")
        if not path:
            raise UnknownName(f"run {label} has no {stream}", hint="artifacts are not pushed with the branch; fetch refs/evogit/* as well")
        data = artifacts.read(self.repo, self.tag, run.commit, path) or b""
        return LogTail(run=label, stream=path, data=data[-size:], size=len(data), is_live=False)

    def _overheard_tail(self, stored: StoredFlight, job: JobRecord, stream: str, size: int) -> LogTail:
        """The same from a backend elsewhere, which is listened to from the first time on that it is asked for. Raises BackendDown."""
        from evogit import hiring
        from evogit.overhearing import Overheard

        if self._overheard is None or self._overheard.key != job.key:
            if self._overheard is not None:
                self._overheard.drop()
            problem, options = self.campaign.problem, LoopOptions(backend=stored.flight.backend)
            root = self.repo.cache / "campaigns" / quote(self.tag, safe="") / "jobs"
            folder = self.repo.top / problem.folder
            self._overheard = Overheard(lambda: hiring.backend(options, problem, root, folder), job.key, job.handle)
        heard = self._overheard
        data, whole = heard.tail(stream, size)
        if heard.fault and not data:
            raise BackendDown(heard.fault)
        return LogTail(run=stored.flight.label, stream=stream, data=data, size=whole, is_live=not heard.is_over)

    def sight(self, label: str) -> Sight:
        """All about a run, as far as it can be read: what cannot is said. Raises UnknownName for a run that there is not."""
        detail = self.show(label)
        lines = len(list(notes.read(self.repo, notes.REVIEWS, detail.run.commit)))
        lost = lines - len(list(reviews_of(self.repo, detail.run.commit)))
        unread = (f"{lost} of {lines} lines of its reviews' note cannot be read",) if lost else ()
        return Sight(detail=detail, unread=unread)

    def files_of(self, label: str) -> dict[str, str]:
        """A run's mutable files: path below the problem's folder -> text. Raises UnknownName."""
        return dict(self.campaign.sources(self.run(label).commit))

    def portfolio(self) -> Iterator[Portfolio | None]:
        """What the search learnt, after each piece of folding None and then the answer. 0.3 ms a run the first time, later the new ones alone."""
        for memory in self._folded():
            if memory is None:
                yield None
                continue
            Ideabook(self.repo, self.campaign.history, memory.ideas).recall()
            yield None
            yield self._portfolio(memory)

    def _folded(self) -> Iterator[Memory | None]:
        """Memory up to now, after as many pauses as it takes."""
        from evogit.search.memory import Memory

        history = self.campaign.history
        known = self._minded
        if known is None or known[0] != history.revision or known[1] > history.told:
            known = (history.revision, 0, Memory(self.campaign.problem, self.campaign))
        revision, told, memory = known
        for number, lesson in enumerate(list(history.lessons(told)), 1):
            memory.take(lesson)
            if number % SLICE == 0:
                yield None
        if history.revision == revision:
            memory.follow(history.incumbent)
            self._minded = (revision, history.told, memory)
        yield memory

    def _portfolio(self, memory: Memory) -> Portfolio:
        from evogit.search.portfolio import WINDOW

        names = registry.names("emitters")
        policy = self.problem.search.policy or registry.DEFAULT_POLICY
        chances = _chances(memory, names, policy, f"{self.tag}/{1 + max(self.campaign.history.numbers.values(), default=0)}/0")
        awake = set(memory.portfolio.awake(names))
        tries, keeps = Counter(), Counter()
        for run in self.campaign.history.runs:
            tries[run.emitter] += 1
            keeps[run.emitter] += run.is_kept and run.generation > 0
        earned = memory.portfolio.over_time(STRETCHES)
        accounts = {account.emitter: account for account in memory.portfolio.tally()}
        roles = []
        for name in dict.fromkeys([*names, *tries]):
            account = accounts.get(name)
            rate = (account.rate, account.low, account.high, account.runs) if account else (0.0, 0.0, 0.0, 0)
            roles.append(
                Role(
                    emitter=name, tries=tries[name], keeps=keeps[name], rate=rate[0], low=rate[1], high=rate[2], runs=rate[3],
                    chance=chances.get(name, 0.0), is_resting=name in names and name not in awake,
                    earned=earned.get(name, ()),
                )
            )  # fmt: skip
        return Portfolio(
            policy=policy,
            window=WINDOW if len(memory.portfolio.records) >= WINDOW else 0,
            over_uniform=memory.portfolio.verdict_over_uniform(),
            roles=tuple(roles),
            elites=tuple((memory.archive.niche_of(run), run) for run in memory.archive.elites()),
            niches=memory.archive.niches,
            conjectures=tuple(memory.conjectures.standing()),
            withdrawn=tuple(memory.conjectures.withdrawn()),
            faults=tuple(memory.faults.signatures()),
        )


def _told(repo: Repository, entries: list[ledger.Entry]) -> Iterator[Run]:
    """Runs of a ledger's end; what was said of them later in it holds."""
    judged = {e.decides: e for e in entries if e.kind == "judge"}
    certified = {e.of: e.certified for e in entries if e.kind == "certify" and e.certified is not None}
    known: dict[str, Run] = {}
    epoch, rival = 0, ""
    for entry in entries:
        if entry.kind != "decision" or entry.decides in known:
            rival = entry.incumbent or rival
            continue
        commit = ledger.commit(repo, entry.decides)
        said = messages.parse_run(commit.text, commit.hash)
        parents = tuple(known[p] for p in commit.parents if p in known)
        epoch = said.baseline.epoch if said.baseline else parents[0].epoch if parents else epoch
        run = recorded.run_of(entry, commit, said, entry.seq or 0, epoch, parents, rival)
        verdict = judged[run.commit].verdict if run.commit in judged else None
        known[run.commit] = msgspec.structs.replace(run, verdict=verdict or run.verdict, certified=certified.get(run.commit))
        rival = entry.incumbent or rival
    yield from known.values()


def _chances(memory: Memory, names: list[str], policy: str, seed: str) -> dict[str, float]:
    """Chance of each search role in the next choice, {} where none has anything to offer."""
    from evogit.stages import choose

    try:
        able = list(choose.offers(memory, [registry.find("emitters", name)() for name in names], random.Random(seed)))
    except WorkFailed:
        return {}
    return registry.find("policies", policy)().chances(memory, able)


def _folder_of(handle: str) -> Path | None:
    """The folder that a local backend's handle names, None for those of other backends."""
    try:
        told = json.loads(handle) if handle else {}
    except ValueError:
        return None
    folder = told.get("folder") if isinstance(told, dict) else None
    return Path(folder) if isinstance(folder, str) else None


def _end_of(path: Path, size: int) -> tuple[bytes, int]:
    """Last bytes of a file and how many it has; nothing of one that is not there, or is no plain file."""
    try:
        with open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb") as file:
            whole = file.seek(0, os.SEEK_END)
            file.seek(max(0, whole - size))
            return file.read(size), whole
    except OSError:
        return b"", 0


def _logs_first(kept: Mapping[str, int]) -> list[str]:
    """Artifact paths: those that the verdict rests on before later readings, training before other steps, the first seed first."""
    return sorted(kept, key=lambda path: (not path.startswith("trials/"), "/train/" not in path, path))


def _rss_mib(folder: Path) -> int:
    """Memory of a local job's processes, shared pages counted for each; 0 once it has ended, and where there is no /proc."""
    from evogit.backends import processes

    try:
        pid = int(os.readlink(folder / "claim").split()[0])
        if (folder / "outcome.json").exists():
            return 0
    except (OSError, ValueError, IndexError):
        return 0
    pages = [processes.read(f"/proc/{each}/statm").split() for each in processes.descendants(pid)]
    return sum(int(fields[1]) for fields in pages if len(fields) > 1) * os.sysconf("SC_PAGE_SIZE") >> 20
