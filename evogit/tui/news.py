"""What the reader has to say. Plain nouns: whoever hears them decides what a screen does about it."""

from __future__ import annotations

from typing import Any

import msgspec

from evogit.domain.event import Event
from evogit.domain.report import Status
from evogit.domain.run import Run
from evogit.domain.sight import Flying
from evogit.errors import EvogitError
from evogit.tui.book import Book


class Rest(msgspec.Struct, frozen=True):
    """Work that waits for somebody: it is looked at again in a while."""


REST = Rest()


class Opened(msgspec.Struct, frozen=True):
    """A book to show in place of any other: its campaign was opened, or tells its history differently now."""

    book: Book
    is_same: bool = False  # the campaign that was shown before


class Landed(msgspec.Struct, frozen=True):
    """Runs were decided."""

    runs: tuple[Run, ...]


class Fronted(msgspec.Struct, frozen=True):
    """The frontier over some metrics, () over the problem's objectives."""

    over: tuple[str, ...]
    commits: frozenset[str]


class Stood(msgspec.Struct, frozen=True):
    """Where the campaign stands."""

    status: Status
    controls: tuple[Any, ...] = ()  # messages that wait in the loop's inbox
    marks: frozenset[str] = frozenset()  # full hashes of runs that are marked to be picked


class Flew(msgspec.Struct, frozen=True):
    """What is in the air."""

    flying: tuple[Flying, ...]


class Happened(msgspec.Struct, frozen=True):
    """Events of loops, oldest first."""

    events: tuple[Event, ...]


class Absent(msgspec.Struct, frozen=True):
    """There is nothing to show, or no more than what was read: why, and what to do about it."""

    why: str
    hint: str = ""
    is_first: bool = False  # nothing was shown yet
    fault: EvogitError | None = None  # for whoever gives up because of it


class Answered(msgspec.Struct, frozen=True):
    """What came of something that was asked."""

    key: str
    value: Any = None
    fault: BaseException | None = None


class Broken(msgspec.Struct, frozen=True):
    """The reader met what nobody foresaw, and reads no more."""


News = Broken | Opened | Landed | Fronted | Stood | Flew | Happened | Absent | Answered


def words_of(fault: BaseException) -> str:
    """A fault in words."""
    if isinstance(fault, EvogitError):
        return fault.message
    return f"{type(fault).__name__}: {fault}" if str(fault) else type(fault).__name__
