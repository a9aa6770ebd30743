"""Measurement + diff -> Review. A reviewer that fails loses nothing: a fallback that says so takes its place."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

from evogit.domain.review import Branch, PaidReview, Review, ReviewBrief
from evogit.domain.usage import spent
from evogit.errors import EvogitError, UserError
from evogit.seams import Reviewer


def review(
    reviewer: Reviewer,
    brief: ReviewBrief,
    before_paying: Callable[[], None] = lambda: None,
    away: Callable[[], AbstractContextManager[None]] = nullcontext,
) -> Review:
    """The reviewer's reading, or a fallback review with the reason why there is none. Raises UserError: the person can mend it now.

    before_paying: is called before a reviewer that costs something, and raises where it must not be asked.
    away: entered while it works.
    """
    try:
        if not reviewer.is_free:
            before_paying()
        with away():
            said = reviewer.review(brief)
    except UserError:
        raise
    except Exception as error:  # noqa: BLE001 - a hand's fault becomes a record, and the campaign goes on
        said = fallback(reviewer.name, f"{type(error).__name__}: {error}")
        return _paid(said, error) if isinstance(error, EvogitError) and error.calls else said
    return said if isinstance(said, Review) else fallback(reviewer.name, f"it gave a {type(said).__name__} and no review")


def _paid(said: Review, error: EvogitError) -> PaidReview:
    """The fallback with what the reviewer cost before it failed."""
    fields = {name: getattr(said, name) for name in Review.__struct_fields__}
    return PaidReview(**{**fields, "cost_usd": spent(error.calls).total_usd, "calls": error.calls, "answers": error.answers})


def fallback(name: str, why: str) -> Review:
    """What is recorded where a reviewer gave nothing usable."""
    return Review(
        reviewer=name,
        valid=False,
        is_improvement=False,
        branch_recommendation=Branch.BRANCH,
        confidence=0.0,
        observation="No review: the reviewer failed. The numbers stand by themselves.",
        next_belief="",
        fallback=why[:500],
    )
