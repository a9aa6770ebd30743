"""What a program says that it cost, as calls. A number that is none is unknown, never zero."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import datetime, timezone

from evogit.domain.usage import Call
from evogit.programs.speech import one_line

TOKENS = {
    "input": ("input_tokens", "prompt_tokens", "input"),
    "output": ("output_tokens", "completion_tokens", "output"),
    "cache_write": ("cache_creation_input_tokens", "cache_write_tokens", "cache_write"),
    "cache_read": ("cache_read_input_tokens", "cache_read_tokens", "cache_read"),
}


def now() -> str:
    """This moment as ISO 8601 UTC, to the millisecond."""
    return datetime.now(timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def tokens(usage: object) -> dict[str, int]:
    """Counts of tokens by `Call`'s names, from an object that names them as services do. What is no count is 0."""
    told = usage if isinstance(usage, Mapping) else {}
    return {name: next((count(told[key]) for key in keys if key in told), 0) for name, keys in TOKENS.items()}


def count(value: object) -> int:
    """A whole number of tokens, 0 for what is none."""
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    return min(max(0, int(value)), 1 << 53) if is_number else 0


def usd(value: object) -> float | None:
    """Dollars, None for what is no amount."""
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    return float(value) if is_number and value >= 0 else None


def reported(
    said: Mapping[str, object], *, who: str, hand: str, seconds: float, started: str, answer: str = "", error: str = ""
) -> tuple[Call, ...]:
    """The call that a program's own `cost_usd`, `usage` and `model` make; () where it reports neither cost nor usage."""
    if "cost_usd" not in said and not isinstance(said.get("usage"), Mapping):
        return ()
    model = said.get("model")
    return (
        Call(
            who=who,
            hand=hand,
            model=one_line(model, 100) if isinstance(model, str) else "",
            usd=usd(said.get("cost_usd")),
            seconds=round(seconds, 3),
            started=started,
            error=error,
            answer=answer,
            **tokens(said.get("usage")),
        ),
    )
