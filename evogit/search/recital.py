"""What memory would tell whoever is about to edit, as one noun. It chooses what is worth telling and leaves the wording to others."""

from __future__ import annotations

from collections.abc import Iterable

from evogit.domain.briefing import Lore
from evogit.domain.idea import Idea, IdeaStatus
from evogit.domain.lore import Conjecture, FaultRecord
from evogit.search.memory import Memory
from evogit.search.topics import in_words

MOST = 24  # of each kind: more than a packet has room for


def lore(memory: Memory, left: str = "") -> Lore:
    """What the campaign taught so far. left: of the budget, in words. Some milliseconds at 10,000 runs: chapters are bounded."""
    return Lore(
        baseline=memory.baseline,
        incumbent=memory.incumbent,
        spread=memory.spread.std,
        frontier=tuple(memory.frontier.runs[:MOST]),
        elites=tuple((memory.archive.niche_of(run), run) for run in memory.archive.elites()[:MOST]),
        near_misses=tuple(reversed(memory.near_misses))[:MOST],
        conjectures=tuple(map(_conjecture, memory.conjectures.standing()[:MOST])),
        dead_ends=tuple(f"{end.statement} (runs {', '.join(end.runs[-4:])})" for end in memory.dead_ends.closed()[: -MOST - 1 : -1]),
        crashes=tuple(map(_crash, memory.faults.signatures()[:MOST])),
        ideas=tuple(map(_idea, _waiting(memory))),
        runs=max(0, len(memory.by_commit) - 1),
        left=left,
    )


def _conjecture(found: Conjecture) -> str:
    against = f", against: {', '.join(found.against[-4:])}" if found.against else ""
    return f"{found.statement} (for: {', '.join(found.for_[-6:])}{against}; z {found.z:+.1f})"


def _crash(record: FaultRecord) -> str:
    fault = record.signature
    where = f" in {fault.where}" if fault.where else ""
    beside = f"; beside {', '.join(map(in_words, record.topics[:3]))}" if record.topics else ""
    avoided = f"; avoided by {', '.join(map(in_words, record.avoided_by[:3]))}" if record.avoided_by else ""
    return f"{record.count}x {fault.kind}{where}: {fault.message}{beside}{avoided}"


def _waiting(memory: Memory) -> Iterable[Idea]:
    """Ideas that wait: people's in their turn, then reviewers', the most wanted first."""
    waiting = [idea for idea, _, _ in memory.ideas.all(IdeaStatus.QUEUED)]
    return sorted(waiting, key=lambda idea: (not idea.is_persons, -idea.priority))[:MOST]


def _idea(idea: Idea) -> str:
    benefit = f" ({idea.expected_benefit})" if idea.expected_benefit else ""
    return f"{idea.mutation_type}: {idea.description}{benefit}"
