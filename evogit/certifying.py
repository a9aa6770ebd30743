"""Certificates: which run is read under which fresh seed next, what the ledger says of each look, and the tag of a row of them.

The evidence itself is `search.evidence`; trials are those of a replicate. It moves no incumbent, and it decides no run.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import pygit2

from evogit import adopting
from evogit.domain.belief import Ruler
from evogit.domain.flight import Flight
from evogit.domain.run import Again, Run
from evogit.domain.trial import TrialLine
from evogit.errors import UserError
from evogit.git.flights import StoredFlight
from evogit.git.locks import write_lock
from evogit.git.messages import EntryMessage, one_line
from evogit.search.evidence import FRESH, STREAK, Test

if TYPE_CHECKING:
    from evogit.bench import Bench


def target(bench: Bench, asked: str) -> tuple[Run, Run]:
    """The run that is meant ("" for the incumbent) and its last certified ancestor. Raises UnknownName, and UserError where no test can be."""
    history, certification = bench.campaign.history, bench.memory.certification
    run = history.find(asked or "incumbent")
    if run.epoch != history.epoch:
        raise UserError(f"run {run.label} belongs to epoch {run.epoch}, whose ruler is no longer in force", hint="name a run of this epoch")
    if not run.generation:
        raise UserError(f"run {run.label} is the baseline: it is what others are certified against", hint="find a gain: `evogit loop`")
    if run.mean(bench.campaign.problem.primary.name) is None:
        raise UserError(f"run {run.label} has no number to certify", hint="`evogit leaderboard` lists the runs that have")
    test = certification.test(run.commit)
    against = test.against if test is not None else _ancestor(bench, run)
    return run, history.by_commit[against]


def _ancestor(bench: Bench, run: Run) -> str:
    """For a run that never was incumbent: its nearest ancestor that is certified, else the baseline."""
    certification, memory, parent = bench.memory.certification, bench.memory, bench.memory.parent_of(run)
    while parent is not None and parent.generation and certification.status(parent.commit) != "certified":
        parent = memory.parent_of(parent)
    return (parent or memory.baseline).commit


def errand(bench: Bench, asked: str, looks: int) -> Callable[[], StoredFlight | None]:
    """What `evogit certify` does: flights, one reading each, until the test is over or has `looks` more pairs. For `Loop.run_many`."""
    before: list[int] = []  # looks that the test had

    def depart() -> StoredFlight | None:
        run, against = target(bench, asked)
        test = bench.memory.certification.test(run.commit, against.commit)
        before[:] = before or [test.looks]
        return None if test.looks - before[0] >= looks else look(bench, run.commit, against.commit, bench.FIRST)

    return depart


def idle_look(bench: Bench, slot: str, flying: Sequence[str]) -> StoredFlight | None:
    """The incumbent's next reading for a slot that is free, or None: nothing to test, a look in the air (`flying`: purposes), an exact ruler."""
    memory = bench.memory
    if "certify" in flying or memory.incumbent is None or bench.options.smoke:
        return None
    if memory.standing(memory.incumbent.commit).ruler is Ruler.EXACT:
        return None
    test = memory.certification.test()
    return look(bench, test.run, test.against, slot) if test is not None else None


def look(bench: Bench, run: str, against: str, slot: str) -> StoredFlight | None:
    """A flight for the next reading of a test; None when the test is over."""
    wanted = bench.memory.certification.next_look(run, against)
    if wanted is None:
        return None
    commit, seed = wanted
    other = against if commit == run else run
    labels = [bench.campaign.history.by_commit[c].label for c in (run, against)]
    why = f"certifies run {labels[0]} against run {labels[1]}"
    return adopting.again(bench, commit, (seed,), slot, why, purpose="certify", against=other, emitter="certify")


def entry(bench: Bench, flight: Flight, lines: Sequence[TrialLine], encoded: Sequence[bytes]) -> EntryMessage:
    """What the ledger says of a look, as the evidence stands with it. An ancestor's reading says neither yes nor no."""
    of, against = flight.plan.parents
    history, name = bench.campaign.history, bench.campaign.problem.primary.name
    run, other = history.by_commit[of], history.by_commit[against]
    said = {"label": flight.label, "reason": flight.plan.instruction, "lines": tuple(encoded)}
    fields = {"campaign": bench.campaign.tag, "of": of, "against": against, **said}
    seed = lines[0].seed - FRESH if lines else 0
    if run.seq < other.seq:
        subject = f"certify {other.label}: run {run.label} under fresh seed {seed}"
        return EntryMessage(kind="certify", subject=subject, **fields)
    readings = {line.seed: line.metrics[name] for line in lines if name in line.metrics}
    test = bench.memory.certification.preview(
        Again(of=of, purpose="certify", lines=tuple(lines), certified=False, against=against), readings
    )
    return EntryMessage(
        kind="certify",
        subject=f"certify {run.label}: {'yes' if test.is_certified else 'no' if test.is_over else 'not yet'}, e {test.e_value:.3g}",
        certified=test.is_certified,
        evidence=(test.e_value, test.level, float(test.number)),
        **fields,
    )


def honour(bench: Bench, commit: str) -> str:
    """An annotated tag on a run whose certificate is at least the third in a row; its name, "" if it earns none. Repeating it changes nothing."""
    certification, run = bench.memory.certification, bench.campaign.history.by_commit.get(commit)
    if run is None or certification.streak < STREAK or certification.status(commit) != "certified":
        return ""
    name = f"evogit/{bench.campaign.tag}/certified-{run.label}"
    test, git, me = certification.test(commit), bench.repo.git, bench.repo.identity()
    message = f"{say(bench, test)}\n\n{one_line(run.summary)}\n"
    with write_lock(bench.repo):
        if f"refs/tags/{name}" not in git.references:
            git.create_tag(name, pygit2.Oid(hex=commit), pygit2.enums.ObjectType.COMMIT, me, message)
    return name


def say(bench: Bench, test: Test) -> str:
    """A test in one line: effect, interval, n, looks, e-value, level."""
    history, metric = bench.campaign.history, bench.campaign.problem.primary
    mine, theirs = (history.by_commit[c].label for c in (test.run, test.against))
    word = "certified" if test.is_certified else "not certified" if test.is_over else "not certified yet"
    if test.effect is None:
        gain = f"no reading of {metric.name} under a fresh seed"
    else:
        gain = f"{metric.name} {'better' if test.effect >= 0 else 'worse'} by {abs(test.effect):.4g} than run {theirs}"
        if test.interval is not None:
            gain += f" (95 % interval of the gain {test.interval[0]:.4g} to {test.interval[1]:.4g})"
    pairs = f"{len(test.seeds)} pairs, {test.looks} looks"
    return f"run {mine} {word}: {gain}; {pairs}, e-value {test.e_value:.3g}, needed {1 / test.level:.3g}"
