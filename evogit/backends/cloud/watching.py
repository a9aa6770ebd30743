"""Which jobs are over: one listing of the bucket tells of all that handed something in, one of the executions of those that cannot.

It looks with growing pauses, whoever asks and however often. A job is given up as lost only after its claim was looked at: who never
claimed it cannot any more once the claim is ours.
"""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Sequence
from pathlib import Path

import msgspec

from evogit.backends import homing
from evogit.backends.cloud.executions import Seen
from evogit.backends.cloud.settings import Settings
from evogit.backends.cloud.storage import Store
from evogit.backends.cloud.ticket import ENDED, Claim, Ending, Names
from evogit.backends.patience import Patience

GROWTH = 1.3  # of the pause after a look that found nothing new
LONGEST = 10  # times the shortest pause
RARER = 4  # pauses between looks at executions, which say nothing of a job that goes well
SURE_S = 15.0  # of a wait for a container, after which its claim is looked at too
PATIENCE = 30  # looks at executions that do not show one that was asked for, before it counts as gone


class Handle(msgspec.Struct, frozen=True, kw_only=True):
    """What a handle says. `job` is "" for one that was refused here."""

    key: str
    folder: str
    at: str  # gs:// address of the jobs' folder
    job: str  # the Cloud Run job's full name

    @classmethod
    def read(cls, text: str) -> Handle:
        """Raises ValueError for a text that is none."""
        return msgspec.json.decode(text, type=cls)

    @property
    def text(self) -> str:
        """The handle as the loop keeps it."""
        return msgspec.json.encode(self).decode()

    @property
    def path(self) -> Path:
        """The job's folder on this machine."""
        return Path(self.folder)


class Watch:
    """What is known of jobs. May be asked from threads: one of them looks, the others learn of it."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.patience = Patience(
            "for a container of Cloud Run", "a region may have no GPU free: `gcloud run jobs executions list` says how each stands"
        )
        self._over: set[str] = set()
        self._lost: dict[str, Ending] = {}
        self._unseen: dict[str, int] = {}
        self._stores: dict[str, Store] = {}
        self._pause_s = settings.poll_s
        self._next_look = self._next_survey = 0.0
        self._lock = threading.Lock()

    def store(self, handle: Handle) -> Store:
        """The bucket's folder that a handle names."""
        if handle.at not in self._stores:
            self._stores[handle.at] = Store(self._settings.clients, handle.at)
        return self._stores[handle.at]

    def until(self, handles: Sequence[Handle], timeout_s: float | None) -> set[str]:
        """Keys of those that are over, at least one unless the time runs out. Raises as `Clients.ask`."""
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        self._hurry(handles)
        while True:
            ended = {handle.key for handle in handles if handle.key in self._over or homing.collected(handle.path) is not None}
            if ended or not handles:
                return ended
            with self._lock:
                if time.monotonic() >= self._next_look:
                    self._look(handles)
                    continue
                pause = self._next_look - time.monotonic()
            left = pause if deadline is None else deadline - time.monotonic()
            if left <= 0:
                return set()
            threading.Event().wait(max(0.0, min(pause, left)))

    def lost(self, handle: Handle) -> Ending:
        """Why a job that is over handed nothing in."""
        return self._lost.get(handle.key, Ending(lost="nothing is left of it in the bucket"))

    def asked_for(self, handle: Handle) -> list[str]:
        """Full names of the executions that were asked for under a handle's key."""
        names, store = Names(handle.key), self.store(handle)
        told = [(store.get(name) or b"").decode() for name in store.names(names.launched)]
        return [name for name in told if name] or [
            seen.name for seen in self._settings.executions.listing(handle.job, {handle.key}) if seen.key == handle.key
        ]

    def drop(self, key: str) -> None:
        """The job was forgotten."""
        self._over.add(key)
        self._lost.pop(key, None)
        self.patience.see([key], ())

    def _hurry(self, handles: Sequence[Handle]) -> None:
        """A job that nobody asked about before may be over soon."""
        new = [handle.key for handle in handles if handle.key not in self._unseen]
        self._unseen.update(dict.fromkeys(new, 0))
        if new:
            self._pause_s = self._settings.poll_s
            self._next_look = min(self._next_look, time.monotonic() + self._pause_s)

    def _look(self, handles: Sequence[Handle]) -> None:
        before = len(self._over)
        for at in {handle.at for handle in handles}:
            group = [handle for handle in handles if handle.at == at]
            there = {name.removeprefix(ENDED) for name in self.store(group[0]).names(ENDED)}
            self._over.update(there & {handle.key for handle in group})
        now = time.monotonic()
        waiting = [handle for handle in handles if handle.key not in self._over]
        if waiting and now >= self._next_survey:
            self._survey(waiting)
            self._next_survey = time.monotonic() + RARER * self._pause_s
        self.patience.see(self._over.intersection(handle.key for handle in handles), ())
        is_news = len(self._over) > before
        self._pause_s = self._settings.poll_s if is_news else min(self._pause_s * GROWTH, LONGEST * self._settings.poll_s)
        self._next_look = time.monotonic() + self._pause_s

    def _survey(self, handles: Sequence[Handle]) -> None:
        """Look at executions for jobs whose container is gone."""
        for job in {handle.job for handle in handles}:
            group = [handle for handle in handles if handle.job == job]
            seen = self._settings.executions.listing(job, {handle.key for handle in group}) if job else []
            for handle in group:
                mine = [each for each in seen if each.key == handle.key]
                self._judge(handle, mine)
                self._note_wait(handle, mine)

    def _note_wait(self, handle: Handle, mine: list[Seen]) -> None:
        """Whether a job has no container yet. A claim says that it has one, whatever the execution says."""
        why = next((each.waits_for for each in mine if not each.is_over), None)
        waits = handle.key not in self._over and why is not None
        if waits and self.patience.waited_s(handle.key) >= SURE_S:  # a person may soon be told: one request more makes sure
            waits = not self.store(handle).exists(Names(handle.key).claim)
        self.patience.see([handle.key], [handle.key] if waits else [], why or "")

    def _judge(self, handle: Handle, mine: list[Seen]) -> None:
        """Give a job up whose executions are over, or cannot be seen for long, unless it handed something in after all."""
        if any(not each.is_over for each in mine):
            self._unseen[handle.key] = 0
            return
        names, store = Names(handle.key), self.store(handle)
        if store.exists(names.ended) or not store.exists(names.ticket):
            self._over.add(handle.key)
            return
        self._unseen[handle.key] += 1
        is_given_up = self._unseen[handle.key] > PATIENCE
        if not mine and not is_given_up:
            return
        is_ours = store.create(names.claim, msgspec.json.encode(Claim(execution="", nonce=uuid.uuid4().hex)))
        if not is_ours and (claimant := self._claimant(handle, mine)) is not None:
            mine = [claimant]
            if not claimant.is_over:
                self._unseen[handle.key] = 0
                return
        self._over.add(handle.key)
        self._lost[handle.key] = Ending(lost=_why(mine, is_claimed=not is_ours), is_cancelled=store.exists(names.cancel))

    def _claimant(self, handle: Handle, mine: list[Seen]) -> Seen | None:
        """The execution that has the claim, where it is another one than those that were looked at; None where it is gone."""
        text = self.store(handle).get(Names(handle.key).claim)
        name = msgspec.json.decode(text, type=Claim).execution if text else ""
        if not name or any(each.name.rpartition("/")[2] == name for each in mine):
            return None
        return self._settings.executions.find(f"{handle.job}/executions/{name}")


def _why(mine: list[Seen], *, is_claimed: bool) -> str:
    """Why nothing came of a job, in one line."""
    if not mine:
        return "its execution is not there any more"
    last = mine[0]
    name = last.name.rpartition("/")[2]
    when = "while the trial ran" if is_claimed else "before the trial began"
    said = f": {last.why}" if last.why else ""
    return f"execution {name} {'was cancelled' if last.is_cancelled else 'ended'} {when}, and handed nothing in{said}"
