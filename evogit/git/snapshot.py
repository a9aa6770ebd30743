"""A history as it was at some tip, kept beside the views: a long campaign opens in a tenth of the time that its branch takes to read.

Derived and disposable. It counts only where the very code that reads it wrote it, whole, and the branch still stands on its tip: a commit
never changes, so what was folded from it does not either. Else all is read from the branch. Whoever read much writes it anew.
"""

from __future__ import annotations

import contextlib
import gc
import hashlib
import os
import secrets
import time
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import TypedDict

import msgspec

from evogit.domain.metric import Metric
from evogit.domain.run import Again, Judgement, Run
from evogit.domain.trial import TrialLine
from evogit.git import refs
from evogit.git.history import History, Standing
from evogit.git.messages import Baseline
from evogit.git.repository import Repository

NAME = "history.msgpack"
WORTH = 300  # entries that were read from the branch, in some 40 ms: then writing all anew, 5 ms for each thousand, pays
STALE_S = 600.0
_DRAFT = f".{NAME}."
FOLDED_BY = ("git", "domain")  # rooms whose code says what a history holds

# The names are those of `History.parts`.
Parts = TypedDict(
    "Parts",
    {
        "tag": str,
        "revision": int,
        "tip": str,
        "base": str,
        "clone": str,
        "problem_folder": str,
        "metric": Metric | None,
        "runs": list[Run],
        "replicates": dict[str, list[TrialLine]],
        "certifications": dict[str, list[TrialLine]],
        "read_as": dict[str, list[str]],
        "numbers": dict[str, int],
        "judgements": list[tuple[str, Judgement]],
        "by_decision": dict[str, str],
        "incumbents": dict[str, str],
        "_log": list[str | Again],
        "_home": dict[str, str],
        "_baselines": dict[str, Baseline],
        "_state": Standing,
    },
)


def read(repo: Repository, tag: str) -> History:
    """As `History.read`, which it asks where nothing is kept: ~0.02 ms a run that is kept, ~0.15 ms a run that is not."""
    history, tip = load(repo, tag), refs.read(repo, refs.branch(tag))
    known = history.incumbents if history is not None else {}
    count = len(known)
    if history is None or tip is None:
        history = History.read(repo, tag)
    else:
        history.advance(repo, tip)
    was_read = len(history.incumbents) - (count if history.incumbents is known else 0)  # all of it where it is another one
    if was_read >= WORTH:
        save(repo, history)
    return history


def load(repo: Repository, tag: str) -> History | None:
    """What is kept, at its own tip, or None where that is nothing that counts."""
    size = len(_signature())
    try:
        data = place(repo, tag).read_bytes()
        if data[:size] != _signature() or hashlib.sha256(memoryview(data)[2 * size :]).digest() != data[size : 2 * size]:
            return None
        with _without_collector():
            history = History.of(repo, msgspec.msgpack.decode(memoryview(data)[2 * size :], type=Parts))
    except (OSError, msgspec.DecodeError):
        return None
    # A branch with a hole is read as ever, and told of.
    return history if repo.has_all(history.incumbents) and repo.has_all(history.by_commit) else None


def save(repo: Repository, history: History) -> None:
    """Keep it. A disk that refuses costs the next reader some time, and nobody anything else; so does a text or number that has no place
    in msgpack, as a stranger's commits may have."""
    with contextlib.suppress(OSError, UnicodeEncodeError, OverflowError):
        content = msgspec.msgpack.encode(history.parts())
        path = place(repo, history.tag)
        path.parent.mkdir(parents=True, exist_ok=True)
        _sweep(path.parent)
        draft = path.with_name(f"{_DRAFT}{os.getpid()}.{secrets.token_hex(4)}")
        try:
            draft.write_bytes(b"".join((_signature(), hashlib.sha256(content).digest(), content)))
            os.replace(draft, path)
        finally:
            draft.unlink(missing_ok=True)


def _sweep(folder: Path) -> None:
    """Drafts of writers that were killed."""
    for draft in folder.glob(f"{_DRAFT}*"):
        with contextlib.suppress(OSError):
            if time.time() - draft.stat().st_mtime > STALE_S:
                draft.unlink()


def tells_alike(one: History, other: History) -> bool:
    """True if two histories hold the same, once both have been written and read."""
    try:
        parts = [{**history.parts(), "revision": 0} for history in (one, other)]
        first, second = (msgspec.msgpack.decode(msgspec.msgpack.encode(each), type=Parts) for each in parts)
    except (UnicodeEncodeError, OverflowError):
        return False
    return first == second


def place(repo: Repository, tag: str) -> Path:
    """Where it is kept."""
    return repo.views(tag) / NAME


@cache
def _signature() -> bytes:
    """Of the code that folds and describes histories: another version's fold may say something else. 1 ms."""
    top = Path(__file__).resolve().parents[1]
    said = hashlib.sha256(msgspec.__version__.encode())
    for room in FOLDED_BY:
        for path in sorted((top / room).glob("*.py")):
            said.update(path.read_bytes())
    return said.digest()


@contextlib.contextmanager
def _without_collector() -> Iterator[None]:
    """A hundred thousand new objects, none of which is garbage, would set it off again and again."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
