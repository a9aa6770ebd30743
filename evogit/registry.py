"""Names of the hands that can be chosen, and where they live. A hand is imported when it is asked for, not before.

Built-ins first, then entry points of the groups `evogit.emitters`, `evogit.policies`, `evogit.agents`, `evogit.reviewers`, `evogit.backends`.
A stranger's plugin cannot take a built-in's name.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping

from evogit.errors import UnknownName

DEFAULT_POLICY = "sw-ucb"

BUILT_IN: dict[str, dict[str, str]] = {
    "emitters": {
        "local_tuner": "evogit.emitters.local_tuner:LocalTuner",
        "optimizer_hacker": "evogit.emitters.optimizer_hacker:OptimizerHacker",
        "architecture_mutator": "evogit.emitters.architecture_mutator:ArchitectureMutator",
        "simplifier": "evogit.emitters.simplifier:Simplifier",
        "contrarian": "evogit.emitters.contrarian:Contrarian",
        "recombinator": "evogit.emitters.recombinator:Recombinator",
        "anomaly_chaser": "evogit.emitters.anomaly_chaser:AnomalyChaser",
    },
    "agents": {
        "offline": "evogit.agents.offline.agent:OfflineAgent",
        "noop": "evogit.agents.noop:NoopAgent",
        "anthropic": "evogit.agents.anthropic:AnthropicAgent",
        "openai": "evogit.agents.openai:OpenAIAgent",
    },
    "policies": {
        "sw-ucb": "evogit.policies.sw_ucb:SlidingWindowUcb",
        "thompson": "evogit.policies.thompson:Thompson",
        "uniform": "evogit.policies.uniform:Uniform",
        "phases": "evogit.policies.phases:Phases",
        "topk": "evogit.policies.topk:TopK",
    },
    "reviewers": {
        "heuristic": "evogit.reviewers.heuristic:HeuristicReviewer",
        "anthropic": "evogit.reviewers.anthropic:AnthropicReviewer",
        "openai": "evogit.reviewers.openai:OpenAIReviewer",
    },
    "backends": {"local": "evogit.backends.local:LocalBackend"},
}


def names(kind: str) -> list[str]:
    """Every name of a kind, built-ins in their own order, then plugins in alphabetical order."""
    return [*BUILT_IN[kind], *sorted(_plugins(kind))]


def find(kind: str, name: str) -> Callable[..., object]:
    """The class behind a name. Raises UnknownName, or ImportError's message as UnknownName where an extra is missing."""
    target = BUILT_IN[kind].get(name) or _plugins(kind).get(name)
    if target is None:
        raise UnknownName(f"no {kind[:-1]} is called {name!r}", hint=f"one of: {', '.join(names(kind))}")
    module, _, attribute = target.partition(":")
    try:
        return getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise UnknownName(
            f"{kind[:-1]} {name!r} cannot be loaded: {error}", hint="is the package (or the extra) that brings it installed?"
        ) from error


def check(kind: str, name: str, options: Mapping[str, object]) -> None:
    """Raise UnknownName if nothing has that name, or if it takes no such options, and UserError if it lacks what it needs (a key).

    It is made once to find that out, before anything is begun.
    """
    import inspect

    hand = find(kind, name)
    try:
        inspect.signature(hand).bind(**options)
    except TypeError as error:
        takes = ", ".join(inspect.signature(hand).parameters)
        raise UnknownName(f"{kind[:-1]} {name!r}: {error}", hint=f"its options are {takes}" if takes else "it takes no options") from error
    hand(**options)


def _plugins(kind: str) -> dict[str, str]:
    """Entry points of a kind. importlib.metadata costs 20 ms, so only a name that is not built in pays for it."""
    from importlib.metadata import entry_points

    return {e.name: e.value for e in entry_points(group=f"evogit.{kind}") if e.name not in BUILT_IN[kind]}
