"""What begins a line of descent: baselines, new epochs, and people's own changes. It measures nothing itself.

A person's commit at the tip is never dropped. If it touches mutable files alone it is adopted as a run of theirs; if it
touches anything frozen (or the problem's file), what was measured before is not comparable: a new epoch begins.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import msgspec
import pygit2

from evogit import problem as contract
from evogit.bench import Bench, now, stamp
from evogit.domain import event as ev
from evogit.domain.flight import Flight, FlightState
from evogit.domain.plan import Plan
from evogit.domain.proposal import Candidate
from evogit.errors import RefMoved
from evogit.git import flights, ledger, refs
from evogit.git.flights import StoredFlight
from evogit.git.locks import write_lock
from evogit.git.messages import Baseline, EntryMessage, RunMessage, one_line
from evogit.search.change import sources_hash
from evogit.stages import record

READING = 1000  # a replicate's attempts are numbered from its reading times this


def allot(bench: Bench, make: Callable[[int, str], Flight]) -> StoredFlight:
    """Create a flight under the next free number: make(number, label). Numbers may have gaps, never twins."""
    history, repo = bench.campaign.history, bench.repo
    is_home = history.clone in {"", repo.clone}
    with write_lock(repo):
        taken = [stored.flight.number for stored in flights.listing(repo, history.tag, repo.clone)]
        number = max([history.numbers.get("" if is_home else repo.clone, -1), *taken]) + 1
        while True:
            try:
                return flights.create(repo, make(number, str(number) if is_home else f"{repo.clone}/{number}"))
            except RefMoved:
                number += 1


def planned(bench: Bench, plan: Callable[[int], Plan], slot: str) -> StoredFlight:
    """A flight for the search's next plan, written before an agent is paid."""

    def make(number: int, label: str) -> Flight:
        return _flight(bench, number, label, slot, plan(number), kind="run", state=FlightState.PLANNED)

    return allot(bench, make)


def baseline(bench: Bench, slot: str) -> StoredFlight:
    """Run 0's flight: an empty commit on the base, pinned and ready to be measured."""
    return _baseline(bench, base=bench.campaign.history.tip, epoch=0, slot=slot, why="the untouched problem")


def epoch(bench: Bench, slot: str, why: str) -> StoredFlight:
    """A new baseline for what is at the tip now, and the ledger entry that opens its epoch.

    The base of an epoch is a commit with the tip's tree on top of the last incumbent, so that the ancestry of runs holds
    only runs and bases. What was measured before is kept, and compared with nothing that comes after.
    """
    campaign, repo, history = bench.campaign, bench.repo, bench.campaign.history
    number, me = history.epoch + 1, repo.identity()
    message = f"base of epoch {number}: {one_line(why)}\n"
    base = str(repo.git.create_commit(None, me, me, message, repo.tree_of(history.tip), [history.incumbent]))
    campaign.reload_problem(history.tip)
    stored = _baseline(bench, base=base, epoch=number, slot=slot, why=why)
    entry = EntryMessage(
        kind="epoch",
        subject=f"epoch {number}: {why}",
        campaign=campaign.tag,
        baseline=stored.flight.candidate.commit,
        epoch=number,
        reason=why,
    )
    with write_lock(repo):
        record.advance(repo, campaign.tag, lambda tip: ledger.write_entry(repo, tip=tip, entry=entry))
    take_in(bench)
    return stored


def again(bench: Bench, commit: str, seeds: Sequence[int], slot: str, why: str) -> StoredFlight:
    """A flight that measures a run which exists once more: its readings become a replicate."""

    def make(number: int, label: str) -> Flight:
        plan = Plan(emitter="person", parents=(commit,), seeds=tuple(seeds), rng=0, replicate=True, instruction=why, change="replicate")
        fields = {"kind": "replicate", "state": FlightState.PINNED, "purpose": "replicate", "reading": next_reading(bench, commit)}
        return _flight(bench, number, label, slot, plan, **fields)

    return allot(bench, make)


def under_options(bench: Bench, stored: StoredFlight) -> StoredFlight:
    """A baseline that nobody has begun to measure is measured as this loop was asked to; any other flight stays as it was planned."""
    flight = stored.flight
    if flight.kind != "baseline" or flight.state is not FlightState.PINNED or stored.jobs:
        return stored
    asked = msgspec.structs.replace(flight, **_asked(bench))
    return stored if asked == flight else flights.update(bench.repo, stored, flight=asked)


def next_reading(bench: Bench, commit: str) -> int:
    """Number of the next replicate of a run: its trial lines differ from every earlier one's. Called under the write lock."""
    flying = [s.flight.reading for s in flights.listing(bench.repo, bench.campaign.tag) if s.flight.plan.parents[:1] == (commit,)]
    known = [line.attempt // READING for line in bench.campaign.history.replicates.get(commit, ())]
    return 1 + max([*flying, *known], default=0)


def person(
    bench: Bench,
    slot: str,
    *,
    tree: str,
    parent: str,
    summary: str,
    hypothesis: str = "",
    adopts: str = "",
    author: pygit2.Signature | None = None,
    stripped: Sequence[str] = (),
    patch: str = "",
) -> StoredFlight:
    """A person's change as a run of its own: a commit on `parent` with that tree, pinned.

    stripped: frozen paths that they changed as well; the gates turn the run into a reject because of them.
    """
    campaign = bench.campaign
    sources = sources_hash(campaign.sources_of_tree(tree))

    def make(number: int, label: str) -> Flight:
        said = RunMessage(
            label=label,
            campaign=campaign.tag,
            emitter="person",
            agent="person",
            summary=summary,
            hypothesis=hypothesis,
            change="person",
            niche="person",
            adopts=adopts,
            sources=sources,
        )
        commit = ledger.write_run(bench.repo, tree=tree, parents=(parent,), run=said, author=author)
        seeds = campaign.problem.budget.seeds
        plan = Plan(emitter="person", parents=(parent,), seeds=seeds, rng=0, instruction=hypothesis, niche="person", change="person")
        candidate = _candidate(bench, commit, label, plan, "person", said, stripped=tuple(stripped), patch=patch)
        return _flight(bench, number, label, slot, plan, kind="adopt", state=FlightState.PINNED, candidate=candidate)

    return allot(bench, make)


def adopt_people(bench: Bench) -> Iterator[ev.Event]:
    """Turn people's commits at the tip into a flight, so that a decision on top of them loses nothing.

    Commits that touch frozen files wait: an epoch is opened when nothing is in the air (`needs_epoch`).
    """
    history, repo = bench.campaign.history, bench.repo
    if not history.people or not history.incumbent:
        return
    newest = history.people[-1]
    if _is_adopted(bench, newest) or repo.tree_of(newest) == repo.tree_of(history.incumbent) or frozen_changes(bench):
        return
    commit = repo.commit(newest)
    subject, _, body = commit.message.partition("\n")
    stored = person(
        bench,
        bench.slots()[0],
        tree=str(commit.tree_id),
        parent=history.incumbent,
        summary=subject,
        hypothesis=body.strip(),
        adopts=newest,
        author=commit.author,
    )
    yield stamp(ev.Adopted(run=stored.flight.label, commit=newest, kind="run"))


def needs_epoch(bench: Bench) -> str:
    """Why a new baseline is due before anything else may be compared; "" if none is."""
    history = bench.campaign.history
    if not history.incumbent:
        return ""
    if history.people and (frozen := frozen_changes(bench)):
        return f"{frozen[0]} changed" + (f", and {len(frozen) - 1} more frozen files" if len(frozen) > 1 else "")
    run = bench.memory.baseline
    if run is None or bench.options.smoke:
        return ""
    if run.mean(bench.campaign.problem.primary.name) is None:
        return f"the baseline has no {bench.campaign.problem.primary.name}"
    if (run.trials[0].arm if run.trials else "") != arm(bench):
        return f"trials run with {arm(bench) or 'no'} overrides now"
    return ""


def frozen_changes(bench: Bench) -> list[str]:
    """Paths outside the mutable files in which the tip differs from the incumbent, sorted."""
    repo, history = bench.repo, bench.campaign.history
    diff = repo.tree(history.incumbent).diff_to_tree(repo.tree(history.tip))
    paths = {path for delta in diff.deltas for path in (delta.old_file.path, delta.new_file.path) if path}
    return sorted(path for path in paths if not contract.is_mutable(bench.campaign.problem, path))


def take_in(bench: Bench) -> None:
    """Learn what the branch says since we last looked. Raises RepositoryError if it was rewritten."""
    campaign = bench.campaign
    campaign.check_not_rewritten()
    epoch_before = campaign.history.epoch
    new = campaign.history.advance(campaign.repo, refs.read(campaign.repo, refs.branch(campaign.tag)))
    if campaign.history.epoch != epoch_before:
        campaign.reload_problem(campaign.history.tip)
        bench.renew_memory()
        return
    for run in new:
        bench.memory.learn(run)


def arm(bench: Bench) -> str:
    """Overrides that change what is measured, in words; "" for the plain problem."""
    options = bench.options
    words = [f"train_s={options.train_s:g}"] if options.train_s else []
    return " ".join([*words, *options.arguments])


def _is_adopted(bench: Bench, commit: str) -> bool:
    """True if a flight carries that person's commit already."""
    for stored in flights.listing(bench.repo, bench.campaign.tag):
        candidate = stored.flight.candidate
        if candidate and f"Evogit-Adopts: {commit}" in bench.repo.commit(candidate.commit).message:
            return True
    return False


def _baseline(bench: Bench, *, base: str, epoch: int, slot: str, why: str) -> StoredFlight:
    campaign, repo, problem = bench.campaign, bench.repo, bench.campaign.problem
    sources = sources_hash(campaign.sources_of_tree(repo.tree_of(base)))
    start = Baseline(
        problem=problem.folder,
        clone=campaign.history.clone or repo.clone,
        metric=problem.primary.name,
        direction=problem.primary.direction,
        epoch=epoch,
    )

    def make(number: int, label: str) -> Flight:
        said = RunMessage(
            label=label,
            campaign=campaign.tag,
            emitter="baseline",
            agent="none",
            summary="baseline",
            hypothesis=why,
            change="baseline",
            baseline=start,
            sources=sources,
        )
        commit = ledger.write_run(repo, tree=repo.tree_of(base), parents=(base,), run=said)
        plan = Plan(emitter="baseline", parents=(), seeds=problem.budget.seeds, rng=0, instruction=why, change="baseline")
        candidate = _candidate(bench, commit, label, plan, "none", said)
        return _flight(bench, number, label, slot, plan, kind="baseline", state=FlightState.PINNED, candidate=candidate)

    return allot(bench, make)


def _candidate(bench: Bench, commit: str, label: str, plan: Plan, agent: str, said: RunMessage, **more: object) -> Candidate:
    return Candidate(
        commit=commit,
        tree=bench.repo.tree_of(commit),
        label=label,
        parents=plan.parents,
        plan=plan,
        agent=agent,
        summary=one_line(said.summary),
        hypothesis=said.hypothesis,
        change=said.change,
        created=now(),
        sources=said.sources,
        **more,
    )


def _asked(bench: Bench) -> dict[str, object]:
    """What a person asked of this loop, as a flight's fields."""
    options = bench.options
    return {
        "arm": arm(bench),
        "arguments": options.arguments,
        "timeout_s": options.timeout_s,
        "train_s": options.train_s,
        "backend": options.backend,
        "purpose": "smoke" if options.smoke else "select",
    }


def _flight(bench: Bench, number: int, label: str, slot: str, plan: Plan, *, kind: str, state: FlightState, **more: object) -> Flight:
    return Flight(
        campaign=bench.campaign.tag,
        number=number,
        label=label,
        clone=bench.repo.clone,
        kind=kind,
        state=state,
        plan=plan,
        slot=slot,
        written=now(),
        **{**_asked(bench), **more},
    )
