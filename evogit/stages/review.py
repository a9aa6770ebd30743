"""Measurement + diff -> Review. A reviewer that fails loses nothing: a fallback that says so takes its place."""

from __future__ import annotations

from evogit.domain.review import Branch, Review, ReviewBrief
from evogit.errors import EvogitError
from evogit.seams import Reviewer

FAULTS = (EvogitError, OSError, ValueError, TypeError, KeyError, AttributeError, RuntimeError)  # what a hand may throw at us


def review(reviewer: Reviewer, brief: ReviewBrief) -> Review:
    """The reviewer's reading, or a fallback review with the reason why there is none."""
    try:
        return reviewer.review(brief)
    except FAULTS as error:
        return fallback(reviewer.name, f"{type(error).__name__}: {error}")


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
