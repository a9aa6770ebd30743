"""What models were paid for: one noun a call, and what calls come to. An unknown price is unknown, never zero."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """One request to a model, or one run of a program that asks models. A line of `calls.jsonl` among a run's artifacts."""

    v: int = 1
    who: str  # "agent" or "reviewer"
    hand: str  # its name in the registry: "anthropic", "claude-code" ...
    model: str = ""  # as the service calls it, "" if it did not say
    input: int = 0  # tokens that were neither written to nor read from a cache
    output: int = 0
    cache_write: int = 0
    cache_read: int = 0
    usd: float | None = None  # dollars; None: the price is not known
    seconds: float = 0.0
    started: str = ""  # ISO 8601 UTC
    error: str = ""  # why it gave nothing usable, "" if it did
    answer: str = ""  # name below `answers/` among the run's artifacts of what was answered, verbatim; "" if there is none


class Spent(msgspec.Struct, frozen=True, kw_only=True):
    """What some calls come to. `usd` is the part that is known; `unpriced` calls come on top of it."""

    usd: float = 0.0
    unpriced: int = 0
    calls: int = 0
    input: int = 0
    output: int = 0
    cache_write: int = 0
    cache_read: int = 0

    @property
    def total_usd(self) -> float | None:
        """Dollars, or None where a part of them is not known."""
        return None if self.unpriced else self.usd

    def __add__(self, other: Spent) -> Spent:
        """Both together."""
        return Spent(**{name: getattr(self, name) + getattr(other, name) for name in self.__struct_fields__})


def spent(calls: Iterable[Call]) -> Spent:
    """What calls come to, dollars to the billionth: without the dust of sums that binary fractions cannot hold. O(calls)."""
    total = Spent()
    for call in calls:
        total += Spent(
            usd=call.usd or 0.0,
            unpriced=call.usd is None,
            calls=1,
            input=call.input,
            output=call.output,
            cache_write=call.cache_write,
            cache_read=call.cache_read,
        )
    return msgspec.structs.replace(total, usd=round(total.usd, 9))
