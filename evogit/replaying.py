"""What was proposed once, made again without asking a model: one run's candidate from its record, or a whole campaign's in order.

A hand that offers `replay` (see `seams`) makes its proposal again from the recorded answers; of every other agent the files
that it left are the record, and where an answer was too long to keep. It never believes a tree to be equal: the hash says so.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from evogit import registry
from evogit.domain.briefing import Briefing
from evogit.domain.plan import Plan
from evogit.domain.proposal import Proposal
from evogit.domain.report import Replayed
from evogit.domain.run import Again, Run
from evogit.domain.verdict import Verdict
from evogit.errors import AgentFailed, UnknownName, UserError, WorkFailed
from evogit.git import artifacts, flights
from evogit.git.campaign import Campaign
from evogit.git.objects import put_paths
from evogit.git.repository import Repository
from evogit.models.answers import is_cut
from evogit.search.memory import Memory
from evogit.stages import propose

if TYPE_CHECKING:
    from evogit.bench import Bench

PREFIX = "replay:"  # of `--agent replay:<tag>`
FILES = "files.json"  # below answers/: path -> text that the candidate left there, null for a file that it took away
WIDE = 3.0  # standard deviations of a difference that noise alone may make: 0.3 % of honest replays are beyond
_FILES = msgspec.json.Decoder(dict[str, str | None | dict[str, str]])


# one run ----------------------------------------------------------------------------------------------------------------


def rebuild(campaign: Campaign, run: Run) -> Replayed:
    """A run's candidate from its record, held against its commit. Asks no model. Raises UserError where nothing was recorded.

    O(runs before it): a hand is told again what memory knew then.
    """
    plan, answers = _record(campaign, run)
    repo, want = campaign.repo, campaign.repo.tree_of(run.commit)
    hand = replayer_of(run.agent)
    if hand is None and FILES not in answers:
        raise UserError(f"nothing was recorded of what {run.agent} answered for run {run.label}", hint=_elsewhere(campaign.tag))
    is_from_answers = hand is not None and FILES not in answers
    said, tree = "", ""
    try:
        if is_from_answers:
            tree = propose.rebuild(campaign, _memory_at(campaign, run), plan, lambda briefing: hand(briefing, answers))
        else:
            tree = put_paths(repo, repo.tree_of(run.parents[0]), _decoded(answers[FILES]))
    except WorkFailed as fault:
        said = f"it proposes nothing now: {fault.message}"
    diff = _diff(campaign, want, tree) if tree and tree != want else said
    how = ("answers" if answers else "plan") if is_from_answers else "cut" if hand is not None and is_cut(answers) else FILES
    return Replayed(run=run.label, commit=run.commit, how=how, tree=want, rebuilt=tree, is_equal=tree == want, diff=diff)


def _record(campaign: Campaign, run: Run) -> tuple[Plan, dict[str, str]]:
    """The plan and the answers among a run's artifacts. Raises UserError."""
    repo, tag = campaign.repo, campaign.tag
    if not run.parents or run.emitter == "person":
        who = "a person" if run.emitter == "person" else "nobody: it is a baseline"
        raise UserError(f"run {run.label} was made by {who}, so there is no answer to replay", hint="name a run of an agent's")
    text = artifacts.read(repo, tag, run.commit, "plan.json")
    if text is None:
        raise UserError(f"the artifacts of run {run.label} are not here, so there is nothing to replay", hint=_elsewhere(tag))
    if run.verdict is Verdict.REJECT and repo.tree_of(run.commit) == repo.tree_of(run.parents[0]):
        raise UserError(f"run {run.label} has no candidate: {run.reason}", hint="name a run whose files changed")
    head = "answers/"
    names = [path for path in artifacts.listing(repo, tag, run.commit) if path.startswith(head)]
    answers = {n.removeprefix(head): (artifacts.read(repo, tag, run.commit, n) or b"").decode("utf-8", "replace") for n in names}
    return msgspec.json.decode(text, type=Plan), answers


def _elsewhere(tag: str) -> str:
    return f"artifacts travel apart from the branch: git fetch ORIGIN 'refs/evogit/{tag}/artifacts:refs/evogit/{tag}/artifacts'"


def replayer_of(agent: str) -> Callable[[Briefing, dict[str, str]], Proposal] | None:
    """`replay` of the hand that has that name, None if it offers none or is not here."""
    try:
        return getattr(registry.find("agents", agent), "replay", None)
    except UnknownName:
        return None


def _memory_at(campaign: Campaign, run: Run) -> Memory:
    """Memory as it was when a run was proposed: what the ledger held, and what was in the air and has a smaller number."""
    before: list[Run | Again] = []
    for lesson in campaign.history.lessons():
        if isinstance(lesson, Run) and lesson.commit == run.commit:
            break
        before.append(lesson)
    memory = Memory.of(campaign.problem, before, campaign)
    clone, number = _number(run)
    memory.tried = {}
    for other in campaign.history.runs:
        theirs, place = _number(other)
        is_earlier = place < number if theirs == clone else other.seq < run.seq
        if is_earlier and other.sources:
            memory.tried.setdefault(other.sources, other.label)
    return memory


def _number(run: Run) -> tuple[str, int]:
    clone, _, number = run.label.rpartition("/")
    return clone, int(number)


def recorded_files(campaign: Campaign, tree: str, changed: Iterable[str]) -> bytes:
    """`answers/files.json` of a candidate: every path in which it differs from its parent."""
    found: dict[str, Any] = {}
    for path in changed:
        data = campaign.repo.blob(tree, path)
        try:
            found[path] = None if data is None else data.decode()
        except UnicodeDecodeError:
            found[path] = {"latin-1": data.decode("latin-1")}
    return msgspec.json.format(msgspec.json.encode(found))


def _decoded(text: str) -> dict[str, bytes | None]:
    told = _FILES.decode(text)
    found: dict[str, bytes | None] = {}
    for path, what in told.items():
        found[path] = what["latin-1"].encode("latin-1") if isinstance(what, dict) else None if what is None else what.encode()
    return found


def _diff(campaign: Campaign, want: str, got: str) -> str:
    """From what is recorded to what was rebuilt."""
    repo = campaign.repo
    return repo.tree(want).diff_to_tree(repo.tree(got)).patch or ""


def is_within_noise(before: Sequence[float], after: Sequence[float], spread: float) -> bool:
    """True if two sets of readings of one program may differ by that much by chance. spread: one standard deviation, 0 if none is known."""
    if not before or not after:
        return not before and not after
    far = abs(sum(after) / len(after) - sum(before) / len(before))
    scale = max(map(abs, (*before, *after)))
    return far <= WIDE * spread * math.sqrt(1 / len(before) + 1 / len(after)) + 1e-9 * scale


# a whole campaign -------------------------------------------------------------------------------------------------------


class Replayer:
    """The agent of `--agent replay:<tag>`, and its plans: every run of that campaign once more, in the order in which they were decided.

    Where the problem is the same, so is each candidate's tree. It asks no model, so it costs nothing but trials.
    """

    edits_in_place = False
    is_quick = True

    def __init__(self, repo: Repository, tag: str) -> None:
        self.tag, self.name = tag, f"{PREFIX}{tag}"
        self._of = Campaign.open(repo, tag, fallback=lambda: repo.top)
        self._proposals = [run for run in self._of.history.runs if run.parents]
        if not self._proposals:
            raise UserError(f"campaign {tag} has no proposal to repeat", hint="name one that has runs beside its baseline: `evogit status`")

    @classmethod
    def of(cls, repo: Repository, agent: str) -> Replayer | None:
        """The replayer that `--agent` asks for, None if it asks for another agent. Raises UnknownName if there is no such campaign."""
        return cls(repo, agent.removeprefix(PREFIX)) if agent.startswith(PREFIX) else None

    def is_done(self, bench: Bench) -> bool:
        """True once each proposal was repeated, those in the air included."""
        return self._repeated(bench) >= len(self._proposals)

    def plan(self, bench: Bench) -> Plan:
        """The recorded plan of the next proposal, from the runs of this campaign that its parents became."""
        at = self._repeated(bench)
        if at >= len(self._proposals):
            raise WorkFailed(f"every proposal of campaign {self.tag} is repeated", hint="`evogit status` has the outcome")
        run = self._proposals[at]
        text = artifacts.read(self._of.repo, self.tag, run.commit, "plan.json")
        old = msgspec.json.decode(text, type=Plan) if text is not None else None
        return Plan(
            emitter=run.emitter,
            parents=tuple(dict.fromkeys(self._became(bench, parent) for parent in run.parents)),
            seeds=old.seeds if old is not None and old.seeds else bench.campaign.problem.budget.seeds,
            rng=old.rng if old is not None else 0,
            instruction=f"repeats run {run.label} of campaign {self.tag}: {run.commit}",
            niche=run.niche,
            change=run.change,
            forecast=run.forecast,
            policy=self.name,
        )

    def propose(self, briefing: Briefing, workspace: Path) -> Proposal:
        """The files of the run that the plan names. Raises AgentFailed where that run had no candidate either."""
        run = self._of.history.by_commit[briefing.plan.instruction.rpartition(" ")[2]]
        repo, cut = self._of.repo, len(self._of.problem.folder) + 1 if self._of.problem.folder else 0
        tree = repo.tree_of(run.commit)
        if run.verdict is Verdict.REJECT and tree == repo.tree_of(run.parents[0]):
            raise AgentFailed(f"as in campaign {self.tag}: {run.reason}")
        blobs = {path[cut:]: repo.blob(tree, path) or b"" for path in self._of.mutable_paths(tree)}
        files = {path: blobs[path].decode("utf-8", "surrogateescape") if path in blobs else None for path in {**briefing.sources, **blobs}}
        return Proposal(summary=run.summary, hypothesis=run.hypothesis, change=run.change, forecast=run.forecast, files=files)

    def _repeated(self, bench: Bench) -> int:
        """How many are decided or in the air: runs, and readings of unchanged code, carry this agent's name."""
        bench.settle()  # a reading that is decided and still has its flight would count twice
        history = bench.campaign.history
        done = sum(lesson.agent == self.name for lesson in history.lessons())
        flying = [stored.flight for stored in flights.listing(bench.repo, bench.campaign.tag) if stored.flight.plan.policy == self.name]
        return done + sum(f.candidate is None or f.candidate.commit not in history.by_commit for f in flying)

    def _became(self, bench: Bench, parent: str) -> str:
        """The run of this campaign that has the same program as a run of the other one; the incumbent where there is none."""
        history, old = bench.campaign.history, self._of.history.by_commit.get(parent)
        same = [run for run in history.runs if old is not None and run.sources == old.sources and run.epoch == history.epoch]
        return same[-1].commit if same else history.incumbent
