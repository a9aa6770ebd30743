"""What came of one run of a coding program."""

from __future__ import annotations

import msgspec

from evogit.domain.usage import Call


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """Its account of itself. What it did to files is not in it."""

    text: str  # its last words
    fault: str  # why it did not get to its end, "" if it did
    calls: tuple[Call, ...]
    answers: dict[str, str]  # name -> what it wrote, verbatim, keys taken out
    transcript: str
