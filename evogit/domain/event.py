"""What the loop says while it works: one struct an event, tagged by `event`. A face is a `for` loop over them."""

from __future__ import annotations

import msgspec


class _Event(msgspec.Struct, frozen=True, kw_only=True, tag_field="event"):
    time: str = ""  # ISO 8601 UTC, stamped by the loop


class CampaignOpened(_Event, tag="campaign"):
    campaign: str
    problem: str
    backend: str
    sandbox: str
    runs: int  # decided so far


class Recovered(_Event, tag="recovered"):
    run: str
    state: str
    action: str  # what is done about it, in words
    emitter: str = ""  # whose plan it carries out
    of: str = ""  # of a reading: label of the run that is read once more


class Adopted(_Event, tag="adopted"):
    run: str
    commit: str  # the person's
    kind: str  # "run" or "epoch"


class Planned(_Event, tag="plan"):
    run: str
    emitter: str
    parents: tuple[str, ...]  # labels
    instruction: str
    of: str = ""  # of a reading: label of the run that is read once more; nothing is changed


class Proposed(_Event, tag="candidate"):
    run: str
    commit: str
    summary: str
    change: str


class Rejected(_Event, tag="rejected"):
    run: str
    gate: str
    reason: str


class TrialStarted(_Event, tag="trial-started"):
    run: str
    seed: int
    step: str


class TrialEnded(_Event, tag="trial"):
    run: str
    seed: int
    status: str
    metrics: dict[str, float]
    seconds: float
    crash: str = ""


class Decided(_Event, tag="verdict"):
    run: str
    commit: str
    verdict: str
    reason: str
    metric: str
    value: float | None
    gain: float | None
    summary: str
    emitter: str
    decided: int  # by this invocation; baselines, and replicates that the search asked for, left out


class Replicated(_Event, tag="replicate"):
    run: str  # label of the run that was read once more
    readings: tuple[float, ...]
    reason: str
    reading: str = ""  # label under which that reading flew


class Judged(_Event, tag="judged"):
    run: str
    verdict: str
    was: str
    by: str
    reason: str


class Controlled(_Event, tag="controlled"):
    kind: str  # "pause", "resume", "stop", "cancel" or "remeasure"
    run: str
    by: str
    reason: str
    result: str  # what came of it, in words
    is_done: bool = True  # False: it came too late, or could not be done
    id: str = ""  # of the message


class Warned(_Event, tag="warning"):
    message: str
    hint: str = ""


class Stopped(_Event, tag="stopped"):
    reason: str
    decided: int
    resume: str  # the command that goes on


Event = (
    CampaignOpened
    | Recovered
    | Adopted
    | Planned
    | Proposed
    | Rejected
    | TrialStarted
    | TrialEnded
    | Decided
    | Replicated
    | Judged
    | Controlled
    | Warned
    | Stopped
)
