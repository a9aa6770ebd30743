"""Entries of a ledger as the nouns that history is told in: a run, its trials, its readings. Pure."""

from __future__ import annotations

import time as clock
from collections.abc import Iterable

import msgspec

from evogit.domain.run import Run
from evogit.domain.trial import TrialLine
from evogit.errors import BadRecord
from evogit.git.ledger import Commit, Entry
from evogit.git.messages import RunMessage

_TRIAL = msgspec.json.Decoder(TrialLine)


def run_of(entry: Entry, commit: Commit, said: RunMessage, seq: int, epoch: int, parents: tuple[Run, ...], rival: str) -> Run:
    """The run that an entry decided: its own message, and what the decision says of it. Raises BadRecord."""
    trials = tuple(trials_of(entry))
    return Run(
        commit=commit.hash,
        label=said.label,
        campaign=said.campaign,
        parents=() if said.baseline else commit.parents,
        generation=0 if said.baseline else 1 + max((p.generation for p in parents), default=0),
        epoch=epoch,
        seq=seq,
        verdict=entry.verdict,
        reason=entry.reason,
        near_miss=entry.near_miss,
        emitter=said.emitter,
        agent=said.agent,
        change=said.change,
        niche=said.niche,
        summary=said.summary,
        hypothesis=said.hypothesis,
        forecast=said.forecast,
        propensity=said.propensity,
        policy=said.policy,
        chance=said.chance,
        moves=said.moves,
        lines=said.lines,
        idea=said.idea,
        sources=said.sources,
        contrast=said.contrast,
        adopts=said.adopts,
        incumbent=entry.incumbent,
        rival=rival,
        decision=entry.commit,
        trials=trials,
        readings=readings_of(trials),
        seconds=sum((trial.seconds for trial in trials), 0.0),
        cost_usd=sum((trial.cost_usd for trial in trials), entry.spent.usd),
        spent=entry.spent,
        flags=entry.flags,
        started=iso(commit.authored),
    )


def iso(seconds: int) -> str:
    """Seconds since 1970 as ISO 8601 UTC."""
    return clock.strftime("%Y-%m-%dT%H:%M:%SZ", clock.gmtime(seconds))


def trials_of(entry: Entry) -> Iterable[TrialLine]:
    """An entry's lines, each id once: the first that bears it counts."""
    seen: set[str] = set()
    for line in entry.lines:
        try:
            trial = _TRIAL.decode(line)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise BadRecord(entry.commit, f"holds a trial line that cannot be read ({error}): {line[:80]!r}") from error
        if trial.id not in seen:
            seen.add(trial.id)
            yield trial


def readings_of(trials: Iterable[TrialLine]) -> dict[str, tuple[float, ...]]:
    """Metric -> readings of those trials that entered the verdict, in their order."""
    out: dict[str, tuple[float, ...]] = {}
    for trial in trials:
        if trial.purpose == "select":
            for name, value in trial.metrics.items():
                out[name] = (*out.get(name, ()), value)
    return out
