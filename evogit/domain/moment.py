"""Moments and ages as people write them, read strictly: what is neither is None, never a guess. It looks at no clock."""

from __future__ import annotations

import re
from datetime import datetime, timezone

AGE_S = {"h": 3600.0, "d": 86400.0, "w": 7 * 86400.0}


def seconds_of_age(text: str) -> float | None:
    """`12h`, `30d`, `2w` in seconds; None for anything else."""
    found = re.fullmatch(r"([0-9]{1,5}(?:\.[0-9]+)?)([hdw])", text)
    return float(found[1]) * AGE_S[found[2]] if found else None


def seconds_of_moment(text: str) -> float | None:
    """A date or a date with a time (ISO 8601) as seconds since 1970; UTC where it names no other offset. None for anything else."""
    if not re.match(r"[0-9]{4}-[0-9]", text):  # 20261129 may as well be the beginning of a hash
        return None
    try:
        moment = datetime.fromisoformat(text[:-1] + "+00:00" if text.endswith("Z") else text)  # Python 3.10 knows no Z
        return (moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)).timestamp()
    except (ValueError, OverflowError):
        return None
