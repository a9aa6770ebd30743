"""Views of a campaign for people and older tools: results.tsv and the event log. Derived, and rebuilt when they are gone."""

from __future__ import annotations

import os
import re
from pathlib import Path

import msgspec

from evogit import present
from evogit.domain.event import Event
from evogit.domain.run import Run
from evogit.domain.verdict import Verdict
from evogit.git import checkout, refs
from evogit.git.campaign import Campaign
from evogit.git.repository import Repository

NAME = "results.tsv"
PURSE = "purse.json"
EVENTS = "events.jsonl"
READ_AT_ONCE = 1 << 20  # bytes of the event log
_EVENT = msgspec.json.Decoder(Event)
TAIL = 1 << 16  # bytes


def folder(repo: Repository, tag: str) -> Path:
    """Where a campaign's views are, in the git directory. Made on first use."""
    path = repo.views(tag)
    path.mkdir(parents=True, exist_ok=True)
    return path


def append(repo: Repository, campaign: Campaign, run: Run) -> None:
    """One more line; the copies beside the problem follow. O(1)."""
    path = folder(repo, campaign.tag) / NAME
    metric = campaign.problem.primary
    if not path.exists():
        rebuild(repo, campaign)
    elif run.verdict is not Verdict.REJECT:  # what never ran has no row
        row = "\t".join(present.tsv_row(run, metric)) + "\n"
        for target in [path, *_copies(repo, campaign)]:
            with target.open("a", encoding="utf-8") as file:
                file.write(row)


def rebuild(repo: Repository, campaign: Campaign) -> None:
    """Write the view anew from history, and its copies where the branch is checked out. O(runs)."""
    text = present.tsv(campaign.history.runs, campaign.problem.primary)
    _replace(folder(repo, campaign.tag) / NAME, text)
    for target in _beside(repo, campaign):
        if target.parent.is_dir() and (not os.path.lexists(target) or _is_ours(target, text)):
            _exclude(repo, _pattern(campaign.problem.folder))
            _replace(target, text)


def write_purse(repo: Repository, tag: str, cap_usd: float, spent_usd: float) -> None:
    """What the loop that runs has spent of its cap, for whoever asks meanwhile. It means nothing once that process has ended."""
    told = {"pid": os.getpid(), "cap_usd": cap_usd, "spent_usd": spent_usd}
    _replace(folder(repo, tag) / PURSE, msgspec.json.encode(told).decode())


def read_purse(repo: Repository, tag: str, pid: int) -> tuple[float, float]:
    """Cap and spent dollars of the loop with that process id, (0, 0) if it has no cap."""
    try:
        told = msgspec.json.decode((folder(repo, tag) / PURSE).read_bytes(), type=dict[str, float])
        return (told["cap_usd"], told["spent_usd"]) if told["pid"] == pid else (0.0, 0.0)
    except (OSError, KeyError, msgspec.DecodeError):
        return 0.0, 0.0


def log(repo: Repository, tag: str, event: Event) -> None:
    """One line of the event log: what other processes follow. 20 us: a run has five."""
    path, line = repo.views(tag) / EVENTS, msgspec.json.encode(event) + b"\n"
    try:
        _append(path, line)
    except FileNotFoundError:
        folder(repo, tag)
        _append(path, line)


def log_size(repo: Repository, tag: str) -> int:
    """Bytes of the event log, 0 if there is none. One `stat`."""
    try:
        return os.stat(repo.views(tag) / EVENTS).st_size
    except OSError:
        return 0


def heard(repo: Repository, tag: str, start: int) -> tuple[list[Event], int]:
    """Events of the log from byte `start` on, and where the next ones will begin. Lines that cannot be read are left out.

    start < 0: the last -start bytes of it. A log that became shorter is read from its beginning. At most READ_AT_ONCE bytes a call.
    """
    size = log_size(repo, tag)
    begin = max(0, size + start) if start < 0 else start if start <= size else 0
    try:
        with (repo.views(tag) / EVENTS).open("rb") as file:
            file.seek(begin)
            data = file.read(READ_AT_ONCE)
    except OSError:
        return [], 0
    whole = data.rpartition(b"\n")[0]
    lines = whole.split(b"\n")[1 if start < 0 and begin else 0 :]  # the first one may have lost its beginning
    return [event for line in lines if (event := _event(line)) is not None], begin + len(whole) + bool(whole)


def _event(line: bytes) -> Event | None:
    try:
        return _EVENT.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def last_events(repo: Repository, tag: str, most: int = TAIL) -> list[bytes]:
    """The newest lines of the event log, oldest first, as many as are whole within its last `most` bytes; [] without a log. 50 us."""
    try:
        with (repo.views(tag) / EVENTS).open("rb") as file:
            begin = max(0, file.seek(0, os.SEEK_END) - most)
            file.seek(begin)
            read = file.read()
    except OSError:
        return []
    rest = read.partition(b"\n")[2] if begin else read
    return [line for line in rest.split(b"\n") if line]


def _append(path: Path, data: bytes) -> None:
    with path.open("ab", buffering=0) as file:
        file.write(data)


def _copies(repo: Repository, campaign: Campaign) -> list[Path]:
    header = present.tsv([], campaign.problem.primary)
    return [p for p in _beside(repo, campaign) if _is_ours(p, header)]


def _beside(repo: Repository, campaign: Campaign) -> list[Path]:
    """Where copies belong: in the problem's folder of each work tree that has the branch, unless the problem tracks such a file."""
    below = f"{campaign.problem.folder}/{NAME}" if campaign.problem.folder else NAME
    if repo.blob(campaign.history.tip, below) is not None:
        return []
    return [place / below for place in checkout.view_paths(repo, refs.branch(campaign.tag))]


def _is_ours(path: Path, text: str) -> bool:
    """A regular file whose header is the one we write. Anything else is somebody's own and stays as it is."""
    if path.is_symlink() or not path.is_file():
        return False
    try:
        with path.open(encoding="utf-8") as file:
            return file.readline().rstrip("\n") == text.partition("\n")[0]
    except (OSError, UnicodeDecodeError):
        return False


def _pattern(folder: str) -> str:
    """The copy's path as a pattern of git's: what a folder's name shares with patterns is escaped."""
    path = f"/{folder}/{NAME}" if folder else f"/{NAME}"
    return re.sub(r"([\\*?\[])", r"\\\1", path)


def _exclude(repo: Repository, pattern: str) -> None:
    path = repo.common / "info" / "exclude"
    path.parent.mkdir(exist_ok=True)
    known = path.read_text(encoding="utf-8") if path.exists() else ""
    if pattern not in known.splitlines():
        with path.open("a", encoding="utf-8") as file:
            file.write(("" if not known or known.endswith("\n") else "\n") + pattern + "\n")


def _replace(path: Path, text: str) -> None:
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.write_text(text, encoding="utf-8")
    os.replace(draft, path)
