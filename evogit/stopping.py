"""When a night is over: the first of its budgets and streaks that has ended, in words. They combine; any one of them is enough."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from evogit.adopting import ASKED
from evogit.domain.flight import Flight
from evogit.domain.run import Run
from evogit.domain.verdict import Verdict
from evogit.present import plural
from evogit.search.warnings import BARREN

if TYPE_CHECKING:
    from evogit.scheduler import Loop


class Stopper:
    """A person's wish to stop, asked for once (let running trials finish) or twice (cancel them). Safe in a signal handler."""

    def __init__(self) -> None:
        self.level = 0

    def request(self) -> int:
        """One more wish; returns how many there were."""
        self.level += 1
        return self.level


class Tally:
    """What one invocation has decided, and for how long it runs. How long nothing was kept is the campaign's: a restart forgets none of it."""

    def __init__(self, before: Sequence[Run]) -> None:
        """before: the campaign's decided runs, oldest first."""
        self.decided = 0
        self.barren = 0  # runs in a row that a gate refused
        self.dry = next((n for n, run in enumerate(reversed(before)) if run.is_kept), len(before))  # runs in a row that kept nothing
        self.crashed = 0  # runs in a row that crashed or that a gate refused
        self._began = time.monotonic()

    def count(self, verdict: str, *, is_called_off: bool = False) -> None:
        """One more run was decided. is_called_off: by a person, which says nothing of crashes and refusals."""
        self.decided += 1
        if is_called_off:
            self.dry += 1
            return
        self.barren = self.barren + 1 if verdict == Verdict.REJECT.value else 0
        self.dry = 0 if verdict == Verdict.KEEP.value else self.dry + 1
        self.crashed = self.crashed + 1 if verdict in {Verdict.CRASH.value, Verdict.REJECT.value} else 0

    def is_late(self, max_hours: float) -> bool:
        """True once so many hours are over; 0 is no limit."""
        return 0 < max_hours <= self.hours

    @property
    def hours(self) -> float:
        """Since this invocation began."""
        return (time.monotonic() - self._began) / 3600


def why_stop(loop: Loop) -> str:
    """Why no further run is begun, "" while there is no reason."""
    bench, options, memory, tally = loop.bench, loop.bench.options, loop.bench.memory, loop.tally
    departed = tally.decided + sum(_counts(v.flight) for v in loop.air)
    if loop.stopper.level:
        return "stopped by a person"
    if options.max_runs and departed >= options.max_runs:
        return f"{plural(options.max_runs, 'run')} decided"
    if tally.is_late(options.max_hours):
        return f"{options.max_hours:g} hours are over"
    if bench.purse.refusal:
        return bench.purse.refusal
    if options.until and memory.incumbent and options.until.is_met(memory.incumbent.mean(options.until.metric)):
        return f"{options.until.metric} {options.until.relation} {options.until.value:g} is met by run {memory.incumbent.label}"
    if options.patience and tally.decided and tally.dry >= options.patience:
        return f"{plural(tally.dry, 'run')} in a row kept nothing"
    if options.crash_streak and tally.crashed >= options.crash_streak:
        return f"{plural(tally.crashed, 'run')} in a row crashed or were refused"
    if bench.replayer is not None:
        return f"every proposal of campaign {bench.replayer.tag} is repeated" if bench.replayer.is_done(bench) else ""
    if tally.barren >= BARREN:
        return f"{tally.barren} candidates in a row were refused before they ran"
    return ""


def _counts(flight: Flight) -> bool:
    """False for what no budget of runs counts; a recheck counts until it has landed."""
    return flight.kind != "baseline" and flight.purpose != "certify" and flight.plan.emitter != ASKED


def left(loop: Loop) -> str:
    """What is left of this invocation's limits, in words; "" without any."""
    options, purse, parts = loop.bench.options, loop.bench.purse, []
    if options.max_runs:
        parts.append(plural(max(0, options.max_runs - loop.tally.decided), "run"))
    if options.max_hours:
        parts.append(f"{max(0.0, options.max_hours - loop.tally.hours):.1f} hours")
    if purse.cap:
        parts.append(f"${purse.left:.2f}")
    return ", ".join(parts)
