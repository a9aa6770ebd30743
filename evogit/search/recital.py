"""What memory would tell whoever is about to edit, as one noun. It chooses what is worth telling and leaves the wording to others."""

from __future__ import annotations

from collections.abc import Iterable

from evogit.domain.briefing import Lore
from evogit.domain.idea import Idea, IdeaStatus
from evogit.domain.lore import Conjecture, DeadEnd, FaultRecord, MemoryLine
from evogit.domain.run import Run
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


def remembered(memory: Memory) -> list[MemoryLine]:
    """Everything that is told of it, for a person: kinds in this order, the most telling of each first. Chapters are bounded."""
    name = memory.problem.primary.name
    return [
        *(_run_line("near-miss", memory.archive.niche_of(run), run, name) for run in reversed(memory.near_misses)),
        *(_run_line("elite", memory.archive.niche_of(run), run, name) for run in memory.archive.elites()),
        *(_conjecture_line("conjecture", found) for found in memory.conjectures.standing()),
        *(_conjecture_line("withdrawn", found) for found in reversed(memory.conjectures.withdrawn())),
        *(_dead_end_line("dead-end", end, end.statement) for end in reversed(memory.dead_ends.closed())),
        *(
            _dead_end_line("reopened", opened.dead_end, f"{opened.dead_end.statement}; reopened by run {opened.by}: {opened.because}")
            for opened in reversed(memory.dead_ends.reopened())
        ),
        *(_crash_line(record) for record in memory.faults.signatures()),
    ]


def _run_line(kind: str, niche: str, run: Run, metric: str) -> MemoryLine:
    return MemoryLine(kind=kind, key=niche, runs=(run.label,), count=1, value=run.mean(metric), text=run.summary)


def _conjecture_line(kind: str, found: Conjecture) -> MemoryLine:
    against = f" (against: {', '.join(found.against)})" if found.against else ""
    count = len(found.for_) + len(found.against)
    return MemoryLine(kind=kind, key=found.key, runs=found.for_, count=count, value=found.z, text=f"{found.statement}{against}")


def _dead_end_line(kind: str, end: DeadEnd, text: str) -> MemoryLine:
    return MemoryLine(kind=kind, key=end.key, runs=end.runs, count=len(end.runs), value=None, text=text)


def _crash_line(record: FaultRecord) -> MemoryLine:
    runs = tuple(dict.fromkeys((record.first, record.last)))
    words = _crash(record).partition(": ")[2]
    return MemoryLine(kind="crash", key=record.signature.kind, runs=runs, count=record.count, value=None, text=words)


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
