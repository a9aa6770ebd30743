"""The verdict: a pure function of readings and of what they are judged against."""

from __future__ import annotations

import math

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from builders import LOSS, problem, trial
from evogit.domain.belief import Belief, Ruler, Standing
from evogit.domain.metric import Direction, Metric
from evogit.domain.problem import Budget, Decide
from evogit.domain.trial import Crash, Measurement, Status
from evogit.domain.verdict import Complexity, Verdict
from evogit.errors import ProblemError
from evogit.stages.decide import ACCEPT, decide, wants_more_seeds

SMALLER = Complexity(lines=-7)


def measured(*losses: float) -> Measurement:
    return Measurement(values={"val_loss": losses}, trials=tuple(trial("1", seed, loss) for seed, loss in enumerate(losses)))


def crashed() -> Measurement:
    line = msgspec.structs.replace(trial("1", 0, 0.0), status=Status.CRASH, metrics={}, crash=Crash(kind="ValueError", message="shapes"))
    return Measurement(values={}, trials=(line,))


def against(mean: float, *, sigma: float = 0.0, readings: int = 1, ruler: Ruler | None = None, unit: float = 1.0) -> Standing:
    """A child of the incumbent, which is known as well as nine readings tell."""
    belief = Belief(mean=mean * unit, variance=(sigma * unit) ** 2 / 9)
    return Standing(
        ruler=ruler or (Ruler.NOISY if sigma else Ruler.UNKNOWN),
        sigma=sigma * unit,
        scales=(2 * sigma * unit, 2 * sigma * unit),
        parent=belief,
        incumbent=belief,
        is_child=True,
        incumbent_mean=mean * unit,
        incumbent_readings=readings,
    )


def seeds(*losses: float) -> dict[int, float]:
    return dict(enumerate(losses))


def picky(min_delta: float, **more):
    return problem(metrics=(Metric(name="val_loss", direction=Direction.MINIMIZE, min_delta=min_delta),), **more)


def ruled(rule: str, **more):
    return problem(decide=Decide(rule=rule, **more))


# whatever the rule ---------------------------------------------------------------------------------------------------


def test_a_baseline_with_a_number_is_kept_and_one_without_is_a_crash():
    assert decide(problem(), measured(0.5), Standing()).verdict is Verdict.KEEP
    assert decide(problem(), Measurement(values={}, trials=()), Standing()).verdict is Verdict.CRASH


def test_a_crash_on_any_seed_is_a_crash_and_says_why():
    decision = decide(problem(), crashed(), against(0.1))

    assert decision.verdict is Verdict.CRASH
    assert decision.reason == "ValueError: shapes"


def test_a_gate_wins_over_everything():
    decision = decide(problem(), measured(0.0), against(0.1), rejected="edited evaluate.py")

    assert decision.verdict is Verdict.REJECT
    assert decision.reason == "edited evaluate.py"


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("sigma", [0.0, 0.01])
@pytest.mark.parametrize("rule", ["posterior", "greedy", "confirm"])
def test_what_is_no_finite_number_never_wins(value, sigma, rule):
    assert decide(ruled(rule), measured(0.01, value), against(0.1, sigma=sigma)).verdict is Verdict.DISCARD
    assert not wants_more_seeds(ruled(rule), seeds(value), against(0.1, sigma=sigma))


def test_a_rule_that_does_not_exist_is_named_with_those_that_do():
    with pytest.raises(ProblemError, match="lucky") as caught:
        decide(ruled("lucky"), measured(0.5), against(0.6))

    assert "greedy" in caught.value.hint


# plain comparison ----------------------------------------------------------------------------------------------------


def test_a_lower_mean_is_kept_when_the_metric_is_minimised():
    decision = decide(problem(), measured(0.08, 0.09, 0.07), against(0.10, readings=3))

    assert decision.verdict is Verdict.KEEP
    assert math.isclose(decision.gain, 0.02)
    assert decision.p_gain is None


def test_a_higher_mean_is_kept_when_the_metric_is_maximised():
    up = problem(metrics=(Metric(name="val_loss", direction=Direction.MAXIMIZE),))

    assert decide(up, measured(0.9), against(0.8)).verdict is Verdict.KEEP
    assert decide(up, measured(0.7), against(0.8)).verdict is Verdict.DISCARD


def test_a_gain_not_above_min_delta_is_no_gain():
    assert decide(picky(0.05), measured(0.06), against(0.10)).verdict is Verdict.DISCARD
    assert decide(picky(0.05), measured(0.04), against(0.10)).verdict is Verdict.KEEP


def test_equal_is_not_better():
    decision = decide(problem(), measured(0.1), against(0.1))

    assert decision.verdict is Verdict.DISCARD
    assert decision.reason == "val_loss unchanged"


def test_while_noise_is_unknown_a_gain_on_fewer_seeds_than_the_incumbent_is_not_believed():
    decision = decide(problem(), measured(0.05), against(0.10, readings=3))

    assert decision.verdict is Verdict.DISCARD
    assert decision.near_miss


def test_while_noise_is_unknown_any_loss_is_clear():
    assert not wants_more_seeds(problem(), seeds(0.1001), against(0.10))
    assert wants_more_seeds(problem(), seeds(0.10), against(0.10))


def test_without_noise_a_contender_buys_one_seed_to_show_that_it_brought_none():
    exact = against(0.10, ruler=Ruler.EXACT, readings=3)

    assert wants_more_seeds(problem(), seeds(0.09), exact)
    assert not wants_more_seeds(problem(), seeds(0.09, 0.09), exact)
    assert not wants_more_seeds(problem(), seeds(0.11), exact)
    assert decide(problem(), measured(0.09), exact).verdict is Verdict.KEEP


# with noise ----------------------------------------------------------------------------------------------------------


def test_a_gain_within_noise_is_no_keep_and_a_clear_one_is():
    near, clear = (decide(problem(), measured(loss, loss + 1e-4, loss), against(0.10, sigma=0.01)) for loss in (0.095, 0.05))

    assert (near.verdict, clear.verdict) == (Verdict.DISCARD, Verdict.KEEP)
    assert near.p_gain < 1 - ACCEPT < clear.p_gain
    assert "sure of a gain" in clear.reason


def test_a_stricter_threshold_keeps_less():
    loss = measured(0.088, 0.0881)

    assert decide(problem(decide=Decide(accept=0.9)), loss, against(0.10, sigma=0.01)).verdict is Verdict.KEEP
    assert decide(problem(decide=Decide(accept=0.1)), loss, against(0.10, sigma=0.01)).verdict is Verdict.DISCARD


def test_a_clear_loser_buys_no_second_seed_and_a_contender_does():
    standing = against(0.10, sigma=0.01)

    assert not wants_more_seeds(problem(), seeds(0.2), standing)
    assert wants_more_seeds(problem(), seeds(0.08), standing)


def test_a_keep_is_not_taken_on_one_reading_that_may_be_a_wild_one_and_two_that_agree_suffice():
    standing = against(0.10, sigma=0.01)

    assert wants_more_seeds(problem(), seeds(0.05), standing)
    assert not wants_more_seeds(problem(), seeds(0.05, 0.051), standing)


def test_a_discard_that_may_well_be_better_is_a_near_miss():
    strict = problem(decide=Decide(accept=0.1))

    assert decide(strict, measured(0.082), against(0.10, sigma=0.01)).near_miss
    assert not decide(strict, measured(0.15), against(0.10, sigma=0.01)).near_miss


def test_no_run_gets_more_seeds_than_the_budget():
    standing = against(0.10, sigma=0.01)

    assert not wants_more_seeds(problem(budget=Budget(seeds=(0,))), seeds(0.088), standing)
    assert not wants_more_seeds(problem(budget=Budget(seeds=(0, 1, 2, 3, 4))), seeds(0.088, 0.0881, 0.0882), standing)


def test_a_candidate_that_ignores_its_seeds_was_read_once():
    ignoring = decide(problem(), measured(0.083, 0.083, 0.083), against(0.10, sigma=0.01))

    assert ignoring.p_gain == decide(problem(), measured(0.083), against(0.10, sigma=0.01)).p_gain
    assert "same number under 3 seeds" in ignoring.reason


def test_what_a_seed_adds_is_taken_out():
    lucky = msgspec.structs.replace(against(0.10, sigma=0.01), seed_effects={0: -0.05, 1: 0.05})

    assert decide(problem(), measured(0.05), lucky).verdict is Verdict.DISCARD


def test_a_child_of_another_run_is_judged_against_the_incumbent():
    poor = Belief(mean=0.5, variance=1e-5)
    standing = msgspec.structs.replace(against(0.10, sigma=0.01), parent=poor, is_child=False)

    assert decide(problem(), measured(0.3, 0.31), standing).verdict is Verdict.DISCARD
    assert decide(problem(), measured(0.02, 0.03, 0.025), standing).verdict is Verdict.KEEP


# other rules ---------------------------------------------------------------------------------------------------------


def test_greedy_keeps_whatever_read_better_and_buys_nothing():
    assert decide(ruled("greedy"), measured(0.0999), against(0.10, sigma=0.01)).verdict is Verdict.KEEP
    assert not wants_more_seeds(ruled("greedy"), seeds(0.05), against(0.10, sigma=0.01))


def test_confirm_asks_for_a_second_reading_that_is_better_too():
    standing = against(0.10, sigma=0.01)

    assert wants_more_seeds(ruled("confirm"), seeds(0.09), standing)
    assert not wants_more_seeds(ruled("confirm"), seeds(0.11), standing)
    assert decide(ruled("confirm"), measured(0.09), standing).verdict is Verdict.DISCARD
    assert decide(ruled("confirm"), measured(0.05, 0.11), standing).verdict is Verdict.DISCARD
    assert decide(ruled("confirm"), measured(0.09, 0.095), standing).verdict is Verdict.KEEP


# simplicity ----------------------------------------------------------------------------------------------------------


def test_as_good_and_simpler_is_kept():
    decision = decide(problem(), measured(0.0999, 0.1, 0.1001), against(0.10, sigma=0.01), complexity=SMALLER)

    assert decision.verdict is Verdict.KEEP
    assert decision.reason.startswith("as good and simpler: 7 lines less")


def test_simpler_but_worse_is_not_kept():
    assert decide(problem(), measured(0.115, 0.113), against(0.10, sigma=0.01), complexity=SMALLER).verdict is Verdict.DISCARD


def test_simplicity_can_be_switched_off_and_is_silent_while_noise_is_unknown():
    plain = ruled("", simplicity=False)

    assert decide(plain, measured(0.0999, 0.1), against(0.10, sigma=0.01), complexity=SMALLER).verdict is Verdict.DISCARD
    assert decide(problem(), measured(0.10), against(0.10), complexity=SMALLER).verdict is Verdict.DISCARD


def test_without_noise_the_same_number_with_fewer_parameters_is_kept():
    exact, fewer = against(0.10, ruler=Ruler.EXACT), Complexity(params=-0.2)

    assert decide(problem(), measured(0.10), exact, complexity=fewer).verdict is Verdict.KEEP
    assert decide(problem(), measured(0.101), exact, complexity=fewer).verdict is Verdict.DISCARD


@pytest.mark.parametrize(
    "heavier", [Complexity(lines=3, params=-0.5), Complexity(lines=-3, params=0.5), Complexity(seconds=-0.02), Complexity()]
)
def test_lighter_in_one_thing_and_heavier_in_another_is_not_simpler(heavier):
    assert decide(problem(), measured(0.10), against(0.10, ruler=Ruler.EXACT), complexity=heavier).verdict is Verdict.DISCARD


def test_a_gain_smaller_than_its_added_lines_deserve_is_no_keep():
    kept, bloated = (
        decide(problem(), measured(0.075, 0.0751), against(0.10, sigma=0.01), complexity=Complexity(lines=lines)) for lines in (15, 150)
    )

    assert kept.verdict is Verdict.KEEP
    assert (bloated.verdict, bloated.near_miss) == (Verdict.DISCARD, True)
    assert "150 lines more" in bloated.reason


def test_an_undecided_equal_buys_a_seed_only_if_it_is_simpler():
    standing = against(0.10, sigma=0.01)

    assert wants_more_seeds(problem(), seeds(0.1025), standing, SMALLER)
    assert not wants_more_seeds(problem(), seeds(0.1025), standing)


# units ---------------------------------------------------------------------------------------------------------------

RULES = st.sampled_from(["", "greedy", "confirm"])
NEAR_ENOUGH = st.floats(-8, 8)


@given(st.lists(NEAR_ENOUGH, min_size=1, max_size=4), NEAR_ENOUGH, st.floats(0, 3), st.floats(0, 2), st.integers(-20, 20), RULES)
def test_changing_the_unit_of_the_metric_changes_no_verdict(mine, theirs, sigma, min_delta, power, rule):
    unit, sigma = 2.0**power, sigma if sigma > 1e-6 else 0.0  # a power of two scales floats exactly
    plain_problem, scaled_problem = (picky(min_delta * u, decide=Decide(rule=rule)) for u in (1.0, unit))
    scaled_mine = [x * unit for x in mine]

    plain = decide(plain_problem, measured(*mine), against(theirs, sigma=sigma), complexity=SMALLER)
    scaled = decide(scaled_problem, measured(*scaled_mine), against(theirs, sigma=sigma, unit=unit), complexity=SMALLER)

    assert (plain.verdict, plain.near_miss) == (scaled.verdict, scaled.near_miss)
    wanted = wants_more_seeds(plain_problem, seeds(*mine), against(theirs, sigma=sigma))
    assert wanted == wants_more_seeds(scaled_problem, seeds(*scaled_mine), against(theirs, sigma=sigma, unit=unit))


@given(st.lists(NEAR_ENOUGH, min_size=1, max_size=3), NEAR_ENOUGH, st.floats(0.01, 3), st.floats(1e-6, 1e6))
def test_any_unit_gives_the_same_probability(mine, theirs, sigma, unit):
    plain = decide(problem(), measured(*mine), against(theirs, sigma=sigma))
    scaled = decide(problem(), measured(*(x * unit for x in mine)), against(theirs, sigma=sigma, unit=unit))

    # Whether two readings are the very same number may turn on the last bit of a product, nothing else does.
    if len(set(mine)) == len({x * unit for x in mine}):
        assert math.isclose(plain.p_gain, scaled.p_gain, rel_tol=1e-6, abs_tol=1e-6)


def test_nan_never_beats_and_is_always_beaten():
    assert not LOSS.beats(math.nan, 1.0)
    assert LOSS.beats(1.0, math.nan)


def test_nothing_is_kept_whose_believed_gain_over_a_lucky_incumbent_is_a_loss():
    lucky = Belief(mean=0.095, variance=0.0004)
    parent = Belief(mean=0.097, variance=0.0001)
    standing = Standing(
        ruler=Ruler.NOISY,
        sigma=0.02,
        scales=(0.04, 0.04),
        parent=parent,
        incumbent=lucky,
        incumbent_mean=0.09,
        incumbent_readings=1,
    )
    trials = tuple(trial("2", seed, value) for seed, value in enumerate((0.0978, 0.1056, 0.1167)))

    said = decide(problem(), Measurement(values={"val_loss": (0.0978, 0.1056, 0.1167)}, trials=trials), standing)

    assert said.verdict is Verdict.DISCARD


def test_one_reading_makes_nothing_equal_and_a_second_one_is_bought_for_it():
    contract, standing, smaller = problem(), against(1.0, sigma=0.01), Complexity(lines=-5)

    assert decide(contract, measured(1.0), standing, complexity=smaller).verdict is Verdict.DISCARD
    assert wants_more_seeds(contract, seeds(1.0), standing, smaller)
    assert decide(contract, measured(1.0, 1.001), standing, complexity=smaller).reason.startswith("as good and simpler")
    assert not wants_more_seeds(contract, seeds(1.0, 1.001), standing, smaller)


def test_a_fabulous_gain_wants_every_reading_that_a_candidate_may_buy():
    contract, standing = problem(), against(1.0, sigma=0.01)

    assert wants_more_seeds(contract, seeds(0.8, 0.81), standing)
    assert decide(contract, measured(0.8, 0.81), standing).verdict is Verdict.DISCARD
    assert decide(contract, measured(0.8, 0.81, 0.805), standing).verdict is Verdict.KEEP


# a certified incumbent -----------------------------------------------------------------------------------------------


def certified(gain: float, **more) -> Standing:
    return msgspec.structs.replace(against(0.10, sigma=0.01, **more), certified=gain)


def test_a_certified_incumbent_is_not_replaced_by_a_simpler_run_that_may_have_lost_its_gain():
    alike = measured(0.101, 0.102)

    free, held = (decide(problem(), alike, standing, complexity=SMALLER) for standing in (against(0.10, sigma=0.01), certified(0.02)))

    assert (free.verdict, held.verdict) == (Verdict.KEEP, Verdict.DISCARD)
    assert free.reason.startswith("as good and simpler: 7 lines less (val_loss worse by 0.0015)")
    assert held.reason.startswith("as good and simpler: 7 lines less (val_loss worse by 0.0015), but the incumbent is certified: ")
    assert held.reason.endswith("% chance that too much of its gain is lost, 5% is allowed")


def test_a_certified_incumbent_gives_way_to_a_simpler_run_that_surely_holds_its_gain():
    held = decide(problem(), measured(0.0950, 0.0955, 0.0947), certified(0.03), complexity=SMALLER)

    assert held.verdict is Verdict.KEEP
    assert held.reason == "as good and simpler: 7 lines less (val_loss better by 0.004933), and the certified gain is held"


def test_the_more_was_certified_the_more_easily_a_simpler_run_holds_it():
    chances = [
        float(
            decide(problem(), measured(0.101, 0.100, 0.102), certified(gain), complexity=SMALLER)
            .reason.split("certified: ")[1]
            .split("%")[0]
        )
        for gain in (0.002, 0.006, 0.012)
    ]

    assert chances == sorted(chances, reverse=True) and chances[0] > chances[-1]


def test_a_simpler_run_beside_a_certified_incumbent_is_read_again_while_that_may_decide_it():
    alike = seeds(0.0985, 0.0985)
    assert not wants_more_seeds(problem(), alike, against(0.10, sigma=0.01), SMALLER)

    assert wants_more_seeds(problem(), seeds(0.0985, 0.0986), certified(0.02), SMALLER)
    assert not wants_more_seeds(problem(), seeds(0.13), certified(0.02), SMALLER)


@given(st.lists(st.floats(0.05, 0.15), min_size=1, max_size=3), st.floats(-0.01, 0.05))
def test_a_certificate_makes_no_keep_easier_and_touches_nothing_but_simplicity(losses, gain):
    free = decide(problem(), measured(*losses), against(0.10, sigma=0.01), complexity=SMALLER)
    held = decide(problem(), measured(*losses), certified(gain), complexity=SMALLER)

    assert held.verdict is free.verdict or free.reason.startswith("as good and simpler")
    assert not (held.verdict is Verdict.KEEP and free.verdict is not Verdict.KEEP)
    plain = (decide(problem(), measured(*losses), s) for s in (against(0.10, sigma=0.01), certified(gain)))
    assert len({(d.verdict, d.reason) for d in plain}) == 1


def test_a_keep_that_read_worse_says_why_it_is_believed_to_be_better():
    lucky = msgspec.structs.replace(against(0.11, sigma=0.01), incumbent_mean=0.095)  # read 0.095, believed 0.11

    decision = decide(problem(), measured(0.0955, 0.0950, 0.0960), lucky)

    assert decision.verdict is Verdict.KEEP and decision.gain < 0
    assert "worse by 0.0005 as read, but believed better by 0.006658 (54% sure of a gain)" in decision.reason
    assert decision.reason.endswith(": the incumbent's number is held to be lucky")
