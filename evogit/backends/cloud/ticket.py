"""What both sides of a job agree on: the names of its objects in the bucket, and what stands in them.

    jobs/<key>/ticket.json      the job as it was asked for; it is known as long as this is there
    jobs/<key>/launched/<name>  an execution that was asked for
    jobs/<key>/claim.json       who runs it: made once
    jobs/<key>/cancel           somebody wishes it to end
    jobs/<key>/parcels/<digest> what this job alone needs
    jobs/<key>/logs/<n>-<stream>  its output as it came
    jobs/<key>/result           what came of it
    ended/<key>                 it is over: one listing tells of all jobs

It reads and writes nothing.
"""

from __future__ import annotations

import msgspec

from evogit.backends.cloud.spec import Dataset
from evogit.backends.order import Order

ENDED = "ended/"


class Ticket(msgspec.Struct, frozen=True, kw_only=True):
    """ticket.json. Values of the job's environment are in it: whoever may read the bucket may read them."""

    v: int = 1
    job: str  # the Cloud Run job's full name
    order: Order
    parcels: dict[str, str]  # digest -> gs:// address
    nonce: str = ""  # tells two who ask for the same job apart
    dataset: Dataset | None = None
    look_s: float = 5.0  # between looks for a wish to cancel
    tell_s: float = 2.0  # between pieces of output, at first


class Claim(msgspec.Struct, frozen=True, kw_only=True):
    """claim.json. No execution: the asking side has it, so that nobody runs the job any more."""

    execution: str
    nonce: str


class Happening(msgspec.Struct, frozen=True, kw_only=True):
    """A line of a container's log."""

    event: str
    time: str  # ISO 8601 UTC, whole seconds
    line: str


class Ending(msgspec.Struct, frozen=True, kw_only=True):
    """ended/<key>. `lost`: why there is no result; `is_cancelled`: because somebody wished it."""

    execution: str = ""
    lost: str = ""
    is_cancelled: bool = False
    happenings: tuple[Happening, ...] = ()


class Names:
    """Names of one job's objects."""

    def __init__(self, key: str) -> None:
        self.folder = f"jobs/{key}/"
        self.ticket, self.claim, self.cancel = f"{self.folder}ticket.json", f"{self.folder}claim.json", f"{self.folder}cancel"
        self.launched, self.parcels, self.logs = f"{self.folder}launched/", f"{self.folder}parcels/", f"{self.folder}logs/"
        self.result, self.ended = f"{self.folder}result", f"{ENDED}{key}"
