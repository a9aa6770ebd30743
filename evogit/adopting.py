"""What begins a line of descent: baselines, new epochs, and people's own changes. It measures nothing itself.

A person's commit at the tip is never dropped. If it touches mutable files alone it is adopted as a run of theirs; if it
touches anything frozen (or the problem's file), what was measured before is not comparable: a new epoch begins.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import msgspec
import pygit2

from evogit import problem as contract
from evogit import views
from evogit.bench import Bench, now, stamp
from evogit.domain import event as ev
from evogit.domain.flight import Flight, FlightState
from evogit.domain.plan import Plan
from evogit.domain.proposal import Candidate, Proposal
from evogit.errors import RefMoved
from evogit.git import flights, ledger, refs
from evogit.git.campaign import Campaign
from evogit.git.flights import StoredFlight
from evogit.git.history import History
from evogit.git.locks import write_lock
from evogit.git.messages import Baseline, EntryMessage, RunMessage, one_line, parse_run
from evogit.git.repository import Repository
from evogit.search.change import line_delta, moves, sources_hash
from evogit.stages import record

READING = 1000  # a replicate's attempts are numbered from its reading times this
ASKED = "remeasure"  # name in the plan of readings that a person asked a loop for
# What asks for a reading where no search role does; "person" as loops wrote it that were killed before it was told apart.
ERRANDS = frozenset({"baseline", "certify", "replay", "person", ASKED})


def allot(bench: Bench, make: Callable[[int, str], Flight]) -> StoredFlight:
    """Create a flight under the next free number: make(number, label). Numbers may have gaps, never twins."""
    history, repo = bench.campaign.history, bench.repo
    is_home = history.clone in {"", repo.clone}
    with write_lock(repo):
        number = next_number(bench)
        while True:
            try:
                return flights.create(repo, make(number, str(number) if is_home else f"{repo.clone}/{number}"))
            except RefMoved:
                number += 1


def next_number(bench: Bench) -> int:
    """The number that the next flight of this clone gets, unless another process is quicker."""
    history, repo = bench.campaign.history, bench.repo
    taken = [stored.flight.number for stored in flights.listing(repo, history.tag, repo.clone)]
    return max([history.numbers.get("" if history.clone in {"", repo.clone} else repo.clone, -1), *taken]) + 1


def planned(bench: Bench, plan: Callable[[int], Plan], slot: str) -> StoredFlight:
    """A flight for the search's next plan, written before an agent is paid."""

    def make(number: int, label: str) -> Flight:
        return _flight(bench, number, label, slot, plan(number), kind="run", state=FlightState.PLANNED)

    return allot(bench, make)


def baseline(bench: Bench, slot: str) -> StoredFlight:
    """Run 0's flight: an empty commit on the base, pinned and ready to be measured."""
    campaign = bench.campaign
    return _baseline(bench, campaign, base=campaign.history.tip, epoch=0, slot=slot, why="the untouched problem")


def epoch(bench: Bench, slot: str, why: str) -> StoredFlight:
    """A flight for the baseline of what is at the tip now. It waits; `open_epoch` begins its epoch. Raises ProblemError.

    The base of an epoch is a commit with the tip's tree on top of the last incumbent, so that the ancestry of runs holds
    only runs and bases. What was measured before is kept, and compared with nothing that comes after.
    """
    repo, history = bench.repo, bench.campaign.history
    then = bench.campaign.under(history.tip)
    ahead = [_epoch_of(bench, stored) for stored in flights.listing(repo, history.tag) if awaits_epoch(bench, stored)]
    number, me = 1 + max([history.epoch, *ahead]), repo.identity()
    message = f"base of epoch {number}: {one_line(why)}\n"
    base = str(repo.git.create_commit(None, me, me, message, repo.tree_of(history.tip), [history.incumbent]))
    return _baseline(bench, then, base=base, epoch=number, slot=slot, why=why)


def awaits_epoch(bench: Bench, stored: StoredFlight) -> bool:
    """True for a baseline whose epoch is not open yet: what was in the air before it is decided first."""
    history = bench.campaign.history
    return stored.flight.kind == "baseline" and bool(history.incumbent) and _epoch_of(bench, stored) > history.epoch


def open_epoch(bench: Bench, stored: StoredFlight) -> bool:
    """Put the entry on the branch that opens a baseline's epoch; its contract holds from here on.

    False, and nothing is done, if somebody moved the branch meanwhile: take that in first.
    """
    campaign, repo, why = bench.campaign, bench.repo, stored.flight.plan.instruction
    number = _epoch_of(bench, stored)
    entry = EntryMessage(
        kind="epoch",
        subject=f"epoch {number}: {why}",
        campaign=campaign.tag,
        baseline=stored.flight.candidate.commit,
        epoch=number,
        reason=why,
    )

    def on(tip: str) -> str:
        if tip != campaign.history.tip:
            raise RefMoved(tip)
        return ledger.write_entry(repo, tip=tip, entry=entry)

    try:
        with write_lock(repo):
            new, _ = record.advance(repo, campaign.tag, on)
            record.follow_tip(repo, campaign.tag, new)
    except RefMoved:
        return False
    take_in(bench)
    return True


def _epoch_of(bench: Bench, stored: StoredFlight) -> int:
    """Number of the epoch that a baseline's flight begins: its commit says it."""
    commit = ledger.commit(bench.repo, stored.flight.candidate.commit)
    said = parse_run(commit.text, commit.hash).baseline
    return said.epoch if said else 0


def again(
    bench: Bench,
    commit: str,
    seeds: Sequence[int],
    slot: str,
    why: str,
    *,
    purpose: str = "replicate",
    against: str = "",
    emitter: str,
    rng: int = 0,
) -> StoredFlight:
    """A flight that reads a run once more, a replicate, or a look that compares it with `against`. emitter: one of ERRANDS or a search role."""
    parents = (commit, against) if against else (commit,)

    def make(number: int, label: str) -> Flight:
        plan = Plan(emitter=emitter, parents=parents, seeds=tuple(seeds), rng=rng, replicate=True, instruction=why, change=purpose)
        fields = {"kind": "replicate", "state": FlightState.PINNED, "purpose": purpose, "reading": next_reading(bench, commit)}
        return _flight(bench, number, label, slot, plan, **fields)

    return allot(bench, make)


def read_by(bench: Bench, flight: Flight) -> str:
    """Label of the run that a reading reads once more; "" for a flight that is a run itself."""
    run = bench.memory.by_commit.get(flight.plan.parents[0]) if flight.plan.replicate else None
    return run.label if run is not None else ""


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
    history = bench.campaign.history
    known = [line.attempt // READING for kind in (history.replicates, history.certifications) for line in kind.get(commit, ())]
    return 1 + max([*flying, *known], default=0)


def person(
    bench: Bench,
    slot: str,
    *,
    tree: str,
    parent: str,
    said: Proposal,
    plan: Plan | None = None,
    adopts: str = "",
    author: pygit2.Signature | None = None,
    stripped: Sequence[str] = (),
    patch: str = "",
) -> StoredFlight:
    """A change that was made by hand, as a run of its own: a commit on `parent` with that tree, pinned.

    plan: the search's own, where the change carries it out: emitter, forecast, odds and idea are then registered as the
    loop would. stripped: frozen paths that were changed as well; the gates turn the run into a reject because of them.
    """
    campaign = bench.campaign
    before, after = campaign.sources(parent), campaign.sources_of_tree(tree)
    own = plan or Plan(emitter="person", parents=(parent,), seeds=campaign.problem.budget.seeds, rng=0, niche="person", change="person")
    own = msgspec.structs.replace(own, instruction=own.instruction or said.hypothesis, forecast=said.forecast or own.forecast)
    change = one_line(said.change or own.change)
    agent = "driver" if plan else "person"

    def make(number: int, label: str) -> Flight:
        message = RunMessage(
            label=label,
            campaign=campaign.tag,
            emitter=own.emitter,
            agent=agent,
            summary=said.summary,
            hypothesis=said.hypothesis or (own.instruction if plan else ""),
            change=change,
            niche=own.niche or change,
            forecast=own.forecast,
            propensity=own.propensity,
            policy=own.policy,
            chance=own.chance,
            idea=own.idea,
            contrast=own.contrast,
            adopts=adopts,
            sources=sources_hash(after),
            moves=moves(before, after),
            lines=line_delta(before, after),
        )
        commit = ledger.write_run(bench.repo, tree=tree, parents=own.parents, run=message, author=author)
        candidate = _candidate(bench, commit, label, own, agent, message, stripped=tuple(stripped), patch=patch)
        return _flight(bench, number, label, slot, own, kind="adopt", state=FlightState.PINNED, candidate=candidate)

    return allot(bench, make)


def adopt_people(bench: Bench) -> Iterator[ev.Event]:
    """Turn people's commits at the tip into a flight, so that a decision on top of them loses nothing.

    It is a run of theirs; where frozen files changed, the baseline of an epoch that opens when nothing else is in the air.
    Raises ProblemError if they broke the problem's file.
    """
    history, repo = bench.campaign.history, bench.repo
    newest = unadopted(repo, history)
    if not newest:
        return
    if frozen := frozen_changes(bench):
        why = f"{frozen[0]} changed" + (f", and {len(frozen) - 1} more frozen files" if len(frozen) > 1 else "")
        stored = epoch(bench, bench.FIRST, why)
        yield stamp(ev.Adopted(run=stored.flight.label, commit=newest, kind="epoch"))
        return
    commit = repo.commit(newest)
    subject, _, body = commit.message.partition("\n")
    stored = person(
        bench,
        bench.FIRST,
        tree=str(commit.tree_id),
        parent=history.incumbent,
        said=Proposal(summary=subject, hypothesis=body.strip()),
        adopts=newest,
        author=commit.author,
    )
    yield stamp(ev.Adopted(run=stored.flight.label, commit=newest, kind="run"))


def unadopted(repo: Repository, history: History) -> str:
    """The newest of a person's commits at the tip that no flight carries yet; "" if there is none."""
    if not history.people or not history.incumbent:
        return ""
    newest = history.people[-1]
    is_known = repo.tree_of(newest) == repo.tree_of(history.incumbent) or _is_adopted(repo, history, newest)
    return "" if is_known else newest


def needs_epoch(bench: Bench) -> str:
    """Why what this loop measures cannot be compared with the baseline's numbers; "" if it can."""
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
    epoch_before, told = campaign.history.epoch, campaign.history.revision
    campaign.history.advance(campaign.repo, refs.read(campaign.repo, refs.branch(campaign.tag)))
    if campaign.history.revision != told:
        views.rebuild(campaign.repo, campaign)
    if campaign.history.epoch != epoch_before:
        campaign.reload_problem()
        bench.begin_epoch()
        return
    bench.catch_up()


def arm(bench: Bench) -> str:
    """Overrides that change what is measured, in words; "" for the plain problem."""
    options = bench.options
    words = [f"train_s={options.train_s:g}"] if options.train_s else []
    return " ".join([*words, *options.arguments])


def _is_adopted(repo: Repository, history: History, commit: str) -> bool:
    """True if a flight carries that person's commit already: as a run, or as the baseline of an epoch with that tree."""
    tree = repo.tree_of(commit)
    for stored in flights.listing(repo, history.tag):
        candidate = stored.flight.candidate
        if candidate and f"Evogit-Adopts: {commit}" in repo.commit(candidate.commit).message:
            return True
        if stored.flight.kind == "baseline" and candidate and candidate.tree == tree and candidate.commit not in history.by_commit:
            return True
    return False


def _baseline(bench: Bench, campaign: Campaign, *, base: str, epoch: int, slot: str, why: str) -> StoredFlight:
    """A baseline's flight. `campaign` has the contract that it begins, which may not be in force yet."""
    repo, problem = bench.repo, campaign.problem
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
        moves=said.moves,
        lines=said.lines,
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
