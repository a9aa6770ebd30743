"""What a call of a model costs: the table of `prices.toml`, and the problem's own prices over it. It asks nobody and guesses nothing.

A model that neither names has no price: None, never zero. An id is found as it stands, or without a date at its end
(`claude-sonnet-4-6-20260101` is `claude-sonnet-4-6`); of several that fit the longest counts, and `claude-sonnet-5-5` never
pays what `claude-sonnet-5` does.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from evogit.domain.problem import Price, Problem
from evogit.domain.usage import Call

MILLION = 1_000_000
_DATE = re.compile(r"[-@]\d{4}(?:-?\d{2}-?\d{2})?")  # -20260101, -2026-01-01, @20260101, and the -0613 of older models


def price(model: str, call: Call, problem: Problem | None) -> float | None:
    """Dollars of one call's tokens, None where the model's price is not known. A call without tokens is of unknown price too."""
    found = find(model, problem)
    prompt = call.input + call.cache_write + call.cache_read
    if found is None or _is_beyond(found, prompt) or not (prompt or call.output):
        return None
    write = found.input if found.cache_write is None else found.cache_write
    read = found.input if found.cache_read is None else found.cache_read
    parts = (call.input * found.input, call.output * found.output, call.cache_write * write, call.cache_read * read)
    return sum(parts) / MILLION


def priced(calls: Iterable[Call], problem: Problem | None) -> tuple[Call, ...]:
    """The calls, those with a price of which a hand told tokens and no dollars; what an answer that broke off cost stays unknown."""
    import msgspec

    return tuple(
        call if call.usd is not None or call.error else msgspec.structs.replace(call, usd=price(call.model, call, problem))
        for call in calls
    )


def worst(model: str, input_tokens: int, max_tokens: int, problem: Problem | None) -> float | None:
    """The most dollars that a call can cost whose prompt has `input_tokens` and whose answer at most `max_tokens`; None: not known."""
    found = find(model, problem)
    if found is None or _is_beyond(found, input_tokens):
        return None
    dearest = max(found.input, found.cache_write or 0.0, found.cache_read or 0.0)
    return (input_tokens * dearest + max_tokens * found.output) / MILLION


def find(model: str, problem: Problem | None) -> Price | None:
    """A model's price: the problem's own first, where there is one, then the table's."""
    return _look_up(problem.prices if problem is not None else {}, model) or _look_up(table(), model)


@cache
def table() -> dict[str, Price]:
    """The prices that come with evogit, by model. Read once, 1 ms."""
    import msgspec

    text = Path(__file__).with_name("prices.toml").read_bytes()
    return msgspec.toml.decode(text, type=dict[str, Price])


def _look_up(prices: dict[str, Price], model: str) -> Price | None:
    fits = [name for name in prices if model.startswith(name) and (model == name or _DATE.fullmatch(model[len(name) :]))]
    return prices[max(fits, key=len)] if fits else None


def _is_beyond(found: Price, prompt: int) -> bool:
    return bool(found.up_to) and prompt > found.up_to
