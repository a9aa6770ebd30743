"""A person's verdict on a run: an entry of its own on the branch, beside a loop or without one. It measures nothing.

The decision before it stays in history. Where the loop and a person, or two persons, move the branch at once, one of them
reads again: what is judged is always what the branch says at that moment.
"""

from __future__ import annotations

import msgspec

from evogit import adopting, views
from evogit.domain.run import Run
from evogit.domain.verdict import Verdict
from evogit.errors import RefMoved, UserError
from evogit.git import ledger, refs
from evogit.git.campaign import Campaign
from evogit.git.history import History
from evogit.git.locks import loop_holder, write_lock
from evogit.git.messages import EntryMessage, one_line
from evogit.git.repository import Repository
from evogit.stages import record

TRIES = 50  # as a landing run tries: fifty lost races in a row mean something else is wrong


class Judging(msgspec.Struct, frozen=True, kw_only=True):
    """What a judgement did."""

    run: Run  # as it is judged now
    was: Verdict
    before: Run  # the incumbent before it
    incumbent: Run  # the incumbent after it
    said: tuple[str, ...] = ()  # what a person should know of their checkout


def judge(repo: Repository, campaign: Campaign, asked: str, verdict: Verdict, because: str) -> Judging:
    """Write the judgement of a run. A keep makes it the incumbent; an incumbent that is discarded gives way to the one before it.

    Raises UserError where nothing can be judged, UnknownName, Busy, RepositoryError. O(entries) where the incumbent gives way.
    """
    reason, history = one_line(because), campaign.history
    if not reason:
        raise UserError("a judgement needs a reason", hint=f'evogit judge {asked} {verdict.value} --because "half the size, same loss"')
    for _ in range(TRIES):
        campaign.check_not_rewritten()
        history.advance(repo, refs.read(repo, refs.branch(campaign.tag)) or "")
        run = history.find(asked)
        _refuse(campaign, run, verdict)
        before = history.incumbent
        moved = run.commit if verdict is Verdict.KEEP else _one_before(repo, history) if run.commit == before else ""
        try:
            # Above a person's commit the tree is not the incumbent's any more, so that the entry has to say which it is.
            stands = before if history.people else ""
            said = _write(repo, history, run, verdict, reason, moved if moved != before else stands)
        except RefMoved:
            continue
        history.advance(repo, refs.read(repo, refs.branch(campaign.tag)) or "")
        if not loop_holder(repo, campaign.tag):  # a loop writes its view itself, and appends to it
            views.rebuild(repo, campaign)
        known = history.by_commit
        now = known[moved or before]
        return Judging(run=known[run.commit], was=run.verdict, before=known[before], incumbent=now, said=tuple(said))
    raise RefMoved(refs.branch(campaign.tag))


def _refuse(campaign: Campaign, run: Run, verdict: Verdict) -> None:
    """Raises UserError where that verdict would say nothing, or something that nobody could act on."""
    history, name = campaign.history, campaign.problem.primary.name
    if run.epoch != history.epoch:
        hint = "only runs of the current epoch are compared with anything"
        raise UserError(f"run {run.label} belongs to epoch {run.epoch}, whose ruler is no longer in force", hint=hint)
    if not run.generation:
        raise UserError(
            f"run {run.label} is the baseline: it is what others are compared with", hint="judge one of the others: `evogit log`"
        )
    if run.mean(name) is None:
        hint = f"`evogit show {run.label}` says why; `evogit run --parent {run.label}` measures a mended version"
        raise UserError(f"run {run.label} has no {name}: what has no number is neither kept nor discarded", hint=hint)
    if run.verdict is verdict:
        raise UserError(
            f"run {run.label} is {_PARTICIPLES[verdict]} already" + (f" ({run.judged})" if run.judged else ""), hint=_again(history, run)
        )
    waits = adopting.unadopted(campaign.repo, history)
    if waits:
        raise UserError(
            f"a commit of somebody at the tip of autoresearch/{history.tag} ({waits[:12]}) is not taken in yet",
            hint=f"the loop does that with its next run; without one: `evogit loop --tag {history.tag} --max-runs 1`",
        )


_PARTICIPLES = {Verdict.KEEP: "kept", Verdict.DISCARD: "discarded"}


def _again(history: History, run: Run) -> str:
    if run.verdict is Verdict.KEEP and run.commit != history.incumbent:
        return "to go back to it, discard the incumbent, and the one before it holds: `evogit judge incumbent discard --because ...`"
    return f"`evogit show {run.label}` says why"


def _one_before(repo: Repository, history: History) -> str:
    """The last incumbent before this one that is still kept, down the branch's line; the epoch's baseline if none is."""
    name = history.tip
    while name in history.incumbents:
        run = history.by_commit.get(history.incumbents[name])
        if run is not None and run.commit != history.incumbent and run.is_kept and run.epoch == history.epoch:
            return run.commit
        name = next(iter(repo.parents(name)), "")
    return history.baseline


def _write(repo: Repository, history: History, run: Run, verdict: Verdict, reason: str, incumbent: str) -> list[str]:
    """The entry on the branch, durably; checkouts follow. Raises RefMoved if the branch is not where the history is."""
    entry = EntryMessage(
        kind="judge",
        subject=f"judge {run.label}: {verdict.value}, {reason}",
        campaign=history.tag,
        decides=run.commit,
        verdict=verdict,
        incumbent=incumbent,
        reason=reason,
        by=one_line(str(repo.identity().name)) or "somebody",
    )

    def on(tip: str) -> str:
        if tip != history.tip:
            raise RefMoved(tip)
        return ledger.write_entry(repo, tip=tip, entry=entry)

    with write_lock(repo):
        new, said = record.advance(repo, history.tag, on)
        record.follow_tip(repo, history.tag, new)
    return said
