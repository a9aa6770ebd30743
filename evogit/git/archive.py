"""Archived campaigns: refs/evogit/archive/<tag> points to a commit that names the campaign's refs and holds what they pointed to.

Its parents are those commits, so nothing of the campaign can be garbage-collected; its tree is the branch's. Notes stay where they
are. It removes no object, and it moves a ref only from the value that it read.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import msgspec
import pygit2

from evogit.errors import BadRecord, RefMoved, RepositoryError, UnknownName
from evogit.git import ledger, messages, refs
from evogit.git.locks import write_lock
from evogit.git.repository import Repository
from evogit.git.values import exact, one_line, plain

_REF = re.compile(r"(refs/\S+) ([0-9a-f]{40,64})")


class Archived(msgspec.Struct, frozen=True, kw_only=True):
    """One archived campaign."""

    tag: str
    ref: str
    commit: str
    time: int  # unix seconds, when it was archived
    subject: str
    refs: dict[str, str]  # the campaign's refs and what they pointed to


def refs_of(repo: Repository, tag: str) -> dict[str, str]:
    """Every ref of a campaign: its branch, then those below refs/evogit/<tag>/."""
    branch = refs.read(repo, refs.branch(tag))
    return {**({refs.branch(tag): branch} if branch else {}), **refs.listing(repo, f"{refs.OWN}{tag}/")}


def listing(repo: Repository) -> list[Archived]:
    """Archived campaigns by tag; refs below the archive that are none are left out. 0.1 ms each."""
    found = []
    for ref, commit in refs.listing(repo, refs.ARCHIVE).items():
        archived = _load(repo, ref, commit)
        if archived is not None:
            found.append(archived)
    return sorted(found, key=lambda archived: archived.tag)


def read(repo: Repository, tag: str) -> Archived:
    """The archive of that name. Raises UnknownName that lists those there are, BadRecord if it cannot be read."""
    ref = refs.archive(tag)
    commit = refs.read(repo, ref)
    if commit is None:
        known = ", ".join(archived.tag for archived in listing(repo))
        raise UnknownName(
            f"no campaign {tag!r} is archived here", hint=f"archived are: {known}" if known else "`evogit status` names those there are"
        )
    archived = _load(repo, ref, commit)
    if archived is None or archived.tag != tag:
        raise BadRecord(ref, "is no archive of that campaign")
    return archived


def store(repo: Repository, tag: str, subject: str) -> Archived:
    """Write the archive, then take the campaign's refs away. Raises RefMoved if one of them moved meanwhile: nothing is lost then.

    Killed in between, the archive is there and so are some of the refs; doing it again ends the work.
    """
    with write_lock(repo):
        found = refs_of(repo, tag)
        ref, old = refs.archive(tag), refs.read(repo, refs.archive(tag))
        if old is not None:
            known = read(repo, tag)
            if any(known.refs.get(name) != hash for name, hash in found.items()):
                raise RepositoryError(
                    f"another campaign {tag} is archived already",
                    hint=f"give it a name of its own: `git update-ref {ref}-old {old}`, `git update-ref -d {ref}`",
                )
            commit = old
        else:
            commit = _write(repo, tag, subject, found)
            refs.move(repo, ref, commit, None, "evogit: archive")
        try:
            for name, hash in reversed(found.items()):  # the branch last: a campaign is here as long as it is
                refs.move(repo, name, None, hash, "evogit: archived")
        except RefMoved:
            _undo(repo, ref, commit, found)
            raise
    return read(repo, tag)


def restore(repo: Repository, tag: str) -> Archived:
    """Put the refs back, then take the archive away. Raises UnknownName, and RepositoryError where a ref of that name has another value."""
    with write_lock(repo):
        archived = read(repo, tag)
        for name, hash in archived.refs.items():
            there = refs.read(repo, name)
            if there not in (None, hash):
                raise RepositoryError(f"{name} exists and is another one", hint=f"rename or remove it first: `git update-ref -d {name}`")
        for name, hash in archived.refs.items():
            if refs.read(repo, name) is None:
                refs.move(repo, name, hash, None, "evogit: restored")
        refs.move(repo, archived.ref, None, archived.commit, "evogit: restored")
    return archived


def delete(repo: Repository, tag: str) -> list[str]:
    """Take a campaign's refs away for good, those of its archive too; names what went. Raises RefMoved if one moved meanwhile."""
    with write_lock(repo):
        found = refs_of(repo, tag)
        archived = refs.read(repo, refs.archive(tag))
        if archived is not None:
            found[refs.archive(tag)] = archived
        for name, hash in found.items():
            refs.move(repo, name, None, hash, "evogit: deleted")
    return list(found)


def _undo(repo: Repository, ref: str, commit: str, found: dict[str, str]) -> None:
    """Somebody moved a ref while it was archived: what is gone comes back, and the campaign goes on."""
    for name, hash in found.items():
        if refs.read(repo, name) is None:
            refs.move(repo, name, hash, None, "evogit: not archived")
    refs.move(repo, ref, None, commit, "evogit: not archived")


def build(tag: str, subject: str, found: Mapping[str, str]) -> str:
    """The message of an archive's commit."""
    body = "\n".join(f"{name} {hash}" for name, hash in found.items())
    return f"{one_line(subject, messages.SUMMARY_CAP)}\n\n{body}\n\nEvogit-Kind: archive\nEvogit-Campaign: {exact(tag)}\n"


def parse(text: str, where: str) -> tuple[str, str, dict[str, str]] | None:
    """(tag, subject, refs) of such a message, None for any other. Raises BadRecord."""
    subject, body, trailers = messages.split(text, where)
    if trailers.get("Evogit-Kind") != "archive":
        return None
    named = dict(match.groups() for line in body.split("\n") if (match := _REF.fullmatch(line)))
    return plain(trailers.get("Evogit-Campaign", ""), where), subject, named


def _write(repo: Repository, tag: str, subject: str, found: Mapping[str, str]) -> str:
    me = repo.identity()
    parents = [pygit2.Oid(hex=hash) for hash in dict.fromkeys(found.values())]
    tree = repo.tree_of(next(iter(found.values())))
    return str(repo.git.create_commit(None, me, me, build(tag, subject, found), pygit2.Oid(hex=tree), parents))


def _load(repo: Repository, ref: str, name: str) -> Archived | None:
    commit = ledger.commit(repo, name)
    said = parse(commit.text, ref)
    return Archived(tag=said[0], ref=ref, commit=name, time=commit.time, subject=said[1], refs=said[2]) if said else None
