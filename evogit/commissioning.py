"""What an agent and a reviewer are asked for one voyage, and what their faults become: a draft or a reason, a review or a stand-in's words.

It is called with the turn and gives it away while a hand works (`turns`). It writes nothing but what a hand is paid (`paying`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import msgspec

from evogit import keys, mending, prices
from evogit.domain.proposal import Candidate, Proposal
from evogit.domain.review import PaidReview, Review
from evogit.domain.usage import spent
from evogit.errors import CapReached, EvogitError, ServiceDown, UserError, WorkFailed
from evogit.landing import brief_of
from evogit.models import answers
from evogit.paying import Payment
from evogit.seams import Reviewer
from evogit.stages import propose, review

if TYPE_CHECKING:
    from evogit.loop import Voyage

T = TypeVar("T", Proposal, PaidReview)


def draft(voyage: Voyage) -> tuple[propose.Draft, str] | None:
    """The agent's draft, and why there is none ("" if there is one). None where its money is at an end: the plan stays in flight.

    Raises ServiceDown and UserError, with what was paid before put on the flight's account.
    """
    reason = ""
    payment = Payment(voyage, "agent")
    try:
        payment.begin()
        made = mending.draft(voyage.bench, voyage.flight, lambda made: _refusal(voyage, made), payment.keep)
    except (ServiceDown, UserError) as error:
        payment.give_up(error)
        raise
    except CapReached as error:
        payment.give_up(error)
        voyage.short_at = voyage.bench.purse.refused(error.message, error.settled)
        return None
    except Exception as error:  # noqa: BLE001 - a hand's fault becomes a record, and the campaign goes on
        reason = keys.redact(error.message if isinstance(error, EvogitError) else f"{type(error).__name__}: {error}")
        made = _no_draft(voyage, error if isinstance(error, EvogitError) and error.calls else payment)
    payment.end(made.proposal.calls)
    return msgspec.structs.replace(made, proposal=capped(made.proposal)), reason


def nothing(voyage: Voyage) -> tuple[propose.Draft, str]:
    """The draft of a run that a person called off, and why. Nobody is asked."""
    reason = voyage.flight.reason
    return _no_draft(voyage, WorkFailed(reason)), reason


def _no_draft(voyage: Voyage, paid: EvogitError | Payment) -> propose.Draft:
    """Nothing was changed; what an agent said and cost before it failed is kept."""
    plan = voyage.flight.plan
    proposal = Proposal(
        summary="no candidate",
        hypothesis=plan.instruction,
        calls=prices.priced(paid.calls, voyage.bench.campaign.problem),
        answers=paid.answers,
    )
    return propose.Draft(tree=voyage.bench.repo.tree_of(plan.parents[0]), proposal=keys.redacted(proposal))


def _refusal(voyage: Voyage, draft: propose.Draft) -> str:
    """Why the gates that need no environment would refuse a draft, "" if they would not."""
    bench, plan = voyage.bench, voyage.flight.plan
    as_if = Candidate(
        commit="",
        tree=draft.tree,
        label=voyage.flight.label,
        parents=plan.parents,
        plan=plan,
        agent=bench.agent.name,
        summary="",
        stripped=draft.stripped,
        secrets=draft.secrets,
        conflicts=draft.conflicts,
        sources=draft.sources,
    )
    refusal = voyage.gates(as_if, lambda modules: set())
    return refusal.reason if refusal is not None else ""


def review_by(voyage: Voyage, reviewer: Reviewer) -> Review:
    """What the reviewer says of the run, or a stand-in for it. Raises UserError: a key that is refused."""
    payment = Payment(voyage, "reviewer")
    try:
        said = keys.redacted(review.review(reviewer, brief_of(voyage), payment.begin, voyage.bench.turn.away))
        if isinstance(said, PaidReview):
            calls = prices.priced(said.calls, voyage.bench.campaign.problem)
            said = capped(msgspec.structs.replace(said, calls=calls, cost_usd=spent(calls).total_usd))
    except UserError as error:
        payment.give_up(error)
        raise
    payment.end(said.calls if isinstance(said, PaidReview) else ())
    return said


def capped(said: T) -> T:
    """A proposal or a review, with what its hand answered cut where that is too long to keep."""
    calls, kept = answers.capped(said.calls, said.answers)
    return msgspec.structs.replace(said, calls=calls, answers=kept)
