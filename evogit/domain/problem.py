"""The problem contract as nouns: what may change, what is run, what is measured, what it may cost.

These structs are also the schema of `evogit.toml`: `evogit.problem` reads files, this module only says what they mean.
"""

from __future__ import annotations

import msgspec

from evogit.domain.metric import Metric

RULES = ("posterior", "greedy", "confirm", "pareto")  # what `[decide] rule` may say, the default first; pareto: posterior, objective pareto
BELIEVERS = ("", "posterior", "pareto")  # rules that weigh beliefs, "" being the default
OBJECTIVES = ("primary", "weighted", "lexicographic", "pareto")  # what `[decide] objective` may say


class Evaluate(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The locked ruler: `predict` runs the candidate without labels, `command` scores its predictions."""

    command: str
    predict: str = ""


class Budget(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What one trial may use. `train_s` is told to the candidate, the rest is enforced on it."""

    train_s: float = 0.0  # 0: the candidate's own default
    timeout_s: float = 600.0
    memory_mib: int = 0  # 0: no limit
    cpus: int = 1
    gpus: int = 0
    gpu_kind: str = ""  # part of a device's name: "H100"
    seeds: tuple[int, ...] = (0,)
    usd_per_hour: float = 0.0


class Data(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where inputs come from: a path, or url + sha256, or a command that is run once into a cached folder."""

    path: str = ""
    url: str = ""
    sha256: str = ""
    prepare: str = ""


class Sandbox(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a trial may see beyond its workspace."""

    network: bool = False
    require: str = ""  # "" takes the best level that works here
    hide: tuple[str, ...] = ()  # globs of files that `train`, `smoke` and `predict` cannot open
    read: tuple[str, ...] = ()  # files and folders outside that trials may read, absolute or below ~
    env: tuple[str, ...] = ()


class Decide(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How readings become a verdict."""

    rule: str = ""
    accept: float = 0.0
    simplicity: bool = True
    objective: str = ""  # one of OBJECTIVES; "" is "primary"
    weights: dict[str, float] = {}  # metric -> what one unit of it is worth, in the primary metric's unit unless that has a weight too
    constraints: tuple[str, ...] = ()  # "params <= 100k": a run that breaks one is discarded, unless the incumbent breaks one too


class Search(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How the next emitter is chosen."""

    policy: str = ""
    floor: float = 0.0
    strategy: str = ""


class Holdout(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A score that only a person sees, kept outside the repository. `data` or `prepare`: inputs for `[evaluate] predict`, without labels."""

    command: str
    data: str = ""  # absolute, or below ~: what lies in the repository, trials see
    prepare: str = ""


class Price(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Dollars per million tokens of one model."""

    input: float
    output: float
    cache_write: float | None = None  # None: what other input costs
    cache_read: float | None = None
    up_to: int = 0  # tokens of a prompt up to which these hold, beyond it the price is unknown; 0: always


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """One research problem, wherever its contract was written (`layout` says where)."""

    name: str
    folder: str  # below the repository's top, posix, "" for the top itself
    layout: str  # "evogit", "autoresearch" or "evolyth"
    goal: str  # file that agents read, relative to `folder`; "" if there is none
    mutable: tuple[str, ...]  # globs relative to `folder`; every other file is frozen
    command: str
    smoke: str = ""
    append: tuple[str, ...] = ()  # arguments added last; "{run_id}" becomes run_000003
    requires: tuple[str, ...] = ()
    evaluate: Evaluate | None = None
    metrics: tuple[Metric, ...]
    frontier: tuple[str, ...] = ()  # metric names of the Pareto set; () means all
    budget: Budget = Budget()
    data: Data = Data()
    sandbox: Sandbox = Sandbox()
    decide: Decide = Decide()
    search: Search = Search()
    holdout: Holdout | None = None
    backend: dict[str, dict[str, object]] = {}
    prices: dict[str, Price] = {}
    metrics_file: str = ""  # template with {run_id}, where a layout names its own metrics.json
    events_file: str = ""
    summary_file: str = ""

    @property
    def primary(self) -> Metric:
        """The metric that verdicts are about."""
        return self.metrics[0]

    @property
    def locked(self) -> tuple[str, ...]:
        """The commands whose scripts judge runs: no glob makes one of them mutable."""
        held = (self.holdout.command, self.holdout.prepare) if self.holdout is not None else ()
        return (*((self.evaluate.command,) if self.evaluate is not None else ()), *held)

    def metric(self, name: str) -> Metric | None:
        """The declared metric of that name, or None."""
        return next((m for m in self.metrics if m.name == name), None)

    @property
    def objectives(self) -> tuple[Metric, ...]:
        """The metrics that span the Pareto frontier, the primary one first."""
        if not self.frontier:
            return self.metrics
        return tuple(m for m in self.metrics if m.name in self.frontier)
