"""Measurement + diff -> Review. A reviewer that fails loses nothing: a fallback that says so takes its place."""

from __future__ import annotations

from evogit.domain.review import Branch, Review, ReviewBrief
from evogit.errors import UserError
from evogit.seams import Reviewer


def review(reviewer: Reviewer, brief: ReviewBrief) -> Review:
    """The reviewer's reading, or a fallback review with the reason why there is none. What a person has to mend (UserError) goes through."""
    try:
        said = reviewer.review(brief)
    except UserError:
        raise
    except Exception as error:  # noqa: BLE001 - a hand's fault becomes a record, and the campaign goes on
        return fallback(reviewer.name, f"{type(error).__name__}: {error}")
    return said if isinstance(said, Review) else fallback(reviewer.name, f"it gave a {type(said).__name__} and no review")


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
