"""Names of the hands that can be chosen, and where they live. A hand is imported when it is asked for, not before.

Built-ins first, then entry points of the groups `evogit.emitters`, `evogit.policies`, `evogit.agents`, `evogit.reviewers`, `evogit.backends`.
A stranger's plugin cannot take a built-in's name.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping

from evogit.errors import UnknownName

DEFAULT_POLICY = "sw-ucb"
RULES = "offline"  # the agent that edits by rule: words say nothing to it
FREE_REVIEWER = "heuristic"
GIVEN = ("purse",)  # what the host hands to a hand that has a parameter of that name; no option of a person's

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
        "command": "evogit.agents.command:CommandAgent",
        "claude-code": "evogit.agents.claude_code:ClaudeCodeAgent",
        "codex": "evogit.agents.codex:CodexAgent",
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
        "command": "evogit.reviewers.command:CommandReviewer",
        "claude-code": "evogit.reviewers.claude_code:ClaudeCodeReviewer",
    },
    "backends": {
        "local": "evogit.backends.local:LocalBackend",
        "ray": "evogit.backends.ray:RayBackend",
        "slurm": "evogit.backends.slurm:SlurmBackend",
        "cloud-run": "evogit.backends.cloud.backend:CloudRunBackend",
        "modal": "evogit.backends.modal.backend:ModalBackend",
    },
}


def names(kind: str) -> list[str]:
    """Every name of a kind, built-ins in their own order, then plugins in alphabetical order."""
    return [*BUILT_IN[kind], *sorted(_plugins(kind))]


def one_of(kind: str) -> str:
    """The word for one hand of a kind."""
    return "policy" if kind == "policies" else kind.removesuffix("s")


def find(kind: str, name: str) -> Callable[..., object]:
    """The class behind a name. Raises UnknownName, or ImportError's message as UnknownName where an extra is missing."""
    target = BUILT_IN[kind].get(name) or _plugins(kind).get(name)
    if target is None:
        raise UnknownName(f"no {one_of(kind)} is called {name!r}", hint=f"one of: {', '.join(names(kind))}")
    module, _, attribute = target.partition(":")
    try:
        return getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise UnknownName(
            f"{one_of(kind)} {name!r} cannot be loaded: {error}", hint="is the package (or the extra) that brings it installed?"
        ) from error


def check(kind: str, name: str, options: Mapping[str, object]) -> object:
    """The hand, as it is made without what the host gives. Raises UnknownName if nothing has that name, or if it takes no such
    options, and what it raises itself when it is made.

    A hand that lacks what it needs (a program, a key) says so here, before anything is begun.
    """
    import inspect

    hand = find(kind, name)
    signature = inspect.signature(hand)
    try:
        if given := [word for word in GIVEN if word in options]:
            raise TypeError(f"{given[0]} is no option")
        signature.bind(**options, **{word: None for word in GIVEN if word in signature.parameters})
    except TypeError as error:
        raise misused(kind, name, hand, error) from error
    return hand(**options, **{word: None for word in GIVEN if word in signature.parameters})


def misused(kind: str, name: str, hand: Callable[..., object], error: TypeError, leave_out: tuple[str, ...] = ()) -> UnknownName:
    """What to tell of options that a hand does not take."""
    import inspect

    known = ", ".join(word for word in inspect.signature(hand).parameters if word not in (*GIVEN, *leave_out))
    return UnknownName(f"{one_of(kind)} {name!r}: {error}", hint=f"its options are {known}" if known else "it takes no options")


def make(kind: str, name: str, options: Mapping[str, object], **given: object) -> object:
    """A hand, made with a person's options and with those of `given` (names of GIVEN) that it has a parameter for."""
    hand = find(kind, name)
    return hand(**options, **{word: value for word, value in given.items() if takes(hand, word)})


def takes(hand: object, word: str) -> bool:
    """True if a hand (its class, or what makes it) has a parameter of that name."""
    import inspect

    return callable(hand) and word in inspect.signature(hand).parameters


def _plugins(kind: str) -> dict[str, str]:
    """Entry points of a kind. importlib.metadata costs 20 ms, so only a name that is not built in pays for it."""
    from importlib.metadata import entry_points

    return {e.name: e.value for e in entry_points(group=f"evogit.{kind}") if e.name not in BUILT_IN[kind]}
