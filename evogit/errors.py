"""Everything evogit raises on purpose, drawn as a tree. A face prints `message` and `hint` and exits with `exit_code`.

EvogitError
├── UserError (2)        the person at the keyboard can mend it now
│   ├── ProblemError     the problem's file or folder is wrong: file, key, fix
│   ├── RepositoryError  this git repository cannot be used as it is
│   ├── UnknownName      a campaign, run, metric or plugin that does not exist
│   └── Busy             somebody else holds what we need
├── WorkFailed (1)       evogit did its part, the work did not succeed
│   ├── AgentFailed      an agent was paid and gave nothing usable: what it said and cost comes along
│   └── CapReached       the next call could pass --max-cost: it is not made
├── ServiceDown (3)      a backend, a model's API or a machine is out of reach
│   └── BackendDown
└── Internal: never meant to reach a person
    ├── RefMoved         a compare-and-swap lost; the caller reads again and retries
    └── BadRecord        bytes in history that FORMAT.md does not allow
"""

from __future__ import annotations

from typing import Any


class EvogitError(Exception):
    """A failure with a message in the user's words and, where one exists, the next command to try."""

    exit_code = 1

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.calls: tuple[Any, ...] = ()  # `domain.usage.Call`s, which lie above this module: what was paid for before it failed
        self.answers: dict[str, str] = {}  # as in `Proposal`


class UserError(EvogitError):
    """The person can mend it now."""

    exit_code = 2


class ProblemError(UserError):
    """The problem's contract is broken. `where` is the file (and key), `fix` what to write instead."""

    def __init__(self, where: str, what: str, *, fix: str = "") -> None:
        super().__init__(f"{where}: {what}", hint=fix)
        self.where = where


class RepositoryError(UserError):
    """This repository cannot be used as it is (none, bare, shallow, rewritten, dirty)."""


class UnknownName(UserError):
    """A name that nothing answers to; the hint lists what exists."""


class Busy(UserError):
    """Another process holds the loop, or the write lock for longer than anyone should."""


class WorkFailed(EvogitError):
    """evogit did its part; the work did not succeed (the baseline crashed, no candidate could be made)."""


class AgentFailed(WorkFailed):
    """An agent gave nothing usable. Its calls were made all the same: they are recorded with the reject."""

    def __init__(self, message: str, *, hint: str = "", calls: tuple[Any, ...] = (), answers: dict[str, str] | None = None) -> None:
        super().__init__(message, hint=hint)
        self.calls = calls
        self.answers = answers or {}


class CapReached(WorkFailed):
    """The next call could pass `--max-cost`, so it is not made. What was planned stays in flight, and the loop ends with that reason."""

    def __init__(self, message: str, *, settled: int = -1) -> None:
        """settled: how many reservations the purse had settled by then; until it is one more, the answer stays the same. -1: whoever raises
        it is not the purse."""
        super().__init__(message)
        self.settled = settled


class ServiceDown(EvogitError):
    """Something outside this process is out of reach; the plan stays in flight and the loop can be resumed."""

    exit_code = 3


class BackendDown(ServiceDown):
    """The place where trials run is itself at fault. A crashed trial is an `Outcome`, never this."""


class RefMoved(EvogitError):
    """A compare-and-swap found another value than the one it read. Read again and retry."""

    def __init__(self, ref: str) -> None:
        super().__init__(f"{ref} was moved by another process")
        self.ref = ref


class BadRecord(EvogitError):
    """A commit, note or flight whose bytes FORMAT.md does not allow; `where` names the object."""

    def __init__(self, where: str, what: str) -> None:
        super().__init__(f"{where}: {what}", hint="run `evogit doctor`")
        self.where = where
