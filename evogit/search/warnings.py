"""What a person should look at in the state of a campaign, read from its facts alone. It stops nothing and changes nothing."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import takewhile

from evogit.domain.belief import Ruler
from evogit.domain.lore import Warning_
from evogit.domain.run import Run
from evogit.domain.verdict import Verdict
from evogit.search import scoring
from evogit.search.beliefs import ignores_seeds
from evogit.search.facts import Facts
from evogit.search.faults import signature_of

LOOK = 40  # newest runs that are looked at
COLLAPSE = 0.6  # share of them beyond which one emitter has taken the portfolio over
_ENOUGH = 20  # runs before a share says anything
STRUCK, STRUCK_SHARE = 5, 0.2  # runs of one fault, and their share of the newest
DRIFT = 3.0  # standard deviations
_MANY = 4  # times the readings of the run in question: so many others drown what its drift adds to the noise
_FRESH = 4  # readings taken after a run was decided, before they can be compared with each other
SILENT = 5  # newest measured runs that must all lack a metric
BARREN = 14  # refused candidates in a row: two turns of every emitter
_SHOWN = 5  # runs named in a message


def warnings(facts: Facts, available: Iterable[str] = ()) -> list[Warning_]:
    """What deserves a look now, the gravest kinds first; [] if nothing does. O(window), no I/O.

    available: names of the emitters that may be chosen; without them, those of the newest runs.
    """
    numbers = [*_noise(facts), *_drift(facts), *_constraints(facts), *_metrics(facts)]
    return [*numbers, *_crashes(facts), *_refusals(facts), *_seeds(facts), *_collapse(facts, available)]


def _noise(facts: Facts) -> Iterator[Warning_]:
    if facts.baseline is None or facts.spread.is_known or len(facts.problem.budget.seeds) > 1:
        return
    yield Warning_(
        kind="noise",
        message="every run is measured under one seed and the noise is unknown: no gain can be told from luck",
        hint=f"evogit baseline --seeds 5{_tag(facts)}",
    )


def _drift(facts: Facts) -> Iterator[Warning_]:
    told = [(facts.baseline, "the baseline"), (facts.incumbent, "the incumbent")]
    for run, name in told[: 1 if facts.incumbent is facts.baseline else 2]:
        if run is None:
            continue
        first, later = _halves(facts, run)
        moved = drifted(first, later, facts.spread.std, facts.spread.freedom)
        if moved:
            yield Warning_(
                kind="drift",
                message=f"{name} (run {run.label}) measures {moved:+.3g} {facts.problem.primary.name} against its earlier readings, "
                "with not a line changed: the machine or the data moved",
                hint=f"look for what changed on the machine, then measure again: evogit baseline --seeds 5{_tag(facts)}",
                about=run.commit,
            )


def _halves(facts: Facts, run: Run) -> tuple[list[float], list[float]]:
    """Earlier and later readings of one run. Those that made a run the incumbent are left out: they were chosen for being good."""
    select = list(facts.readings(run).items())
    readings = getattr(facts.spread, "readings", None)  # a ruler that keeps no single readings tells no drift
    after = [pair for pair in (readings(run.commit) if readings else ()) if pair not in select]
    if run.generation == 0:
        return [reading for _, reading in select], [reading for _, reading in after]
    half = len(after) // 2 if len(after) >= _FRESH else 0
    return [reading for _, reading in after[:half]], [reading for _, reading in after[half:]]


def drifted(first: Sequence[float], later: Sequence[float], sigma: float, freedom: int = 0) -> float:
    """How far the mean moved, metric's unit; 0.0 if that is within 3 standard deviations of it, or nothing can be said.

    sigma: one standard deviation of a reading; freedom: degrees of freedom behind it. A drift widens it too: unless many other runs
    are behind it, it is replaced by the scatter within both halves where that is smaller (as a Student's t: times sqrt(f / (f - 2))
    with f > 4 degrees of freedom).
    """
    if not first or not later:
        return 0.0
    means = [math.fsum(half) / len(half) for half in (first, later)]
    moved, own = means[1] - means[0], len(first) + len(later) - 2
    if own > 4 and freedom < _MANY * own:
        squares = math.fsum((r - mean) ** 2 for half, mean in zip((first, later), means) for r in half)
        sigma = min(sigma, math.sqrt(squares / (own - 2)))
    return moved if abs(moved) > DRIFT * sigma * math.sqrt(1 / len(first) + 1 / len(later)) else 0.0


def _constraints(facts: Facts) -> Iterator[Warning_]:
    run = facts.incumbent
    broken = scoring.feasible(facts.problem, run.means) if run is not None and run.is_measured else ""
    if run is None or not broken:
        return
    name = "the baseline" if run.generation == 0 else "the incumbent"
    yield Warning_(
        kind="constraints",
        message=f"{name} (run {run.label}) breaks a constraint: {broken}",
        hint=f"the first run that breaks none becomes the incumbent, whatever its {facts.problem.primary.name}; until then all are judged as usual",
    )


def _metrics(facts: Facts) -> Iterator[Warning_]:
    measured = [run for run in facts.recent if run.verdict is not Verdict.CRASH and run.is_measured]
    before, newest = measured[:-SILENT], measured[-SILENT:]
    if facts.baseline is not None:
        before = [facts.baseline, *before]
    if len(newest) < SILENT or facts.baseline in newest:
        return
    for metric in facts.problem.metrics[1:]:
        last = next((run for run in reversed(before) if run.readings.get(metric.name)), None)
        if last is not None and not any(run.readings.get(metric.name) for run in newest):
            yield Warning_(
                kind="metrics",
                message=f"{metric.name} is reported no more: the newest {SILENT} measured runs lack it, run {last.label} had it",
                hint=f"evogit show {newest[-1].label}{_tag(facts)}",
                about=metric.name,
            )


def _crashes(facts: Facts) -> Iterator[Warning_]:
    newest = _newest(facts)
    struck: dict[object, list[Run]] = {}
    for run in newest:
        found = signature_of(run)
        if found is not None:
            struck.setdefault(found, []).append(run)
    for found, runs in sorted(struck.items(), key=lambda item: -len(item[1])):
        if len(runs) >= max(STRUCK, STRUCK_SHARE * len(newest)):
            where = f" in {found.where}" if found.where else ""
            yield Warning_(
                kind="crashes",
                message=f"{len(runs)} of the newest {len(newest)} runs crash alike: {found.kind}{where}: {found.message}",
                hint=f"evogit show {runs[-1].label}{_tag(facts)}",
                about=repr(found),
            )


def _refusals(facts: Facts) -> Iterator[Warning_]:
    refused = list(takewhile(lambda run: run.verdict is Verdict.REJECT, reversed(_newest(facts))))
    if len(refused) >= BARREN:
        last, files = refused[0], ", ".join(facts.problem.mutable)
        yield Warning_(
            kind="refusals",
            message=f"the newest {len(refused)} candidates were refused before they ran, the last one because: {last.reason}",
            hint=f"name more constants in {files}, or choose an agent that writes code (--agent); the last one: "
            f"evogit show {last.label}{_tag(facts)}",
        )


def _seeds(facts: Facts) -> Iterator[Warning_]:
    hint = "seed every random choice with EVOGIT_SEED"
    ruler = facts.spread.ruler
    if ruler is Ruler.EXACT and len(facts.problem.budget.seeds) > 1:
        yield Warning_(
            kind="seeds",
            message="seeds change nothing: every run gives the same number under each of them",
            hint=f"{hint}; if training is meant to be deterministic, set one seed under [budget]",
            about="all",
        )
    deaf = [run.label for run in _newest(facts) if ruler is Ruler.NOISY and ignores_seeds(facts.readings(run))]
    if deaf:
        yield Warning_(
            kind="seeds",
            message=f"{len(deaf)} of the newest runs gave one number under every seed, while others did not: {', '.join(deaf[-_SHOWN:])}",
            hint=hint,
        )


def _collapse(facts: Facts, available: Iterable[str]) -> Iterator[Warning_]:
    counts = Counter(run.emitter for run in _newest(facts))
    total = sum(counts.values())
    others = {*available} or {run.emitter for run in facts.recent if _is_search(run)}
    for emitter, count in counts.most_common(1):
        if total >= _ENOUGH and count > COLLAPSE * total and others - {emitter}:
            yield Warning_(
                kind="collapse",
                message=f"{emitter} made {count} of the newest {total} runs, though there are others: {', '.join(sorted(others - {emitter}))}",
                hint=f"evogit emitters{_tag(facts)}",
                about=emitter,
            )


def _newest(facts: Facts) -> list[Run]:
    """The newest runs that emitters asked for, oldest first."""
    return [run for run in facts.recent if _is_search(run)][-LOOK:]


def _tag(facts: Facts) -> str:
    """The option that names the campaign, so that a hint can be pasted anywhere."""
    run = facts.baseline or (facts.recent[-1] if facts.recent else None)
    return f" --tag {run.campaign}" if run is not None else ""


def _is_search(run: Run) -> bool:
    return run.emitter not in {"baseline", "person"}
