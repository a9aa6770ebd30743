"""The gates: what they refuse, and that a file they cannot read ends nothing."""

from __future__ import annotations

from builders import commit_of, problem
from evogit.domain.plan import Plan
from evogit.domain.proposal import Candidate
from evogit.stages.validate import validate

NEWER = "match x:\n    case 1: evaluate(1)\n    case\n"  # no Python of today


def _gate(sources: dict[str, str], before: dict[str, str], requires: tuple[str, ...]) -> str:
    plan = Plan(emitter="local_tuner", parents=(commit_of("0"),), seeds=(0,), rng=0)
    candidate = Candidate(commit=commit_of("1"), tree="", label="1", parents=plan.parents, plan=plan, agent="offline", summary="")
    refusal = validate(problem(requires=requires), candidate, sources, before, "", lambda modules: set())
    return refusal.gate if refusal else ""


def test_a_call_that_the_problem_requires_may_not_go():
    before = {"train.py": "evaluate(1)\n"}

    assert _gate({"train.py": "evaluate(2)\n"}, before, ("evaluate(",)) == ""
    assert _gate({"train.py": "# evaluate(1)\n"}, before, ("evaluate(",)) == "requires"


def test_a_file_that_the_parent_had_and_this_python_cannot_read_is_searched_as_text():
    before = {"train.py": "LR = 1\n", "new.py": NEWER}

    assert _gate({"train.py": "LR = 2\n", "new.py": NEWER}, before, ("evaluate(",)) == ""
    assert _gate({"train.py": "LR = 2\n", "new.py": NEWER}, before, ("load(",)) == "requires"


def test_a_changed_file_that_does_not_parse_is_refused():
    assert _gate({"train.py": "LR = = 2\n"}, {"train.py": "LR = 1\n"}, ("evaluate(",)) == "syntax"
