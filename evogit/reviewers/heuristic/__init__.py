"""The built-in reviewer. `reviewer` puts the review together; parts, judgement, attribution and next steps are modules of their own."""

from evogit.reviewers.heuristic.reviewer import HeuristicReviewer

__all__ = ["HeuristicReviewer"]
