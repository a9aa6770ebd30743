"""Dead ends: topics that lost again and again, each with the assumption that it rested on. It forbids nothing: emitters ask it.

A topic rests on the roles that are coupled to its own (`topics.COUPLED`). A keep that changes one of those re-opens it, and losses that
were measured before such a keep no longer count. Crashes close nothing: they say that the code was wrong, not the thought.
"""

from __future__ import annotations

from collections import deque

import msgspec

from evogit.domain.lore import DeadEnd, Reopening
from evogit.domain.run import Run
from evogit.search.archive import family_of
from evogit.search.lesson import Lesson
from evogit.search.topics import COUPLED, gene_key, in_words, roles

# Losses that close a topic. The wider the claim the more it takes: two bad layers say little about all architecture.
LOSSES = {"gene": 2, "role": 3, "change": 5}
CLEARLY = 0.1  # a loss is clear where the chance of a true gain is below this
PAID = 0.5  # a gain where it is at least this
KEYS = 1000  # topics kept; the one that lost last is last to be forgotten
_RUNS = 8  # newest losing runs kept per topic
_REOPENED = 50

ROLES_OF_FAMILY: dict[str, frozenset[str]] = {
    "normalization": frozenset({"norm"}),
    "activation": frozenset({"activation"}),
    "initialisation": frozenset({"init"}),
    "schedule": frozenset({"schedule"}),
    "regularization": frozenset({"dropout", "decay", "smoothing"}),
    "optimizer": frozenset({"optimizer", "momentum"}),
    "capacity": frozenset({"width", "depth"}),
    "architecture": frozenset({"depth", "pooling", "heads"}),
}
_STRUCTURAL = frozenset({"capacity", "architecture"})  # such a change reaches further than the constants that it moved


class _Loss(msgspec.Struct, frozen=True):
    """One run that lost."""

    label: str
    since: int  # `seq` of its parent: what was kept later, it was not measured with


class _Topic:
    """What is known against one topic."""

    def __init__(self, assumption: frozenset[str]) -> None:
        self.assumption = assumption
        self.losses: deque[_Loss] = deque(maxlen=_RUNS)
        self.closed_at: int | None = None

    def rests_on(self, touched: frozenset[str]) -> bool:
        """True if a keep that touched these roles changed what this was measured with. Where nothing is known, any keep did."""
        return not self.assumption or not self.assumption.isdisjoint(touched)


class DeadEnds:
    """The dead ends of one epoch. O(topics of the run) a run, O(topics kept) a keep."""

    def __init__(self) -> None:
        self._topics: dict[str, _Topic] = {}
        self._touched: dict[str, int] = {}  # role -> seq of the last keep that moved it; "" for any keep
        self._reopened: deque[Reopening] = deque(maxlen=_REOPENED)

    def learn(self, lesson: Lesson) -> None:
        """Take in one run: losses close its topics, a gain opens them, a keep opens those that rested on what it changed."""
        run, belief = lesson.run, lesson.belief
        if belief is not None and lesson.parent is not None:
            if run.is_kept or belief.p_gain >= PAID:
                for key in lesson.topics:
                    self._open(key, run, "it paid")
            elif belief.gain < 0 and (belief.p_gain < CLEARLY or belief.p_harm >= 1 - CLEARLY):
                for key in lesson.topics:
                    self._lose(key, run, lesson.parent)
        if run.is_kept and run.incumbent == run.commit and lesson.parent is not None:
            self._keep(run)

    def _lose(self, key: str, run: Run, parent: Run) -> None:
        topic = self._topics.pop(key, None) or _Topic(assumption(key, run))
        self._topics[key] = topic
        if parent.seq < max((self._touched.get(role, -1) for role in topic.assumption or {""}), default=-1):
            return
        topic.losses.append(_Loss(run.label, parent.seq))
        if topic.closed_at is None and len(topic.losses) >= LOSSES.get(key.partition(":")[0], max(LOSSES.values())):
            topic.closed_at = run.seq
        if len(self._topics) > KEYS:
            del self._topics[next(iter(self._topics))]

    def _keep(self, run: Run) -> None:
        roles_touched = touched(run)
        self._touched.update(dict.fromkeys(sorted(roles_touched), run.seq))
        self._touched[""] = run.seq
        for key in [key for key, topic in self._topics.items() if topic.rests_on(roles_touched)]:
            shared = sorted(self._topics[key].assumption & roles_touched)
            self._open(
                key, run, f"it changed {', '.join(shared)}" if shared else "it changed the incumbent, and nobody knows on what this rested"
            )

    def _open(self, key: str, run: Run, because: str) -> None:
        topic = self._topics.pop(key, None)
        if topic is not None and topic.closed_at is not None:
            self._reopened.append(Reopening(dead_end=_dead_end(key, topic), by=run.label, because=because))

    # asking ----------------------------------------------------------------------------------------------------------

    def closed(self) -> list[DeadEnd]:
        """Dead ends that hold now, the oldest first."""
        found = [_dead_end(key, topic) for key, topic in self._topics.items() if topic.closed_at is not None]
        return sorted(found, key=lambda end: (end.since_seq, end.key))

    def is_closed(self, key: str) -> bool:
        """True while this topic is a dead end. O(1)."""
        topic = self._topics.get(key)
        return topic is not None and topic.closed_at is not None

    def reopened(self) -> list[Reopening]:
        """Dead ends that are none any more, the latest last. At most 50."""
        return list(self._reopened)


def touched(run: Run) -> frozenset[str]:
    """Roles that a run changed: those of the constants it moved, and its category's where it says more or nothing else does."""
    moved, kind = roles(run.moves), family_of(run.change)
    return moved | ROLES_OF_FAMILY.get(kind, frozenset()) if not moved or kind in _STRUCTURAL else moved


def assumption(key: str, run: Run) -> frozenset[str]:
    """Roles that must stay as they are for losses on this topic to mean the same; empty where nobody knows."""
    kind, _, rest = key.partition(":")
    if kind == "gene":
        own = frozenset(m.family for m in run.moves if m.family and gene_key(m) == key)
    elif kind == "role":
        own = frozenset({rest.partition("=")[0].rstrip("+-")})
    else:
        own = ROLES_OF_FAMILY.get(family_of(rest), frozenset())
    own = own or (ROLES_OF_FAMILY.get(family_of(run.change), frozenset()) if kind == "gene" else frozenset())
    return frozenset().union(*(COUPLED.get({"initialiser": "init"}.get(role, role), frozenset()) for role in own)) - own


def _dead_end(key: str, topic: _Topic) -> DeadEnd:
    resting = " and ".join(sorted(topic.assumption)) or "everything else"
    stays, as_ = ("stay", "they are") if len(topic.assumption) > 1 else ("stays", "it is")
    verb = "do" if key.startswith("change:") else "does"
    return DeadEnd(
        key=key,
        statement=f"{in_words(key)} {verb} not pay while {resting} {stays} as {as_}",
        runs=tuple(loss.label for loss in topic.losses),
        assumption=topic.assumption,
        since_seq=topic.closed_at if topic.closed_at is not None else -1,
    )
