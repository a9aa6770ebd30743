"""What a person asked of a loop. Read by the command line, obeyed by `evogit.loop`."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from types import MappingProxyType

import msgspec


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """`--until "val_loss<0.05"`: the loop ends once the incumbent's mean satisfies it."""

    metric: str
    relation: str  # "<", "<=", ">" or ">="
    value: float

    def is_met(self, mean: float | None) -> bool:
        """True if `mean` satisfies the target; a missing number never does."""
        if mean is None:
            return False
        return {
            "<": mean < self.value,
            "<=": mean <= self.value,
            ">": mean > self.value,
            ">=": mean >= self.value,
        }[self.relation]


class LoopOptions(msgspec.Struct, frozen=True, kw_only=True):
    """Defaults are what `evogit loop` does when nothing is said. 0 and "" mean: no limit, not set."""

    max_runs: int = 0
    max_hours: float = 0.0
    max_cost: float = 0.0  # dollars that this invocation may spend, on models and on the backend
    until: Target | None = None
    patience: int = 0  # stop after this many runs in a row without a keep, those of earlier loops counted
    crash_streak: int = 0  # stop after this many runs in a row that crashed or were refused
    smoke: bool = False
    seed: int = 0
    agent: str = "offline"
    agent_options: dict[str, str] = {}
    reviewer: str = "heuristic"
    reviewer_options: dict[str, str] = {}
    backend: str = "local"  # several are joined with "+"
    backend_options: dict[str, dict[str, object]] = {}  # backend -> what goes before the problem's `[backend.NAME]`
    timeout_s: float = 0.0
    train_s: float = 0.0
    workers: int = 1  # trials at a time; 0: as many as the backend has room for
    prefetch: int = -1  # candidates prepared while others run; -1: as many as keep the slots busy, none where there is one slot
    arguments: tuple[str, ...] = ()  # after `--`, handed to the problem's command
    emitters: tuple[str, ...] = ()  # only these; () means all seven
    policy: str = ""  # who chooses among them; "" is the problem's `[search] policy`, else the default
    ideas: bool = True  # people's and reviewers' queued ideas are carried out


def resuming(tag: str, backend: str, chosen: Mapping[str, Mapping[str, object]] = MappingProxyType({})) -> str:
    """The command that goes on with a campaign where its trials run. backend, chosen: as in `LoopOptions`, where they are known; tables
    among the options are left out, since the values of an environment may be secrets."""
    names = backend.split("+")
    places = "" if backend == "local" else "".join(f" --backend {name}" for name in names)
    settings = [
        f"{name}.{key}={value}" for name in names for key, value in chosen.get(name, {}).items() if isinstance(value, str | int | float)
    ]
    return f"evogit loop --tag {tag}{places}" + "".join(f" --backend-option {shlex.quote(setting)}" for setting in settings)
