"""Campaigns that are over: into the archive, back from it, or away for good. It never touches one that lives, and no note.

What a campaign left outside git (checkouts, environments, folders of jobs) can be made again, and goes with it.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Sequence
from contextlib import suppress
from urllib.parse import quote

import msgspec

from evogit import assigning, control, removal, views
from evogit.errors import Busy, EvogitError, RefMoved, UserError
from evogit.git import archive, checkout, flights, refs
from evogit.git.history import History
from evogit.git.locks import loop_holder, loop_lock
from evogit.git.repository import Repository
from evogit.git.workspace import file_name
from evogit.present import number, plural

TRIES = 5  # a branch that moves that often is not over


class Campaigns(msgspec.Struct, frozen=True, kw_only=True):
    """One campaign, as it may be pruned."""

    tag: str
    is_archived: bool
    age_s: float  # since its last entry; of an archived one since then
    subject: str  # in words: runs and the best number
    bars: str = ""  # why it is not over, "" if it may be archived


class Pruned(msgspec.Struct, frozen=True, kw_only=True):
    """What was done, or would be."""

    tag: str
    action: str  # "archived", "deleted", "restored" or "kept"
    why: str = ""  # it was kept


def overview(repo: Repository) -> list[Campaigns]:
    """Every campaign here, archived ones last. O(runs of all)."""
    now = time.time()
    found = [_living(repo, tag, tip, now) for tag in refs.campaigns(repo) if (tip := refs.read(repo, refs.branch(tag)))]
    return found + [
        Campaigns(tag=a.tag, is_archived=True, age_s=now - a.time, subject=a.subject.removeprefix(f"archive {a.tag}: "))
        for a in archive.listing(repo)
    ]


def prune(
    repo: Repository,
    tags: Sequence[str],
    *,
    older_than_s: float = 0.0,
    delete: bool = False,
    flights_too: bool = False,
    is_trial: bool = False,
) -> list[Pruned]:
    """Archive (or delete) campaigns: those named, or all whose last entry is older than `older_than_s`; named ones have to be so too.

    flights_too: take along runs that are not decided yet. A campaign that was named and is not over raises UserError or Busy; one
    that only its age chose is kept and said.
    """
    chosen = list(dict.fromkeys(tags)) or refs.campaigns(repo)
    return [_prune_one(repo, tag, bool(tags), older_than_s, delete, flights_too, is_trial) for tag in chosen]


def restore(repo: Repository, tag: str) -> Pruned:
    """Bring a campaign back as it was. Raises UnknownName, RepositoryError."""
    archive.restore(repo, tag)
    return Pruned(tag=tag, action="restored")


def _prune_one(repo: Repository, tag: str, is_named: bool, older_than_s: float, delete: bool, flights_too: bool, is_trial: bool) -> Pruned:
    if tag not in refs.campaigns(repo):
        archive.read(repo, tag)  # says what is archived where this one is not
        if not delete:
            raise _archived_already(tag)
        return _away(repo, tag, is_trial)
    tip = refs.read(repo, refs.branch(tag))
    if tip is None:
        raise _archived_already(tag)  # by somebody else, while we looked
    campaign = _living(repo, tag, tip, time.time())
    bars = _bars(repo, tag, flights_too)
    if campaign.age_s < older_than_s:
        bars = UserError(f"the last entry of campaign {tag} is {_age(campaign.age_s)} old", hint="leave out --older-than")
    if bars and is_named:
        raise bars
    if bars:
        return Pruned(tag=tag, action="kept", why=bars.message)
    if delete:
        return _away(repo, tag, is_trial)
    if not is_trial:
        _store(repo, tag, f"archive {tag}: {campaign.subject}", flights_too)
    return Pruned(tag=tag, action="archived")


def _store(repo: Repository, tag: str, subject: str, flights_too: bool) -> None:
    for _ in range(TRIES):
        with loop_lock(repo, tag):  # none begins meanwhile
            if tag not in refs.campaigns(repo):
                raise _archived_already(tag)  # by somebody else, while we looked
            bars = _bars(repo, tag, flights_too, is_mine=True)
            if bars:
                raise bars
            try:
                archive.store(repo, tag, subject)
            except RefMoved:
                continue
        if not flights_too:  # a run in flight may still have a job at work, whose outcome is nowhere else
            _clear(repo, tag)
        return
    raise UserError(f"campaign {tag} is not over: somebody moves its branch", hint="try again when they are done")


def _archived_already(tag: str) -> UserError:
    return UserError(f"campaign {tag} is archived already", hint=f"`evogit prune --restore {tag}` brings it back")


def _away(repo: Repository, tag: str, is_trial: bool) -> Pruned:
    if not is_trial:
        with loop_lock(repo, tag):
            archive.delete(repo, tag)
        _clear(repo, tag)
        assigning.drop(repo, tag)
        shutil.rmtree(views.folder(repo, tag), ignore_errors=True)
        shutil.rmtree(control.place(repo, tag), ignore_errors=True)
    return Pruned(tag=tag, action="deleted")


def _clear(repo: Repository, tag: str) -> None:
    """What lies in the cache can be made again; what cannot be removed stays, and takes room."""
    trash = os.fsencode(repo.cache / "trash")
    for folder in (repo.cache / "campaigns" / quote(tag, safe=""), repo.cache / "slots" / file_name(tag)):
        with suppress(OSError):
            removal.remove(os.fsencode(folder), trash)


def _living(repo: Repository, tag: str, tip: str, now: float) -> Campaigns:
    bars = _bars(repo, tag, flights_too=False)
    age = now - repo.commit(tip).commit_time
    return Campaigns(tag=tag, is_archived=False, age_s=age, subject=_subject(repo, tag), bars=bars.message if bars else "")


def _bars(repo: Repository, tag: str, flights_too: bool, is_mine: bool = False) -> UserError | None:
    """Why a campaign is not over, None if it is. is_mine: the lock of its loop is ours."""
    pid = 0 if is_mine else loop_holder(repo, tag)
    if pid:
        return Busy(f"process {pid} runs the loop of campaign {tag}", hint=f"stop it first: `evogit stop --tag {tag}`")
    if tag == refs.RESERVED:
        hint = f"rename it first: `git branch -m autoresearch/{tag} autoresearch/{tag}-1`"
        return UserError(f"campaign {tag} has the name under which archives are kept", hint=hint)
    folders = checkout.view_paths(repo, refs.branch(tag))
    if folders:
        return UserError(
            f"autoresearch/{tag} is checked out in {folders[0]}", hint=f"switch to another branch there: `git -C {folders[0]} switch main`"
        )
    listed = flights.examine(repo, tag)
    count = len(listed.flights) + len(listed.broken)
    if count and not flights_too:
        hint = f"`evogit loop --tag {tag} --max-runs 1` finishes it, `evogit prune {tag} --flights` takes it along as it is"
        return UserError(f"{plural(count, 'run')} of campaign {tag} {'is' if count == 1 else 'are'} in flight", hint=hint)
    return None


def _subject(repo: Repository, tag: str) -> str:
    """How many runs, and how far it came: in words for people."""
    try:
        history = History.read(repo, tag)
    except EvogitError as fault:
        return fault.message
    incumbent = history.by_commit.get(history.incumbent)
    value = incumbent.mean(history.metric.name) if incumbent and history.metric else None
    best = f", {history.metric.name} {number(value)}" if value is not None and history.metric else ""
    return plural(len(history.runs), "run") + best


def _age(seconds: float) -> str:
    days = seconds / 86400
    return plural(int(days), "day") if days >= 1 else "less than a day"
