"""Who is to work in a loop and where, looked at before anything is begun: name, options, key, program, and under a cap a price.

What only the service knows (a key that it refuses, a model that it does not have) nobody can tell without asking it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from evogit import prices, registry
from evogit.domain.options import LoopOptions
from evogit.domain.problem import Problem
from evogit.errors import UserError
from evogit.purse import without_price
from evogit.seams import Backend


def check(options: LoopOptions, contracts: Sequence[Problem], *, asks_agent: bool = True) -> None:
    """Raise UserError (or UnknownName) for a hand that could not do its work. Writes nothing, asks nobody.

    contracts: those that may hold when the hand is paid, today's and that of the branch's tip: their prices go before the table's.
    """
    asked = [("agents", options.agent, options.agent_options)] if asks_agent else []
    for kind, name, given in (*asked, ("reviewers", options.reviewer, options.reviewer_options)):
        hand = registry.check(kind, name, given)
        model = getattr(hand, "model", None)
        if options.max_cost and model is not None and all(prices.find(model, contract) is None for contract in contracts):
            raise without_price(name, model)
    for name in options.emitters:
        registry.check("emitters", name, {})
    if options.policy:
        registry.check("policies", options.policy, {})


def caveats(options: LoopOptions) -> Iterator[tuple[str, str]]:
    """What a person has to know of their cap, and what to do about it: of hands that say afterwards what they cost."""
    asked = (("agents", options.agent), ("reviewers", options.reviewer))
    late = [name for kind, name in asked if options.max_cost and name in registry.names(kind) and _pays_afterwards(kind, name)]
    for name in dict.fromkeys(late):
        yield (
            f"{name} says what it cost when it has spent it: its last run may pass --max-cost {options.max_cost:g}, and no later one begins",
            "what it does not report is not counted; leave room for one run below what you may spend",
        )


def _pays_afterwards(kind: str, name: str) -> bool:
    return getattr(registry.find(kind, name), "pays_afterwards", False)


def places(options: LoopOptions) -> list[str]:
    """Names of the backends that a person asked for. Raises UnknownName where one has none, UserError where one is named twice."""
    names = options.backend.split("+")
    for name in names:
        registry.find("backends", name)
    if len(set(names)) < len(names):
        raise UserError(f"--backend {options.backend}: one is named twice", hint="name each backend once; its slots are its own option")
    return names


def backend(options: LoopOptions, problem: Problem, root: Path, folder: Path) -> Backend:
    """Where trials run: the backend, or a fleet where there are several, with the problem's options and on top of them the person's.

    `root` has a folder for the jobs of each (`rooms`), `folder` is the problem's, for backends that read a file there (`problem_folder`).
    Raises UnknownName for an option that a backend does not take, and what a backend raises itself.
    """
    import inspect

    made: dict[str, Backend] = {}
    for name in places(options):
        hand = registry.find("backends", name)
        settings = _over(problem.backend.get(name, {}), options.backend_options.get(name, {}))
        if registry.takes(hand, "problem_folder"):
            settings.setdefault("problem_folder", str(folder))
        try:
            inspect.signature(hand).bind(root / name, **settings)
        except TypeError as error:
            raise registry.misused("backends", name, hand, error, leave_out=("root",)) from error
        made[name] = hand(root / name, **settings)
    if len(made) == 1:
        return next(iter(made.values()))
    from evogit.backends.fleet import Fleet

    return Fleet(made)


def rooms(root: Path) -> dict[str, Path]:
    """Backend -> the folder of its jobs below `root`, which may not be there. No two share one: what one of them finds there it takes for
    its own."""
    return {name: root / name for name in registry.names("backends")}


def _over(settings: Mapping[str, object], chosen: Mapping[str, object]) -> dict[str, object]:
    """The problem's options with a person's before them; of a table (`env`) each entry."""
    both = {**settings, **chosen}
    tables = {
        key: {**settings[key], **value} for key, value in chosen.items() if isinstance(value, dict) and isinstance(settings.get(key), dict)
    }
    return both | tables
