"""What a campaign came to believe about itself, in words and with its evidence. Nouns only; `search` concludes them from history.

Runs are named by their labels ("3", "ab12/3"). Keys are those of `search.topics`. Gains are in the primary metric's unit, positive is better.
"""

from __future__ import annotations

import msgspec


class Signature(msgspec.Struct, frozen=True, kw_only=True):
    """A fault without what differs each time it strikes: two crashes with one signature are the same fault."""

    kind: str  # as in `Crash.kind`
    message: str  # numbers, paths, hashes and quoted values taken out
    where: str = ""  # file of the innermost frame in mutable code, without its line; "" if unknown


class FaultRecord(msgspec.Struct, frozen=True, kw_only=True):
    """How often one fault struck, and beside what."""

    signature: Signature
    count: int  # runs, >= 1
    first: str  # label of the first run that it struck
    last: str
    topics: tuple[str, ...] = ()  # what those runs changed, most frequent first
    avoided_by: tuple[str, ...] = ()  # what later runs on the same topics changed that did not crash, most frequent first


class Effect(msgspec.Struct, frozen=True, kw_only=True):
    """Mean gain over the parent that changes of one topic bring, shrunk towards none."""

    mean: float
    variance: float  # of the mean, >= 0
    n: int  # runs behind it, those that are too old left out


class Conjecture(msgspec.Struct, frozen=True, kw_only=True):
    """A short statement that the evidence bears, or bore until it was withdrawn."""

    key: str
    statement: str  # "raising LR helps"
    helps: bool  # False: it says that this hurts
    for_: tuple[str, ...]  # runs, oldest first
    against: tuple[str, ...]
    z: float  # summed gain over its standard deviation; its sign is the gain's


class DeadEnd(msgspec.Struct, frozen=True, kw_only=True):
    """A topic that lost again and again while something else stayed as it is."""

    key: str
    statement: str
    runs: tuple[str, ...]  # those that lost, oldest first
    assumption: frozenset[str]  # roles that must stay as they are for this to hold; empty: everything must
    since_seq: int  # `seq` of the run that closed it


class Reopening(msgspec.Struct, frozen=True, kw_only=True):
    """A dead end that is none any more."""

    dead_end: DeadEnd
    by: str  # label of the run that opened it
    because: str  # one line for people


class Warning_(msgspec.Struct, frozen=True, kw_only=True):
    """Something in the state of a campaign that a person should look at. The campaign goes on."""

    kind: str  # "noise", "drift", "metrics", "constraints", "crashes", "refusals", "seeds", "collapse", "ideas"
    message: str  # one line, in the user's words
    hint: str = ""  # what to do about it, "" if nothing is known
    about: str = ""  # which of its kind: another metric, another fault; the message may change while this stays


class MemoryLine(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that a campaign remembers, as `evogit memory` lists it."""

    kind: str  # "near-miss", "elite", "conjecture", "withdrawn", "dead-end", "reopened" or "crash"
    key: str  # near miss, elite: the niche; conjecture, dead end: the topic; crash: kind of the fault
    runs: tuple[str, ...]  # labels that it rests on, oldest first; of a crash the first and the last
    count: int  # runs behind it
    value: float | None  # near miss, elite: mean of the primary metric; conjecture: its z
    text: str
