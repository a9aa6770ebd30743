from __future__ import annotations

import itertools
import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builders import LOSS, baseline, commit_of, problem, run
from evogit.domain.run import Again
from evogit.domain.trial import Status, TrialLine
from evogit.domain.verdict import Verdict
from evogit.search import evidence
from evogit.search.evidence import ALPHA, FRESH, MAX_LOOKS, Certification
from evogit.search.memory import Memory
from evogit.search.noise import Spread

SIGMA = 1.0


def spread_of(sigma: float) -> Spread:
    spread = Spread()
    if sigma:
        spread.learn("calibration", {seed: sigma * value for seed, value in enumerate((-0.75, 0.75, -0.75, 0.75, -1.0, 1.0))})
    return spread


def kept(label: str):
    return run(label, 1.0, verdict=Verdict.KEEP)


def campaign(*keeps: str, sigma: float = SIGMA) -> Certification:
    """A baseline and incumbents after it, nothing tested."""
    certification = Certification(problem(), spread_of(sigma))
    line = [baseline(1.0, 1.1), *map(kept, keeps)]
    for before, after in zip([None, *line], line, strict=False):
        certification.follow(after, before)
    return certification


def look(of: str, against: str, seed: int, loss: float | None, *, is_ancestor: bool = False) -> tuple[Again, dict[int, float]]:
    metrics = {} if loss is None else {LOSS.name: loss}
    status = Status.CRASH if loss is None else Status.OK
    line = TrialLine(id=f"{of[:8]}{seed}", time="", purpose="certify", run=of, seed=seed, status=status, metrics=metrics)
    again = Again(of=of, purpose="certify", lines=(line,), certified=None if is_ancestor else False, against=against)
    return again, {} if loss is None else {seed: loss}


def pairs(certification: Certification, gains, ancestor: float | None = 1.0) -> None:
    """Carry out the looks of the incumbent's test until these gains are used up or it asks for no more."""
    for gain in gains:
        test = certification.test()
        for _ in range(2):
            wanted = certification.next_look()
            if wanted is None:
                return
            commit, seed = wanted
            is_ancestor = commit == test.against
            value = ancestor if is_ancestor else None if gain is None else (ancestor or 0.0) - gain
            certification.learn(*look(commit, test.run if is_ancestor else test.against, seed, value, is_ancestor=is_ancestor))


def ever_certified(draw, campaigns: int, level: float) -> float:
    hits = 0
    for _ in range(campaigns):
        wealth, hit = [1.0] * len(evidence._BETS), False
        for _ in range(MAX_LOOKS):
            x = draw() - draw()
            wealth = [w * (1 + math.tanh(b * x / math.sqrt(2))) for w, b in zip(wealth, evidence._BETS, strict=True)]
            hit = hit or sum(wealth) / len(wealth) >= 1 / level
        hits += hit
    return hits / campaigns


WORLDS = {
    "gaussian": lambda rng: rng.gauss(0, 1),
    "student t3": lambda rng: rng.gauss(0, 1) / math.sqrt(rng.gammavariate(1.5, 2) / 3),
    "contaminated": lambda rng: rng.gauss(0, 1) + (10 * rng.choice((-1, 1)) if rng.random() < 0.05 else 0),
    "noise four times as large as believed": lambda rng: rng.gauss(0, 4),
    "skewed": lambda rng: rng.expovariate(1),
}


@pytest.mark.parametrize("world", WORLDS)
def test_where_nothing_is_better_the_evidence_seldom_ever_reaches_one_over_the_level(world):
    rng, level, campaigns = random.Random(world), 0.05, 3000

    rate = ever_certified(lambda: WORLDS[world](rng), campaigns, level)

    assert rate <= level + 2 * math.sqrt(level / campaigns)


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=7), st.floats(1e-3, 1e3))
def test_over_all_signs_of_the_same_differences_the_evidence_has_a_mean_of_one(sizes, scale):
    signs = list(itertools.product((-1, 1), repeat=len(sizes)))

    mean = sum(evidence.e_value([s * size for s, size in zip(each, sizes, strict=True)], scale) for each in signs) / len(signs)

    assert mean == pytest.approx(1.0, rel=1e-9)


@given(st.lists(st.floats(-10, 10), min_size=1, max_size=MAX_LOOKS), st.floats(0, 5))
def test_a_worse_run_never_has_more_evidence(gains, worse):
    assert evidence.e_value([g - worse for g in gains], 1.0) <= evidence.e_value(gains, 1.0) * (1 + 1e-9)


def test_the_levels_of_a_campaign_without_certificates_sum_to_no_more_than_alpha():
    levels = [ALPHA * t**-evidence._DECAY / evidence._ZETA for t in range(1, 20_000)]

    assert 0.99 * ALPHA < math.fsum(levels) <= ALPHA


def test_a_clear_gain_is_certified_in_six_to_eight_pairs():
    certification = campaign("1")

    pairs(certification, [5.0] * MAX_LOOKS)

    test = certification.test()
    assert test.is_certified and 6 <= test.looks <= 8
    assert test.effect == pytest.approx(5.0) and test.e_value >= 1 / test.level
    assert certification.status(commit_of("1")) == "certified" and certification.next_look() is None


def test_a_gain_is_certified_where_the_noise_is_unknown():
    certification = campaign("1", sigma=0.0)

    pairs(certification, [0.3, 0.2, 0.25] * 5)

    assert certification.test().is_certified and certification.test().interval is None


def test_no_gain_is_not_certified_and_its_test_ends():
    certification = campaign("1")

    pairs(certification, [1.0, -1.0] * MAX_LOOKS)

    test = certification.test()
    assert test.is_over and not test.is_certified and test.looks <= MAX_LOOKS
    assert certification.next_look() is None and certification.status(commit_of("1")) == "unconfirmed"


def test_a_test_ends_as_soon_as_no_further_look_could_certify():
    certification = campaign("1")

    pairs(certification, [-9.0] * MAX_LOOKS)

    assert certification.test().is_over and certification.test().looks < MAX_LOOKS


def test_a_run_that_crashes_on_fresh_seeds_is_not_certified():
    certification = campaign("1")

    pairs(certification, [None] * MAX_LOOKS)

    assert certification.test().is_over and certification.test().e_value < 0.1 and certification.test().effect is None


def test_an_ancestor_that_crashes_gives_no_evidence():
    certification = campaign("1")
    for seed in range(FRESH, FRESH + MAX_LOOKS):
        certification.learn(*look(commit_of("0"), commit_of("1"), seed, None, is_ancestor=True))
        certification.learn(*look(commit_of("1"), commit_of("0"), seed, 0.1))

    assert certification.test().e_value == 1.0 and certification.next_look() is None


def test_the_ancestor_is_read_first_and_the_run_under_the_same_fresh_seed():
    certification = campaign("1")
    first = certification.next_look()

    certification.learn(*look(commit_of("0"), commit_of("1"), FRESH, 1.0, is_ancestor=True))

    assert first == (commit_of("0"), FRESH)
    assert certification.next_look() == (commit_of("1"), FRESH)


def test_seeds_are_never_read_for_two_tests_nor_taken_from_the_budget():
    certification = campaign("1")
    pairs(certification, [5.0] * MAX_LOOKS)
    used = certification.test().seeds

    certification.follow(kept("2"), kept("1"))
    pairs(certification, [5.0] * MAX_LOOKS)

    assert not set(used) & set(certification.test().seeds)
    assert not set(used) & set(problem().budget.seeds)


def test_an_incumbent_is_tested_against_the_last_certified_one():
    certification = campaign("1")
    pairs(certification, [5.0] * MAX_LOOKS)
    for before, after in (("1", "2"), ("2", "3")):
        certification.follow(kept(after), kept(before))

    assert certification.against(commit_of("3")) == commit_of("1")
    assert campaign("1", "2").against(commit_of("2")) == commit_of("0")


def test_the_first_certificate_makes_the_next_levels_wider():
    certification = campaign("1")
    first = certification.test().level
    pairs(certification, [5.0] * MAX_LOOKS)

    certification.follow(kept("2"), kept("1"))

    second = certification.test()
    assert second.number == 2
    assert first == pytest.approx(ALPHA / evidence._ZETA) and second.level == pytest.approx(2 * first * 2**-1.6)


def test_certificates_in_a_row_are_counted_and_a_failed_test_ends_the_row():
    certification = campaign("1")
    counts = []
    for number, gain in enumerate((5.0, 5.0, 5.0, -5.0, 5.0), start=1):
        if number > 1:
            certification.follow(kept(str(number)), kept(str(number - 1)))
        pairs(certification, [gain] * MAX_LOOKS)
        counts.append(certification.streak)

    assert counts == [1, 2, 3, 0, 1]


def test_a_preview_says_what_the_look_will_make_of_the_test_and_changes_nothing():
    certification = campaign("1")
    pairs(certification, [2.0] * 4)
    commit, seed = certification.next_look()
    certification.learn(*look(commit, commit_of("1"), seed, 1.0, is_ancestor=True))
    last = look(commit_of("1"), commit_of("0"), seed, -1.0)
    before = certification.test()

    foreseen = certification.preview(*last)

    assert certification.test() == before
    certification.learn(*last)
    assert certification.test() == foreseen and foreseen.looks == 5


def test_a_look_that_is_told_twice_counts_once():
    certification = campaign("1")
    pairs(certification, [2.0] * 3)
    before = certification.test()

    certification.learn(*look(commit_of("1"), commit_of("0"), FRESH, -1.0))

    assert certification.test() == before


def test_a_baseline_has_no_test():
    certification = campaign()

    assert certification.test() is None and certification.next_look() is None
    assert certification.status(commit_of("0")) == "baseline" and certification.status(commit_of("9")) == ""


def test_a_keep_by_plain_comparison_is_unconfirmed_until_it_is_tested():
    certification = campaign("1", sigma=0.0)
    untested = certification.status(commit_of("1"))

    pairs(certification, [1.0])

    assert untested == "unconfirmed" and certification.status(commit_of("1")) == "provisional"
    assert campaign("1").status(commit_of("1")) == "provisional"


@given(st.lists(st.floats(-4, 4), min_size=6, max_size=MAX_LOOKS), st.sampled_from((0.25, 4.0, 1024.0)))
def test_the_interval_holds_the_middle_of_the_gains_and_moves_with_the_unit(gains, unit):
    low, high = evidence.interval(gains, 1.0)
    wide = evidence.interval([unit * g for g in gains], unit)

    assert low <= high
    assert wide == pytest.approx((unit * low, unit * high), rel=1e-6, abs=1e-6 * unit)


def test_the_interval_misses_the_truth_in_no_more_than_one_of_twenty_campaigns_however_often_it_is_looked_at():
    rng, missed, campaigns = random.Random(4), 0, 150
    for _ in range(campaigns):
        gains = [0.7 + rng.gauss(0, 1) for _ in range(12)]
        ends = [evidence.interval(gains[:n], 1.0) for n in range(6, 13)]
        missed += any(not low <= 0.7 <= high for low, high in ends)

    assert missed / campaigns <= 0.05 + 2 * math.sqrt(0.05 / campaigns)


@pytest.mark.parametrize("is_ancestor", [True, False])
def test_a_look_that_names_no_other_run_teaches_nothing(is_ancestor):
    certification = campaign("1")

    certification.learn(*look(commit_of("1"), "", FRESH, 1.0, is_ancestor=is_ancestor))

    assert certification.test().looks == 0 and certification.next_look() == (commit_of("0"), FRESH)


def test_the_look_that_ends_a_test_says_so():
    certification, ends = campaign("1"), []
    while (wanted := certification.next_look()) is not None:
        commit, seed = wanted
        is_ancestor = commit == commit_of("0")
        other = commit_of("1" if is_ancestor else "0")
        ends.append(certification.learn(*look(commit, other, seed, 1.0 if is_ancestor else -4.0, is_ancestor=is_ancestor)))

    assert ends == [False] * (len(ends) - 1) + [True]


def test_a_certified_run_has_the_gain_that_was_certified_and_any_other_has_none():
    certification = campaign("1")
    assert certification.gain(commit_of("1")) is None

    pairs(certification, [5.0] * MAX_LOOKS)

    assert certification.gain(commit_of("1")) == pytest.approx(5.0)
    assert certification.gain(commit_of("0")) is None


def test_a_candidate_is_judged_against_what_the_incumbent_was_certified_with():
    memory = Memory.of(problem(), [baseline(1.0, 1.1, 1.05), run("1", 0.1, 0.11, verdict=Verdict.KEEP)])
    assert memory.standing(commit_of("1")).certified is None

    while (wanted := memory.certification.next_look()) is not None:
        commit, seed = wanted
        other = commit_of("0") if commit == commit_of("1") else commit_of("1")
        memory.take(
            look(commit, other, seed, 1.0 + seed % 2 / 10 if commit == commit_of("0") else 0.1, is_ancestor=commit == commit_of("0"))[0]
        )

    assert memory.certification.status(commit_of("1")) == "certified"
    assert memory.standing(commit_of("1")).certified == pytest.approx(0.95, abs=0.1)
    memory.take(run("2", 0.1, 0.1, verdict=Verdict.KEEP, parents=("1",)))
    assert memory.standing(commit_of("2")).certified is None
