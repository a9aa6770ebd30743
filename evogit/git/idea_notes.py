"""Ideas of people, as lines of `refs/notes/evogit/ideas`: writing one, and reading those of a campaign's runs.

Who writes here is a person, whatever the line says. A line that FORMAT.md does not allow is skipped and left where it is.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

import msgspec

from evogit.domain.idea import Idea, Ranking
from evogit.domain.run import Run
from evogit.git import notes
from evogit.git.repository import Repository

_ID = re.compile(r"[0-9a-f]{16}")


class _Line(msgspec.Struct, kw_only=True):
    v: int
    id: str
    time: str
    by: str
    mutation_type: str
    description: str
    expected_benefit: str = ""
    priority: float = 0.5


class _RankingLine(msgspec.Struct, kw_only=True):
    v: int
    id: str
    time: str
    by: str
    idea: str
    priority: float
    is_dropped: bool = False
    reason: str = ""


def add(repo: Repository, idea: Idea) -> None:
    """Put an idea on the run that it starts from, under the write lock; a line that is there already changes nothing. Raises Busy. 2 ms."""
    notes.add(repo, notes.IDEAS, {idea.source: [encode(idea)]}, f"idea: {idea.description[:60]}")


def encode(idea: Idea) -> bytes:
    """The idea as FORMAT.md writes it."""
    shared = {name: getattr(idea, name) for name in _Line.__struct_fields__ if name != "v"}
    return msgspec.json.encode(_Line(v=1, **shared))


def rank(repo: Repository, source: str, ranking: Ranking) -> None:
    """Put a ranking on the run that its idea starts from. As `add`."""
    word = "drop" if ranking.is_dropped else f"priority {ranking.priority:.2g}"
    notes.add(repo, notes.IDEAS, {source: [encode_ranking(ranking)]}, f"idea {ranking.idea}: {word}")


def encode_ranking(ranking: Ranking) -> bytes:
    """The ranking as FORMAT.md writes it."""
    return msgspec.json.encode(_RankingLine(v=1, **msgspec.structs.asdict(ranking)))


def of_runs(repo: Repository, runs: Mapping[str, Run]) -> Iterator[tuple[Run, Idea | Ranking | None]]:
    """Ideas and rankings on the given runs (hash -> run), of each id the first that is met, and None for each line that is neither.

    Reads the whole notes tree: some 40 us a note.
    """
    seen: set[str] = set()
    for commit, lines in notes.items(repo, notes.IDEAS):
        run = runs.get(commit)
        for line in lines if run is not None else ():
            idea = decode(line, run) or decode_ranking(line)
            if idea is None:
                yield run, None
            elif idea.id not in seen:
                seen.add(idea.id)
                yield run, idea


def decode(line: bytes, run: Run) -> Idea | None:
    """The idea of a line on that run; None for a line of a later version, or one that is no idea."""
    try:
        said = msgspec.json.decode(line, type=_Line)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    if said.v != 1 or not _ID.fullmatch(said.id):
        return None
    return Idea(
        id=said.id,
        source=run.commit,
        by=said.by.replace("reviewer:", "") or "somebody",
        mutation_type=said.mutation_type,
        description=said.description,
        expected_benefit=said.expected_benefit,
        priority=said.priority,
        time=said.time,
        seq=run.seq,
    )


def decode_ranking(line: bytes) -> Ranking | None:
    """The ranking of a line; None for a line of a later version, or one that is none."""
    try:
        said = msgspec.json.decode(line, type=_RankingLine)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    if said.v != 1 or not (_ID.fullmatch(said.id) and _ID.fullmatch(said.idea)):
        return None
    return Ranking(**{name: getattr(said, name) for name in Ranking.__struct_fields__})
