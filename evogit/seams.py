"""Every seam on one page, each with its error contract. Who fills them is found by name in `registry`.

A hand never imports git or a stage: what it needs of history comes to it as nouns.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol, runtime_checkable

from evogit.domain.briefing import Briefing
from evogit.domain.plan import Plan
from evogit.domain.proposal import Proposal
from evogit.domain.review import Review, ReviewBrief
from evogit.domain.run import Run
from evogit.domain.trial import Job, Outcome
from evogit.search.memory import Memory


@runtime_checkable
class Emitter(Protocol):
    """A search role. It keeps no state: everything it knows is in `memory`.

    Returns None when it has nothing to offer now (a recombinator with one parent); another emitter is asked then.
    Must not raise for any memory that `search.memory` can build. Deterministic in (memory, rng).
    """

    name: str

    def ask(self, memory: Memory, rng: random.Random) -> Plan | None:
        """One plan, or None. Costs no I/O."""


@runtime_checkable
class Policy(Protocol):
    """Which emitter's turn it is. It keeps no state: everything it knows is in `memory`. Deterministic in (memory, emitters)."""

    name: str

    def chances(self, memory: Memory, emitters: Sequence[str]) -> dict[str, float]:
        """Probability of each emitter: every name of `emitters`, each >= 0, in all 1. Must not raise for any memory. O(window)."""

    def parent(self, memory: Memory, rng: random.Random) -> tuple[Run, float] | None:
        """A parent of the policy's own choice with its probability, for plans that draw theirs freely; None leaves it to the emitter."""


@runtime_checkable
class Agent(Protocol):
    """A worker that carries a plan out by editing mutable files below `workspace`.

    May raise anything: the loop records a reject with the reason and goes on. `ServiceDown` and `CapReached` keep the plan in
    flight and end the loop; `UserError` (no key, no such program) ends it at once. What was paid is in `Proposal.calls`, or in
    the error's `calls` (and `answers`) where nothing usable came of it.

    **Paying.** A hand (reviewers too) with a parameter `purse` is given the loop's `purse.Purse`; it has a default of None. Each call
    is reserved at the most it can cost and settled at what it did:

        ticket = purse.reserve(purse.worst(model, input_tokens, max_tokens), self.name, model)
        ...                                        # ask
        ticket.settle(purse.price(model, call))    # None: unknown, all that was reserved is charged; 0.0: it was free

    `reserve` raises CapReached where the call could pass `--max-cost`, and UserError where its price is unknown under a cap: let both
    through from a first call. After a call was paid, catch CapReached and return what there is, or raise AgentFailed with the
    calls. A program that tells its cost only afterwards takes `purse.reserve_rest(self.name)`, and may be told `purse.left`.
    A hand with an attribute `model` is refused before the loop begins where `--max-cost` is given and that model has no price; one
    with a true `pays_afterwards` and no `purse` is charged from its own account, and the person is told that its last run may pass the cap.

    **Taking time.** A hand (reviewers too) with a true attribute `is_quick` is asked in line; every other one in a thread of its own,
    while the loop starts and collects other trials. Several may be under way in one hand at once: it keeps nothing of a call in itself.

    **Mending.** An agent with a true attribute `mends` is asked again, at most twice, while a cheap gate refuses what it made, and
    once more, as a run of its own, where that crashed at once: `Briefing.attempts` says what it made and why it was refused, and
    a workspace holds the newest attempt.

    **Replay.** An agent may offer `replay(briefing, answers: dict[str, str]) -> Proposal`, a static or class method: from the
    briefing (sources and plan as they were; memory may know more) and the recorded `Proposal.answers` it gives the same files again,
    without key, call or workspace. Of an agent without it the host records the files that it left (`answers/files.json`).
    """

    name: str
    edits_in_place: bool  # False: it returns `Proposal.files` alone and is given no checkout (saves one per run)

    def propose(self, briefing: Briefing, workspace: Path) -> Proposal:
        """Edit files in `workspace` (the problem's folder), or return them in `Proposal.files`."""


@runtime_checkable
class Reviewer(Protocol):
    """Who interprets a run. May raise anything: a fallback review that says so is recorded instead; `UserError` (a key that is refused) ends
    the loop at once; the run stays in flight, measured, and is reviewed by the next one.

    What it paid is in a `PaidReview`; how it pays is said at `Agent`.
    """

    name: str
    is_free: bool  # True: asking again costs nothing, so nothing is written before it is asked

    def review(self, brief: ReviewBrief) -> Review:
        """A review of child against parent."""


@runtime_checkable
class Backend(Protocol):
    """Where trials run. A crashed trial is an `Outcome`; raise only when the backend itself is at fault (`BackendDown`).

    A handle is a string that survives this process: another process can wait for it, collect it, cancel it. A backend may offer `news()`:
    (message, hint) for people, each once, as where its queue does not move; a loop asks for them now and then. One whose `find` and `start`
    take milliseconds says `is_quick = True`: any other is asked by a thread of its own, while the loop goes on. It may offer `expect(count)`:
    so many trials may soon run at once, for one that has helpers to make ready beside the first; it returns at once and raises nothing.
    """

    name: str
    finds_again: bool  # True: a second start with a key finds the job that runs, so its handle need not be written at once

    def start(self, job: Job) -> str:
        """Begin, and return a handle. The same job key never runs twice: a second start returns the first one's handle."""

    def find(self, key: str) -> str:
        """Handle of the job that was started under this key, by whichever process; "" if none was, or nobody can tell."""

    def wait(self, handles: Sequence[str], timeout_s: float | None) -> list[str]:
        """Those handles whose job has ended, at least one unless the time ran out ([] then). None waits for ever."""

    def collect(self, handle: str) -> Outcome:
        """The outcome of a job that has ended. A job that is lost without a trace is INFRASTRUCTURE. Repeatable."""

    def follow(self, handle: str) -> Iterator[tuple[str, bytes]]:
        """Output as it comes: ("stdout" or "stderr", bytes), from its beginning until the job has ended. What a cap cut out may be missing."""

    def cancel(self, handle: str) -> None:
        """End the job and everything it started; its outcome becomes CANCELLED. No error if it has ended."""

    def forget(self, handle: str) -> None:
        """Free what the job left behind. Called after its outcome is safe in git. No error if it is gone."""

    def resources(self) -> dict[str, object]:
        """What is here: {"slots": 2, "cpus": 2, "gpus": 0, "sandbox": "none"}, and what else a backend can say to people.

        `cpus` and `gpus` are what jobs may use together; `slots`, where it is not 0, the most that run at once whatever they use.
        `caveat`, a message and a hint, is told in place of the warning that trials are in no sandbox, where another one fits.
        Raises BackendDown where that cannot be told within seconds, UserError where something is to be installed or configured.
        """

    def close(self) -> None:
        """Let go of this process's own helpers. Running jobs go on."""
