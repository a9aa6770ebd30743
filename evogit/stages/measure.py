"""Outcomes -> Measurement: numbers are read by the host, from the ruler that the problem locked. It believes no text.

NaN, infinity, a number as text, a missing one: no number, and the trial says why.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence

import msgspec

from evogit.domain.flight import Flight
from evogit.domain.problem import Problem
from evogit.domain.trial import Crash, Measurement, Outcome, Status, TrialLine
from evogit.problem import readings

Files = Mapping[str, bytes]


def trial_line(
    problem: Problem,
    flight: Flight,
    commit: str,
    seed: int,
    attempt: int,
    steps: Sequence[tuple[str, Outcome, Files]],
    is_mutable: Callable[[str], bool],
    roots: Sequence[str],
) -> TrialLine:
    """One trial's line of record. steps: (name, outcome, kept files) in the order they ran; the last may have failed.

    roots: folders that tracebacks name the candidate's files under. Costs one pass over the kept output.
    """
    crash, metrics, source = None, {}, ""
    broken = next(((name, o, f) for name, o, f in steps if o.status is not Status.OK), None)
    if broken is not None:
        crash = _crash(*broken, is_mutable=is_mutable, roots=roots)
    else:
        reading = _read(problem, flight, {name: files for name, _, files in steps})
        crash, metrics, source = reading.crash, {} if reading.crash else reading.metrics, reading.source
        if flight.purpose == "smoke" and crash is not None and crash.kind == "no-metric":
            crash = None  # a smoke run need not measure anything
    seconds = sum(o.seconds for _, o, _ in steps)
    return TrialLine(
        id=line_id(commit, flight.purpose, flight.arm, seed, attempt),
        time=steps[0][1].started,
        purpose=flight.purpose,
        run=commit,
        seed=seed,
        arm=flight.arm,
        attempt=attempt,
        status=broken[1].status if broken else Status.CRASH if crash else Status.OK,
        metrics=metrics,
        seconds=round(seconds, 3),
        peak_rss_mib=max(o.peak_rss_mib for _, o, _ in steps),
        cost_usd=round(seconds / 3600 * problem.budget.usd_per_hour, 6),
        crash=crash,
        source=source,
        backend=steps[0][1].backend,
        sandbox=steps[0][1].sandbox,
        imports=_imports(steps),
    )


def measurement(problem: Problem, lines: Sequence[TrialLine]) -> Measurement:
    """All trials of one run together: one reading a metric for each trial that gave numbers."""
    values = {m.name: tuple(t.metrics[m.name] for t in lines if m.name in t.metrics) for m in problem.metrics}
    return Measurement(values={name: v for name, v in values.items() if v}, trials=tuple(lines))


def line_id(commit: str, purpose: str, arm: str, seed: int, attempt: int) -> str:
    """Identity of a trial line: writing it twice is writing it once."""
    return hashlib.sha256("\0".join((commit, purpose, arm, str(seed), str(attempt))).encode()).hexdigest()[:16]


def encode(line: TrialLine) -> bytes:
    """The bytes of record: `v` first, defaults left in, no newline inside."""
    return msgspec.json.encode(line)


def _read(problem: Problem, flight: Flight, steps: Mapping[str, Files]) -> readings.Reading:
    train = steps["train"]
    ruler = None if flight.purpose == "smoke" else steps.get("evaluate")
    return readings.read(
        problem,
        stdout=train.get("stdout", b""),
        files=lambda path: train.get(f"artifacts/{path}", train.get(f"workspace/{path}")),
        evaluator_stdout=ruler.get("stdout", b"") if ruler is not None else None,
        run_id=f"run_{flight.number:06d}",
    )


def _crash(name: str, outcome: Outcome, files: Files, *, is_mutable: Callable[[str], bool], roots: Sequence[str]) -> Crash:
    if outcome.status is not Status.CRASH:
        return Crash(kind=outcome.status.value, message=outcome.reason or f"{name} ended after {outcome.seconds:.1f} s")
    if "tampered" in files:
        return Crash(kind="tampered", message=outcome.reason)
    if outcome.exit_code == 0 and outcome.reason:  # it ended well by its own account, and the host found otherwise
        return Crash(kind="exit", message=outcome.reason)
    found = readings.crash_of(files.get("stderr", b""), files.get("stdout", b""), is_mutable, roots)
    if not found.message:
        found = Crash(kind=found.kind, message=outcome.reason or f"exit code {outcome.exit_code}", where=found.where)
    return found if name == "train" else msgspec.structs.replace(found, message=f"{found.message} (in {name})")


def _imports(steps: Sequence[tuple[str, Outcome, Files]]) -> str:
    """The digest that the host took of the project files which the trial really imported."""
    return next((files["imports.sha256"].decode() for _, _, files in steps if "imports.sha256" in files), "")
