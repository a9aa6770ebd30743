"""What a lab stands on, as the doctor sees it: object store, git, disk, limits, clock, cache, and what killed processes left there.

It repairs only what nothing refers to: it never touches a ref, a note, or an object that history needs.
"""

from __future__ import annotations

import os
import re
import resource
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from evogit import hiring, removal, strangers
from evogit.backends import sandbox
from evogit.backends.local import LocalBackend
from evogit.domain.report import Finding
from evogit.domain.trial import SANDBOXES
from evogit.git import flights, ledger, porcelain, wholeness
from evogit.git.locks import loop_holder
from evogit.git.repository import Repository
from evogit.stages import execute, freeze

if TYPE_CHECKING:
    from evogit.lab import Lab

CHECK = "repository"
DISK_FLOOR_MIB = 512
OLDEST_GIT = (2, 28)
FILES_FLOOR = 256  # open files that a loop with a handful of workers may need
SKEW_S = 60.0  # that a clock may be off before it is worth a word
LEFT_S = 3600.0  # a draft of an object that is older was left by a process that was killed
_MISSING = re.compile(r"missing (?:blob|tree|commit|tag) [0-9a-f]{40} \((.*)\)")
_OF_ITSELF = ("corrupt", "unpack", "inflate", "garbage", "header")  # words of what git says of an object alone, not of who needs it


def object_store(repo: Repository, fix: bool) -> tuple[list[Finding], bool]:
    """Damaged objects, and what `git fsck` says else. Returns the findings, and whether history can be read at all.

    A damaged object that nothing needs is put aside; one that history needs can only come from another copy. Seconds to minutes.
    """
    found: list[Finding] = []
    cut = wholeness.damaged(repo)
    said = porcelain.fsck(repo)
    needed = {hash: why for hash in cut if (why := _needed_by(repo, hash, said))}
    idle = [hash for hash in cut if hash not in needed]
    for hash in [hash for hash in cut if hash in needed]:
        message = f"object {hash} is cut short, and {needed[hash]} needs it"
        fix_words = f"get it from another clone: `rm -f .git/objects/{hash[:2]}/{hash[2:]}` here, then `git fetch --refetch` from there"
        found.append(Finding(level="error", check=CHECK, message=message, fix=fix_words))
    if idle:
        for hash in idle if fix else ():
            wholeness.put_aside(repo, hash)
        message = f"{_count(idle, 'damaged object')} that nothing needs, first {idle[0]}"
        found.append(Finding(level="warning", check=CHECK, message=message, fix="--fix puts them aside", fixed=fix))
    told = [line for line in said if not any(hash in line or f"{hash[:2]}/{hash[2:]}" in line for hash in cut)]
    if told:
        found.append(Finding(level="error", check=CHECK, message=f"git fsck: {told[0]} ({len(told)} lines)", fix="`git fsck` shows all"))
    if not found:
        found.append(Finding(level="ok", check=CHECK, message="git fsck finds nothing"))
    return found, not set(cut) & set(needed) and (fix or not idle)


def _needed_by(repo: Repository, hash: str, said: list[str]) -> str:
    """What needs an object, in git's words; "" if nothing does. Where fsck itself broke off, all may be needed."""
    pointed = porcelain.git(repo, "for-each-ref", "--format=%(objectname) %(refname)").decode("utf-8", "replace").splitlines()
    refs = [line.partition(" ")[2] for line in pointed if line.startswith(hash)]
    lines = [line for line in said if hash in line and not any(word in line for word in _OF_ITSELF)]
    named = [match[1] for line in lines if (match := _MISSING.match(line))]
    has_broken_off = any(line.startswith("fatal") for line in said)
    return next(iter([*refs, *named]), "history" if lines or has_broken_off else "")


def machine(repo: Repository, fix: bool) -> Iterator[Finding]:
    """Disk, git, limits, rights: each only where something is wrong."""
    for name, place in (("its disk", repo.common), ("the disk of its cache", repo.cache)):
        free = shutil.disk_usage(place).free >> 20
        if free < DISK_FLOOR_MIB:
            yield _warn(f"only {free} MiB are free on {name}", "make room: a record needs some")
            break
    version = porcelain.version()
    if version < OLDEST_GIT:
        yield _warn(f"git is {'.'.join(map(str, version))}, and evogit is made for 2.28 or newer", "install a newer git")
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if files < FILES_FLOOR:
        yield _warn(f"a process may open {files} files only", f"`ulimit -n {FILES_FLOOR * 4}` before the loop")
    expiry = _setting(repo, "gc.pruneExpire")
    if expiry in ("now", "all"):
        words = "`git config --unset gc.pruneExpire`: while no loop runs, gc may take what a flight of another machine needs"
        yield _warn(f"gc.pruneExpire is {expiry!r}: git gc takes objects that were written a moment ago", words)
    for place in (repo.common, repo.common / "objects", repo.common / "refs", repo.home, repo.cache):
        if not os.access(place, os.W_OK | os.X_OK):
            yield Finding(level="error", check=CHECK, message=f"{place} may not be written by you", fix=f"`sudo chown -R $USER {place}`")
        elif place.stat().st_uid != os.geteuid():
            yield _warn(
                f"{place} belongs to another user (uid {place.stat().st_uid})", f"`sudo chown -R $USER {place}`, if it is to be yours"
            )
    yield from _drafts(repo, fix)


def isolation() -> Finding:
    """How trials are held here, and why not better; a job is run to see. 60 ms."""
    with tempfile.TemporaryDirectory() as folder:
        backend = LocalBackend(Path(folder))
        level = backend.level
        backend.close()
    why = [f"{name}: {reason}" for name, reason in sandbox.refusals().items() if reason]
    unfiltered = sandbox.unfiltered(level)
    fix = f"`{sandbox.FILTER}`" if unfiltered and level == SANDBOXES[-1] else f"`{sandbox.INSTALL}`, or see docs/backends.md"
    why += [unfiltered] if unfiltered else []
    if forced := os.environ.get(sandbox.FORCE):
        why.append(f"{sandbox.FORCE} is {forced}")
    held = f"trials run at level {level} of the sandbox"
    if level == SANDBOXES[-1] and not why:
        return Finding(level="ok", check="sandbox", message=held)
    return Finding(level="note", check="sandbox", message=f"{held} ({'; '.join(why)})", fix=fix)


def clock(lab: Lab, fix: bool) -> Iterator[Finding]:
    """A clock that is behind the books, or beside that of the disk. Nothing is ordered by time alone, so it is a note."""
    probe = lab.repo.home / "clock"
    probe.write_bytes(b".")
    off = probe.stat().st_mtime - time.time()
    if abs(off) > SKEW_S:
        message = f"the clock of the disk and this machine's are {abs(off):.0f} s apart"
        yield Finding(level="note", check="clock", message=message, fix="locks are judged by the disk's; set the clocks if you can")
    ahead = ledger.commit(lab.repo, lab.campaign.history.tip).time - time.time()
    if ahead > SKEW_S:
        message = f"the newest entry is {ahead:.0f} s from the future: the clock was set back, or another machine's is ahead"
        yield Finding(level="note", check="clock", message=message, fix="nothing is ordered by time alone: nothing needs doing")


def leftovers(lab: Lab, fix: bool) -> Iterator[Finding]:
    """Folders of trials and jobs that no flight speaks of, which the next loop would remove. A loop that runs has its own."""
    repo, tag = lab.repo, lab.tag
    if loop_holder(repo, tag):
        return
    home, known = repo.cache / "campaigns" / quote(tag, safe=""), set()
    for stored in flights.listing(repo, tag):
        candidate = stored.flight.candidate
        commit = candidate.commit if candidate else next(iter(stored.flight.plan.parents), "")
        known |= {job.key for job in stored.jobs} | {execute.trial_key(stored.flight, commit, job) for job in stored.jobs}
    places = [place for place in (home / "trials", *hiring.rooms(home / "jobs").values()) if place.is_dir()]
    left = [folder for place in places for folder in sorted(place.iterdir()) if folder.is_dir() and folder.name not in known]
    if left and fix:
        for folder in left:
            removal.discard(folder)
    if left:
        message = f"{_count(left, 'folder')} of trials and jobs that no flight speaks of, in {home}"
        yield Finding(level="note", check="leftovers", message=message, fix="the next `evogit loop` removes them; or --fix", fixed=fix)


def untaken(lab: Lab, stored: flights.StoredFlight, most: int = strangers.MOST) -> Iterator[Finding]:
    """What the trials of a flight left that the loop cannot hold still for the ruler: it makes that a crash, unless a disk is at fault."""
    flight, problem = stored.flight, lab.campaign.problem
    if problem.evaluate is None:
        return
    commit = flight.candidate.commit if flight.candidate else next(iter(flight.plan.parents), "")
    trials = lab.repo.cache / "campaigns" / quote(lab.tag, safe="") / "trials"
    for key in dict.fromkeys(execute.trial_key(flight, commit, job) for job in stored.jobs):
        folder = trials / key / "artifacts"
        try:
            why = freeze.obstacle(folder, most=most) if folder.is_dir() else ""
        except OSError as fault:
            message = f"what run {flight.label} left cannot be read: {(fault.strerror or str(fault)).lower()}, in {folder}"
            yield Finding(
                level="error", check="flights", message=message, fix=f"mend the disk; `evogit cancel {flight.label}` gives the run up"
            )
            continue
        if why:
            fix = f"`evogit loop --tag {lab.tag}` records that as a crash of the run"
            yield Finding(level="warning", check="flights", message=f"what run {flight.label} left cannot be taken in: {why}", fix=fix)


def _drafts(repo: Repository, fix: bool) -> Iterator[Finding]:
    """Halves of objects: a writer that is killed leaves the draft that it had not renamed yet. `git gc` removes them after a fortnight."""
    now = time.time()
    left = [path for path in (repo.common / "objects").glob("tmp_*") if _is_file_of(path) and abs(now - path.stat().st_mtime) > LEFT_S]
    if left and fix:
        for path in left:
            path.unlink(missing_ok=True)
    if left:
        yield Finding(
            level="note",
            check=CHECK,
            message=f"{_count(left, 'draft')} of killed writers in .git/objects",
            fix="--fix, or `git gc`",
            fixed=fix,
        )


def _is_file_of(path: Path) -> bool:
    try:
        return path.is_file() and not path.is_symlink()
    except OSError:
        return False


def _setting(repo: Repository, name: str) -> str:
    try:
        return str(repo.git.config[name])
    except KeyError:
        return ""


def _count(things: list, word: str) -> str:
    return f"{len(things)} {word}{'s' * (len(things) != 1)}"


def _warn(message: str, fix: str) -> Finding:
    return Finding(level="warning", check=CHECK, message=message, fix=fix)
