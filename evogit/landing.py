"""The end of a voyage: decide against today's tip, record, let the flight go. Repeating any part of it changes nothing.

Order: artifacts, notes, branch, flight removed. A verdict is never read back from a note or a flight: it is found again
from the readings, so a person's commit, or another process, that moved the branch meanwhile is taken into account.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

import msgspec

from evogit import adopting, certifying, holdout, keys, replaying, views
from evogit.adopting import take_in
from evogit.bench import Bench, stamp
from evogit.domain import event as ev
from evogit.domain.belief import Standing
from evogit.domain.flight import PERSON
from evogit.domain.review import PaidReview, Review, ReviewBrief, Sibling
from evogit.domain.run import Run
from evogit.domain.trial import TrialLine
from evogit.domain.usage import Call, spent
from evogit.domain.verdict import Decision, Verdict
from evogit.errors import RefMoved
from evogit.git import ledger, messages, notes
from evogit.models.answers import is_cut
from evogit.search import change
from evogit.search.noise import readings_of
from evogit.stages import decide, measure, record, validate
from evogit.weighing import complexity

if TYPE_CHECKING:
    from evogit.loop import Voyage

DIFF_CAP = 64 << 10  # characters of a diff that a reviewer is shown
SIBLINGS = 8  # other children of the parent that a reviewer is shown: 2 ms of its time
TRIES = 50  # people move branches rarely; fifty lost races in a row mean something else is wrong


def land(voyage: Voyage) -> Iterator[ev.Event]:
    """Record the run (or the replicate) and let its flight go."""
    bench, flight = voyage.bench, voyage.flight
    for _ in range(TRIES):
        take_in(bench)
        known = bench.campaign.history.by_commit.get(voyage.commit)
        if flight.kind != "replicate" and known is not None:
            break  # the branch moved before we were killed: only the flight is left over
        if flight.kind == "replicate" and _is_replicated(voyage):
            break
        yield from adopting.adopt_people(bench)
        try:
            yield from _record_replicate(voyage) if flight.kind == "replicate" else _record_run(voyage)
            break
        except RefMoved:
            continue
    else:
        raise RefMoved(f"autoresearch/{bench.campaign.tag}")
    if flight.purpose == "certify":
        certifying.honour(bench, voyage.commit)
    holdout.ask_after_keep(voyage)
    voyage.let_go()


def brief_of(voyage: Voyage) -> ReviewBrief:
    """What a reviewer is shown of a run that was measured."""
    bench, flight, candidate = voyage.bench, voyage.flight, voyage.flight.candidate
    problem = bench.campaign.problem
    parent = bench.memory.by_commit.get(candidate.parents[0]) if candidate.parents else None
    measured, is_called_off = voyage.trials.measurement(), flight.gate == PERSON
    before = bench.campaign.sources(parent.commit) if parent is not None else {}
    diff = change.diff(before, bench.campaign.sources_of_tree(candidate.tree))[:DIFF_CAP] if parent is not None else ""
    return ReviewBrief(
        primary=problem.primary,
        emitter=flight.plan.emitter,
        summary=candidate.summary,
        hypothesis=candidate.hypothesis,
        change=candidate.change,
        diff=diff,
        parent=parent.readings if parent is not None else {},
        child=measured.values,
        metrics=problem.metrics,
        spread=bench.memory.spread.std,
        forecast=flight.plan.forecast,
        crash=measured.crash,
        rejected="" if is_called_off and measured.values else flight.reason,
        is_called_off=is_called_off,
        label=flight.label,
        moves=candidate.moves,
        lines=candidate.lines,
        siblings=_siblings(bench, parent, voyage.commit) if parent is not None else (),
        ruler=bench.memory.spread.ruler,
        peak_rss_mib=max((t.peak_rss_mib for t in measured.trials), default=0),
        parent_peak_rss_mib=max((t.peak_rss_mib for t in parent.trials), default=0) if parent is not None else 0,
        memory_mib=problem.budget.memory_mib,
        problem=problem,
        flags=flags_of(voyage),
    )


def flags_of(voyage: Voyage) -> tuple[str, ...]:
    """What in the candidate's files, and in its trials' time, may give a cheat away, one line each. Found again from these alone."""
    campaign, candidate = voyage.bench.campaign, voyage.flight.candidate
    if candidate is None or voyage.flight.kind == "replicate":
        return ()
    before = campaign.sources(candidate.parents[0]) if candidate.parents else {}
    found = validate.tells_of(campaign.problem, campaign.sources_of_tree(candidate.tree), before, campaign.frozen_sources())
    parent = voyage.bench.memory.by_commit.get(candidate.parents[0]) if candidate.parents else None
    slow = validate.pace_of(campaign.problem, campaign.frozen_sources(), voyage.trials.lines(), parent.trials if parent else ())
    return (*(tell.text for tell in found), *([slow] if slow else []))


def _siblings(bench: Bench, parent: Run, commit: str) -> tuple[Sibling, ...]:
    """The newest measured children of the same parent: a reviewer compares what they share with the run. A few cached diffs."""
    found: list[Sibling] = []
    name, before = bench.campaign.problem.primary.name, bench.campaign.sources(parent.commit)
    for run in reversed(bench.memory.recent):
        if run.parents[:1] != (parent.commit,) or run.commit == commit or run.verdict is Verdict.CRASH:
            continue
        gain = bench.memory.gain(run)
        if gain is None:
            continue
        per_reading = 1 / len(run.readings[name]) + 1 / len(parent.readings[name])
        diff = change.diff(before, bench.campaign.sources(run.commit))[:DIFF_CAP]
        found.append(Sibling(label=run.label, diff=diff, moves=run.moves, gain=gain, gain_sd=bench.memory.spread.std * per_reading**0.5))
        if len(found) == SIBLINGS:
            break
    return tuple(reversed(found))


def _record_run(voyage: Voyage) -> Iterator[ev.Event]:
    bench, flight, campaign = voyage.bench, voyage.flight, voyage.bench.campaign
    lines = voyage.trials.lines()
    decision = _decide(voyage, lines)
    incumbent_before = bench.memory.incumbent
    keeps = decision.verdict is Verdict.KEEP or not campaign.history.incumbent
    incumbent = voyage.commit if keeps or flight.kind == "baseline" else campaign.history.incumbent
    encoded = [measure.encode(line) for line in lines]
    wrote = voyage.wrote
    paid, flags = spent(_calls(voyage)), flags_of(voyage)

    def entry(tip: str) -> str:
        if tip != campaign.history.tip:
            raise RefMoved(tip)
        return ledger.write_decision(
            bench.repo,
            tip=tip,
            run=voyage.commit,
            label=flight.label,
            incumbent=incumbent,
            seq=campaign.history.next_seq,
            campaign=campaign.tag,
            decision=decision,
            about=_about(voyage, decision, lines, incumbent_before),
            lines=encoded,
            spent=paid,
            flags=flags,
        )

    is_noted = wrote is None or (voyage.is_resumed and _is_reviewed(voyage, wrote))
    reviews = {} if is_noted else {voyage.commit: [_review_line(voyage, wrote)]}
    tip, said = record.record(
        bench.repo,
        campaign.tag,
        voyage.commit,
        files=_artifacts(voyage),
        metrics={voyage.commit: encoded} if encoded else {},
        reviews=reviews,
        entry=entry,
    )
    bench.defer(lambda: record.follow_tip(bench.repo, campaign.tag, tip))
    told = campaign.history.revision
    for message in said:
        yield stamp(ev.Warned(message=message))
    take_in(bench)
    run = campaign.history.by_commit[voyage.commit]
    if wrote is not None:
        bench.memory.advice[voyage.commit] = wrote.branch_recommendation
        for word in bench.memory.ideas.learn_review(run, wrote):
            yield stamp(ev.Warned(message=word))
    if campaign.history.revision == told:  # else it was written anew, with this run
        views.append(bench.repo, campaign, run)
    yield _decided(bench, run, decision)


def _decide(voyage: Voyage, lines: list[TrialLine]) -> Decision:
    """The verdict against the incumbent of this moment. A smoke run is compared with nothing."""
    bench, flight = voyage.bench, voyage.flight
    measured = measure.measurement(bench.campaign.problem, lines)
    if flight.purpose == "smoke" and not flight.reason and measured.crash is None:
        verdict = Verdict.KEEP if flight.kind == "baseline" else Verdict.DISCARD
        return Decision(verdict=verdict, reason="a smoke run, compared with nothing")
    weight = complexity(bench, flight, measured)
    if flight.gate == PERSON and lines:
        said = decide.decide(bench.campaign.problem, measured, standing_of(voyage), complexity=weight)
        return said if said.verdict is Verdict.CRASH else _called_off(said, flight.reason)
    return decide.decide(bench.campaign.problem, measured, standing_of(voyage), complexity=weight, rejected=flight.reason)


def _called_off(said: Decision, why: str) -> Decision:
    """A person ended it before it had all its readings: what there is stays, and keeps nothing."""
    return Decision(verdict=Verdict.DISCARD, reason=why, gain=said.gain)


def standing_of(voyage: Voyage) -> Standing:
    """What the voyage's candidate is judged against now: nothing, for a baseline."""
    parents = voyage.flight.plan.parents
    return Standing() if voyage.flight.kind == "baseline" or not parents else voyage.bench.memory.standing(parents[0])


def _record_replicate(voyage: Voyage) -> Iterator[ev.Event]:
    bench, campaign, lines = voyage.bench, voyage.bench.campaign, voyage.trials.lines()
    encoded = [measure.encode(line) for line in lines]
    known = campaign.history.by_commit.get(voyage.commit)
    label = known.label if known else voyage.commit[:12]
    plan = voyage.flight.plan
    reason = voyage.flight.reason or plan.instruction or "measured again"
    is_look = voyage.flight.purpose == "certify"

    def entry(tip: str) -> str:
        if tip != campaign.history.tip:
            raise RefMoved(tip)
        if is_look:
            said = certifying.entry(bench, voyage.flight, lines, encoded)
            return ledger.write_entry(bench.repo, tip=tip, entry=said)
        message = messages.EntryMessage(
            kind="replicate",
            subject=f"replicate {label}: {reason}",
            campaign=campaign.tag,
            of=voyage.commit,
            label=voyage.flight.label,
            reason=reason,
            lines=tuple(encoded),
            spent=spent(_calls(voyage)),
            emitter="" if plan.emitter in adopting.ERRANDS else plan.emitter,
            agent="" if plan.replicate else _agent_of(voyage),
        )
        return ledger.write_entry(bench.repo, tip=tip, entry=message)

    folder = f"{'certify' if is_look else 'replicate'}-{voyage.flight.clone}-{voyage.flight.reading}/"
    files = {folder + path: data for path, data in _artifacts(voyage).items()}
    metrics = {voyage.commit: encoded} if encoded else {}
    tip, _ = record.record(bench.repo, campaign.tag, voyage.commit, files=files, metrics=metrics, reviews={}, entry=entry)
    bench.defer(lambda: record.follow_tip(bench.repo, campaign.tag, tip))
    take_in(bench)
    readings = readings_of(lines, campaign.problem.primary.name)
    yield stamp(ev.Replicated(run=label, reading=voyage.flight.label, readings=readings, reason=reason))


def _agent_of(voyage: Voyage) -> str:
    """Who changed nothing: as its calls say it, which may have been another loop's agent, else as this loop was asked."""
    return next((call.hand for call in voyage.flight.calls if call.who == "agent"), voyage.bench.options.agent)


def _is_replicated(voyage: Voyage) -> bool:
    """True if these very readings are in the ledger: trial lines carry an id."""
    history = voyage.bench.campaign.history
    known = {line.id for kind in (history.replicates, history.certifications) for line in kind.get(voyage.commit, ())}
    mine = {line.id for line in voyage.trials.lines()}
    return bool(mine) and mine <= known


def _about(voyage: Voyage, decision: Decision, lines: list[TrialLine], incumbent: Run | None) -> str:
    if voyage.flight.kind == "baseline" and decision.verdict is Verdict.KEEP:
        return "baseline"
    problem = voyage.bench.campaign.problem
    mean = measure.measurement(problem, lines).mean(problem.primary.name)
    if decision.gain is None or mean is None:
        return decision.reason
    return messages.measured(problem.primary.name, mean, incumbent.mean(problem.primary.name) if incumbent else None)


def _artifacts(voyage: Voyage) -> dict[str, bytes]:
    """Files of a run as git keeps them, by trial: trials/s0/stdout, and trials/s0/predict/stdout where a trial is a chain of jobs."""
    flight, files = voyage.flight, {}
    files["plan.json"] = msgspec.json.format(msgspec.json.encode(flight.plan))
    if flight.candidate is not None and flight.candidate.transcript:
        files["transcript.txt"] = flight.candidate.transcript.encode("utf-8", "replace")
    if calls := _calls(voyage):
        files["calls.jsonl"] = msgspec.json.Encoder().encode_lines(calls)
    made = flight.candidate
    if flight.kind == "run" and made.changed and (is_cut(made.answers) or not voyage.bench.can_replay(made.agent)):
        files[f"answers/{replaying.FILES}"] = replaying.recorded_files(voyage.bench.campaign, made.tree, made.changed)
    paid = (flight.candidate, voyage.wrote)
    answers = {name: text for part in (flight, *paid) for name, text in getattr(part, "answers", {}).items()}
    files |= {f"answers/{name}": text.encode("utf-8", "replace") for name, text in answers.items()}
    if flight.candidate is not None and flight.candidate.patch:
        files["stripped.patch"] = flight.candidate.patch.encode("utf-8", "replace")
    for job in voyage.trials.jobs:
        again = f"-attempt{job.attempt}" if job.attempt > 1 else ""
        folder = f"trials/s{job.seed}{again}" + (f"/{job.step}" if job.step != "train" else "")
        for name, data in voyage.trials.files.get(job.key, {}).items():
            if data and name != "imports.sha256":
                files[f"{folder}/{name}"] = data
    return {path: keys.redact_bytes(data) for path, data in files.items()}


def _calls(voyage: Voyage) -> tuple[Call, ...]:
    """Calls of models that the run took so far: those that a killed loop made, its agent's, then its reviewer's."""
    candidate, wrote = voyage.flight.candidate, voyage.wrote
    return (*voyage.flight.calls, *(candidate.calls if candidate else ()), *(wrote.calls if isinstance(wrote, PaidReview) else ()))


def _is_reviewed(voyage: Voyage, wrote: Review) -> bool:
    """True if a killed loop wrote the review's note. A free reviewer, asked again, may see a longer history and say it otherwise."""
    key = _review_id(voyage, wrote)
    return any(notes.line_id(line) == key for line in notes.read(voyage.bench.repo, notes.REVIEWS, voyage.commit))


def _review_id(voyage: Voyage, wrote: Review) -> str:
    return hashlib.sha256(f"{voyage.commit}\0{wrote.reviewer}".encode()).hexdigest()[:16]


def _review_line(voyage: Voyage, wrote: Review) -> bytes:
    """A review's line of record. Its time is the candidate's: written again after a crash, it is the same line."""
    head = {"v": 1, "id": _review_id(voyage, wrote), "time": voyage.flight.candidate.created, "run": voyage.commit}
    return msgspec.json.encode({**head, **{name: getattr(wrote, name) for name in Review.__struct_fields__}})


def _decided(bench: Bench, run: Run, decision: Decision) -> ev.Event:
    name = bench.campaign.problem.primary.name
    return stamp(
        ev.Decided(
            run=run.label,
            commit=run.commit,
            verdict=run.verdict.value,
            reason=run.reason,
            metric=name,
            value=run.mean(name),
            gain=decision.gain,
            summary=run.summary,
            emitter=run.emitter,
            decided=0,
        )
    )
