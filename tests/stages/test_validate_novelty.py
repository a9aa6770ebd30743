"""The gate for what was nearly tried before: what it refuses, whom it lets pass, and what it costs where it is not needed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import pytest

from builders import commit_of, problem
from evogit.domain.plan import Plan
from evogit.domain.proposal import Candidate
from evogit.stages.validate import Refusal, validate

PARENT = {"train.py": "LR = 0.001\nWIDTH = 8\n"}
TRIED = {"train.py": "LR = 0.002\nWIDTH = 8\n"}
NEARLY = {"train.py": "LR = 0.00205\nWIDTH = 8\n"}


def refusal(sources: Mapping[str, str], *, twin: str = "", asked: list[str] | None = None, emitter: str = "x", **plan) -> Refusal | None:
    planned = Plan(emitter=emitter, parents=(commit_of("0"),), seeds=(0,), rng=0, **plan)
    candidate = Candidate(commit=commit_of("9"), tree="", label="9", parents=planned.parents, plan=planned, agent="offline", summary="")

    def siblings() -> Iterator[tuple[str, Mapping[str, str]]]:
        if asked is not None:
            asked.append("read")
        yield "3", {"train.py": "WIDTH = 9\nLR = 0.001\n"}
        yield "4", TRIED

    return validate(problem(), candidate, sources, PARENT, twin, lambda modules: set(), siblings)


def test_a_near_identical_sibling_is_named_with_its_distance():
    found = refusal(NEARLY)

    assert found.gate == "novelty"
    assert found.reason == "nearly the same edit as run 4 (distance 0.00, a new one is above 0.15)"


def test_another_value_of_the_same_constant_is_new():
    assert refusal({"train.py": "LR = 0.003\nWIDTH = 8\n"}) is None


@pytest.mark.parametrize("who", [{"replicate": True}, {"emitter": "person"}, {"emitter": "baseline"}])
def test_a_replicate_and_a_person_who_insists_pass(who):
    assert refusal(NEARLY, **who) is None


def test_siblings_are_read_only_where_nothing_cheaper_refuses():
    asked: list[str] = []

    assert refusal(NEARLY, twin="4", asked=asked).gate == "repeat"
    assert refusal({"train.py": "LR = = 1\n"}, asked=asked).gate == "syntax"
    assert refusal(dict(PARENT), asked=asked) is None
    assert asked == []
