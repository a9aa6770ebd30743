"""What a person asks of a loop that runs in another process, and what that loop says of itself meanwhile."""

from __future__ import annotations

import msgspec

KINDS = ("pause", "resume", "stop", "cancel", "remeasure")


class Control(msgspec.Struct, frozen=True, kw_only=True):
    """One message to a loop: a file of a campaign's inbox."""

    id: str  # 16 hex digits, drawn at random
    time: str  # ISO 8601 UTC, when it was sent
    by: str  # git's user
    kind: str  # one of KINDS
    run: str = ""  # label: of the run that is cancelled, or measured again
    seeds: int = 0  # of "remeasure": how many readings more
    reason: str = ""  # one line
    loop: str = ""  # `Helm.id` of the loop that it is for; "" is any: a remeasurement waits for the next one


class Helm(msgspec.Struct, frozen=True, kw_only=True):
    """What a loop that runs says of itself. It means nothing once that process has ended."""

    id: str  # drawn by each loop anew: a message is for one loop, and not for the next one
    pid: int
    host: str
    began: str  # ISO 8601 UTC
    is_errand: bool = False  # a command that does one thing (`evogit run`, `certify` ...): it begins nothing by itself
    paused_by: str = ""  # "" while it is not paused
    paused_since: str = ""

    @property
    def is_paused(self) -> bool:
        """True while nothing further is begun."""
        return bool(self.paused_by)
