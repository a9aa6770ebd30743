"""The review stage: whatever a reviewer does, a review is recorded."""

from __future__ import annotations

import msgspec
import pytest

from builders import LOSS, PARAMS
from evogit.domain.review import ReviewBrief
from evogit.stages.review import review

BRIEF = ReviewBrief(
    primary=LOSS, emitter="", summary="", hypothesis="", change="", diff="", parent={}, child={}, metrics=(LOSS, PARAMS), spread=0.0
)


class Broken:
    name, is_free = "broken", True

    def __init__(self, answer: object) -> None:
        self.answer = answer

    def review(self, brief: ReviewBrief) -> object:
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


@pytest.mark.parametrize("fault", [ZeroDivisionError("no"), IndexError("no"), AssertionError("no"), msgspec.ValidationError("no")])
def test_a_reviewer_may_raise_anything(fault):
    said = review(Broken(fault), BRIEF)

    assert (said.reviewer, said.valid, said.fallback) == ("broken", False, f"{type(fault).__name__}: no")


@pytest.mark.parametrize("answer", [None, "fine", {"valid": True}])
def test_what_is_no_review_is_replaced_by_one_that_says_so(answer):
    said = review(Broken(answer), BRIEF)

    assert "no review" in said.fallback
