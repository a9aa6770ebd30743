"""The built-in reviewer: plain words, the seeds' contract, never an exception."""

from __future__ import annotations

from builders import LOSS, PARAMS
from evogit.domain.review import Branch, ReviewBrief
from evogit.domain.trial import Crash
from evogit.reviewers.heuristic import HeuristicReviewer


def brief(child=(0.1,), parent=(0.2,), **more) -> ReviewBrief:
    fields = {
        "primary": LOSS,
        "emitter": "local_tuner",
        "summary": "halve LR",
        "hypothesis": "",
        "change": "hyperparameter",
        "diff": "",
        "parent": {"val_loss": parent} if parent else {},
        "child": {"val_loss": child} if child else {},
        "metrics": (LOSS, PARAMS),
        "spread": 0.01,
    }
    return ReviewBrief(**{**fields, **more})


def review(**more):
    return HeuristicReviewer().review(brief(**more))


def test_a_gain_is_an_improvement_worth_continuing():
    found = review()

    assert found.is_improvement and found.valid
    assert found.branch_recommendation is Branch.CONTINUE
    assert found.recommended_next_mutations


def test_a_clear_loss_is_a_line_to_abandon():
    found = review(child=(0.5,))

    assert not found.is_improvement
    assert found.branch_recommendation is Branch.ABANDON
    assert "worse" in found.observation


def test_a_difference_within_the_noise_is_said_to_be_one():
    found = review(child=(0.205,))

    assert "within the noise" in found.observation
    assert found.branch_recommendation is Branch.BRANCH


def test_without_a_known_noise_no_difference_is_called_a_large_one():
    found = review(child=(0.5,), spread=0.0)

    assert "nobody knows yet" in found.observation
    assert found.branch_recommendation is Branch.BRANCH
    assert found.confidence == 0.5


def test_a_crash_names_the_place_and_asks_for_a_fix():
    found = review(child=(), crash=Crash(kind="RuntimeError", message="shapes", where="train.py:7"))

    assert not found.valid
    assert "train.py:7" in found.observation
    assert found.branch_recommendation is Branch.FIX


def test_a_rejected_candidate_says_which_gate():
    assert "edited evaluate.py" in review(child=(), rejected="edited evaluate.py").observation


def test_a_baseline_is_a_reference_not_an_improvement():
    found = review(parent=())

    assert found.valid and not found.is_improvement
    assert 0 <= found.confidence <= 1


def test_side_effects_on_other_metrics_are_named():
    found = HeuristicReviewer().review(
        brief(parent=(0.2,), child=(0.1,)).__class__(
            **{
                **{f: getattr(brief(), f) for f in ReviewBrief.__struct_fields__},
                "parent": {"val_loss": (0.2,), "params": (100,)},
                "child": {"val_loss": (0.1,), "params": (150,)},
            }
        )
    )

    assert "params +50%" in found.observation
