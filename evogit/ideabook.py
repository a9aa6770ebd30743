"""The book of ideas of one campaign: people's lines and reviewers' recommendations out of git into the queue, and a person's new one into git.

It reads whatever process wrote. What an idea is worth, and when its turn comes, it leaves to others.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timezone

import msgspec

from evogit.domain.idea import Idea, IdeaStatus
from evogit.domain.review import Recommendation, Review
from evogit.domain.run import Run
from evogit.errors import UserError
from evogit.git import flights, idea_notes, notes, refs
from evogit.git.history import History
from evogit.git.repository import Repository
from evogit.search.ideas import KEPT, LONGEST, MOST_OF_PEOPLE, Ideas, Refused, idea_of, tidy


class Ideabook:
    """A queue and how far into people's notes it has been read."""

    def __init__(self, repo: Repository, history: History, ideas: Ideas) -> None:
        """`ideas` has been told every decided run already (`settle`)."""
        self._repo, self._history, self.ideas = repo, history, ideas
        self._read = ""  # hash of the notes that were read last
        self._refused: set[str] = set()  # ids of unreadable ideas, each told once
        self._known = 0  # decided runs at that time: a note may be there before its run is decided

    def recall(self) -> tuple[str, ...]:
        """Take in the reviews of the newest KEPT runs, oldest first, and all that people said. 0.1 ms a run.

        Returns why any idea was refused, a line each for the person at the loop.
        """
        said: list[str] = []
        for run in self._history.runs[-KEPT:]:
            for review in reviews_of(self._repo, run.commit):
                said += self.ideas.learn_review(run, review)
        return (*said, *self.look())

    def look(self) -> tuple[str, ...]:
        """Take in what people said since. One look at a ref, 20 us, where nobody said anything. Returns as `recall`."""
        tip = refs.read(self._repo, notes.IDEAS) or ""
        is_new = bool(tip) and (tip != self._read or self._has_new_notes())
        self._read, self._known = tip, len(self._history.runs)
        return tuple(self._people()) if is_new else ()

    def _people(self) -> Iterator[str]:
        for idea in idea_notes.of_runs(self._repo, self._history.by_commit):
            try:
                self.ideas.learn_person(tidy(idea))
            except Refused as why:
                if idea.id not in self._refused:
                    self._refused.add(idea.id)
                    yield f"an idea on run {self._history.by_commit[idea.source].label} {why}"

    def _has_new_notes(self) -> bool:
        """True if one of the runs that were decided since the last look has an idea on it."""
        return any(notes.read(self._repo, notes.IDEAS, run.commit) for run in self._history.runs[self._known :])


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """An idea as a face shows it."""

    idea: Idea
    status: IdeaStatus
    run: str  # label of the run that carried it out, "" if none did
    source: str  # label of the run that it starts from


def ideas_of(repo: Repository, history: History, status: IdeaStatus | None = None) -> list[Told]:
    """People's ideas and those of the newest reviews, those in flight marked. O(runs), and 0.1 ms a review."""
    ideas = _queue(repo, history)
    for stored in flights.listing(repo, history.tag):
        ideas.claim(stored.flight.plan.idea)
    labels = {commit: run.label for commit, run in history.by_commit.items()}
    return [Told(idea=idea, status=now, run=run, source=labels[idea.source]) for idea, now, run in ideas.all(status)]


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
    now = datetime.now(timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    try:
        idea = idea_of(source, said, by=by, time=now)
    except Refused as why:
        raise UserError(f"the idea {why}", hint='say what to change: `evogit ideas add "try a cosine schedule"`') from None
    _check_is_new(_queue(repo, history), idea)
    idea_notes.add(repo, idea)
    return Told(idea=idea, status=IdeaStatus.QUEUED, run="", source=source.label)


def _check_is_new(ideas: Ideas, idea: Idea) -> None:
    same = ideas.get(idea.id) or ideas.get(ideas.twin(idea))
    if same is not None and same.is_persons:
        hint = f"`evogit ideas --status {ideas.status(same.id).value}` shows it; to insist, say it with other numbers or from another run"
        raise UserError(f"{same.by} asked for that before ({ideas.status(same.id).value}): {same.description[:80]}", hint=hint)
    open_ = [i for s in (IdeaStatus.QUEUED, IdeaStatus.CLAIMED) for i, _, _ in ideas.all(s) if i.is_persons]
    if len(open_) >= MOST_OF_PEOPLE:
        raise UserError(f"{len(open_)} ideas of people wait already", hint="let the loop carry some of them out first: `evogit loop`")


def _queue(repo: Repository, history: History) -> Ideas:
    ideas = Ideas()
    for run in history.runs:
        ideas.settle(run)
    for commit in history.replicates:
        ideas.read_again(commit, history.by_commit[commit].label)
    Ideabook(repo, history, ideas).recall()
    return ideas


def reviews_of(repo: Repository, commit: str) -> Iterator[Review]:
    """Reviews on a run, in the order of its note; lines that are none are skipped. 0.1 ms."""
    lines: Sequence[bytes] = notes.read(repo, notes.REVIEWS, commit)
    for line in lines:
        try:
            yield msgspec.json.decode(line, type=Review)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            continue
