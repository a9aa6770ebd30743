"""The built-in reviewer: plain words, the seeds' contract, never an exception."""

from __future__ import annotations

from statistics import NormalDist

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from builders import LOSS, PARAMS
from evogit.domain.belief import Belief, Credit, Ruler
from evogit.domain.change import Move
from evogit.domain.plan import Forecast
from evogit.domain.review import Branch, Conclusion, Review, ReviewBrief, Sibling
from evogit.domain.trial import Crash
from evogit.reviewers.heuristic import HeuristicReviewer
from evogit.reviewers.heuristic.judgement import crps
from evogit.reviewers.heuristic.next_steps import step_back, step_on
from evogit.search import change


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


# what was read beside what was expected ---------------------------------------------------------------------------------

LR_UP = Move("train.py:LR", 0.001, 0.002, "lr")


def test_a_hypothesis_is_answered_with_its_grounds():
    found = review(child=(0.1, 0.11), hypothesis="a smaller step settles lower")

    assert (found.hypothesis, found.conclusion) == ("a smaller step settles lower", Conclusion.SUPPORTED)
    assert "over 2 seeds" in found.because


@pytest.mark.parametrize(
    ("child", "more", "conclusion"),
    [
        ((0.3,), {}, Conclusion.REFUTED),
        ((0.2,), {}, Conclusion.UNDECIDED),
        ((0.1,), {"spread": 0.0}, Conclusion.UNDECIDED),
        ((0.1,), {"spread": 0.0, "ruler": Ruler.EXACT}, Conclusion.SUPPORTED),
        ((0.2,), {"spread": 0.0, "ruler": Ruler.EXACT}, Conclusion.REFUTED),
        ((0.19,), {"change": "simplification"}, Conclusion.UNDECIDED),
        ((0.18,), {"change": "simplification"}, Conclusion.SUPPORTED),
        ((0.3,), {"change": "simplification"}, Conclusion.REFUTED),
        ((), {}, Conclusion.UNDECIDED),
    ],
)
def test_a_conclusion_claims_what_the_noise_allows(child, more, conclusion):
    assert review(child=child, **more).conclusion is conclusion


def test_a_belief_weighs_more_than_the_bare_readings():
    lucky = Belief(mean=0.19, variance=1e-4, gain=0.01, gain_variance=1e-4, p_harm=0.1, p_null=0.4, p_gain=0.5)

    assert review(child=(0.1,), belief=lucky).conclusion is Conclusion.UNDECIDED


def test_a_baseline_has_no_hypothesis():
    found = review(parent=())

    assert (found.hypothesis, found.conclusion) == ("", None)


def test_a_forecast_is_scored_against_what_came():
    found = review(child=(0.1,), forecast=Forecast(mean=0.2, spread=0.02))

    assert "off by -5.0 sd: a surprise" in found.observation


@given(st.floats(-5, 5), st.floats(0.05, 5))
def test_no_forecast_scores_better_on_average_than_the_truth(shift, spread):
    truth = Forecast(mean=0.0, spread=1.0)
    outcomes = [NormalDist().inv_cdf((i + 0.5) / 400) for i in range(400)]

    honest = sum(crps(truth, x) for x in outcomes)
    pretended = sum(crps(Forecast(mean=shift, spread=spread), x) for x in outcomes)

    assert honest <= pretended + 0.05


def test_scores_are_those_that_are_known():
    credit = Credit(fitness=0.7, novelty=0.2, information=0.1, surprise=0.4)

    found = review(credit=credit, lines=(15, 5), peak_rss_mib=100, parent_peak_rss_mib=300).scores

    assert found == {"fitness": 0.7, "novelty": 0.2, "information": 0.1, "surprise": 0.4, "complexity": 0.5, "memory_cost": 0.25}
    assert set(review(spread=0.0).scores) == {"complexity"}


# who did it ---------------------------------------------------------------------------------------------------------------

BEFORE = {"train.py": "LR = 0.001\nWIDTH = 16\n\n\nclass Net:\n    def forward(self, x):\n        x = relu(x)\n        return x\n"}


def child_of(*edits):
    text = BEFORE["train.py"]
    for old, new in edits:
        text = text.replace(old, new)
    after = {"train.py": text}
    return {"diff": change.diff(BEFORE, after), "moves": change.moves(BEFORE, after)}


LR, WIDTH, GELU = ("LR = 0.001", "LR = 0.002"), ("WIDTH = 16", "WIDTH = 32"), ("relu(x)", "gelu(x)")


def test_the_planted_hunk_is_named_as_likely_responsible():
    siblings = (
        Sibling(label="4", gain=0.0, gain_sd=0.01, **child_of(LR, WIDTH)),
        Sibling(label="5", gain=0.1, gain_sd=0.01, **child_of(GELU, WIDTH)),
    )

    found = review(child=(0.1,), label="7", siblings=siblings, **child_of(LR, GELU))

    assert found.responsible == "the hunk in Net.forward `x = gelu(x)` (train.py:7)"
    assert f"Likely responsible: {found.responsible}" in found.observation
    assert any("isolate the hunk in Net.forward" in idea.description for idea in found.recommended_next_mutations)


def test_the_planted_constant_is_named_and_moved_further():
    siblings = (Sibling(label="4", gain=0.0, gain_sd=0.01, **child_of(GELU)),)

    found = review(child=(0.1,), label="7", siblings=siblings, **child_of(LR, GELU))

    assert found.responsible == "`LR = 0.002` (train.py:1)"
    assert found.recommended_next_mutations[0].description == "the same direction: raise LR further: 0.002 -> 0.004 (LR = 0.004)"


def test_where_nothing_tells_the_parts_apart_none_is_blamed():
    found = review(child=(0.1,), **child_of(LR, GELU))

    assert found.responsible == ""
    assert "cannot be told yet" in found.observation


def test_noise_has_no_responsible_part():
    assert review(child=(0.199,), **child_of(LR)).responsible == ""


# what next ----------------------------------------------------------------------------------------------------------------


def test_a_loss_asks_for_the_other_side_of_the_old_value():
    found = review(child=(0.5,), moves=(LR_UP,))

    assert found.recommended_next_mutations[0].description == "the opposite: lower LR instead: 0.001 -> 0.0005 (LR = 0.0005)"


def test_an_undecided_gain_asks_for_fresh_seeds():
    found = review(child=(0.19,), label="7")

    assert ("replicate", "replicate run 7 under fresh seeds") in [
        (i.mutation_type, i.description) for i in found.recommended_next_mutations
    ]


def test_a_step_that_is_paid_for_in_time_at_most_doubles():
    assert step_on(Move("train.py:STEPS", 2000, 40000, "steps")) == 80000
    assert step_back(Move("train.py:STEPS", 2000, 40000, "steps")) == 1000


@pytest.mark.parametrize(
    ("old", "new", "on", "back"),
    [
        (0.001, 0.002, 0.004, 0.0005),
        (16, 32, 64, 8),
        (4, 5, 6, 3),
        (2, 1, None, 4),
        (0.5, 0.9, 0.95, 0.277778),
        (0.0, 0.1, 0.2, None),
        (0.01, 0.0, None, 0.02),
        (0.0, 0.9, 0.95, None),
        (0.45, 1.0, None, 0.2025),
        (1.0, 100.0, 400.0, 0.25),
        (True, False, None, None),
        ("relu", "gelu", None, None),
        (10**400, 2, None, None),
        (1e-300, 1e300, None, None),
    ],
)
def test_a_step_goes_on_by_the_same_ratio(old, new, on, back):
    move = Move("train.py:X", old, new)

    assert step_on(move) == on
    assert step_back(move) == back


@given(
    st.lists(st.floats(allow_nan=False, allow_infinity=False), max_size=3).map(tuple),
    st.lists(st.floats(allow_nan=False, allow_infinity=False), max_size=3).map(tuple),
    st.floats(0, 1e300),
    st.lists(st.tuples(st.one_of(st.floats(), st.integers()), st.one_of(st.floats(), st.integers())), max_size=3),
    st.sampled_from(list(Ruler)),
)
def test_no_brief_is_too_odd_to_be_reviewed(child, parent, spread, values, ruler):
    moves = tuple(Move(f"train.py:X{i}", a, b) for i, (a, b) in enumerate(values))

    found = review(child=child, parent=parent, spread=spread, moves=moves, ruler=ruler, forecast=Forecast(mean=0.0, spread=1e-12))

    assert 0.0 <= found.confidence <= 1.0
    assert all(0.0 <= value <= 1.0 for value in found.scores.values())
    assert all(0.0 <= idea.priority <= 1.0 for idea in found.recommended_next_mutations)
    msgspec.json.decode(msgspec.json.encode(found), type=Review)
