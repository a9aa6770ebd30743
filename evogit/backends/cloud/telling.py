"""In the container: its voice. Output goes to the bucket in pieces as it comes, and with what happens besides to Cloud Logging.

Each line on stdout is one JSON object, which Cloud Logging takes apart; `event` groups them. What cannot be told is lost, never the trial.
"""

from __future__ import annotations

import json
import time
from datetime import datetime, timezone

from evogit.backends.cloud.storage import Store, quietly
from evogit.backends.cloud.ticket import Happening, Names, Ticket

LARGE = 256 << 10  # bytes that wait for no pause
SLOWER_S = 60.0  # a trial that runs for so long is told of in pauses that are a second longer
SLOWEST_S = 10.0


class Voice:
    """What one job says. `hear` and `tick` cost a request every few seconds."""

    def __init__(self, store: Store, names: Names, ticket: Ticket) -> None:
        self._store, self._names, self._ticket = store, names, ticket
        self._key = ticket.order.job.key
        self._waiting: list[tuple[str, bytes]] = []
        self._told = {"stdout": 0, "stderr": 0}
        self._pieces, self._began = 0, time.monotonic()
        self._next = self._began
        self.happenings: list[Happening] = []

    def say(self, event: str, line: str) -> None:
        """Something happened, beside the job's own output."""
        now = datetime.now(timezone.utc).replace(microsecond=0).isoformat().replace("+00:00", "Z")
        self.happenings.append(Happening(event=event, time=now, line=line))
        self._log(event, line)

    def hear(self, stream: str, data: bytes) -> None:
        """Output of the job, to be passed on with the next piece; what is beyond the job's cap stays here."""
        room = self._ticket.order.job.output_cap - self._told[stream]
        if room <= 0:
            return
        self._told[stream] += len(data)
        if self._waiting and self._waiting[-1][0] == stream:
            self._waiting[-1] = (stream, self._waiting[-1][1] + data)
        else:
            self._waiting.append((stream, data))
        if sum(len(data) for _, data in self._waiting) > LARGE:
            self.flush()

    def tick(self) -> None:
        """Pass on what waits, if it is time."""
        if time.monotonic() >= self._next:
            self.flush()

    def flush(self) -> None:
        """Pass on what waits."""
        for stream, data in self._waiting:
            self._pieces += 1
            with quietly():
                self._store.create(f"{self._names.logs}{self._pieces:08d}-{stream}", data)
            for line in data.decode("utf-8", "replace").splitlines():
                self._log(stream, line)
        self._waiting = []
        now = time.monotonic()
        self._next = now + min(self._ticket.tell_s + (now - self._began) / SLOWER_S, SLOWEST_S)

    def _log(self, event: str, line: str) -> None:
        labels = {"evogit-job": self._key, "evogit-event": event}
        severity = "ERROR" if event == "stderr" else "INFO"
        print(json.dumps({"severity": severity, "event": event, "message": line, "logging.googleapis.com/labels": labels}), flush=True)
