"""A campaign's inbox: what a person asks of the loop that runs, as a file each, and what that loop says of itself beside them.

Senders write and the loop reads, in the order of time; a file is taken away once it was obeyed. Nothing here is history, and
nothing waits: whoever sends is not answered here, but by the loop's events. What a message does is `helm`'s matter.
"""

from __future__ import annotations

import os
import secrets
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timezone
from pathlib import Path

import msgspec

from evogit import keys, views
from evogit.domain.control import KINDS, Control, Helm
from evogit.domain.event import Controlled
from evogit.domain.flight import PERSON, Flight
from evogit.domain.verdict import Verdict
from evogit.errors import UnknownName, UserError
from evogit.git import flights
from evogit.git.campaign import Campaign
from evogit.git.locks import loop_holder
from evogit.git.messages import one_line
from evogit.git.repository import Repository
from evogit.git.workspace import file_name
from evogit.strangers import read_regular

HELM = "loop.json"
MOST_SEEDS = 64  # readings that one message may ask for
LISTENS_S = 1.0  # a loop that has just begun says within this that it listens
LARGEST = 1 << 16  # bytes of a message
DRAFT_S = 60.0  # a draft as old as this was left by a sender that was killed
_POLL_S = 0.01


def now() -> str:
    """This moment as ISO 8601 UTC, to the millisecond."""
    return datetime.now(timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def place(repo: Repository, tag: str) -> Path:
    """Where a campaign keeps `loop.json` and the folder `inbox`. It need not exist."""
    return repo.home / "campaigns" / file_name(tag)


# sending ------------------------------------------------------------------------------------------------------------------


def send(campaign: Campaign, kind: str, *, run: str = "", seeds: int = 0, reason: str = "") -> Control:
    """Put a message into the inbox; what was written. The campaign's books have to be fresh.

    Raises UserError (UnknownName) where it makes no sense: no loop to hear it, no such run, nothing to pause or to resume.
    """
    if kind not in KINDS:
        raise UserError(f"{kind!r} is nothing that a loop obeys", hint=f"one of: {', '.join(KINDS)}")
    repo, tag = campaign.repo, campaign.tag
    helm = None if kind == "remeasure" else _listener(repo, tag, kind)
    reason, fields = one_line(keys.redact(reason)), {}
    if kind in ("pause", "resume"):
        _check_pausing(repo, helm, tag, kind)
    elif kind == "cancel":
        fields = {"run": _cancellable(campaign, run, reason)}
    elif kind == "remeasure":
        fields = {"run": readable(campaign, run, seeds), "seeds": seeds}
    by = one_line(str(repo.identity().name)) or "somebody"
    said = Control(id=secrets.token_hex(8), time=now(), by=by, kind=kind, reason=reason, loop=helm.id if helm else "", **fields)
    path = _write(repo, tag, said)
    if helm is not None and helm_of(repo, tag) is None:  # it ended while we wrote: nobody will read that
        with suppress(FileNotFoundError):
            path.unlink()
            raise _nobody(tag, kind)
    return said


def is_obeyed(repo: Repository, tag: str, control: Control) -> bool:
    """True once a loop has taken the message away."""
    return all(name.partition("-")[2] != f"{control.id}.json" for name in _names(repo, tag))


def answer(repo: Repository, tag: str, control: Control) -> Controlled | None:
    """What the loop said came of a message; None if it has not said so, or said more than the tail of its log holds since."""
    for line in reversed(views.last_events(repo, tag)):
        if control.id.encode() in line:
            with suppress(msgspec.MsgspecError):
                return msgspec.json.decode(line, type=Controlled)
    return None


def waiting(repo: Repository, tag: str) -> list[Control]:
    """Messages that somebody will obey, the oldest first: those to the loop that runs, and remeasurements."""
    helm = helm_of(repo, tag)
    folder = place(repo, tag) / "inbox"
    found = (read(folder / name) for name in _names(repo, tag))
    return [said for said in found if said is not None and (not said.loop or (helm is not None and said.loop == helm.id))]


def helm_of(repo: Repository, tag: str, pid: int | None = None) -> Helm | None:
    """What the loop that runs on the campaign says of itself; None where none runs, or it says nothing. pid: its process, where known."""
    pid = loop_holder(repo, tag) if pid is None else pid
    if not pid:
        return None
    try:
        helm = msgspec.json.decode((place(repo, tag) / HELM).read_bytes(), type=Helm)
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError):
        return None
    return helm if helm.pid == pid else None


def _listener(repo: Repository, tag: str, kind: str) -> Helm:
    """The loop that will read a message. One that has the lock and has not yet said that it listens is given a moment."""
    deadline = time.monotonic() + LISTENS_S
    while pid := loop_holder(repo, tag):
        if (helm := helm_of(repo, tag, pid)) is not None:
            return helm
        if time.monotonic() >= deadline:
            hint = f"it may be an older evogit; stop it by its process: `kill -INT {pid}`"
            raise UserError(f"process {pid} runs the loop of campaign {tag}, and does not listen", hint=hint)
        time.sleep(_POLL_S)
    raise _nobody(tag, kind)


def _nobody(tag: str, kind: str) -> UserError:
    hints = {"cancel": f"`evogit loop --tag {tag}` takes up what is in flight: cancel it then", "stop": "there is nothing to stop"}
    return UserError(f"no loop of campaign {tag} runs here", hint=hints.get(kind, f"`evogit loop --tag {tag}` begins one"))


def _check_pausing(repo: Repository, helm: Helm | None, tag: str, kind: str) -> None:
    """Raises UserError for a pause of what is paused, and the like; what waits in the inbox counts as done."""
    if helm is None or helm.is_errand:
        raise UserError(
            f"process {helm.pid if helm else 0} does one thing for campaign {tag}, and begins nothing by itself",
            hint=f"`evogit stop --tag {tag}` ends it",
        )
    words = [said for said in waiting(repo, tag) if said.kind in ("pause", "resume")]
    is_paused = words[-1].kind == "pause" if words else helm.is_paused
    if kind == "pause" and is_paused:
        who = f"{helm.paused_by} did that at {helm.paused_since}" if helm.is_paused else f"{words[-1].by} has asked for it"
        raise UserError(f"the loop of campaign {tag} is paused already: {who}", hint=f"`evogit resume --tag {tag}` lets it go on")
    if kind == "resume" and not is_paused:
        raise UserError(f"the loop of campaign {tag} is not paused", hint=f"`evogit status --tag {tag}` says what it does")


def _cancellable(campaign: Campaign, run: str, reason: str) -> str:
    """Label of the run in flight that is meant. Raises UserError, UnknownName."""
    tag, repo = campaign.tag, campaign.repo
    if not reason:
        raise UserError("a cancellation needs a reason", hint=f'evogit cancel {run or "RUN"} --because "it diverges"')
    here = [stored.flight for stored in flights.listing(repo, tag, repo.clone)]
    flight = next((f for f in here if f.label == run or (f.candidate and len(run) > 6 and f.candidate.commit.startswith(run))), None)
    if flight is None:
        decided = campaign.history.by_label.get(run)
        if decided is not None:
            hint = f"`evogit judge {run} discard --because ...` overrides the verdict"
            raise UserError(f"run {run} is decided already: {decided.verdict.value}", hint=hint)
        there = ", ".join(f.label for f in here)
        raise UnknownName(f"no run {run!r} is in flight", hint=f"in flight: {there}" if there else "nothing is in flight")
    if why := fixed(flight):
        raise UserError(f"{flight.label} {why}", hint=f"`evogit pause --tag {tag}` holds the rest, `evogit stop --tag {tag}` ends the loop")
    if flight.gate == PERSON or any(said.kind == "cancel" and said.run == flight.label for said in waiting(repo, tag)):
        raise UserError(f"run {flight.label} is being cancelled already", hint=f"`evogit status --tag {tag}` says how far it is")
    return flight.label


def fixed(flight: Flight) -> str:
    """Why no person may cancel that flight alone, "" if one may."""
    if flight.kind == "baseline":
        return "is the baseline, without which nothing can be compared"
    return "is a reading for a certificate, whose row has no gaps" if flight.purpose == "certify" else ""


def readable(campaign: Campaign, asked: str, seeds: int) -> str:
    """Label of the decided run that is to be read more often. Raises UserError, UnknownName."""
    if not 1 <= seeds <= MOST_SEEDS:
        raise UserError(f"{seeds} more readings are not to be had at once", hint=f"from 1 to {MOST_SEEDS}: `evogit measure RUN --seeds 2`")
    history = campaign.history
    run = history.find(asked)
    if run.epoch != history.epoch:
        raise UserError(f"run {run.label} belongs to epoch {run.epoch}, whose ruler is no longer in force", hint="name a run of this epoch")
    if run.verdict is Verdict.REJECT:
        raise UserError(f"run {run.label} was refused before it ran: {run.reason}", hint=f"`evogit show {run.label}` says more")
    return run.label


def _write(repo: Repository, tag: str, said: Control) -> Path:
    folder = place(repo, tag) / "inbox"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{time.time_ns():020d}-{said.id}.json"
    _replace(path, msgspec.json.encode(said))
    return path


def _replace(path: Path, data: bytes) -> None:
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.write_bytes(data)
    os.replace(draft, path)


def _names(repo: Repository, tag: str) -> list[str]:
    return names_in(str(place(repo, tag) / "inbox"))


def names_in(folder: str) -> list[str]:
    """Names of the messages in a folder, by time; [] where there is none. 10 us."""
    try:
        with os.scandir(folder) as entries:
            return sorted(e.name for e in entries if e.name.endswith(".json") and not e.name.startswith("."))
    except FileNotFoundError:
        return []


def read(path: Path) -> Control | None:
    """The message in a file; None for what is none, or is gone."""
    data = read_regular(path, LARGEST)
    try:
        said = msgspec.json.decode(data or b"", type=Control)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    return said if said.kind in KINDS else None


# the loop's side ----------------------------------------------------------------------------------------------------------


class Inbox:
    """The loop's end of it. `take_over` once the loop's lock is held, `leave` before it is let go."""

    def __init__(self, repo: Repository, tag: str, *, is_errand: bool = False) -> None:
        self._place = place(repo, tag)
        self._folder = str(self._place / "inbox")
        self._known: dict[str, Control] = {}  # name -> message: those that wait for their turn are read once
        self.helm = Helm(id=secrets.token_hex(8), pid=os.getpid(), host=socket.gethostname(), began=now(), is_errand=is_errand)

    def take_over(self) -> str:
        """Say that there is somebody who listens; what killed senders left half written goes. Who had paused a loop that was killed, or ""."""
        os.makedirs(self._folder, exist_ok=True)
        try:
            before = msgspec.json.decode((self._place / HELM).read_bytes(), type=Helm).paused_by
        except (OSError, msgspec.MsgspecError, UnicodeDecodeError):
            before = ""
        self._say()
        with os.scandir(self._folder) as entries:
            drafts = [e.path for e in entries if e.name.startswith(".") and time.time() - e.stat().st_mtime > DRAFT_S]
        for path in drafts:
            with suppress(OSError):
                os.unlink(path)
        return before

    def leave(self) -> None:
        """Nobody listens any more."""
        with suppress(OSError):
            (self._place / HELM).unlink()

    def pause(self, by: str) -> None:
        """Say that nothing further is begun, and who wants that; "" ends it."""
        self.helm = msgspec.structs.replace(self.helm, paused_by=by, paused_since=now() if by else "")
        self._say()

    def look(self, unread: Callable[[str], None]) -> list[Control]:
        """All messages that wait, by time. A directory's listing, 10 us, while there is nothing new.

        unread: told the name of a file that is no message; it is set aside, and not looked at again.
        """
        found = []
        for name in names_in(self._folder):
            if name not in self._known:
                path = Path(self._folder, name)
                said = read(path)
                if said is None:
                    if os.path.lexists(path):
                        path.rename(path.with_name(f"{name}.unread"))
                        unread(name)
                    continue
                self._known[name] = said
            found.append(self._known[name])
        return found

    def is_for_me(self, said: Control) -> bool:
        """False for what was left over from a loop that has ended."""
        return said.loop in ("", self.helm.id)

    def done(self, said: Control) -> None:
        """The message was obeyed, or cannot be: it goes."""
        for name in [name for name, known in self._known.items() if known.id == said.id]:
            del self._known[name]
            with suppress(FileNotFoundError):
                os.unlink(os.path.join(self._folder, name))

    def _say(self) -> None:
        _replace(self._place / HELM, msgspec.json.encode(self.helm))
