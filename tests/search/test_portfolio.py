"""Portfolio, credit and what-if: who earned what, and what that says."""

from __future__ import annotations

import random

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from builders import baseline, commit_of, problem, run, trial
from evogit.domain.belief import Belief, Credit
from evogit.domain.plan import Forecast
from evogit.domain.run import Again
from evogit.domain.trial import Crash, Status
from evogit.domain.verdict import Verdict
from evogit.search.credit import NOTHING, WEIGHTS, credit, skill, total_of
from evogit.search.lesson import Lesson
from evogit.search.memory import Memory
from evogit.search.portfolio import LULL, Portfolio, Record
from evogit.search.whatif import uniform_over, what_if

REFERENCE = Forecast(mean=1.0, spread=0.5)


def lesson(label: str, *losses: float, belief: Belief | None = None, topics: tuple[str, ...] = (), **more) -> Lesson:
    made = run(label, *losses, **more)
    if belief is None and losses:
        belief = Belief(mean=losses[0], variance=0.01)
    return Lesson(
        run=made,
        parent=baseline(1.0),
        incumbent=baseline(1.0),
        belief=belief,
        parent_belief=Belief(mean=1.0, variance=0.01),
        incumbent_belief=Belief(mean=1.0, variance=0.01),
        sigma=0.1,
        topics=topics,
    )


def good(mean: float = 0.5) -> Belief:
    return Belief(mean=mean, variance=0.01, gain=0.5, p_gain=0.9, p_null=0.1, p_better=0.9, gain_over_incumbent=0.5)


def crashed(label: str, message: str, emitter: str = "anomaly_chaser") -> Lesson:
    fault = msgspec.structs.replace(trial(label, 0, 0.0), status=Status.CRASH, metrics={}, crash=Crash(kind="ValueError", message=message))
    return lesson(label, verdict=Verdict.CRASH, emitter=emitter, trials=(fault,))


def taught(*lessons: Lesson) -> Portfolio:
    portfolio = Portfolio(problem())
    for each in lessons:
        portfolio.learn(each)
    return portfolio


# credit --------------------------------------------------------------------------------------------------------------


@given(st.floats(0, 1), st.floats(0, 1), st.floats(0, 1), st.floats(0, 1), st.floats(-2, 1))
def test_every_part_and_the_total_are_shares(p, rank, novelty, information, surprise):
    asked = {"rank": rank, "novelty": novelty, "information": information, "surprise": surprise}
    found = credit(lesson("1", 0.5, belief=Belief(mean=0.5, variance=0.1, p_better=p)), **asked)

    parts = (found.fitness, found.novelty, found.information, found.surprise)
    assert all(0 <= part <= 1 for part in parts)
    assert found.total == pytest.approx(sum(w * part for w, part in zip(WEIGHTS, parts)))


@given(st.floats(-1e6, 1e6), st.floats(-1e6, 1e6), st.floats(1e-9, 1e6))
def test_skill_is_bounded_without_clipping(reading, mean, spread):
    assert -2.1 <= skill(Forecast(mean=mean, spread=spread), REFERENCE, reading) <= 1


def test_a_forecast_as_good_as_the_reference_has_no_skill():
    assert skill(REFERENCE, REFERENCE, 0.3) == pytest.approx(0)


def test_no_forecast_scores_better_on_average_than_the_truth():
    rng = random.Random(1)
    outcomes = [rng.gauss(0.7, 0.2) for _ in range(800)]

    def mean_skill(mean: float, spread: float) -> float:
        return sum(skill(Forecast(mean=mean, spread=spread), REFERENCE, y) for y in outcomes) / len(outcomes)

    truth = mean_skill(0.7, 0.2)

    assert truth > 0
    for mean, spread in ((0.7, 0.02), (0.7, 1.0), (0.7, 100.0), (0.9, 0.2), (0.5, 0.2), (1.0, 0.5)):
        assert mean_skill(mean, spread) < truth


def test_a_nan_forecast_or_an_unknown_reference_has_no_skill():
    assert skill(Forecast(mean=float("nan"), spread=1.0), REFERENCE, 1.0) == 0
    assert skill(REFERENCE, None, 1.0) == 0
    assert skill(None, REFERENCE, 1.0) == 0


def test_wide_forecasts_and_gambles_earn_nothing_and_good_ones_do():
    rng = random.Random(2)
    outcomes = [rng.gauss(0.9, 0.05) for _ in range(24)]

    def paid(forecast: Forecast) -> float:
        portfolio = taught(*(lesson(str(n), y, forecast=forecast) for n, y in enumerate(outcomes, 1)))
        return portfolio.credit_of(commit_of("24")).surprise

    assert paid(Forecast(mean=1.0, spread=1e6)) == 0
    assert paid(Forecast(mean=0.2, spread=0.001)) == 0
    assert paid(Forecast(mean=0.9, spread=0.05)) > 0.2


# portfolio -----------------------------------------------------------------------------------------------------------


def test_most_of_what_a_real_gain_earns_is_fitness():
    flat = [lesson(str(n), 1.0, topics=("change:a",)) for n in range(1, 10)]
    earned = taught(*flat, lesson("10", 0.5, belief=good(), topics=("change:a",))).credit_of(commit_of("10"))

    assert earned.fitness > 0.8
    assert WEIGHTS[0] * earned.fitness > 0.7 * earned.total


def test_a_reject_earns_nothing():
    assert taught(lesson("1", verdict=Verdict.REJECT)).credit_of(commit_of("1")) == NOTHING


def test_a_crash_earns_nothing_but_the_first_of_its_kind_for_the_anomaly_chaser():
    portfolio = taught(
        crashed("1", "shape 3 in /tmp/a/train.py"),
        crashed("2", "shape 7 in /tmp/b/train.py"),
        crashed("3", "another matter", emitter="local_tuner"),
        crashed("4", "a third"),
    )

    assert [portfolio.credit_of(commit_of(label)).total for label in "1234"] == [0.1, 0.0, 0.0, 0.1]


def test_baselines_and_peoples_runs_are_put_down_to_nobody():
    assert taught(lesson("1", 0.5, emitter="person"), lesson("0", 1.0)).records == []


def test_what_was_tried_before_is_less_new_and_tells_less():
    portfolio = taught(*(lesson(str(n), 1.0, topics=("change:a",)) for n in range(1, 5)), lesson("5", 1.0, topics=("change:b",)))
    first, last, other = (portfolio.credit_of(commit_of(label)) for label in "145")

    assert first.novelty == other.novelty == 1.0
    assert last.novelty == 0.125
    assert last.information < first.information


def test_certification_makes_fitness_sure_and_a_failed_look_halves_it():
    portfolio = taught(lesson("1", 0.9), lesson("2", 0.5, belief=good(), verdict=Verdict.KEEP))
    subject, before = run("2", 0.5), portfolio.credit_of(commit_of("2"))
    portfolio.learn_certified(subject, Again(of=subject.commit, purpose="certify", lines=(), certified=None))
    unmoved = portfolio.credit_of(subject.commit)
    portfolio.learn_certified(subject, Again(of=subject.commit, purpose="certify", lines=(), certified=False))
    failed = portfolio.credit_of(subject.commit)
    portfolio.learn_certified(subject, Again(of=subject.commit, purpose="certify", lines=(), certified=True))
    sure = portfolio.credit_of(subject.commit)

    assert unmoved == before
    assert failed.fitness == before.fitness / 2
    assert sure.fitness > before.fitness
    assert sure.total > before.total > failed.total


def test_a_rate_is_credit_over_cost():
    dear = [lesson(str(n), 0.5, belief=good(), seconds=300.0 if n % 2 else 100.0, emitter="ab"[n % 2]) for n in range(1, 41)]
    by_name = {a.emitter: a for a in taught(*dear).tally()}

    assert by_name["a"].runs == by_name["b"].runs == 20
    assert by_name["a"].rate > 1.5 * by_name["b"].rate
    assert all(a.low <= a.rate <= a.high for a in by_name.values())


def test_a_plateau_is_said_within_ten_runs_and_ends_with_a_real_keep():
    keep = lesson("1", 0.5, belief=good(), verdict=Verdict.KEEP)
    flat = [lesson(str(n), 1.0) for n in range(2, 12)]
    simpler = lesson("12", 0.5, verdict=Verdict.KEEP)
    portfolio = taught(keep, *flat[: LULL - 1])
    early = portfolio.is_plateau
    for each in flat[LULL - 1 :]:
        portfolio.learn(each)
    late = portfolio.is_plateau
    portfolio.learn(simpler)
    still = portfolio.is_plateau
    portfolio.learn(lesson("13", 0.4, belief=good(), verdict=Verdict.KEEP))

    assert (early, late, still) == (False, True, True)
    assert portfolio.plateau == 0 and not portfolio.is_plateau


def test_two_rejects_in_a_row_are_a_rest_that_a_keep_ends():
    portfolio = taught(lesson("1", verdict=Verdict.REJECT), lesson("2", verdict=Verdict.REJECT))
    resting = portfolio.awake(["local_tuner", "simplifier"])
    alone = portfolio.awake(["local_tuner"])
    portfolio.learn(lesson("3", 0.5, belief=good(), verdict=Verdict.KEEP, emitter="simplifier"))

    assert resting == ["simplifier"]
    assert alone == ["local_tuner"]
    assert portfolio.awake(["local_tuner", "simplifier"]) == ["local_tuner", "simplifier"]


def test_a_rest_ends_by_itself():
    portfolio = taught(*(lesson(str(n), verdict=Verdict.REJECT) for n in (1, 2)), *(lesson(str(n), 1.0, emitter="b") for n in range(3, 19)))

    assert portfolio.awake(["local_tuner", "b"]) == ["local_tuner", "b"]


# what if -------------------------------------------------------------------------------------------------------------


def record(number: int, emitter: str, total: float, chance: float, policy: str = "sw-ucb") -> Record:
    earned = total_of(fitness=total / WEIGHTS[0], novelty=0, information=0, surprise=0)
    fields = {"commit": str(number), "seq": number, "rank": 0.5, "cost": 1.0, "kept": False}
    return Record(emitter=emitter, credit=earned, policy=policy, chance=chance, **fields)


def campaign(runs: int, odds: float, seed: int = 0) -> list[Record]:
    """`good` pays 0.4 and is asked with these odds, `bad` pays 0.1; noise of 0.05."""
    rng = random.Random(seed)
    drawn = ["good" if rng.random() < odds else "bad" for _ in range(runs)]
    paid = {"good": 0.4, "bad": 0.1}
    return [record(n, e, paid[e] + rng.uniform(-0.05, 0.05), odds if e == "good" else 1 - odds) for n, e in enumerate(drawn)]


def test_what_uniform_would_have_earned_is_found_from_a_campaign_that_was_not():
    estimate = what_if(campaign(400, 0.8), uniform_over(["good", "bad"]))

    assert estimate.low < 0.25 < estimate.high
    assert estimate.high - estimate.low < 0.1
    assert estimate.actual == pytest.approx(0.34, abs=0.02)
    assert estimate.over_low > 0


def test_the_interval_holds_the_truth_about_as_often_as_it_says():
    found = [what_if(campaign(120, 0.75, seed), uniform_over(["good", "bad"])) for seed in range(100)]

    assert 0.90 <= sum(e.low <= 0.25 <= e.high for e in found) / 100


def test_runs_that_no_policy_chose_are_no_evidence():
    assert what_if([record(n, "a", 0.1, 0.5, policy="ideas") for n in range(9)], uniform_over(["a", "b"])) is None


def test_the_portfolio_says_so_when_it_is_no_better_than_uniform():
    lessons = [lesson(str(n), 1.0, emitter="ab"[n % 2], policy="sw-ucb", chance=0.5) for n in range(1, 80)]

    assert taught(*lessons[:40]).verdict_over_uniform() == ""
    assert "within noise" in taught(*lessons).verdict_over_uniform()


def test_the_portfolio_says_so_when_it_pays():
    rng = random.Random(3)
    names = ["a" if rng.random() < 0.8 else "b" for _ in range(120)]
    lessons = [
        lesson(str(n), 1.0, emitter=e, policy="sw-ucb", chance=0.8 if e == "a" else 0.2, belief=good() if e == "a" else None)
        for n, e in enumerate(names, 1)
    ]

    assert "pays" in taught(*lessons).verdict_over_uniform()


def test_credits_are_kept_for_the_newest_runs_only():
    portfolio = taught(*(lesson(str(n), 1.0) for n in range(1, 450)))

    assert len(portfolio.records) == 400
    assert portfolio.credit_of(commit_of("1")) is None
    assert isinstance(portfolio.credit_of(commit_of("449")), Credit)
    assert [r.seq for r in portfolio.newest(2)] == [449, 448]


def test_that_a_contender_was_read_again_is_no_cost_of_its_emitter():
    alone = [run(str(n), 0.2, seconds=60.0) for n in range(1, 4)]
    again = run("4", 0.05, 0.05, 0.05, seconds=180.0)
    slow = run("5", 0.2, seconds=180.0)
    memory = Memory.of(problem(), [baseline(0.10, 0.11, 0.09), *alone, again, slow])

    assert memory.portfolio.record_of(again.commit).cost == 1.0
    assert memory.portfolio.record_of(slow.commit).cost == 2.0


@given(st.lists(st.floats(0.7, 1.4), min_size=1, max_size=20))
def test_a_busy_clock_makes_no_run_dearer_than_another(seconds):
    memory = Memory.of(problem(), [baseline(0.1, 0.11), *(run(str(n), 0.2, seconds=60 * s) for n, s in enumerate(seconds, 1))])

    assert {record.cost for record in memory.portfolio.records} == {1.0}


def test_what_a_role_earned_over_time_is_its_rate_in_each_stretch():
    made = taught(*(lesson(str(n), 0.5, belief=good(), emitter=("a", "b")[n > 3], generation=1) for n in range(1, 7)))
    by_name = {account.emitter: account.rate for account in made.tally()}

    told = made.over_time(2)

    assert {name: tuple(rate > 0 for rate in row) for name, row in told.items()} == {"a": (True, False), "b": (False, True)}
    assert (told["a"][0], told["b"][1]) == pytest.approx((by_name["a"], by_name["b"]))
    assert Portfolio(problem()).over_time(5) == {}
