"""What a candidate weighs against the incumbent: lines, parameters, seconds. It measures nothing and judges nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median

from evogit.bench import Bench
from evogit.domain.flight import Flight
from evogit.domain.run import Run
from evogit.domain.trial import Measurement
from evogit.domain.verdict import Complexity

JITTER_S = 1.0  # of two trials, below which nobody can say that one of them is faster
PARAMETERS = ("params", "parameter_count", "parameters", "num_params", "n_params")  # names under which trials report their size


def complexity(bench: Bench, flight: Flight, measured: Measurement) -> Complexity | None:
    """The candidate against the incumbent of this moment; None where one of them is missing. Two look-ups of cached files."""
    incumbent, candidate = bench.memory.incumbent, flight.candidate
    if incumbent is None or candidate is None or flight.kind == "baseline":
        return None
    campaign = bench.campaign
    return Complexity(
        lines=_lines(campaign.sources_of_tree(candidate.tree)) - _lines(campaign.sources(incumbent.commit)),
        params=_relative(_parameters(measured.values), _parameters(incumbent.readings)),
        seconds=slower(_seconds([t.seconds for t in measured.trials]), _trial_seconds(incumbent)),
    )


def _lines(sources: Mapping[str, str]) -> int:
    """Lines with something on them."""
    return sum(bool(line.strip()) for text in sources.values() for line in text.splitlines())


def _parameters(readings: Mapping[str, Sequence[float]]) -> float | None:
    found = next((readings[name] for name in PARAMETERS if readings.get(name)), None)
    return sum(found) / len(found) if found else None


def _trial_seconds(run: Run) -> float | None:
    return _seconds([t.seconds for t in run.trials if t.purpose == "select"])


def _seconds(values: Sequence[float]) -> float | None:
    """Of the usual trial: a median, since one slow moment of the machine is no property of the code."""
    return median(values) if values else None


def slower(mine: float | None, theirs: float | None) -> float | None:
    """Relative change in seconds; None where either is missing, or they are less than JITTER_S apart: that is the clock's doing."""
    return None if mine is None or theirs is None or abs(mine - theirs) < JITTER_S else _relative(mine, theirs)


def _relative(mine: float | None, theirs: float | None) -> float | None:
    return None if mine is None or not theirs else mine / theirs - 1.0
