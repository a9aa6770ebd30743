"""The queue of ideas: what reviewers recommend and people ask for, and what became of it. Derived from history, stored nowhere.

What is told does not depend on the order of telling: of two ideas that say the same, the person's counts, then the earlier.
It judges no idea's worth, and refuses only text that nobody can read.
"""

from __future__ import annotations

import hashlib
import math
import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable

import msgspec

from evogit.domain.idea import Idea, IdeaStatus, Ranking
from evogit.domain.review import Recommendation, Review
from evogit.domain.run import Run
from evogit.domain.verdict import Verdict

LIFE = 60  # decided runs that a reviewer's idea waits for its turn
KEPT = 2 * LIFE  # decided runs for which it is remembered, so that whoever says it again meanwhile is understood
MOST_OF_A_REVIEW = 3  # recommendations, the most wanted ones
MOST_OF_PEOPLE = 500 - KEPT * MOST_OF_A_REVIEW
LONGEST = 2000  # characters of a description
SAME = 0.85  # share of words in common from which two descriptions say the same
REPLICATE = "replicate"  # type of an idea that asks for another reading and for no change
NEEDS_A_MODEL = "needs a model: "  # how the reason of a run begins whose agent edits by rule, and had no rule for the idea
RETURNS = 2  # times that a plan comes back without a run before its idea is given up

OPEN = frozenset({IdeaStatus.QUEUED, IdeaStatus.CLAIMED, IdeaStatus.NEEDS_MODEL})  # what may still be carried out

_WORD = re.compile(r"[^\W\d_][\w]*|[-+]?\d+(?:\.\d+)?(?:e[-+]?\d+)?")
_ESCAPE = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|[\]PX^_][^\x07\x1b]*(?:\x07|\x1b\\)?|.)", re.DOTALL)  # what a terminal would obey
_IDLE = frozenset({"a", "an", "and", "by", "for", "in", "is", "it", "of", "on", "the", "to", "try", "use", "with", "please", "let", "us"})
_WAYS = frozenset(
    re.findall(
        r"\w+",
        "increase decrease raise lower more less fewer up down larger smaller bigger higher wider narrower deeper shallower double halve half "
        "twice opposite reverse same another add remove drop leave out without no not before after faster slower longer shorter",
    )
)


class Refused(ValueError):
    """Text that cannot be an idea; its message says why, for the person who wrote it."""


class _Entry:
    """One idea with the ideas that say the same and come before it."""

    __slots__ = ("group", "idea", "order", "turn", "twins", "words")

    def __init__(self, idea: Idea, order: tuple[int, str | int, str | int]) -> None:
        self.idea, self.order = idea, order
        self.turn = (0 if idea.is_persons else -idea.seq, order)  # whose turn comes first among those of one priority
        self.words = words(idea.description)
        firm = frozenset(word for word in self.words if word in _WAYS or not word[0].isalpha())
        self.group = (idea.mutation_type.casefold(), firm)  # only within a group can two ideas say the same
        self.twins: list[str] = []


class Ideas:
    """Every idea still remembered: people's (at most MOST_OF_PEOPLE), and reviewers' of the newest KEPT decided runs."""

    def __init__(self) -> None:
        self._entries: dict[str, _Entry] = {}
        self._groups: defaultdict[tuple[str, frozenset[str]], dict[str, _Entry]] = defaultdict(dict)
        self._said: defaultdict[int, list[str]] = defaultdict(list)  # seq of a run -> ids that its reviews gave
        self._read_again: dict[str, str] = {}  # run that was measured once more -> its label
        self._settled: dict[str, tuple[IdeaStatus, str]] = {}  # id -> what became of it, label of the run
        self._unread: dict[str, str] = {}  # id -> label of the newest run whose agent could make nothing of its words
        self.has_reader = False  # True: whoever carries ideas out reads words, so those that were not understood wait for it
        self._rankings: dict[str, Ranking] = {}  # id of an idea, which need not be known -> what a person said of it last
        self._claimed: dict[str, int] = {}  # id -> flights in the air
        self._returned: dict[str, int] = {}  # id -> plans that came back without a run
        self._now = -1  # seq of the newest decided run
        self._epoch, self._epoch_began = 0, 0  # and the seq of its first run

    # telling ---------------------------------------------------------------------------------------------------------

    def learn_review(self, run: Run, review: Review) -> tuple[str, ...]:
        """Take in a review's recommendations, the MOST_OF_A_REVIEW most wanted. Returns why any was refused, a line each. O(kept)."""
        if run.seq <= self._now - KEPT:
            return ()
        refused: list[str] = []
        wanted = sorted(enumerate(review.recommended_next_mutations), key=lambda item: (-share(item[1].priority), item[0]))
        for _, said in wanted:
            if len(self._said[run.seq]) >= MOST_OF_A_REVIEW:
                break
            try:
                idea = idea_of(run, said, by=f"reviewer:{review.reviewer}")
            except Refused as why:
                refused.append(f"an idea of {review.reviewer} on run {run.label} {why}")
                continue
            if idea.id not in self._said[run.seq]:
                self._said[run.seq].append(idea.id)
                self._put(_Entry(idea, (1, idea.seq, len(self._said[run.seq]))))
        return tuple(refused)

    def learn_person(self, idea: Idea) -> bool:
        """Take in a person's idea; telling it twice is telling it once. Beyond MOST_OF_PEOPLE the longest settled one is forgotten,
        and where all are still open, the newest is not taken in. False if one that is still open found no room. O(kept)."""
        people = [e for e in self._entries.values() if e.idea.is_persons and e.idea.id != idea.id]
        self._put(_Entry(idea, (0, idea.time, idea.id)))
        if len(people) >= MOST_OF_PEOPLE:
            people.append(self._entries[idea.id])
            closed = [e for e in people if self.status(e.idea.id) not in OPEN]
            self._drop((min(closed, key=lambda e: e.order) if closed else max(people, key=lambda e: e.order)).idea.id)
            return bool(closed)
        return True

    def rank(self, said: Ranking) -> None:
        """A person moved an idea in the queue, or took it out. O(1)."""
        before = self._rankings.get(said.idea)
        if before is None or (before.time, before.id) < (said.time, said.id):
            self._rankings[said.idea] = said

    def settle(self, run: Run) -> None:
        """A run was decided, in the order of the ledger: the idea that it carried out is done or failed. O(1)."""
        if run.epoch > self._epoch:
            self._epoch, self._epoch_began = run.epoch, run.seq
        for past in range(self._now - KEPT + 1, run.seq - KEPT + 1):
            for id in self._said.pop(past, ()):
                if id in self._entries and not self._entries[id].idea.is_persons:
                    self._drop(id)
        self._now = max(self._now, run.seq)
        if not run.idea:
            return
        if run.verdict is Verdict.REJECT and run.reason.startswith(NEEDS_A_MODEL):
            self._unread[run.idea] = run.label
            self._returned[run.idea] = self._returned.get(run.idea, 0) - 1  # its flight's return says nothing of the idea
            return
        is_failed = run.verdict in {Verdict.CRASH, Verdict.REJECT}
        if not is_failed or self._settled.get(run.idea, (IdeaStatus.FAILED,))[0] is not IdeaStatus.DONE:
            self._settled[run.idea] = (IdeaStatus.FAILED if is_failed else IdeaStatus.DONE, run.label)

    def read_again(self, run: str, label: str) -> None:
        """A run was measured again: whoever wanted that has it."""
        self._read_again[run] = label

    def claim(self, id: str) -> None:
        """A flight in the air carries it out. "" is nobody's idea."""
        if id:
            self._claimed[id] = self._claimed.get(id, 0) + 1

    def release(self, id: str) -> None:
        """That flight landed, or was given up. An idea that comes back RETURNS times without a decided run is given up as failed."""
        if not id or id not in self._claimed:
            return
        self._claimed[id] -= 1
        if not self._claimed[id]:
            del self._claimed[id]
        if id not in self._settled:
            self._returned[id] = self._returned.get(id, 0) + 1

    def inherit(self, older: Ideas) -> None:
        """Take over what history does not tell, the flights in the air, from the memory that this one replaces."""
        self._claimed, self._returned = dict(older._claimed), dict(older._returned)

    # asking ----------------------------------------------------------------------------------------------------------

    def next_person(self) -> Idea | None:
        """The person's idea whose turn it is: highest priority, then oldest. None if none waits."""
        return self._first(is_persons=True)

    def best(self) -> Idea | None:
        """The reviewers' idea to compete with the portfolio: highest priority, then the newest. None if none waits."""
        return self._first(is_persons=False)

    def get(self, id: str) -> Idea | None:
        """An idea by its id, with the priority that a person gave it last."""
        entry = self._entries.get(id)
        return self._ranked(entry.idea) if entry else None

    def named(self, prefix: str) -> list[str]:
        """Ids that begin so, sorted."""
        return sorted(id for id in self._entries if id.startswith(prefix))

    def status(self, id: str) -> IdeaStatus:
        """Where a known idea is in its life. Raises KeyError for one that is not remembered."""
        idea = self._entries[id].idea
        if id in self._settled:
            return self._settled[id][0]
        if idea.mutation_type == REPLICATE and idea.source in self._read_again:
            return IdeaStatus.DONE
        if id in self._claimed:
            return IdeaStatus.CLAIMED
        if id in self._rankings and self._rankings[id].is_dropped:
            return IdeaStatus.DROPPED
        if self._is_expired(idea):
            return IdeaStatus.EXPIRED
        if self._returned.get(id, 0) >= RETURNS:
            return IdeaStatus.FAILED
        return IdeaStatus.NEEDS_MODEL if id in self._unread and not self.has_reader else IdeaStatus.QUEUED

    def all(self, status: IdeaStatus | None = None) -> list[tuple[Idea, IdeaStatus, str]]:
        """People's ideas, oldest first, then reviewers'; each with its status and the label of the run that settled it, "" if none did.

        An idea that says the same as one before it is left out, unless it was carried out itself.
        """
        told = []
        for entry in sorted(self._entries.values(), key=lambda e: e.order):
            now = self.status(entry.idea.id)
            if (status is None or now is status) and (now is not IdeaStatus.QUEUED or not self.twin(entry.idea)):
                again = self._read_again.get(entry.idea.source, "") if entry.idea.mutation_type == REPLICATE else ""
                tried = again or (self._unread.get(entry.idea.id, "") if now is IdeaStatus.NEEDS_MODEL else "")
                told.append((self._ranked(entry.idea), now, self._settled.get(entry.idea.id, (now, tried))[1]))
        return told

    def twin(self, idea: Idea) -> str:
        """Id of an idea before it that says the same and was not let expire; "" if there is none. It need not be remembered itself."""
        entry = self._entries.get(idea.id)
        if entry is not None:
            twins: Iterable[str] = (id for id in entry.twins if id in self._entries)
        else:
            probe = _Entry(idea, (0, idea.time, idea.id))
            twins = (id for id, e in self._groups.get(probe.group, {}).items() if e.idea.is_persons and _same(e, probe))
        return next((id for id in twins if self.status(id) is not IdeaStatus.EXPIRED), "")

    def _first(self, *, is_persons: bool) -> Idea | None:
        of_kind = (e for e in self._entries.values() if (e.order[0] == 0) is is_persons and self.status(e.idea.id) is IdeaStatus.QUEUED)
        waiting = sorted(of_kind, key=lambda e: (-self._ranked(e.idea).priority, *e.turn))
        return next((self._ranked(e.idea) for e in waiting if not self.twin(e.idea)), None)

    def _ranked(self, idea: Idea) -> Idea:
        said = self._rankings.get(idea.id)
        return idea if said is None else msgspec.structs.replace(idea, priority=share(said.priority))

    def _is_expired(self, idea: Idea) -> bool:
        return idea.seq < self._epoch_began or (not idea.is_persons and self._now - idea.seq >= LIFE)

    def _put(self, new: _Entry) -> None:
        """Keep it, unless the same words on the same run are there from a person, or earlier."""
        known = self._entries.get(new.idea.id)
        if known is not None and known.order <= new.order:
            return
        self._drop(new.idea.id)
        for old in self._groups[new.group].values():
            if _same(old, new):
                later, earlier = (new, old) if old.order < new.order else (old, new)
                later.twins.append(earlier.idea.id)
        self._entries[new.idea.id] = self._groups[new.group][new.idea.id] = new

    def _drop(self, id: str) -> None:
        entry = self._entries.pop(id, None)
        if entry is not None:
            self._groups[entry.group].pop(id)
            if not self._groups[entry.group]:
                del self._groups[entry.group]


def tidy(idea: Idea) -> Idea:
    """An idea as another tool wrote it, made fit to be shown and handed to a worker; its id stays. Raises Refused."""
    return Idea(
        id=idea.id,
        source=idea.source,
        by=readable(idea.by)[:80] or "somebody",
        mutation_type=readable(idea.mutation_type)[:60] or "other",
        description=cleaned(idea.description),
        expected_benefit=readable(idea.expected_benefit)[:200],
        priority=share(idea.priority),
        time=readable(idea.time)[:40],
        seq=idea.seq,
    )


def idea_of(run: Run, said: Recommendation, *, by: str, time: str = "") -> Idea:
    """A recommendation as an idea that starts from `run`: text cleaned, priority within 0 and 1. Raises Refused."""
    kind, description = readable(said.mutation_type)[:60] or "other", cleaned(said.description)
    return tidy(
        Idea(
            id=idea_id(run.commit, kind, description),
            source=run.commit,
            by=by,
            mutation_type=kind,
            description=description,
            expected_benefit=said.expected_benefit,
            priority=said.priority,
            time=time,
            seq=run.seq,
        )
    )


def idea_id(source: str, mutation_type: str, description: str) -> str:
    """16 hex digits over the run that it starts from, its type and its words; case and white space do not count."""
    parts = (source, *(" ".join(text.casefold().split()) for text in (mutation_type, description)))
    return hashlib.sha256("\n".join(parts).encode("utf-8", "surrogatepass")).hexdigest()[:16]


def cleaned(text: str) -> str:
    """One readable line of at most LONGEST characters; what is longer is cut and ends in `…`. Raises Refused for what nobody can read."""
    line = readable(text)
    if not line:
        raise Refused("is empty")
    if max(map(len, line.split())) > 200:
        raise Refused("holds a word of more than 200 characters: say it in words")
    letters = sum(c.isalpha() for c in line)
    if letters < 3 or 2 * sum(c.isalnum() or c.isspace() for c in line) < len(line):
        raise Refused("is not made of words: say what to change, as in `try a cosine schedule`")
    return line if len(line) <= LONGEST else line[: LONGEST - 1].rstrip() + "…"


def readable(text: str) -> str:
    """The text on one line, without escape sequences, control characters, marks of writing direction and lone surrogates."""
    text = _ESCAPE.sub("", text[: 8 * LONGEST])
    kept = (" " if c.isspace() else "" if unicodedata.category(c) in {"Cc", "Cf", "Cs", "Co", "Cn"} else c for c in text)
    return " ".join("".join(kept).split())


def share(priority: float) -> float:
    """The priority within 0 and 1; what is no number is 0.5."""
    return min(1.0, max(0.0, float(priority))) if math.isfinite(priority) else 0.5


def words(text: str) -> frozenset[str]:
    """The words and numbers that tell one description from another; filling words are left out unless there is nothing else."""
    found = frozenset(_WORD.findall(text.casefold()))
    return found - _IDLE or found


def _same(one: _Entry, other: _Entry) -> bool:
    """True for nearly the same words, within one group: type, numbers and words of direction agree already."""
    both = len(one.words | other.words)
    return both > 0 and len(one.words & other.words) >= SAME * both
