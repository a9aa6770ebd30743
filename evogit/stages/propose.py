"""Plan + Briefing -> Candidate: an agent edits, the host reads the files and makes a commit. It runs no candidate code.

Only mutable regular files enter the commit; every other edit, and one that brings a secret, is taken out and kept as a patch.
Edits that together add more than `TEXT_CAP` are all taken out. A recombination is merged here, by git, before an agent sees it.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Protocol

import msgspec

from evogit import keys, prices
from evogit import problem as contract
from evogit.domain.briefing import Attempt, Briefing, Contrast
from evogit.domain.change import Move
from evogit.domain.plan import Plan
from evogit.domain.proposal import Proposal
from evogit.git import artifacts
from evogit.git.campaign import Campaign
from evogit.git.merge import merge_trees
from evogit.git.objects import put_paths
from evogit.seams import Agent
from evogit.search.change import line_delta, moves, sources_hash
from evogit.search.memory import Memory
from evogit.search.recital import lore
from evogit.search.recombine import resolve_conflict

SIBLINGS = 12  # of the parent's children that an agent is told of
FILE_CAP = 4 << 20  # bytes of one mutable file that a person brings
TEXT_CAP = 1 << 20  # bytes that the edits of one candidate may add: what is larger costs seconds before any gate sees it
TRACE_CAP = 64 << 10  # bytes of a stack trace that are looked at
MENDING = "mending"  # name in `Plan.policy` of a run that repairs the crash of its `contrast`: no policy chose it


class Checkout(Protocol):
    """What this stage needs of a workspace."""

    root: Path

    def materialise(self, tree: str) -> None: ...
    def changes(self) -> list[tuple[str, str]]: ...
    def read(self, path: str) -> bytes | None: ...
    def patch(self, paths: Iterable[str]) -> str: ...


class Draft(msgspec.Struct, frozen=True, kw_only=True):
    """A proposal made into a tree: all that a run commit needs but its label and time."""

    tree: str
    proposal: Proposal
    changed: tuple[str, ...] = ()
    stripped: tuple[str, ...] = ()
    large: str = ""  # the largest of edits that add more than `TEXT_CAP`, and are all taken out
    patch: str = ""
    secrets: tuple[str, ...] = ()  # mutable files whose edit brought a secret, and where: taken out as well
    conflicts: tuple[str, ...] = ()
    sources: str = ""  # sources hash of the tree's mutable files
    moves: tuple[Move, ...] = ()  # against the first parent
    lines: tuple[int, int] = (0, 0)  # added and removed


def propose(
    campaign: Campaign,
    memory: Memory,
    plan: Plan,
    agent: Agent,
    checkout: Checkout,
    attempts: tuple[Attempt, ...] = (),
    left: str = "",
    away: Callable[[], AbstractContextManager[None]] = nullcontext,
) -> Draft:
    """Ask the agent and write the tree. Whatever the agent raises goes through to the caller.

    attempts: what it answered to this plan before, and why a gate refused that. left: of the budget, in words. away: entered while it works.
    """
    start, conflicts = _starting_tree(campaign, plan)
    sources = campaign.sources_of_tree(start)
    folder = checkout.root / campaign.problem.folder
    if plan.merge and not conflicts and sources_hash(sources) not in memory.tried:
        proposal = _recombination(memory, plan)
    else:
        briefing = _briefing(campaign, memory, plan, sources, attempts, left)
        if agent.edits_in_place:
            checkout.materialise(_as_left(campaign, start, briefing.attempts))
        with away():
            proposal = agent.propose(briefing, folder)
        proposal = msgspec.structs.replace(proposal, calls=prices.priced(proposal.calls, campaign.problem))
    edits, stripped, patch, leaks, large = _edits(campaign, proposal, agent, checkout, start)
    tree = put_paths(campaign.repo, start, edits) if edits else start
    before, old, new = campaign.repo.tree_of(plan.parents[0]), campaign.sources(plan.parents[0]), campaign.sources_of_tree(tree)
    return Draft(
        tree=tree,
        proposal=keys.redacted(proposal),
        changed=tuple(_changed(campaign, before, tree)),
        stripped=stripped,
        large=large,
        patch=patch,
        secrets=leaks,
        conflicts=conflicts if not edits else (),
        sources=sources_hash(new),
        moves=moves(old, new),
        lines=line_delta(old, new),
    )


def rebuild(campaign: Campaign, memory: Memory, plan: Plan, ask: Callable[[Briefing], Proposal]) -> str:
    """The tree that a plan became, made again with the files that `ask` gives: no agent is asked, no workspace is touched."""
    start, conflicts = _starting_tree(campaign, plan)
    sources = campaign.sources_of_tree(start)
    if plan.merge and not conflicts and sources_hash(sources) not in memory.tried:
        return start
    edits, _, _ = _returned(campaign, ask(_briefing(campaign, memory, plan, sources, (), "")))
    return put_paths(campaign.repo, start, edits) if edits and _added(campaign, start, edits) <= TEXT_CAP else start


def told(campaign: Campaign, memory: Memory, plan: Plan) -> tuple[str, Briefing]:
    """The tree that a plan's work begins from, and what whoever carries it out is told. Of a merge the tree is written, no ref moves."""
    start, _ = _starting_tree(campaign, plan)
    return start, _briefing(campaign, memory, plan, campaign.sources_of_tree(start), (), "")


def _starting_tree(campaign: Campaign, plan: Plan) -> tuple[str, tuple[str, ...]]:
    """The first parent's tree, or the merge of both parents with its conflicts resolved gene by gene where that is possible."""
    repo = campaign.repo
    if not plan.merge:
        return repo.tree_of(plan.parents[0]), ()
    ours, theirs = plan.parents
    merged = merge_trees(repo, ours, theirs, only=lambda path: contract.is_mutable(campaign.problem, path))
    rng, resolved, left = random.Random(plan.rng), {}, []
    for path, sides in sorted(merged.conflicts.items()):
        text = resolve_conflict(*(None if side is None else side.decode("utf-8", "replace") for side in sides), rng)
        if text is None:
            left.append(path)
        else:
            resolved[path] = text.encode()
    if left:
        return repo.tree_of(ours), tuple(left)
    return put_paths(repo, merged.tree, resolved) if resolved else merged.tree, ()


def _as_left(campaign: Campaign, start: str, attempts: tuple[Attempt, ...]) -> str:
    """The tree that an agent goes on from: its newest attempt's, where there is one."""
    if not attempts:
        return start
    below = f"{campaign.problem.folder}/" if campaign.problem.folder else ""
    files = {below + path: text.encode("utf-8", "surrogateescape") for path, text in attempts[-1].files.items()}
    return put_paths(campaign.repo, start, files)


def _recombination(memory: Memory, plan: Plan) -> Proposal:
    labels = [memory.by_commit[p].label if p in memory.by_commit else p[:8] for p in plan.parents]
    return Proposal(
        summary=f"combine runs {labels[0]} and {labels[1]}",
        hypothesis="The two changes were found apart; if they do not undo each other, both gains stay.",
        change="recombination",
        forecast=plan.forecast,
    )


def _briefing(
    campaign: Campaign, memory: Memory, plan: Plan, sources: Mapping[str, str], attempts: tuple[Attempt, ...], left: str
) -> Briefing:
    parent = memory.by_commit.get(plan.parents[0])
    siblings = [r for r in reversed(memory.recent) if plan.parents[0] in r.parents][:SIBLINGS]
    return Briefing(
        problem=campaign.problem,
        plan=plan,
        goal=campaign.goal(plan.parents[0]),
        sources=dict(sources),
        parent=parent,
        merged=_merged(campaign, memory, plan, sources),
        siblings=tuple(siblings),
        contrast=_contrast(campaign, memory, plan),
        tried=memory.tried.keys(),
        lore=lore(memory, left),
        attempts=(*_crashed(campaign, memory, plan), *attempts),
    )


def _merged(campaign: Campaign, memory: Memory, plan: Plan, sources: Mapping[str, str]) -> str:
    """Label of the second parent where the files are a merge; "" where git could not make one, and they are the first parent's."""
    if not plan.merge or dict(sources) == dict(campaign.sources(plan.parents[0])):
        return ""
    other = memory.by_commit.get(plan.parents[1])
    return other.label if other is not None else plan.parents[1][:12]


def _crashed(campaign: Campaign, memory: Memory, plan: Plan) -> tuple[Attempt, ...]:
    """Of a plan that repairs a crash: the candidate that crashed, and with what."""
    run = memory.by_commit.get(plan.contrast) if plan.policy == MENDING else None
    if run is None:
        return ()
    failed = next((f"s{t.seed}{f'-attempt{t.attempt}' if t.attempt > 1 else ''}" for t in run.trials if t.crash), f"s{plan.seeds[0]}")
    paths = (f"trials/{failed}/{step}stderr" for step in ("", "smoke/"))
    trace = next((data for path in paths if (data := artifacts.read(campaign.repo, campaign.tag, run.commit, path))), b"")
    refusal = f"run {run.label} crashed at once: {run.crash or run.reason}\n{trace[-TRACE_CAP:].decode('utf-8', 'replace')}"
    return (Attempt(files=campaign.sources(run.commit), refusal=refusal),)


def _contrast(campaign: Campaign, memory: Memory, plan: Plan) -> Contrast | None:
    other = plan.parents[1] if plan.merge and len(plan.parents) > 1 else ""  # of a merge that git could not make: who edits needs both
    run = memory.by_commit.get(plan.contrast or other)
    if run is None or not run.parents:
        return None
    return Contrast(run=run.label, before=campaign.sources(run.parents[0]), after=campaign.sources(run.commit), gain=memory.gain(run))


def _edits(
    campaign: Campaign, proposal: Proposal, agent: Agent, checkout: Checkout, start: str
) -> tuple[dict[str, bytes | None], tuple[str, ...], str, tuple[str, ...], str]:
    """What enters the commit; what was stripped, and as a patch; what was taken out for its secrets; the largest where all was too much.

    No name, no patch holds a secret.
    """
    problem = campaign.problem
    edits, stripped, patches = _returned(campaign, proposal)
    added = _added(campaign, start, edits)
    for path, kind in checkout.changes() if agent.edits_in_place else ():
        is_ours = contract.is_mutable(problem, path) and added <= TEXT_CAP
        data = checkout.read(path) if is_ours and kind in {"added", "modified"} else None
        if is_ours and (kind == "deleted" or data is not None):
            added += _added(campaign, start, {path: data}) if path not in edits else 0
            edits.setdefault(path, data)
        elif not _is_litter(path):
            stripped.append(path)
    large = max(edits, key=lambda path: len(edits[path] or b"")) if added > TEXT_CAP else ""
    if large:
        stripped, patches, edits = list(dict.fromkeys([*edits, *stripped])), [_as_patch(large, _text(edits[large]))], {}
    elif stripped and agent.edits_in_place:
        patches.append(checkout.patch(stripped))
    leaks = {
        path: found[0] for path, data in edits.items() if data and (found := keys.new_secrets(data, campaign.repo.blob(start, path) or b""))
    }
    patches += [_as_patch(path, _text(edits.pop(path))) for path in leaks]
    if (leaks or large) and agent.edits_in_place:
        checkout.materialise(start)  # or it lies there until the next run
    names = tuple(dict.fromkeys(map(keys.redact, stripped)))
    secrets = tuple(f"{keys.redact(path)}: {what}" for path, what in leaks.items())
    return edits, names, keys.redact("".join(patches)), secrets, keys.redact(large)


def _text(data: bytes | None) -> str:
    return (data or b"").decode("utf-8", "replace")


def _returned(campaign: Campaign, proposal: Proposal) -> tuple[dict[str, bytes | None], list[str], list[str]]:
    """Of the files that a proposal gives: what may enter the commit, what may not, and the latter as patches."""
    problem = campaign.problem
    edits: dict[str, bytes | None] = {}
    stripped: list[str] = []
    patches: list[str] = []
    for name, text in proposal.files.items():
        path = f"{problem.folder}/{name}" if problem.folder else name
        if contract.is_mutable(problem, path):
            edits[path] = None if text is None else text.encode("utf-8", "surrogateescape")
            continue
        stripped.append(path)
        if text is not None:
            patches.append(_as_patch(path, text))
    return edits, stripped, patches


def _added(campaign: Campaign, start: str, edits: Mapping[str, bytes | None]) -> int:
    """Bytes that edits add to what they replace."""
    return sum(max(0, len(data) - len(campaign.repo.blob(start, path) or b"")) for path, data in edits.items() if data)


def _as_patch(path: str, text: str) -> str:
    return f"--- /dev/null\n+++ b/{path}\n" + "".join(f"+{line}\n" for line in text[:65536].splitlines())


def _is_litter(path: str) -> bool:
    """Byte-code that an agent's own test run left behind is no edit."""
    return "/__pycache__/" in f"/{path}" or path.endswith(".pyc")


def _changed(campaign: Campaign, before: str, after: str) -> list[str]:
    if before == after:
        return []
    repo = campaign.repo
    diff = repo.tree(before).diff_to_tree(repo.tree(after), swap=False)
    return sorted({delta.new_file.path or delta.old_file.path for delta in diff.deltas})
