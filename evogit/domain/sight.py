"""What a screen shows beside decided runs: what is in the air, the end of a log, this machine, the state of the search. Nouns only."""

from __future__ import annotations

import msgspec

from evogit.domain.lore import Conjecture, FaultRecord
from evogit.domain.metric import Metric
from evogit.domain.report import RunDetail
from evogit.domain.run import Run


class Newest(msgspec.Struct, frozen=True, kw_only=True):
    """The end of a campaign's branch, read without the rest of it: generations and seeds of epochs are not known yet."""

    campaign: str
    problem: str
    metrics: tuple[Metric, ...]
    runs: tuple[Run, ...]  # oldest first
    is_whole: bool  # there are no others


class Flying(msgspec.Struct, frozen=True, kw_only=True):
    """A run that is not decided yet, as far as its flight and the event log tell."""

    run: str  # label
    of: str = ""  # of a reading: label of the run that is read once more
    state: str  # "planned", "pinned", "running", "measured", "reviewed"
    emitter: str
    agent: str = ""
    summary: str = ""  # the candidate's, else what was asked for
    parents: tuple[str, ...] = ()  # labels
    slot: str = ""
    backend: str = ""
    clone: str = ""
    began: str = ""  # ISO 8601 UTC, when it was planned; "" if nobody tells
    step: str = ""  # of the job that runs: "train", "predict" ...
    seed: int | None = None  # of the same
    since: str = ""  # ISO 8601 UTC, when that job began
    rss_mib: int = 0  # of the job's processes now, 0 where it is not known
    reserved_usd: float = 0.0


class LogTail(msgspec.Struct, frozen=True, kw_only=True):
    """The last bytes of a stream."""

    run: str  # label
    stream: str  # "stdout", "stderr", or the artifact's path
    data: bytes
    size: int  # bytes that there are
    is_live: bool  # the job still runs


class Gpu(msgspec.Struct, frozen=True, kw_only=True):
    """A graphics card, as its driver's tool tells."""

    name: str
    busy: float  # 0 to 1
    used_mib: int
    total_mib: int


class Machine(msgspec.Struct, frozen=True, kw_only=True):
    """This machine now."""

    cpus: int
    load: float  # of the last minute, processes
    used_mib: int  # memory that cannot be had, 0 where the system does not tell
    total_mib: int
    gpus: tuple[Gpu, ...] = ()


class Sight(msgspec.Struct, frozen=True, kw_only=True):
    """All about one run, and what could not be read of it."""

    detail: RunDetail
    unread: tuple[str, ...] = ()  # lines for people


class Role(msgspec.Struct, frozen=True, kw_only=True):
    """What a search role did in the window that the portfolio judges by, and over the whole campaign."""

    emitter: str
    tries: int
    keeps: int
    rate: float = 0.0  # credit per median cost
    low: float = 0.0  # 95 % interval
    high: float = 0.0
    runs: int = 0  # behind the rate
    chance: float = 0.0  # of the next choice, 0 while it rests or has nothing to offer
    is_resting: bool = False
    earned: tuple[float, ...] = ()  # the rate in equal stretches of the window, oldest first; 0.0 where it had no run


class Portfolio(msgspec.Struct, frozen=True, kw_only=True):
    """What the search learnt: who pays, where the elites are, what is believed, what breaks."""

    policy: str
    window: int  # newest runs that rates are about, 0: all
    over_uniform: str  # in words, "" while nothing can be said
    roles: tuple[Role, ...]
    elites: tuple[tuple[str, Run], ...]  # niche and its best run, best first
    niches: int  # that there can be
    conjectures: tuple[Conjecture, ...]
    withdrawn: tuple[Conjecture, ...]
    faults: tuple[FaultRecord, ...]
