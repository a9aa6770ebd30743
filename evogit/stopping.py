"""When a night is over: the first of its budgets and streaks that has ended, in words. They combine; any one of them is enough."""

from __future__ import annotations

from typing import TYPE_CHECKING

from evogit.present import plural
from evogit.search.warnings import BARREN

if TYPE_CHECKING:
    from evogit.scheduler import Loop


def why_stop(loop: Loop) -> str:
    """Why no further run is begun, "" while there is no reason."""
    bench, options, memory = loop.bench, loop.bench.options, loop.bench.memory
    departed = loop.decided + sum(v.flight.kind != "baseline" and v.flight.purpose != "certify" for v in loop.air)
    if loop.stopper.level:
        return "stopped by a person"
    if options.max_runs and departed >= options.max_runs:
        return f"{plural(options.max_runs, 'run')} decided"
    if loop.is_late():
        return f"{options.max_hours:g} hours are over"
    if bench.purse.refusal:
        return bench.purse.refusal
    if options.until and memory.incumbent and options.until.is_met(memory.incumbent.mean(options.until.metric)):
        return f"{options.until.metric} {options.until.relation} {options.until.value:g} is met by run {memory.incumbent.label}"
    if options.patience and loop.dry >= options.patience:
        return f"{plural(loop.dry, 'run')} in a row kept nothing"
    if options.crash_streak and loop.crashed >= options.crash_streak:
        return f"{plural(loop.crashed, 'run')} in a row crashed or were refused"
    if bench.replayer is not None:
        return f"every proposal of campaign {bench.replayer.tag} is repeated" if bench.replayer.is_done(bench) else ""
    if loop.barren >= BARREN:
        return f"{loop.barren} candidates in a row were refused before they ran"
    return ""


def left(loop: Loop) -> str:
    """What is left of this invocation's limits, in words; "" without any."""
    options, purse, parts = loop.bench.options, loop.bench.purse, []
    if options.max_runs:
        parts.append(plural(max(0, options.max_runs - loop.decided), "run"))
    if options.max_hours:
        parts.append(f"{max(0.0, options.max_hours - loop.hours):.1f} hours")
    if purse.cap:
        parts.append(f"${purse.left:.2f}")
    return ", ".join(parts)
