"""The book of ideas of one campaign: people's lines and reviewers' recommendations out of git into the queue, and a person's new one into git.

It reads whatever process wrote. What an idea is worth, and when its turn comes, it leaves to others.
"""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timezone

import msgspec

from evogit import keys, present
from evogit.domain.idea import Idea, IdeaStatus, Ranking
from evogit.domain.lore import Warning_
from evogit.domain.review import Recommendation, Review
from evogit.domain.run import Run
from evogit.errors import UnknownName, UserError
from evogit.git import flights, idea_notes, notes, refs
from evogit.git.history import History
from evogit.git.messages import one_line
from evogit.git.repository import Repository
from evogit.search.ideas import KEPT, LONGEST, MOST_OF_PEOPLE, OPEN, Ideas, Refused, idea_of, tidy

STEP = 0.1  # of priority, that `raise` and `lower` take
SHORTEST = 4  # digits of an id that name it, where no other begins so
MOVABLE = frozenset({IdeaStatus.QUEUED, IdeaStatus.NEEDS_MODEL, IdeaStatus.DROPPED})
MOST_SAID = 3  # reasons that are told one by one: whoever pasted a novel need not read it again


class Ideabook:
    """A queue and how far into people's notes it has been read."""

    def __init__(self, repo: Repository, history: History, ideas: Ideas) -> None:
        """`ideas` has been told every decided run already (`settle`)."""
        self._repo, self._history, self.ideas = repo, history, ideas
        self._read = ""  # hash of the notes that were read last
        self._told: set[str] = set()  # what was said of lines and ideas, each once
        self._known = 0  # decided runs at that time: a note may be there before its run is decided
        self._left_out = 0  # ideas of people that found no room

    def recall(self) -> tuple[str, ...]:
        """Take in the reviews of the newest KEPT runs, oldest first, and all that people said. 0.1 ms a run.

        Returns why any idea was refused, a line each for the person at the loop, the first MOST_SAID of them.
        """
        said: list[str] = []
        for run in self._history.runs[-KEPT:]:
            for review in reviews_of(self._repo, run.commit):
                said += self.ideas.learn_review(run, review)
        return (*_few(said), *self.look())

    def look(self) -> tuple[str, ...]:
        """Take in what people said since. One look at a ref, 20 us, where nobody said anything. Returns as `recall`."""
        tip = refs.read(self._repo, notes.IDEAS) or ""
        is_new = bool(tip) and (tip != self._read or self._has_new_notes() or self._has_room())
        self._read, self._known = tip, len(self._history.runs)
        return tuple(self._people()) if is_new else ()

    def _people(self) -> Iterator[str]:
        said: list[str] = []
        unread: dict[str, int] = {}
        left_out = 0
        for run, idea in idea_notes.of_runs(self._repo, self._history.by_commit):
            if idea is None:
                unread[run.label] = unread.get(run.label, 0) + 1
                continue
            if isinstance(idea, Ranking):
                self.ideas.rank(idea)
                continue
            try:
                read = tidy(idea)
                left_out += not self.ideas.learn_person(read)
                is_cut = len(idea.description) > LONGEST and read.description.endswith("…")
                why = f"has {len(idea.description)} characters: the first {LONGEST} count" if is_cut else ""
            except Refused as reason:
                why = str(reason)
            if why and idea.id not in self._told:
                self._told.add(idea.id)
                said.append(f"an idea on run {run.label} {why}")
        said += [f"the ideas on run {label} hold {_lines(count)} that nobody can read as an idea" for label, count in unread.items()]
        self._left_out = left_out
        yield from self._first_time(_few(said))
        if left_out:
            yield from self._first_time([f"{left_out} ideas of people found no room: {MOST_OF_PEOPLE} wait at a time, the oldest first"])

    def _first_time(self, said: Iterable[str]) -> Iterator[str]:
        for words in said:
            if words not in self._told:
                self._told.add(words)
                yield words

    def _has_room(self) -> bool:
        """True if ideas were left out, and those that found room are done."""
        return self._left_out > 0 and self.ideas.next_person() is None

    def _has_new_notes(self) -> bool:
        """True if one of the runs that were decided since the last look has an idea on it."""
        return any(notes.read(self._repo, notes.IDEAS, run.commit) for run in self._history.runs[self._known :])


def _few(said: Sequence[str]) -> list[str]:
    """The first MOST_SAID of them, each with how often it is said, and how many are left."""
    counts = Counter(said)
    shown = list(counts)[:MOST_SAID]
    more = sum(counts.values()) - sum(counts[words] for words in shown)
    lines = [f"{words} ({counts[words]} such ideas)" if counts[words] > 1 else words for words in shown]
    return [*lines, f"{present.plural(more, 'more idea')} left out or cut for reasons like these"] if more else lines


def _lines(count: int) -> str:
    return "a line" if count == 1 else f"{count} lines"


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """An idea as a face shows it."""

    idea: Idea
    status: IdeaStatus
    run: str  # label of the run that carried it out, "" if none did
    source: str  # label of the run that it starts from


def ideas_of(repo: Repository, history: History, status: IdeaStatus | None = None) -> list[Told]:
    """People's ideas and those of the newest reviews, those in flight marked. O(runs), and 0.1 ms a review."""
    ideas, _ = _queue(repo, history)
    for stored in flights.listing(repo, history.tag):
        ideas.claim(stored.flight.plan.idea)
    labels = {commit: run.label for commit, run in history.by_commit.items()}
    return [Told(idea=idea, status=now, run=run, source=labels[idea.source]) for idea, now, run in ideas.all(status)]


def refusals(repo: Repository, history: History) -> list[Warning_]:
    """Why ideas that somebody wrote are not in the queue, or not whole. O(runs), and 0.1 ms a review."""
    return idea_warnings(_queue(repo, history)[1], history.tag)


def idea_warnings(said: Iterable[str], tag: str) -> list[Warning_]:
    """What `recall` and `look` returned, with what to do about it."""
    hint = f'one idea at a time, in a sentence or two: evogit ideas add "try a cosine schedule" --tag {tag}'
    return [Warning_(kind="ideas", message=words, hint=hint, about=words) for words in said]


def add(repo: Repository, history: History, source: Run, said: Recommendation) -> Told:
    """Write a person's idea down, for whichever loop comes by. Raises UserError for what nobody could carry out, Busy.

    Who says it is git's user. Two persons who say the same at the same moment write one line each, and one idea is carried out.
    """
    if len(said.description) > LONGEST:
        raise UserError(
            f"the idea has {len(said.description)} characters, and {LONGEST} is the most",
            hint="say the change in a few sentences; code belongs in a run of your own: `evogit run`",
        )
    if source.epoch < history.epoch:
        raise UserError(f"run {source.label} is of an epoch that is over", hint="leave out --from: the idea starts from the incumbent then")
    by = str(repo.identity().name).replace("reviewer:", "") or "somebody"
    try:
        idea = idea_of(source, keys.redacted(said), by=by, time=_now())
    except Refused as why:
        raise UserError(f"the idea {why}", hint='say what to change: `evogit ideas add "try a cosine schedule"`') from None
    _check_is_new(_queue(repo, history)[0], idea)
    idea_notes.add(repo, idea)
    return Told(idea=idea, status=IdeaStatus.QUEUED, run="", source=source.label)


def rank(
    repo: Repository, history: History, id: str, *, priority: float | None = None, by: float = 0.0, drop: bool = False, reason: str = ""
) -> Told:
    """Give an idea a priority, or one greater `by` so much, or take it out of the queue. id: its first digits, SHORTEST or more.

    What was dropped comes back with a new priority. Raises UserError for one that nobody waits for any more, UnknownName, Busy.
    """
    if priority is not None and not 0 <= priority <= 1:
        raise UserError(f"{priority:g} is no priority", hint="from 0 to 1; the highest goes first")
    ideas, _ = _queue(repo, history)
    for stored in flights.listing(repo, history.tag):
        ideas.claim(stored.flight.plan.idea)
    idea = _named(ideas, id, history.tag)
    status = ideas.status(idea.id)
    if status not in MOVABLE:
        raise UserError(f"idea {idea.id} is {status.value}: its place in the queue means nothing now", hint=_of_no_use(status))
    new = idea.priority if drop else min(1.0, max(0.0, idea.priority + by if priority is None else priority))
    who = str(repo.identity().name).replace("reviewer:", "") or "somebody"
    said = Ranking(
        id=secrets.token_hex(8), idea=idea.id, by=who, time=_now(), priority=round(new, 6), is_dropped=drop, reason=one_line(reason)
    )
    idea_notes.rank(repo, idea.source, keys.redacted(said))
    ideas.rank(said)
    return Told(idea=ideas.get(idea.id) or idea, status=ideas.status(idea.id), run="", source=history.by_commit[idea.source].label)


def _named(ideas: Ideas, id: str, tag: str) -> Idea:
    """The one idea whose id begins so. Raises UnknownName."""
    found = ideas.named(id.lower()) if len(id) >= SHORTEST else []
    if len(found) == 1 and (idea := ideas.get(found[0])) is not None:
        return idea
    hint = f"it may be any of: {', '.join(found[:4])}" if found else f"`evogit ideas --tag {tag}` lists them with their ids"
    raise UnknownName(f"there is no idea {id!r}" if not found else f"{id!r} is more than one idea", hint=hint)


def _of_no_use(status: IdeaStatus) -> str:
    if status is IdeaStatus.CLAIMED:
        return "a run carries it out: `evogit cancel RUN --because ...` ends that one"
    return 'to have it tried again, say it anew: `evogit ideas add "..."`'


def _now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _check_is_new(ideas: Ideas, idea: Idea) -> None:
    same = ideas.get(idea.id) or ideas.get(ideas.twin(idea))
    if same is not None and same.is_persons:
        hint = f"`evogit ideas --status {ideas.status(same.id).value}` shows it; to insist, say it with other numbers or from another run"
        raise UserError(f"{same.by} asked for that before ({ideas.status(same.id).value}): {same.description[:80]}", hint=hint)
    open_ = [i for s in OPEN for i, _, _ in ideas.all(s) if i.is_persons]
    if len(open_) >= MOST_OF_PEOPLE:
        raise UserError(f"{len(open_)} ideas of people wait already", hint="let the loop carry some of them out first: `evogit loop`")


def _queue(repo: Repository, history: History) -> tuple[Ideas, tuple[str, ...]]:
    """The queue as history has it, and what there was to say about what is not in it."""
    ideas = Ideas()
    for run in history.runs:
        ideas.settle(run)
    for commit in history.replicates:
        ideas.read_again(commit, history.by_commit[commit].label)
    return ideas, Ideabook(repo, history, ideas).recall()


def reviews_of(repo: Repository, commit: str) -> Iterator[Review]:
    """Reviews on a run, in the order of its note; lines that are none are skipped. 0.1 ms."""
    lines: Sequence[bytes] = notes.read(repo, notes.REVIEWS, commit)
    for line in lines:
        try:
            yield msgspec.json.decode(line, type=Review)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            continue
