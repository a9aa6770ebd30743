"""Several metrics as one judgement."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builders import LOSS, problem
from evogit.domain import constraint
from evogit.domain.metric import Direction, Metric
from evogit.domain.problem import Decide
from evogit.errors import ProblemError
from evogit.problem import load_from
from evogit.search.scoring import better, feasible, side_gain

PARAMS = Metric(name="params", direction=Direction.MINIMIZE, min_delta=1.0)
numbers = st.floats(-1e6, 1e6)


def toy(**decide):
    return problem(metrics=(LOSS, PARAMS), decide=Decide(**decide))


def at(loss, params):
    return {"val_loss": loss, "params": params}


@pytest.mark.parametrize(
    ("text", "sign", "bound"),
    [
        ("params <= 100k", "<=", 100_000.0),
        ("params<1.5M", "<", 1.5e6),
        ("params >= 2G", ">=", 2e9),
        ("params > -3e-2", ">", -0.03),
        ("params < .5", "<", 0.5),
        ("params <= 1_000", "<=", 1000.0),
    ],
)
def test_a_bound_may_have_a_suffix(text, sign, bound):
    found = constraint.parse(text)

    assert (found.metric, found.sign, found.bound) == ("params", sign, bound)


@pytest.mark.parametrize(
    "text", ["", "params", "params = 3", "params <= ten", "<= 3", "params <= 3 MB", "params <= 9e999", "params <= nan"]
)
def test_what_is_no_comparison_is_refused(text):
    with pytest.raises(ValueError, match="is no|has a bound"):
        constraint.parse(text)


def test_a_broken_constraint_is_said_in_words():
    said = feasible(toy(constraints=("val_loss < 1", "params <= 100k")), at(0.5, 120_000.0))

    assert said == "params is 120000, and must be <= 100k"


def test_a_run_within_its_constraints_breaks_none():
    assert feasible(toy(constraints=("params <= 100k",)), at(0.5, 100_000.0)) == ""


@pytest.mark.parametrize("means", [{"val_loss": 0.5}, {"val_loss": 0.5, "params": math.nan}])
def test_a_number_that_is_missing_satisfies_nothing(means):
    assert "not reported" in feasible(toy(constraints=("params <= 100k",)), means)


def test_the_primary_metric_alone_is_the_default():
    assert better(toy(), at(0.1, 9e9), at(0.3, 1.0)) == pytest.approx(0.2)


def test_a_weight_is_what_one_unit_is_worth_in_the_primary_metric():
    found = toy(objective="weighted", weights={"params": 1e-5})

    assert better(found, at(0.30, 1000.0), at(0.30, 11_000.0)) == pytest.approx(0.1)
    assert side_gain(found, at(0.30, 1000.0), at(0.30, 11_000.0)) == pytest.approx(0.1)
    assert better(found, at(0.25, 30_000.0), at(0.30, 10_000.0)) == pytest.approx(-0.15)


def test_the_first_metric_that_differs_decides_where_the_order_counts():
    found = toy(objective="lexicographic")

    assert better(found, at(0.3, 10.0), at(0.3, 50.0)) == pytest.approx(40.0)
    assert better(found, at(0.4, 10.0), at(0.3, 50.0)) == pytest.approx(-0.1)
    assert better(found, at(0.3, 50.5), at(0.3, 50.0)) == 0.0


def test_pareto_says_nothing_of_runs_that_trade_one_metric_for_another():
    found = toy(objective="pareto")

    assert better(found, at(0.2, 50.0), at(0.3, 10.0)) is None
    assert better(found, at(0.2, 10.0), at(0.3, 10.0)) == 0.5
    assert better(found, at(0.3, 90.0), at(0.3, 10.0)) == -0.5


@given(numbers, numbers, numbers, numbers, st.sampled_from(["primary", "weighted", "lexicographic", "pareto"]))
def test_a_judgement_turned_round_is_its_opposite(a, b, c, d, kind):
    found = toy(objective=kind, weights={"params": 0.5} if kind == "weighted" else {})

    there, back = better(found, at(a, b), at(c, d)), better(found, at(c, d), at(a, b))

    assert there == (None if back is None else pytest.approx(-back))


@pytest.mark.parametrize("kind", ["primary", "weighted", "lexicographic", "pareto"])
def test_nan_is_never_better(kind):
    found = toy(objective=kind, weights={"params": 1.0} if kind == "weighted" else {})

    assert better(found, at(math.nan, 1.0), at(1.0, 1.0)) is None


class Memory:
    def __init__(self, text):
        self.text = text

    def read(self, path):
        return {"evogit.toml": self.text.encode(), "train.py": b""}.get(path)

    def listing(self):
        return ["evogit.toml", "train.py"]


HEAD = """
[problem]
mutable = ["train.py"]
command = "python train.py"
[[metric]]
name = "val_loss"
direction = "minimize"
[[metric]]
name = "params"
direction = "minimize"
[decide]
"""


@pytest.mark.parametrize(
    ("lines", "key", "fix"),
    [
        ('objective = "wieghted"', "decide.objective", "did you mean weighted"),
        ('objective = "weighted"', "decide.weights", "weights ="),
        ('objective = "weighted"\nweights = { val_loss = 1 }', "decide.weights", "weights ="),
        ('objective = "weighted"\nweights = { parms = 1 }', "decide.weights.parms", "did you mean params"),
        ('objective = "weighted"\nweights = { params = -1 }', "decide.weights.params", "positive"),
        ('objective = "weighted"\nweights = { params = nan }', "decide.weights.params", "positive"),
        ('objective = "weighted"\nweights = { params = 1, val_loss = 0 }', "decide.weights.val_loss", "positive"),
        ("weights = { params = 1 }", "decide.weights", 'objective = "weighted"'),
        ('weights = { params = "x" }', "decide.weights", "write a number"),
        ('constraints = ["params <= lots"]', "decide.constraints[0]", "params <= 100k"),
        ('constraints = ["params < 5", "latency < 5"]', "decide.constraints[1]", "known here: params, val_loss"),
        ('constraints = "params < 5"', "decide.constraints", "a list"),
    ],
)
def test_a_contract_that_makes_no_sense_names_key_and_fix(lines, key, fix):
    with pytest.raises(ProblemError) as error:
        load_from(Memory(HEAD + lines), "", top_name="lab")

    assert f"evogit.toml: {key}" in error.value.message
    assert fix in error.value.hint


def test_a_contract_may_weigh_and_limit_its_metrics():
    found = load_from(
        Memory(HEAD + 'objective = "weighted"\nweights = { params = 1e-7 }\nconstraints = ["params <= 100k"]'), "", top_name="lab"
    )

    assert better(found, at(0.3, 0.0), at(0.3, 1e6)) == pytest.approx(0.1)
    assert feasible(found, at(0.3, 2e5))
