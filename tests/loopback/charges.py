"""What requests are counted as, and what that comes to."""

from __future__ import annotations

from dataclasses import dataclass

PRICES = {"input": 3.0, "output": 15.0, "cache_write": 3.75, "cache_read": 0.3}  # dollars a million tokens


@dataclass(frozen=True)
class Charge:
    """What one answered request was counted as, in tokens."""

    model: str
    input: int
    output: int
    cache_write: int
    cache_read: int

    @property
    def usd(self) -> float:
        return sum(getattr(self, name) * price for name, price in PRICES.items()) / 1e6
