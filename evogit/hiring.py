"""Who is to work in a loop, looked at before anything is begun: name, options, key, program, and under a cap a price.

What only the service knows (a key that it refuses, a model that it does not have) nobody can tell without asking it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from evogit import prices, registry
from evogit.domain.options import LoopOptions
from evogit.domain.problem import Problem
from evogit.purse import without_price


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
