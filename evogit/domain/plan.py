"""A plan: what the search decided to try, before anyone has touched a file."""

from __future__ import annotations

import msgspec


class Forecast(msgspec.Struct, frozen=True, kw_only=True):
    """What an emitter expects the primary metric to be: registered in the run's commit before any measurement."""

    mean: float  # primary metric's unit
    spread: float  # one standard deviation, same unit, > 0


class Aim(msgspec.Struct, frozen=True, kw_only=True):
    """A wish about one named constant. The worker that carries it out stays within the constant's own bounds."""

    gene: str  # `path:name`, the path below the problem's folder
    value: bool | int | float | str


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """One bounded step: which role asks, what it starts from, what it wants changed, what it expects."""

    emitter: str
    parents: tuple[str, ...]  # full hashes of run commits, the first is the one that is mutated
    seeds: tuple[int, ...]  # seeds that a trial may use, in this order
    rng: int  # seed of every random choice an offline worker makes for this plan
    instruction: str = ""  # words for a model or a person
    operators: tuple[str, ...] = ()  # the offline agent's operator families, most wanted first
    merge: bool = False  # combine the two parents by a three-way merge
    replicate: bool = False  # measure parents[0] again instead of changing it
    contrast: str = ""  # hash of a run whose change is to be reversed or halved; "" if none
    niche: str = ""
    change: str = ""  # category asked for (the seeds' mutation type)
    forecast: Forecast | None = None
    propensity: float = 1.0  # probability of the whole choice: emitter and parent
    policy: str = ""  # name of the policy that chose the emitter
    chance: float = 1.0  # probability with which it chose this emitter
    aims: tuple[Aim, ...] = ()  # named constants that an offline worker sets first, in this order of preference
    idea: str = ""  # id of the queued idea that this plan carries out; "" if none
