"""The gates: what they refuse, and that a file they cannot read ends nothing."""

from __future__ import annotations

import msgspec
import pytest

from builders import commit_of, problem
from evogit.domain.plan import Plan
from evogit.domain.problem import Budget
from evogit.domain.proposal import Candidate
from evogit.domain.trial import Status, TrialLine
from evogit.stages.validate import pace_of, tells_of, validate

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


@pytest.mark.parametrize("text", ["x = " + "not " * 20_000 + "1\n", "x = " + "(" * 20_000, "x = a" + ".b" * 60_000 + "\n"])
def test_a_file_that_is_nested_too_deeply_is_refused_in_words(text):
    plan = Plan(emitter="local_tuner", parents=(commit_of("0"),), seeds=(0,), rng=0)
    candidate = Candidate(commit=commit_of("1"), tree="", label="1", parents=plan.parents, plan=plan, agent="offline", summary="")

    refusal = validate(problem(), candidate, {"train.py": text}, {"train.py": "x = 1\n"}, "", lambda modules: set())

    assert refusal is not None and refusal.gate == "syntax"
    assert refusal.reason.endswith(("is nested too deeply", "too many nested parentheses"))


TIMED = {"prepare.py": "TIME_BUDGET = 300\n"}


@pytest.mark.parametrize(
    ("frozen", "train_s", "mine", "parents", "is_slow"),
    [
        (TIMED, 0, [410], [400], False),
        (TIMED, 0, [590], [400], True),
        (TIMED, 0, [400, 590], [400, 410], True),
        (TIMED, 0, [9], [3], False),  # a start takes its time
        ({}, 0, [590], [400], False),  # nobody said how long
        ({}, 300, [590], [400], True),
        ({}, 300, [500], [], False),
        ({}, 300, [900], [], True),
    ],
)
def test_a_trial_that_took_much_longer_than_its_parent_is_shown_where_time_is_the_budget(frozen, train_s, mine, parents, is_slow):
    budgeted = msgspec.structs.replace(problem(), budget=Budget(train_s=train_s))

    said = pace_of(budgeted, frozen, [_took(s) for s in mine], [_took(s) for s in parents])

    assert bool(said) == is_slow
    assert not said or f"{max(mine)} s" in said


def test_time_on_another_backend_is_not_compared():
    slow, quick = _took(590), msgspec.structs.replace(_took(300), backend="slurm")

    assert pace_of(problem(), TIMED, [slow], [quick]) == ""


def _took(seconds: float) -> TrialLine:
    return TrialLine(id="", time="", purpose="select", run=commit_of("1"), seed=0, status=Status.OK, seconds=seconds)


def _refusal(emitter: str, sources: dict[str, str], before: dict[str, str], **more):
    plan = Plan(emitter=emitter, parents=(commit_of("0"),), seeds=(0,), rng=0)
    candidate = Candidate(commit=commit_of("1"), tree="", label="1", parents=plan.parents, plan=plan, agent="offline", summary="")
    tells = tells_of(problem(), sources, before, {})
    return validate(problem(), candidate, sources, before, "", lambda modules: set(), tells=tells, **more), tells


def test_a_trick_of_the_search_is_refused_with_its_line_and_a_person_s_is_flagged():
    before = {"train.py": "LR = 1\n"}
    after = {"train.py": "LR = 1\nimport atexit\n"}

    refused, tells = _refusal("local_tuner", after, before)
    measured, same = _refusal("person", after, before)

    assert refused is not None and refused.gate == "tamper"
    assert refused.reason.startswith("train.py:2 imports atexit (hooks)") and "evogit run" in refused.reason
    assert measured is None
    assert [tell.text for tell in tells] == [tell.text for tell in same] == ["train.py:2 imports atexit (hooks)"]


def test_what_a_parent_has_is_no_reason_to_refuse_its_child():
    before = {"train.py": "import atexit\nLR = 1\n"}

    assert _refusal("local_tuner", {"train.py": "import atexit\nLR = 2\n"}, before) == (None, ())


def test_a_frozen_file_that_is_not_the_baseline_s_is_refused_whoever_made_it():
    sources = {"train.py": "LR = 2\n"}

    for emitter in ("person", "local_tuner"):
        refused, _ = _refusal(emitter, sources, {"train.py": "LR = 1\n"}, strayed=["prepare.py"])
        assert refused is not None and (refused.gate, "prepare.py" in refused.reason) == ("frozen", True)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("lib/Tools.py", "differ by case alone"),
        ("lib/.gitattributes", "git reads"),
        ("lib/.git/config", "git reads"),
        ("lib/a\x1b[2J.py", "cannot be shown"),
        ("lib/two\nlines.py", "cannot be shown"),
    ],
)
def test_a_new_file_has_a_name_that_every_checkout_and_terminal_can_hold(name, said):
    before = {"train.py": "x = 1\n", "lib/tools.py": "y = 1\n"}

    refused, _ = _refusal("local_tuner", {**before, name: "z = 1\n"}, before)

    assert refused is not None
    assert (refused.gate, said in refused.reason) == ("paths", True)
    assert refused.reason.isprintable()


def test_names_that_were_there_before_are_no_fault_of_the_candidate():
    before = {"train.py": "x = 1\n", "lib/Tools.py": "y = 1\n", "lib/tools.py": "y = 2\n"}

    assert _refusal("local_tuner", {**before, "train.py": "x = 2\n"}, before)[0] is None
