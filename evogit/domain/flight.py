"""A flight: a run between its plan and its decision, as kept under refs/evogit/<tag>/inflight so that kill -9 loses nothing."""

from __future__ import annotations

from enum import Enum

import msgspec

from evogit.domain.plan import Plan
from evogit.domain.proposal import Candidate
from evogit.domain.usage import Call

PERSON = "person"  # `Flight.gate` of a run that somebody cancelled: it is decided as it stands, and not tried again


class FlightState(str, Enum):
    """How far it got. What each one means for recovery stands in docs/recovery.md."""

    PLANNED = "planned"  # money may have been spent on an agent; no candidate yet
    PINNED = "pinned"  # the candidate's commit exists and is kept alive by the flight
    RUNNING = "running"  # jobs were intended; jobs.jsonl says which were started
    MEASURED = "measured"  # every outcome that will exist is in the flight
    REVIEWED = "reviewed"  # review.json is there; what is left is to decide and record


class JobRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One line of jobs.jsonl: intended when `handle` is empty, started when it is not."""

    key: str
    seed: int
    step: str  # "smoke", "train", "predict" or "evaluate"
    attempt: int = 1
    arm: str = ""
    handle: str = ""  # the backend's, opaque


class Flight(msgspec.Struct, frozen=True, kw_only=True):
    """flight.json."""

    v: int = 1
    campaign: str
    number: int  # the run's number, unique in this clone
    label: str
    clone: str
    kind: str = "run"  # "run", "baseline", "replicate", "adopt"
    state: FlightState
    plan: Plan
    candidate: Candidate | None = None  # from PINNED on
    slot: str = "0"  # the workspace it was given: a job that still runs works there
    gate: str = ""  # name of the gate that refused it
    reason: str = ""  # a gate's refusal: the run is a reject and never ran
    purpose: str = "select"
    reading: int = 0  # of a replicate: greater than that of every reading of the same run before it
    arm: str = ""  # overrides that its trials run under, in words; "" is the plain problem
    arguments: tuple[str, ...] = ()  # handed to the problem's command
    timeout_s: float = 0.0  # 0: the problem's
    train_s: float = 0.0  # 0: the problem's
    backend: str = "local"
    reserved_usd: float = 0.0  # the most that what runs now may cost: calls of a model, or a job
    calls: tuple[Call, ...] = ()  # of models, beside its candidate's: of an agent that changed nothing, and those a killed loop made
    answers: dict[str, str] = {}  # of an agent that changed nothing
    written: str = ""  # ISO 8601 UTC, of this state
