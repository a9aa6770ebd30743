"""Names of evogit's refs, and the only way to move one: compare-and-swap.

A move that finds another value than the caller read is refused (`RefMoved`), never forced. Git's own `.lock` files are
respected; the refs of a campaign are few by design, so nothing here is per run.
"""

from __future__ import annotations

import os
import random
import re
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pygit2

from evogit.errors import BadRecord, RefMoved, RepositoryError
from evogit.git.locks import intent
from evogit.git.repository import Repository

BRANCHES = "refs/heads/autoresearch/"
TAGS = "refs/tags/"
OWN = "refs/evogit/"
ARCHIVE = "refs/evogit/archive/"
RESERVED = "archive"  # no campaign may have this name: its refs would stand among the archives

_PATIENCE_S = 5.0  # git itself gives up on a locked ref after 0.1 s, on packed-refs after 1 s
_STALE_S = 60.0
_SUSPECT_S = 1.0
_PACKED_LOCK = "packed-refs.lock"
_CALM = 12  # failures in a row with no lock file in sight: then it is no lock that stands in the way
_LINE = re.compile(rb"^([0-9a-f]{40,64}) (\S.*)$")


def branch(tag: str) -> str:
    """The ledger."""
    return f"{BRANCHES}{tag}"


def tip(tag: str) -> str:
    """Follows every move of the branch."""
    return f"{OWN}{tag}/tip"


def artifacts(tag: str) -> str:
    """What trials wrote."""
    return f"{OWN}{tag}/artifacts"


def inflight(tag: str, clone: str | None = None, number: int | None = None) -> str:
    """A flight; without a number the folder of a clone's flights, without a clone the folder of all (both end in a slash)."""
    folder = f"{OWN}{tag}/inflight/"
    if clone is None:
        return folder
    return f"{folder}{clone}/" if number is None else f"{folder}{clone}/{number}"


def mark(tag: str, label: str = "") -> str:
    """A mark that a person set on the run of that label (`ab12/3` is written `ab12%2F3`); without one the folder of all."""
    return f"{OWN}{tag}/marks/{label.replace('%', '%25').replace('/', '%2F')}"


def campaigns(repo: Repository) -> list[str]:
    """Tags of all campaigns that have a branch here, sorted."""
    return sorted(name[len(BRANCHES) :] for name in listing(repo, BRANCHES))


def archive(tag: str) -> str:
    """Where an archived campaign is kept: one ref, whose name holds no slash of the tag's, so that none is a folder of another."""
    return f"{ARCHIVE}{tag.replace('%', '%25').replace('/', '%2F')}"


def read(repo: Repository, ref: str) -> str | None:
    """Full hash that the ref points to, or None if it does not exist. 20 us."""
    return _target(repo.git, ref)


def tagged(repo: Repository, name: str) -> str:
    """The commit that a tag of that name stands on, "" where there is no such tag or it is on something else. 30 us."""
    ref = f"{TAGS}{name}"
    if not pygit2.reference_is_valid_name(ref):
        return ""
    found = repo.git.get(read(repo, ref) or "0" * 40)
    while isinstance(found, pygit2.Tag):
        found = found.get_object()
    return str(found.id) if isinstance(found, pygit2.Commit) else ""


def move(repo: Repository, ref: str, new: str | None, old: str | None, message: str) -> None:
    """Set `ref` to `new` if it is `old` at that moment. old None: it must not exist; new None: delete it.

    Holds the write lock meanwhile. Raises RefMoved if it has another value, Busy, RepositoryError if the name cannot be or something holds its lock for seconds,
    BadRecord if `new` is not an object of this repository. 0.2 ms; 1 to 3 ms where the kernel writes a replaced file out (ext4).
    """
    if new is not None and not repo.exists(new):
        raise BadRecord(new, "is missing from this repository")
    if old is None and new is None:
        if read(repo, ref) is not None:
            raise RefMoved(ref)
        return
    with intent(repo, ref) as dead:
        _insist(repo, ref, old, dead, lambda git: _swap(git, ref, new, old, message))
        # A lock on a ref that was just deleted is in nobody's way, so nobody else would ever look at it.
        dead -= {name for name in dead if _remove_stale(repo, repo.common / f"{name}.lock", dead)}


def listing(repo: Repository, prefix: str) -> dict[str, str]:
    """Refs below `prefix` (it ends in a slash, or stands for that one ref) and their hashes, sorted by name.

    Costs a walk of that folder and one scan of packed-refs for the prefix (some 2 ms per 100,000 packed refs), whatever else
    the repository holds. Loose first, packed after: a ref that is packed meanwhile is found in one of them.
    """
    found = _loose(repo, prefix)
    for name, hash in _packed(repo.common / "packed-refs", prefix).items():
        found.setdefault(name, hash)
    return dict(sorted(found.items()))


def _swap(git: pygit2.Repository, ref: str, new: str | None, old: str | None, message: str) -> None:
    if old is None:
        # libgit2 looks whether the name is free before it takes the lock, so that two creators at once could both succeed.
        # Ours queue for the write lock; the names are evogit's own, so nobody else creates them.
        git.create_reference_direct(ref, pygit2.Oid(hex=new), False, message=message)
        return
    handle = git.lookup_reference(ref)
    if str(handle.target) != old:
        raise RefMoved(ref)
    # Both compare with the value in the handle while they hold the lock.
    if new is None:
        handle.delete()
    else:
        handle.set_target(pygit2.Oid(hex=new), message)


def _insist(repo: Repository, ref: str, old: str | None, dead: set[str], swap: Callable[[pygit2.Repository], None]) -> None:
    """Try until it works, the value is another one, or no lock explains why it fails."""
    deadline = time.monotonic() + _PATIENCE_S
    calm, git = 0, repo.git
    while True:
        try:
            return swap(git)
        except pygit2.InvalidSpecError as fault:
            raise RepositoryError(f"{ref!r} is no name that git allows", hint="choose another name") from fault
        except (pygit2.GitError, ValueError, KeyError, OSError) as fault:  # in older pygit2 "exists" is a bare ValueError
            git = pygit2.Repository(repo.git.path)  # where a delete failed, the old handle's view of packed-refs says that it worked
            if _target(git, ref) != old:
                raise RefMoved(ref) from fault
            locks = [path for path in (repo.common / f"{ref}.lock", repo.common / _PACKED_LOCK) if path.exists()]
            calm = 0 if locks else calm + 1
            freed = [path for path in locks if _remove_stale(repo, path, dead)]
            if not freed and (calm >= _CALM or time.monotonic() >= deadline):
                raise _stuck(ref, locks, fault) from fault
        time.sleep(random.uniform(0.001, 0.015))


def _target(git: pygit2.Repository, ref: str) -> str | None:
    try:
        return str(git.lookup_reference(ref).resolve().target)
    except KeyError:
        return None
    except (ValueError, pygit2.GitError) as fault:
        raise RepositoryError(f"{ref} cannot be read: {fault}", hint="run `git fsck`") from fault


def _remove_stale(repo: Repository, lock: Path, dead: set[str]) -> bool:
    """Remove a `.lock` that outlived whoever made it; True if it is gone. The caller holds the write lock.

    No living evogit has one then: all moves are made under the write lock. git holds one for milliseconds and waits for one a
    second at most, so one that is a minute old belongs to a process that was killed; and where a dead evogit said that it was
    moving this very ref (`dead`), a second is enough, for a kill must not stop the next loop for a minute. Removing one of a
    living git by mistake would make that git fail, not lose. The age is by the file system's clock, which may not be ours; one
    from the future was made before that clock was set back.
    """
    name = lock.relative_to(repo.common).as_posix()
    suspect = dead if name == _PACKED_LOCK else name.removesuffix(".lock") in dead
    try:
        made = lock.stat().st_mtime
        clock = repo.home / "clock"
        clock.write_bytes(b".")
        if -_STALE_S < clock.stat().st_mtime - made < (_SUSPECT_S if suspect else _STALE_S):
            return False
        lock.unlink()
    except FileNotFoundError:
        pass
    return True


def _stuck(ref: str, locks: list[Path], fault: Exception) -> RepositoryError:
    if locks:
        return RepositoryError(f"{ref} is locked by {locks[0]}", hint="end the git command that runs there, then try again")
    return RepositoryError(f"git cannot write {ref}: {fault}", hint="is there a ref whose name begins with this one?")


def _loose(repo: Repository, prefix: str) -> dict[str, str]:
    top = repo.common / prefix
    found: dict[str, str] = {}
    files = [(str(top), "")] if top.is_file() else ((folder, name) for folder, _, names in os.walk(top) for name in names)
    for folder, name in files:
        path = os.path.join(folder, name) if name else folder
        if path.endswith(".lock"):
            continue
        ref = os.path.relpath(path, repo.common).replace(os.sep, "/")
        with suppress(FileNotFoundError):  # deleted or packed since the folder was read
            text = Path(path).read_bytes().strip()
            hash = read(repo, ref) if text.startswith(b"ref:") else text.decode("ascii", "replace")
            if hash and re.fullmatch(r"[0-9a-f]{40,64}", hash):
                found[ref] = hash
    return found


def _packed(path: Path, prefix: str) -> dict[str, str]:
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return {}
    wanted = b" " + os.fsencode(prefix)
    found: dict[str, str] = {}
    at = data.find(wanted)
    while at >= 0:
        begin, end = data.rfind(b"\n", 0, at) + 1, data.find(b"\n", at)
        line = data[begin : end if end >= 0 else len(data)]
        match = _LINE.match(line)
        if match and (prefix.endswith("/") or match[2] == wanted[1:]):
            found[os.fsdecode(match[2])] = match[1].decode("ascii")
        at = data.find(wanted, at + len(wanted))
    return found
