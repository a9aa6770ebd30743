"""What each role has learnt to do, in campaigns whose truth is planted."""

from __future__ import annotations

import random

import pytest

from builders import baseline, commit_of, problem, run
from evogit import registry
from evogit.domain.change import Move
from evogit.domain.plan import Aim, Forecast
from evogit.domain.trial import Crash, Status, TrialLine
from evogit.domain.verdict import Verdict
from evogit.search import parents
from evogit.search.memory import Memory
from evogit.testing import EmitterContract

TEXT = "LR = 1e-3\nWIDTH = 64\nDROPOUT = 0.1\n"
KEEP = Verdict.KEEP


class Shelf:
    """The same text for every run."""

    def sources(self, commit: str) -> dict[str, str]:
        return {"train.py": TEXT}


def emitter(name: str):
    return registry.find("emitters", name)()


def ask(name: str, memory: Memory, seed: int = 0):
    return emitter(name).ask(memory, random.Random(seed))


def move(name: str, old: object, new: object, family: str = "") -> Move:
    return Move(f"train.py:{name}", old, new, family)


def fold(*runs, noise: float = 0.004) -> Memory:
    return Memory.of(problem(), [baseline(1.0, 1.0 + noise, 1.0 - noise), *runs], Shelf())


def noisy(loss: float) -> tuple[float, float, float]:
    return loss, loss + 0.004, loss - 0.004


def plateau(runs: int) -> Memory:
    tried = (run(str(n), 1.05 + 0.001 * n, moves=(move("LR", 1e-3, 1e-3 * (1 + n / 10), "lr"),)) for n in range(2, runs + 2))
    return fold(run("1", 0.9, 0.9, 0.9, verdict=KEEP), *tried)


def crashed(label: str, **more):
    line = TrialLine(
        id="0" * 16,
        time="",
        purpose="select",
        run=commit_of(label),
        seed=0,
        status=Status.CRASH,
        crash=Crash(kind="ValueError", message="loss is not finite", where="train.py:3"),
    )
    return run(label, verdict=Verdict.CRASH, trials=(line,), **more)


MEMORIES = {
    "empty": Memory(problem()),
    "baseline": fold(),
    "no noise known": Memory.of(problem(), [baseline(1.0), run("1", 2.0)]),
    "exact": Memory.of(problem(), [baseline(1.0, 1.0), run("1", 2.0, 2.0), run("2", 1.0, 1.0)], Shelf()),
    "zero metric": Memory.of(problem(), [baseline(0.0, 0.0), run("1", 0.0), run("2", 0.0, parents=("1",))], Shelf()),
    "crashes": fold(*(crashed(str(n), moves=(move("LR", 1e-3, 1e-2, "lr"),)) for n in range(1, 5))),
    "plateau": plateau(20),
    "odd moves": fold(run("1", 0.9, moves=(move("LR", "fast", (1, 2)), move("GONE", 0, 1), move("WIDTH", 64, 0, "width")), verdict=KEEP)),
}


@pytest.mark.parametrize("emitter", [emitter(n) for n in registry.names("emitters")], ids=registry.names("emitters"), scope="class")
class TestEveryRole(EmitterContract):
    @pytest.fixture
    def memories(self):
        return MEMORIES


def test_a_forecast_follows_what_its_category_was_worth():
    paid = fold(*(run(str(n), *noisy(0.8), change="architecture") for n in range(1, 6)))
    start = paid.baseline

    plan = next(p for seed in range(50) if (p := ask("architecture_mutator", paid, seed)).parents == (start.commit,))

    assert paid.conjectures.effect("change:architecture").mean > 0.05
    assert plan.forecast.mean < 0.95


@pytest.mark.parametrize(
    ("role", "family", "operator"), [("architecture_mutator", "norm", "swap_norm"), ("optimizer_hacker", "schedule", "change_schedule")]
)
def test_the_operators_that_paid_come_first_and_those_that_lost_last(role, family, operator):
    def share(loss: float, place: int) -> float:
        memory = fold(*(run(str(n), *noisy(loss), moves=(move("X", 1, n + 1, family),)) for n in range(1, 7)))
        return sum(ask(role, memory, seed).operators[place] == operator for seed in range(60)) / 60

    assert share(0.8, 0) > 0.6
    assert share(1.2, -1) > 0.6


@pytest.mark.parametrize(
    ("role", "gene", "old", "new", "family"),
    [("optimizer_hacker", "LR", 1e-3, 2e-3, "lr"), ("architecture_mutator", "WIDTH", 64, 128, "width")],
)
def test_a_role_moves_its_own_numbers_the_way_that_paid_and_leaves_the_others_alone(role, gene, old, new, family):
    paid = [run(str(n), *noisy(1 - n / 20), moves=(move(gene, old * (1 - n / 10), new, family),)) for n in range(1, 5)]
    memory = fold(*paid, *(run(str(n), *noisy(1.1), change=kind) for n, kind in enumerate(("norm", "activation", "depth", "schedule"), 5)))

    plans = [plan for seed in range(40) if (plan := ask(role, memory, seed)).aims]

    assert {aim.gene for plan in plans for aim in plan.aims} == {f"train.py:{gene}"}
    assert sum(plan.aims[0].value > old for plan in plans) > 0.8 * len(plans) > 8


# recombinator ------------------------------------------------------------------------------------------------------------


def near(label: str, loss: float, *moves: Move, **more):
    return run(label, loss, loss, loss, near_miss=True, moves=moves, **more)


def test_two_compatible_near_misses_are_recombined():
    memory = fold(near("1", 0.985, move("LR", 1e-3, 2e-3, "lr")), near("2", 0.984, move("WIDTH", 64, 96, "width")))

    plan = ask("recombinator", memory)

    assert plan.merge
    assert plan.parents == (commit_of("2"), commit_of("1"))
    assert plan.forecast.mean < memory.belief(commit_of("2")).mean
    assert plan.propensity == 1


def test_two_near_misses_that_moved_one_gene_to_different_values_are_not_recombined():
    memory = fold(near("1", 0.995, move("LR", 1e-3, 2e-3, "lr")), near("2", 0.994, move("LR", 1e-3, 5e-4, "lr")))

    assert ask("recombinator", memory) is None


def test_genes_that_were_moved_anywhere_in_the_two_lines_count():
    memory = fold(
        near("1", 0.995, move("LR", 1e-3, 2e-3, "lr")),
        near("2", 0.99, move("WIDTH", 64, 96, "width"), parents=("1",)),
        near("3", 0.994, move("LR", 1e-3, 5e-4, "lr")),
    )

    assert ask("recombinator", memory) is None


def test_a_run_that_clearly_lost_is_no_partner():
    memory = fold(
        near("1", 0.995, move("LR", 1e-3, 2e-3, "lr")),
        run("2", 1.4, 1.4, 1.4, moves=(move("WIDTH", 64, 96, "width"),)),
    )

    assert ask("recombinator", memory) is None


def test_a_pair_is_joined_once():
    memory = fold(near("1", 0.995, move("LR", 1e-3, 2e-3, "lr")), near("2", 0.994, move("WIDTH", 64, 96, "width")))
    memory.learn(run("3", 1.2, parents=("2", "1"), emitter="recombinator"))

    assert ask("recombinator", memory) is None


def test_the_most_promising_pair_is_the_likeliest():
    memory = fold(
        run("1", 0.90, 0.90, 0.90, verdict=KEEP, moves=(move("LR", 1e-3, 2e-3, "lr"),)),
        run("2", 0.85, 0.85, 0.85, verdict=KEEP, moves=(move("WIDTH", 64, 96, "width"),)),
        near("3", 0.998, move("DROPOUT", 0.1, 0.2, "dropout")),
    )

    drawn = [frozenset(ask("recombinator", memory, seed).parents) for seed in range(60)]

    assert max(set(drawn), key=drawn.count) == frozenset((commit_of("1"), commit_of("2")))


# simplifier --------------------------------------------------------------------------------------------------------------


def test_the_simplifier_takes_back_first_what_was_added_without_a_clear_gain():
    memory = fold(
        run("1", 0.8, 0.8, 0.8, verdict=KEEP, lines=(5, 1)),
        run("2", 0.801, 0.799, 0.8, parents=("1",), verdict=KEEP, lines=(7, 1), generation=2),
    )

    plan = ask("simplifier", memory)

    assert plan.contrast == commit_of("2")
    assert plan.parents == (commit_of("2"),)
    assert plan.operators[0] == "take_back"


def test_the_simplifier_expects_no_gain():
    memory = fold(run("1", 0.8, 0.8, 0.8, verdict=KEEP))

    plan = ask("simplifier", memory)

    assert plan.forecast.mean == pytest.approx(memory.belief(commit_of("1")).mean)


def test_capacity_that_was_added_without_a_clear_gain_is_set_back():
    memory = fold(run("1", 0.999, 1.001, 1.0, verdict=KEEP, moves=(move("WIDTH", 64, 128, "width"),)))

    assert ask("simplifier", memory).aims == (Aim(gene="train.py:WIDTH", value=64),)


# contrarian --------------------------------------------------------------------------------------------------------------


def test_the_contrarian_wishes_for_the_opposite_of_the_step_that_hurt():
    memory = fold(run("1", 1.5, 1.5, moves=(move("LR", 1e-3, 4e-3, "lr"),)))

    plan = ask("contrarian", memory)

    assert plan.aims == (Aim(gene="train.py:LR", value=2.5e-4),)
    assert plan.contrast == commit_of("1")


def test_the_opposite_step_is_taken_from_the_incumbent_where_it_still_stands_where_the_run_began():
    gained = run("1", 0.9, 0.9, 0.9, moves=(move("WIDTH", 32, 64, "width"),), verdict=KEEP)
    hurt = run("2", 1.06, 1.06, moves=(move("LR", 1e-3, 2e-3, "lr"),))
    gone = run("2", 1.06, 1.06, moves=(move("LR", 1e-4, 2e-4, "lr"),))

    assert ask("contrarian", fold(gained, hurt)).parents == (commit_of("1"),)
    assert ask("contrarian", fold(gained, gone)).parents == (commit_of("0"),)


def test_a_cliff_is_reversed_by_a_short_step_and_a_plain_loss_goes_first():
    slope = run("1", *noisy(1.05), moves=(move("LR", 1e-3, 2e-3, "lr"),))
    cliff = run("2", *noisy(9.0), moves=(move("WIDTH", 64, 256, "width"),))
    others = [run(str(n), *noisy(1.02)) for n in range(3, 6)]

    first = ask("contrarian", fold(slope, cliff, *others))
    second = ask("contrarian", fold(cliff, *(run(str(n), *noisy(1.02), emitter="person") for n in range(3, 6))))

    assert first.contrast == commit_of("1") and 5e-4 <= first.aims[0].value < 7e-4  # nearly all of the way back
    assert second.contrast == commit_of("2") and 40 <= second.aims[0].value < 64  # a quarter of it, in doublings


def test_without_a_loss_the_contrarian_turns_against_the_habit_of_the_window():
    memory = fold(
        *(run(str(n), 1 - n / 100, 1 - n / 100, moves=(move("LR", 1e-3, 1e-3 * (1 + n), "lr"),), verdict=KEEP) for n in range(1, 5))
    )

    plan = ask("contrarian", memory)

    assert plan.contrast == ""
    [wish] = plan.aims
    assert wish.gene == "train.py:LR" and wish.value < 1e-3


# anomaly chaser ----------------------------------------------------------------------------------------------------------


def test_surprise_is_counted_in_the_spreads_of_the_forecast():
    memory = fold(
        run("1", 1.5, 1.5, forecast=Forecast(mean=1.4, spread=0.2), moves=(move("LR", 1e-3, 1e-2, "lr"),)),
        run("2", 1.2, 1.2, forecast=Forecast(mean=1.0, spread=0.02), moves=(move("WIDTH", 64, 32, "width"),)),
    )

    assert ask("anomaly_chaser", memory).contrast == commit_of("2")


def test_a_lucky_lone_reading_is_measured_again_before_anyone_believes_it():
    memory = fold(run("1", 0.96, near_miss=True, moves=(move("LR", 1e-3, 2e-3, "lr"),)), noise=0.02)

    plan = ask("anomaly_chaser", memory)

    assert plan.replicate
    assert plan.parents == (commit_of("1"),)


def test_of_a_surprise_that_moved_several_things_a_part_is_taken_first():
    memory = fold(run("1", 1.5, 1.5, moves=(move("LR", 1e-3, 1e-2, "lr"), move("WIDTH", 64, 32, "width"))))

    assert ask("anomaly_chaser", memory).operators[0] == "isolate_change"


def test_a_new_crash_of_a_promising_change_is_tried_by_a_smaller_step():
    gains = [run(str(n), 0.8, 0.8, 0.8, moves=(move("LR", 1e-3, 2e-3, "lr"),)) for n in range(1, 4)]
    memory = fold(*gains, crashed("4", moves=(move("LR", 1e-3, 3e-2, "lr"),)))

    plan = ask("anomaly_chaser", memory)

    assert plan.contrast == commit_of("4")
    assert plan.operators[0] == "halve_step"


# plateau -----------------------------------------------------------------------------------------------------------------


def test_a_plateau_is_answered_within_ten_runs_by_flatter_parents_and_larger_steps():
    before, after = plateau(2), plateau(10)

    likeliest = [max(w for _, w in parents.weights(memory)) for memory in (before, after)]
    steps = [max(_step(ask("local_tuner", memory, seed)) for seed in range(40)) for memory in (before, after)]
    assert not before.portfolio.is_plateau and after.portfolio.is_plateau
    assert likeliest[1] < likeliest[0] / 2
    assert steps[1] > 3 > steps[0]


def _step(plan) -> float:
    return max((max(a.value / 1e-3, 1e-3 / a.value) for a in plan.aims if a.gene == "train.py:LR"), default=1.0)


def test_on_a_plateau_near_misses_and_elites_may_become_parents():
    better = [run(str(n), 0.9 + n / 1000, parents=("1",), generation=2) for n in range(3, 33)]
    memory = fold(run("1", 0.9, 0.9, 0.9, verdict=KEEP), near("2", 0.99), *better)

    assert commit_of("2") not in {r.commit for r in memory.pool()}
    assert commit_of("2") in {r.commit for r, _ in parents.weights(memory)}
