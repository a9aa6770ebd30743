"""Several metrics in one verdict: truth tables for each objective under each ruler, and what holds whatever the numbers."""

from __future__ import annotations

import math

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from builders import problem, trial
from evogit.domain.belief import Belief, Ruler, Standing
from evogit.domain.metric import Direction, Metric
from evogit.domain.problem import Budget, Decide
from evogit.domain.trial import Measurement
from evogit.domain.verdict import Complexity, Decision, Verdict
from evogit.errors import ProblemError
from evogit.search.frontier import dominates
from evogit.stages.decide import ACCEPT, decide, wants_more_seeds

RULERS = list(Ruler)
RULES = ["posterior", "greedy", "confirm"]
PER_PARAM = 1e-6  # what one parameter is worth in val_loss: 10,000 of them 0.01
KINDS = {
    "primary": Decide(),
    "weighted": Decide(objective="weighted", weights={"params": PER_PARAM}),
    "lexicographic": Decide(objective="lexicographic"),
    "pareto": Decide(objective="pareto"),
}


def toy(kind: str, rule: str = "", *, min_delta: float = 0.0, seeds: int = 3, **more):
    metrics = (
        Metric(name="val_loss", direction=Direction.MINIMIZE, min_delta=min_delta),
        Metric(name="params", direction=Direction.MINIMIZE, min_delta=1000.0),
    )
    said = msgspec.structs.replace(KINDS[kind], rule=rule, **more)
    return problem(metrics=metrics, decide=said, budget=Budget(seeds=tuple(range(seeds))))


def measured(losses, params: float | None) -> Measurement:
    """The same size under every seed; None: it was not reported."""
    sizes = {} if params is None else {"params": (params,) * len(losses)}
    return Measurement(values={"val_loss": tuple(losses), **sizes}, trials=tuple(trial("1", n, loss) for n, loss in enumerate(losses)))


def against(ruler: Ruler, loss: float = 0.1, params: float | None = 100_000.0, *, readings: int = 2, sigma: float = 0.01) -> Standing:
    """A child of the incumbent, which is known as well as nine readings tell."""
    sigma = sigma if ruler is Ruler.NOISY else 0.0
    belief = Belief(mean=loss, variance=sigma**2 / 9)
    return Standing(
        ruler=ruler,
        sigma=sigma,
        scales=(2 * sigma, 2 * sigma),
        parent=belief,
        incumbent=belief,
        is_child=True,
        incumbent_mean=loss,
        incumbent_readings=readings,
        incumbent_means={"val_loss": loss} | ({} if params is None else {"params": params}),
    )


def said_of(kind: str, ruler: Ruler, loss: float, params: float | None, rule: str = "", **more) -> Decision:
    """Two readings that differ by a trifle, so that they are no sign of a candidate that ignores its seeds."""
    return decide(toy(kind, rule, **more), measured((loss, loss + (1e-5 if ruler is Ruler.NOISY else 0.0)), params), against(ruler))


# truth tables: against an incumbent at 0.10 with 100,000 parameters ------------------------------------------------------


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("ruler", RULERS)
@pytest.mark.parametrize(
    ("loss", "params", "keeps"),
    [
        (0.05, 100_000, True),  # the primary metric alone
        (0.15, 100_000, False),
        (0.15, 20_000, True),  # a loss of 0.05 for what is worth 0.08
        (0.15, 80_000, False),  # for what is worth 0.02
        (0.05, 200_000, False),  # a gain of 0.05 that costs 0.1
        (0.05, 120_000, True),
        (0.10, 40_000, True),
        (0.10, 160_000, False),
    ],
)
def test_weighted_judges_the_gain_with_what_the_other_metrics_are_worth(ruler, rule, loss, params, keeps):
    said = said_of("weighted", ruler, loss, params, rule)

    assert (said.verdict is Verdict.KEEP) == keeps, said.reason
    assert f"params worth {(100_000 - params) * PER_PARAM:.4g}: " in said.reason
    assert said.gain == pytest.approx(0.1 - loss, abs=2e-5)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("ruler", RULERS)
@pytest.mark.parametrize(
    ("loss", "params", "keeps"),
    [
        (0.05, 900_000, True),  # the first metric differs
        (0.15, 1_000, False),
        (0.10, 50_000, True),  # it does not, the second one does
        (0.10, 150_000, False),
        (0.10, 99_500, False),  # neither does
        (0.10, 100_500, False),
    ],
)
def test_lexicographic_asks_the_second_metric_where_the_first_is_equal(ruler, rule, loss, params, keeps):
    said = said_of("lexicographic", ruler, loss, params, rule)

    assert (said.verdict is Verdict.KEEP) == keeps, said.reason


@pytest.mark.parametrize("rule", [*RULES, "pareto"])
@pytest.mark.parametrize("ruler", RULERS)
@pytest.mark.parametrize(
    ("loss", "params", "keeps", "is_trade"),
    [
        (0.05, 50_000, True, False),
        (0.05, 100_000, True, False),
        (0.05, 100_500, True, False),  # worse by less than its min_delta is no worse
        (0.10, 50_000, True, False),
        (0.10, 99_500, False, False),  # better by less than its min_delta is no better
        (0.10, 100_000, False, False),
        (0.05, 150_000, False, True),
        (0.15, 50_000, False, True),
        (0.10, 150_000, False, False),
        (0.15, 150_000, False, False),
    ],
)
def test_pareto_keeps_what_is_worse_in_nothing_and_better_in_something(ruler, rule, loss, params, keeps, is_trade):
    said = said_of("pareto", ruler, loss, params, rule)

    assert (said.verdict is Verdict.KEEP) == keeps, said.reason
    assert ("a trade of one metric for another" in said.reason) == is_trade


def test_the_rule_pareto_is_the_posterior_with_that_objective():
    for loss, params in ((0.05, 50_000), (0.095, 50_000), (0.05, 150_000), (0.1, 99_900)):
        said = said_of("primary", Ruler.NOISY, loss, params, "pareto")

        assert said == said_of("pareto", Ruler.NOISY, loss, params, "posterior")


# words ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "ruler", "loss", "params", "reason"),
    [
        ("weighted", Ruler.EXACT, 0.15, 20_000, "val_loss worse by 0.05, params worth 0.08: better by 0.03"),
        ("weighted", Ruler.EXACT, 0.05, 200_000, "val_loss better by 0.05, params worth -0.1: worse by 0.05"),
        ("lexicographic", Ruler.EXACT, 0.10, 50_000, "val_loss unchanged; as good, and params better by 5e+04"),
        ("lexicographic", Ruler.EXACT, 0.10, 150_000, "val_loss unchanged; as good, but params worse by 5e+04"),
        ("lexicographic", Ruler.EXACT, 0.15, 50_000, "val_loss worse by 0.05; params better by 5e+04, but val_loss comes first"),
        ("lexicographic", Ruler.EXACT, 0.05, 150_000, "val_loss better by 0.05"),
        ("pareto", Ruler.EXACT, 0.05, 150_000, "val_loss better by 0.05; params worse by 5e+04: a trade of one metric for another"),
        ("pareto", Ruler.EXACT, 0.10, 50_000, "val_loss unchanged; as good, and params better by 5e+04"),
        ("pareto", Ruler.EXACT, 0.15, 150_000, "val_loss worse by 0.05; params worse by 5e+04"),
        ("pareto", Ruler.EXACT, 0.05, 50_000, "val_loss better by 0.05; params better by 5e+04"),
    ],
)
def test_a_reason_says_what_each_metric_did(kind, ruler, loss, params, reason):
    assert said_of(kind, ruler, loss, params).reason == reason


@pytest.mark.parametrize("kind", ["weighted", "lexicographic", "pareto"])
@pytest.mark.parametrize("ruler", RULERS)
@pytest.mark.parametrize("loss", [0.05, 0.1, 0.15])
def test_a_metric_that_was_not_reported_is_named_and_the_primary_one_judged_alone(kind, ruler, loss):
    alone = said_of("primary", ruler, loss, None)
    without, beside = said_of(kind, ruler, loss, None), against(ruler, params=None)
    unknown = decide(toy(kind), measured((loss, loss), 1.0), beside)

    assert without == msgspec.structs.replace(alone, reason=f"{alone.reason}; params was not reported, so val_loss was judged alone")
    assert "the incumbent has no params, so val_loss was judged alone" in unknown.reason


def test_a_gap_is_named_as_well_where_simplicity_keeps_the_run():
    said = decide(toy("pareto"), measured((0.1, 0.1), None), against(Ruler.EXACT), complexity=Complexity(lines=-7))

    assert said.verdict is Verdict.KEEP
    assert said.reason == "as good and simpler: 7 lines less (val_loss unchanged); params was not reported, so val_loss was judged alone"


def test_an_objective_that_does_not_exist_is_named_with_those_that_do():
    with pytest.raises(ProblemError, match="wieghted") as caught:
        decide(problem(decide=Decide(objective="wieghted")), measured((0.1,), 1.0), against(Ruler.EXACT))

    assert "weighted" in caught.value.hint


# noise ---------------------------------------------------------------------------------------------------------------


def test_a_weighted_sum_within_the_noise_is_no_sure_gain():
    near, clear = (said_of("weighted", Ruler.NOISY, 0.15, params) for params in (60_000, 20_000))

    assert (near.verdict, clear.verdict) == (Verdict.DISCARD, Verdict.KEEP)
    assert 0.02 < near.p_gain < 0.3
    assert clear.p_gain > 0.9


def test_an_equal_that_is_not_sure_to_be_equal_is_no_tie():
    wide = against(Ruler.NOISY)
    said = [decide(toy(kind), measured((0.112,), 50_000), wide) for kind in ("lexicographic", "pareto")]

    assert [s.verdict for s in said] == [Verdict.DISCARD, Verdict.DISCARD]
    assert all(s.reason.endswith("params better by 5e+04, but val_loss may be worse") for s in said)


def test_pareto_wants_to_be_sure_of_no_loss_even_where_a_gain_is_likely_enough():
    vague = msgspec.structs.replace(against(Ruler.NOISY), is_child=False, incumbent=Belief(mean=0.1, variance=1e-4), parent=None)
    alike = measured((0.0985, 0.0984), 100_000)

    assert decide(toy("primary"), alike, vague).verdict is Verdict.KEEP
    said = decide(toy("pareto"), alike, vague)
    assert said.verdict is Verdict.DISCARD
    assert said.reason.endswith("but val_loss may be worse")


def test_while_noise_is_unknown_no_objective_believes_fewer_seeds_than_the_incumbent_has():
    for kind, loss, params in (("weighted", 0.15, 20_000), ("lexicographic", 0.1, 50_000), ("pareto", 0.1, 50_000)):
        said = decide(toy(kind), measured((loss,), params), against(Ruler.UNKNOWN, readings=3))

        assert said.verdict is Verdict.DISCARD
        assert "fewer seeds than the incumbent" in said.reason


# further seeds ---------------------------------------------------------------------------------------------------------


def wants(kind: str, ruler: Ruler, loss: float, params: float, rule: str = "", *, readings: int = 1, **more) -> bool:
    by_seed = {n: loss + n * 1e-5 for n in range(readings)}
    return wants_more_seeds(toy(kind, rule, **more), by_seed, against(ruler, readings=3), None, {"val_loss": loss, "params": params})


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("ruler", RULERS)
@pytest.mark.parametrize(
    ("kind", "loss", "params"),
    [
        ("weighted", 0.15, 100_000),
        ("weighted", 0.05, 200_000),
        ("lexicographic", 0.15, 1_000),
        ("pareto", 0.15, 50_000),
        ("pareto", 0.05, 150_000),
        ("pareto", 0.10, 150_000),
    ],
)
def test_a_clear_loser_leaves_after_its_first_seed(kind, ruler, rule, loss, params):
    assert not wants(kind, ruler, loss, params, rule)


@pytest.mark.parametrize("ruler", RULERS)
@pytest.mark.parametrize(
    ("kind", "loss", "params"),
    [("weighted", 0.12, 79_000), ("lexicographic", 0.085, 150_000), ("pareto", 0.085, 50_000)],
)
def test_a_contender_buys_another_seed_under_every_ruler(kind, ruler, loss, params):
    assert wants(kind, ruler, loss, params)
    assert wants(kind, ruler, loss, params, "confirm")
    assert not wants(kind, ruler, loss, params, "greedy")
    assert not wants(kind, ruler, loss, params, seeds=1)


@pytest.mark.parametrize("kind", ["lexicographic", "pareto"])
def test_a_tie_that_another_metric_would_tip_buys_a_seed_to_be_sure_of(kind):
    assert wants(kind, Ruler.NOISY, 0.1085, 50_000)
    assert not wants(kind, Ruler.NOISY, 0.1085, 100_000)
    assert wants(kind, Ruler.UNKNOWN, 0.1, 50_000)
    assert wants(kind, Ruler.UNKNOWN, 0.101, 50_000, min_delta=0.002)
    assert wants(kind, Ruler.EXACT, 0.1, 50_000)
    assert not wants(kind, Ruler.EXACT, 0.1, 100_000)


# constraints -----------------------------------------------------------------------------------------------------------

LIMIT = ("params <= 110k",)


def limited(kind: str = "primary", rule: str = "", limits=LIMIT):
    return toy(kind, rule, constraints=limits)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("ruler", RULERS)
@pytest.mark.parametrize("kind", list(KINDS))
@pytest.mark.parametrize(
    ("mine", "theirs", "losses"),
    [
        (120_000, 100_000, {0.05: False, 0.10: False, 0.15: False}),  # whatever it gained
        (100_000, 120_000, {0.05: True, 0.10: True, 0.15: True}),
    ],
)
def test_what_breaks_no_constraint_beats_what_breaks_one(kind, ruler, rule, mine, theirs, losses):
    for loss, keeps in losses.items():
        said = decide(limited(kind, rule), measured((loss, loss), mine), against(ruler, params=theirs))

        assert (said.verdict is Verdict.KEEP) == keeps
        assert not said.near_miss
        assert "params is 120000, and must be <= 110k" in said.reason


@pytest.mark.parametrize("ruler", RULERS)
@pytest.mark.parametrize("kind", list(KINDS))
def test_two_that_break_constraints_are_judged_as_usual_and_the_reason_says_so(kind, ruler):
    for loss, params in ((0.05, 120_000), (0.15, 120_000), (0.1, 115_000)):
        as_usual = decide(toy(kind), measured((loss, loss), params), against(ruler, params=120_000.0))
        said = decide(limited(kind), measured((loss, loss), params), against(ruler, params=120_000.0))

        assert said.verdict is as_usual.verdict
        assert said.reason == f"{as_usual.reason}; outside its constraints, as the incumbent: params is {params}, and must be <= 110k"


def test_a_baseline_outside_its_constraints_is_kept_and_says_so():
    said = decide(limited(), measured((0.1,), 120_000), Standing())

    assert said == Decision(verdict=Verdict.KEEP, reason="baseline; params is 120000, and must be <= 110k")
    assert decide(limited(), measured((0.1,), 100_000), Standing()).reason == "baseline"


def test_where_nothing_is_known_of_the_incumbents_metrics_it_counts_as_within_its_constraints():
    bare = msgspec.structs.replace(against(Ruler.EXACT), incumbent_means={})

    assert decide(limited(), measured((0.05,), 120_000), bare).verdict is Verdict.DISCARD


@pytest.mark.parametrize(
    ("limits", "loss", "mine", "theirs", "wanted"),
    [
        (LIMIT, 0.085, 120_000, 100_000, False),  # out, whatever it would read
        (LIMIT, 0.085, 100_000, 120_000, False),  # kept, whatever it would read
        (LIMIT, 0.085, 120_000, 120_000, True),
        (LIMIT, 0.085, 100_000, 100_000, True),
        (("val_loss < 0.09",), 0.085, 100_000, 100_000, True),  # a further reading may break it
        (("val_loss < 0.08", "params <= 110k"), 0.085, 120_000, 100_000, True),  # the incumbent breaks the first one too
    ],
)
def test_no_seed_is_bought_where_a_constraint_has_settled_it(limits, loss, mine, theirs, wanted):
    means = {"val_loss": loss, "params": mine}

    assert wants_more_seeds(limited(limits=limits), {0: loss}, against(Ruler.NOISY, params=theirs), None, means) == wanted


# simplicity ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["lexicographic", "pareto"])
def test_simpler_does_not_overrule_a_metric_that_is_worse(kind):
    simpler, standing = Complexity(lines=-9), against(Ruler.EXACT)

    assert decide(toy(kind), measured((0.1, 0.1), 103_000), standing, complexity=simpler).verdict is Verdict.DISCARD
    assert decide(toy(kind), measured((0.1, 0.1), 100_000), standing, complexity=simpler).verdict is Verdict.KEEP
    assert decide(toy("primary"), measured((0.1, 0.1), 103_000), standing, complexity=simpler).verdict is Verdict.KEEP


@pytest.mark.parametrize("kind", ["lexicographic", "pareto"])
def test_a_gain_of_another_metric_deserves_lines_by_its_own_size(kind):
    standing = against(Ruler.NOISY)
    large, small = (
        decide(toy(kind), measured((0.1, 0.10001), params), standing, complexity=Complexity(lines=150)) for params in (50_000, 98_500)
    )

    assert (large.verdict, small.verdict) == (Verdict.KEEP, Verdict.DISCARD)
    assert "150 lines more: a gain this small deserves 30" in small.reason


# whatever the numbers ------------------------------------------------------------------------------------------------

KIND, RULER, RULE = st.sampled_from(list(KINDS)), st.sampled_from(RULERS), st.sampled_from(RULES)
LOSSES = st.lists(st.floats(-8, 8), min_size=1, max_size=3)
SIZE = st.one_of(st.sampled_from([96.0, 99.5, 100.0, 100.5, 104.0]), st.floats(50, 150))
POWER = st.integers(-20, 20)


def scaled(kind: str, rule: str, min_delta: float, loss_unit: float = 1.0, size_unit: float = 1.0):
    metrics = (
        Metric(name="val_loss", direction=Direction.MINIMIZE, min_delta=min_delta * loss_unit),
        Metric(name="params", direction=Direction.MAXIMIZE, min_delta=1.0 * size_unit),
    )
    weights = {"weights": {"params": 0.25 * loss_unit / size_unit}} if kind == "weighted" else {}
    return problem(metrics=metrics, decide=Decide(objective=kind, rule=rule, **weights))


@given(KIND, RULER, RULE, LOSSES, SIZE, st.floats(0.01, 3), st.floats(0, 1), POWER, POWER)
def test_the_unit_of_a_metric_changes_no_verdict(kind, ruler, rule, losses, size, sigma, min_delta, a, b):
    answers = []
    for loss_unit, size_unit in ((1.0, 1.0), (2.0**a, 2.0**b)):  # powers of two scale floats exactly
        contract = scaled(kind, rule, min_delta, loss_unit, size_unit)
        standing = against(ruler, 1.0 * loss_unit, 100.0 * size_unit, sigma=sigma * loss_unit)
        found = measured([x * loss_unit for x in losses], size * size_unit)
        said = decide(contract, found, standing, complexity=Complexity(lines=-3))
        more = wants_more_seeds(contract, dict(enumerate(found.values["val_loss"])), standing, Complexity(lines=-3), found.means)
        answers.append((said.verdict, said.near_miss, said.p_gain, more))

    assert answers[0] == answers[1]


@given(KIND, RULER, RULE, st.sampled_from([math.nan, math.inf, -math.inf]), SIZE)
def test_what_is_no_finite_number_never_wins_by_the_primary_metric(kind, ruler, rule, value, size):
    contract, found = scaled(kind, rule, 0.0), measured((0.5, value), size)

    assert decide(contract, found, against(ruler, 1.0, 100.0)).verdict is Verdict.DISCARD
    assert not wants_more_seeds(contract, {0: value}, against(ruler, 1.0, 100.0), None, found.means)


@given(KIND, RULER, RULE, st.sampled_from([math.nan, math.inf, -math.inf]), LOSSES)
def test_what_is_no_finite_number_never_wins_by_another_metric(kind, ruler, rule, value, losses):
    contract, standing = scaled(kind, rule, 0.0), against(ruler, 1.0, 100.0)

    broken, alone = (
        decide(contract, measured(losses, value), standing),
        decide(scaled("primary", rule, 0.0), measured(losses, None), standing),
    )

    assert (broken.verdict, broken.p_gain) == (alone.verdict, alone.p_gain)


@given(RULER, st.sampled_from([*RULES, "pareto"]), LOSSES, SIZE, st.floats(0, 1))
def test_what_pareto_keeps_is_never_dominated_by_the_incumbent(ruler, rule, losses, size, min_delta):
    contract, standing = scaled("pareto", rule, min_delta), against(ruler, 1.0, 100.0, sigma=0.5)

    said = decide(contract, measured(losses, size), standing)

    if said.verdict is Verdict.KEEP and (ruler is not Ruler.NOISY or rule in {"greedy", "confirm"}):  # by what was read
        assert not dominates((1.0, 100.0), (sum(losses) / len(losses), size), contract.objectives)
    elif said.verdict is Verdict.KEEP:  # by what is believed
        assert size > 101.0 or (said.p_gain >= 1 - ACCEPT and size >= 99.0)


@given(
    KIND,
    RULER,
    RULE,
    st.floats(allow_nan=False, allow_infinity=False),
    st.floats(allow_nan=False, allow_infinity=False),
    st.floats(1e-15, 1e15, exclude_max=True),
)
def test_no_finite_number_and_no_weight_makes_a_verdict_fail(kind, ruler, rule, loss, size, weight):
    weights = {"weights": {"params": weight}} if kind == "weighted" else {}
    contract = problem(decide=Decide(objective=kind, rule=rule, **weights))
    standing, found = against(ruler, 1.0, 100.0), measured((loss,), size)

    said = decide(contract, found, standing, complexity=Complexity(lines=500))
    more = wants_more_seeds(contract, {0: loss}, standing, Complexity(lines=-1), found.means)

    assert said.verdict in {Verdict.KEEP, Verdict.DISCARD}
    assert more in {True, False}


@given(RULER, RULE, LOSSES, SIZE, st.sampled_from([None, Complexity(lines=-3), Complexity(lines=90)]))
def test_the_primary_objective_looks_at_nothing_else(ruler, rule, losses, size, complexity):
    contract, standing = toy("primary", rule), against(ruler, 1.0, sigma=0.5)
    bare = msgspec.structs.replace(standing, incumbent_means={})

    assert decide(contract, measured(losses, size), standing, complexity=complexity) == decide(
        contract, measured(losses, None), bare, complexity=complexity
    )
    by_seed = dict(enumerate(losses))
    assert wants_more_seeds(contract, by_seed, standing, complexity, {"params": size}) == wants_more_seeds(
        contract, by_seed, bare, complexity
    )
