"""Annotated tags on runs: a name that git knows everywhere, with the numbers in its message. It moves no branch."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
import pygit2

from evogit.domain.run import Run
from evogit.errors import UserError
from evogit.git import refs
from evogit.git.campaign import Campaign
from evogit.git.messages import one_line, paragraphs
from evogit.git.repository import Repository
from evogit.present import claim, number, std

TAGS = "refs/tags/"
OURS = "evogit/"  # certificates: evogit's own to make


class Tagged(msgspec.Struct, frozen=True, kw_only=True):
    """A tag on a run."""

    name: str
    run: Run
    subject: str  # first line of its message; of a tag without one, the run's summary


def tag(repo: Repository, campaign: Campaign, asked: str, name: str, *, is_forced: bool = False) -> Tagged:
    """An annotated tag on a run's commit. Raises UserError for a name that is taken or none, UnknownName."""
    run = campaign.history.find(asked)
    ref = f"{TAGS}{name}"
    if not name or name.startswith("-") or not pygit2.reference_is_valid_name(ref):
        raise UserError(f"{name!r} cannot be a tag's name", hint="letters, digits and dashes make a good one: `evogit tag 12 paper-v1`")
    if name.startswith(OURS):
        raise UserError(
            f"tags below {OURS} are certificates: evogit makes them", hint=f"choose another name, or test it: `evogit certify {run.label}`"
        )
    old = refs.read(repo, ref)
    if old is not None and not is_forced:
        where = next((t.run.label for t in listing(repo, campaign) if t.name == name), "")
        raise UserError(
            f"there is a tag {name} already" + (f", on run {where}" if where else ""), hint="choose another name, or --force to move it"
        )
    text = message(campaign, run)
    # The object alone: git's own call would make the ref too, and could not compare it with what was there.
    me = repo.identity()
    head = f"object {run.commit}\ntype commit\ntag {name}\ntagger {me.name} <{me.email}> {me.time} {_offset(me.offset)}\n\n"
    oid = repo.git.odb.write(pygit2.enums.ObjectType.TAG, (head + text).encode("utf-8", "surrogateescape"))
    refs.move(repo, ref, str(oid), old, f"evogit: tag {name}")
    return Tagged(name=name, run=run, subject=text.partition("\n")[0])


def listing(repo: Repository, campaign: Campaign) -> list[Tagged]:
    """Tags on runs of the campaign, certificates included, by name. O(tags)."""
    return sorted(_found(repo, campaign), key=lambda tagged: tagged.name)


def message(campaign: Campaign, run: Run) -> str:
    """Subject with the primary number; then hypothesis, every metric with its spread, and where the run is from."""
    primary = campaign.problem.primary.name
    value = run.mean(primary)
    head = f"run {run.label}: {one_line(run.summary, 80)}" + (f" ({primary} {number(value)})" if value is not None else "")
    numbers = []
    for metric in campaign.problem.metrics:
        values = run.readings.get(metric.name, ())
        if values:
            spread = f" +- {number(std(values))}" if std(values) > 0 else ""
            numbers.append(f"{one_line(metric.name)} {number(run.mean(metric.name))}{spread} (n = {len(values)})")
    worth = claim(run)
    origin = f"Run {run.label} of campaign {one_line(run.campaign)}: {run.verdict.value}" + (f", {worth}" if worth else "")
    judged = f"Judged by {one_line(run.judged)}" if run.judgements else ""
    parts = [one_line(head), paragraphs(run.hypothesis), "\n".join(numbers), "\n".join(p for p in (origin, judged) if p)]
    return "\n\n".join(part for part in parts if part) + "\n"


def _found(repo: Repository, campaign: Campaign) -> Iterator[Tagged]:
    for ref, hash in refs.listing(repo, TAGS).items():
        found = repo.git.get(hash)
        text = ""
        if isinstance(found, pygit2.Tag):
            text, found = found.message or "", found.get_object()
        run = campaign.history.by_commit.get(str(found.id)) if found is not None else None
        if run is not None:
            yield Tagged(name=ref.removeprefix(TAGS), run=run, subject=one_line(text.partition("\n")[0]) or run.summary)


def _offset(minutes: int) -> str:
    sign, size = "-" if minutes < 0 else "+", abs(minutes)
    return f"{sign}{size // 60:02d}{size % 60:02d}"
