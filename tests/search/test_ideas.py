"""The queue of ideas: whose turn it is, what says the same, what became of them, and what no one can read."""

from __future__ import annotations

import random

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from builders import baseline, commit_of, problem, run, trial
from evogit.agents.offline.operators import OPERATORS
from evogit.domain.change import Move
from evogit.domain.idea import Idea, IdeaStatus, Ranking
from evogit.domain.plan import Plan
from evogit.domain.review import Branch, Recommendation, Review
from evogit.domain.run import Again
from evogit.domain.verdict import Verdict
from evogit.search import idea_plans
from evogit.search.ideas import KEPT, LIFE, LONGEST, MOST_OF_PEOPLE, NEEDS_A_MODEL, RETURNS, Ideas, Refused, cleaned, idea_of
from evogit.search.memory import Memory


def review(*said: tuple[str, str, float]) -> Review:
    wanted = tuple(Recommendation(mutation_type=kind, description=text, priority=priority) for kind, text, priority in said)
    return Review(
        reviewer="heuristic",
        valid=True,
        is_improvement=False,
        branch_recommendation=Branch.BRANCH,
        confidence=0.5,
        observation="",
        next_belief="",
        recommended_next_mutations=wanted,
    )


def person(text: str, *, on: str = "0", priority: float = 0.9, kind: str = "other", time: str = "2026-01-01T00:00:00Z") -> Idea:
    said = Recommendation(mutation_type=kind, description=text, priority=priority)
    return idea_of(run(on, 1.0), said, by="Ada", time=time)


def queue(runs: int = 1) -> Ideas:
    ideas = Ideas()
    for number in range(runs):
        ideas.settle(run(str(number), 1.0))
    return ideas


def queued(ideas: Ideas) -> list[str]:
    return [idea.description for idea, _, _ in ideas.all(IdeaStatus.QUEUED)]


def test_people_come_by_priority_and_then_by_age():
    ideas = queue()
    for idea in (
        person("wider hidden layer", priority=0.5, time="2026-01-01"),
        person("use momentum", time="2026-01-03"),
        person("cosine schedule", time="2026-01-02"),
    ):
        ideas.learn_person(idea)

    first = ideas.next_person()

    assert first.description == "cosine schedule"
    ideas.claim(first.id)
    assert ideas.next_person().description == "use momentum"


def test_the_best_of_the_reviewers_is_the_most_wanted_one_and_no_persons():
    ideas = queue(3)
    ideas.learn_person(person("cosine schedule"))
    ideas.learn_review(run("1", 1.0), review(("width", "halve the width", 0.7), ("lr", "raise LR", 0.2)))
    ideas.learn_review(run("2", 1.0), review(("depth", "one more layer", 0.7)))

    assert ideas.best().description == "one more layer"


def test_an_idea_is_done_once_its_run_was_measured_and_failed_if_it_crashed():
    ideas, one, two = queue(), person("cosine schedule"), person("wider layer", time="2026-01-02")
    ideas.learn_person(one)
    ideas.learn_person(two)
    ideas.claim(one.id)
    assert ideas.status(one.id) is IdeaStatus.CLAIMED

    ideas.settle(run("1", 0.9, idea=one.id))
    ideas.release(one.id)
    ideas.settle(run("2", verdict=Verdict.CRASH, idea=two.id))

    assert [(i.id, s, label) for i, s, label in ideas.all()] == [(one.id, IdeaStatus.DONE, "1"), (two.id, IdeaStatus.FAILED, "2")]
    assert ideas.next_person() is None


def test_what_was_settled_before_the_idea_was_told_is_known_all_the_same():
    ideas, idea = Ideas(), person("cosine schedule")
    ideas.settle(run("1", 0.9, idea=idea.id))
    ideas.learn_person(idea)

    assert ideas.status(idea.id) is IdeaStatus.DONE


def test_a_later_measured_run_mends_a_failed_idea_and_no_later_crash_undoes_it():
    ideas, idea = queue(), person("cosine schedule")
    ideas.learn_person(idea)
    for label, verdict in (("1", Verdict.REJECT), ("2", Verdict.DISCARD), ("3", Verdict.CRASH)):
        ideas.settle(run(label, 1.0, verdict=verdict, idea=idea.id))

    assert ideas.all() == [(idea, IdeaStatus.DONE, "2")]


def test_a_reviewers_idea_expires_after_sixty_decided_runs_and_a_persons_never():
    ideas = queue(2)
    ideas.learn_person(person("cosine schedule", on="1"))
    ideas.learn_review(run("1", 1.0), review(("width", "halve the width", 0.7)))
    for number in range(2, LIFE + 1):
        ideas.settle(run(str(number), 1.0))
    assert ideas.best().description == "halve the width"

    ideas.settle(run(str(LIFE + 1), 1.0))

    assert ideas.best() is None
    assert [s for _, s, _ in ideas.all()] == [IdeaStatus.QUEUED, IdeaStatus.EXPIRED]


def test_a_new_epoch_ends_every_idea_of_the_one_before():
    ideas = queue(3)
    ideas.learn_person(person("cosine schedule", on="2"))
    ideas.settle(run("3", 1.0, epoch=1))
    ideas.learn_person(person("cosine schedule", on="3", time="2026-01-02"))

    assert [s for _, s, _ in ideas.all()] == [IdeaStatus.EXPIRED, IdeaStatus.QUEUED]


@pytest.mark.parametrize(
    ("said", "again", "is_same"),
    [
        ("try a cosine schedule", "Use  the COSINE schedule!", True),
        ("raise LR to 0.1", "raise LR to 0.2", False),
        (
            "raise the learning rate of the last output layer of this small network",
            "lower the learning rate of the last output layer of this small network",
            False,
        ),
        ("swap ReLU by GELU", "swap ReLU by SiLU", False),
    ],
)
def test_two_ideas_are_one_only_if_words_numbers_and_direction_agree(said, again, is_same):
    ideas = queue(2)
    ideas.learn_person(person(said))
    ideas.learn_review(run("1", 1.0), review(("other", again, 0.5)))

    assert (ideas.best() is None) is is_same


def test_what_was_done_is_not_asked_for_again_by_a_reviewer():
    ideas = queue(5)
    ideas.learn_review(run("1", 1.0), review(("width", "halve the width", 0.7)))
    ideas.settle(run("5", 0.9, idea=ideas.best().id))
    ideas.learn_review(run("5", 0.9), review(("width", "halve the width", 0.9)))

    assert ideas.best() is None


def test_an_idea_whose_plan_keeps_coming_back_without_a_run_is_given_up():
    ideas, idea = queue(), person("cosine schedule")
    ideas.learn_person(idea)
    for _ in range(RETURNS):
        assert ideas.next_person() == idea
        ideas.claim(idea.id)
        ideas.release(idea.id)

    assert ideas.next_person() is None
    assert ideas.status(idea.id) is IdeaStatus.FAILED


def test_flights_in_the_air_are_inherited_by_the_memory_that_is_made_anew():
    old, new, idea = queue(), queue(), person("cosine schedule")
    for ideas in (old, new):
        ideas.learn_person(idea)
    old.claim(idea.id)

    new.inherit(old)

    assert new.status(idea.id) is IdeaStatus.CLAIMED


@pytest.mark.parametrize("text", ["", " \n\t ", "\x00\x07\u202e", "!!! ??? ***", "12 34", "x" * 5000, "()[]{}<>;;;;abc;;;;"])
def test_gibberish_is_refused_in_words(text):
    with pytest.raises(Refused, match="empty|words"):
        cleaned(text)


def test_an_enormous_idea_is_cut_and_control_characters_go():
    text = cleaned("try\x00 a\ncosine \u202eschedule " * 1000)

    assert len(text) <= LONGEST and text.endswith("…")
    assert text.startswith("try a cosine schedule")


def test_a_refused_recommendation_is_told_and_the_next_one_is_taken():
    ideas = queue(2)

    said = ideas.learn_review(run("1", 1.0), review(("x", "####", 0.9), ("width", "halve the width", float("nan"))))

    assert said == ("an idea of heuristic on run 1 is not made of words: say what to change, as in `try a cosine schedule`",)
    assert ideas.best().priority == 0.5


def test_no_more_than_five_hundred_ideas_are_kept():
    ideas = Ideas()
    for number in range(3 * KEPT):
        ideas.settle(run(str(number), 1.0))
        told = (("a", f"move {number} by {n}", 0.5) for n in range(9))
        ideas.learn_review(run(str(number), 1.0), review(*told))
        ideas.learn_person(person(f"set WIDTH to {number}", on=str(number), time=f"{number:05}"))

    assert len(ideas.all()) <= 500
    assert len(queued(ideas)) >= MOST_OF_PEOPLE
    assert ideas.next_person().description == "set WIDTH to 0"


TEXTS = st.sampled_from(["cosine schedule", "use a cosine schedule", "halve the width", "halve the width again", "LR to 0.1", "LR to 0.2"])


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.booleans(), TEXTS, st.integers(0, 3)), max_size=12), st.integers(1, 150), st.randoms())
def test_a_queue_told_all_at_once_equals_one_told_as_it_came(said, runs, rng):
    every = {n: [] for n in range(runs)}
    for is_person, text, gap in said:
        every[rng.randrange(runs)].append((is_person, text, gap))
    taken = {n: commit_of(str(rng.randrange(runs)))[:16] for n in range(runs)}
    came, at_once, people, reviews = Ideas(), Ideas(), [], []
    for n, told in every.items():
        decided = run(str(n), 1.0, idea=taken[n] if n % 3 == 0 else "")
        came.settle(decided)
        at_once.settle(decided)
        for is_person, text, gap in told:
            if is_person:
                people.append(person(text, on=str(n), time=f"{n}-{gap}"))
                came.learn_person(people[-1])
            else:
                reviews.append((decided, review(("other", text, gap / 3))))
                came.learn_review(*reviews[-1])
    rng.shuffle(people)
    for decided, wrote in reviews:
        at_once.learn_review(decided, wrote)
    for idea in people:
        at_once.learn_person(idea)

    assert at_once.all() == came.all()
    assert (at_once.next_person(), at_once.best()) == (came.next_person(), came.best())


# plans ---------------------------------------------------------------------------------------------------------------


class Shelf:
    def sources(self, commit):
        return {"train.py": "LR = 0.1\nWIDTH = 8\nprint(LR, WIDTH)\n"}


def memory(*runs) -> Memory:
    return Memory.of(problem(), [baseline(1.0, 1.01), *runs], Shelf())


def plan(told: Memory, text: str, kind: str = "other", on: str = "0"):
    return idea_plans.plan_for(told, person(text, kind=kind, on=on), random.Random(0))


@pytest.mark.parametrize(
    ("kind", "text", "emitter", "operator"),
    [
        ("hyperparameter", "raise the learning rate", "local_tuner", "tune_optimizer"),
        ("optimizer", "AdamW", "optimizer_hacker", "swap_optimizer"),
        ("other", "try a cosine schedule", "optimizer_hacker", "change_schedule"),
        ("activation", "GELU", "architecture_mutator", "swap_activation"),
        ("capacity_increase", "a wider hidden layer", "architecture_mutator", "change_width"),
        ("simplification", "drop the dropout", "simplifier", "remove_something"),
        ("opposite", "the other way", "contrarian", "reverse_change"),
    ],
)
def test_type_and_words_name_the_role_and_operators_that_exist(kind, text, emitter, operator):
    found = plan(memory(), text, kind)

    assert found.emitter == emitter
    assert set(found.operators) <= set(OPERATORS)
    assert operator in found.operators
    assert (found.instruction, found.forecast is not None) == (text, True)
    assert found.idea == person(text, kind=kind).id


def test_words_that_no_rule_understands_name_no_operator_and_no_value():
    found = plan(memory(), "say it with flowers", "poetry")

    assert (found.emitter, found.operators, found.aims) == ("local_tuner", (), ())


@pytest.mark.parametrize(
    ("text", "gene", "value"),
    [
        ("raise the learning rate", "train.py:LR", 0.2),
        ("a lower LR", "train.py:LR", 0.05),
        ("a wider hidden layer", "train.py:WIDTH", 16),
        ("reduce width", "train.py:WIDTH", 4),
    ],
)
def test_a_direction_of_a_number_that_the_words_name_becomes_an_aim(text, gene, value):
    assert [(aim.gene, aim.value) for aim in plan(memory(), text).aims] == [(gene, value)]


@pytest.mark.parametrize("text", ["raise or lower the learning rate", "the learning rate", "more flowers"])
def test_words_that_say_no_way_or_no_number_are_no_aim(text):
    assert plan(memory(), text).aims == ()


@pytest.mark.parametrize(
    ("change", "emitter"),
    [("capacity_decrease", "simplifier"), ("schedule", "optimizer_hacker"), ("hyperparameter", "local_tuner"), ("poetry", "contrarian")],
)
def test_the_role_of_an_ideas_run_is_that_of_the_change_that_was_made(change, emitter):
    asked = Plan(emitter="contrarian", parents=("a",), seeds=(0,), rng=1, idea="5a1c07d2e9f04b13")

    assert idea_plans.acted(asked, change) == emitter
    assert idea_plans.acted(msgspec.structs.replace(asked, idea=""), change) == "contrarian"
    assert idea_plans.acted(msgspec.structs.replace(asked, contrast="b"), change) == "contrarian"


def test_an_idea_that_nothing_could_be_made_of_stays_open_for_who_reads_words():
    ideas, idea = queue(), person("say it with flowers")
    ideas.learn_person(idea)
    ideas.claim(idea.id)
    ideas.settle(run("1", verdict=Verdict.REJECT, idea=idea.id, reason=f"{NEEDS_A_MODEL}no rule"))
    ideas.release(idea.id)

    assert ideas.all() == [(idea, IdeaStatus.NEEDS_MODEL, "1")]
    assert ideas.next_person() is None

    ideas.has_reader = True

    assert (ideas.next_person(), ideas.status(idea.id)) == (idea, IdeaStatus.QUEUED)
    ideas.settle(run("2", 0.9, idea=idea.id))
    assert ideas.all() == [(idea, IdeaStatus.DONE, "2")]


def test_every_operator_that_words_can_name_exists():
    named = {f for _, _, families in idea_plans._ROLES for f in families} | {f for fs in idea_plans._WAY_OPERATORS.values() for f in fs}

    assert named <= set(OPERATORS)


def test_a_value_that_is_said_of_a_constant_becomes_an_aim():
    assert [(a.gene, a.value) for a in plan(memory(), "set lr = 3e-2, width to 64").aims] == [("train.py:LR", 0.03), ("train.py:WIDTH", 64)]
    assert plan(memory(), "WIDTH to 8, LR up by 50 %, width 0.5").aims == ()


MOVED = {"moves": (Move("train.py:LR", 0.1, 0.05, "lr"),), "generation": 1}


@pytest.mark.parametrize(
    ("text", "value", "parent"),
    [
        ("the same direction again, another step: lower LR", 0.025, "1"),
        ("the opposite of: lower LR", 0.2, "0"),
        ("half of that", 0.07071, "0"),
    ],
)
def test_words_about_the_source_move_its_numbers(text, value, parent):
    told = memory(run("1", 0.9, 0.91, **MOVED))

    found = plan(told, text, on="1")

    assert [a.value for a in found.aims] == [value]
    assert found.parents == (commit_of(parent),)
    assert found.contrast == commit_of("1")


def test_the_incumbent_stands_in_for_a_source_that_can_be_no_parent():
    told = memory(run("1", verdict=Verdict.CRASH), run("2", 0.5, 0.51, verdict=Verdict.KEEP))

    assert plan(told, "cosine schedule", on="1").parents == (commit_of("2"),)
    assert plan(told, "cosine schedule", on="99").parents == (commit_of("2"),)


def test_without_a_baseline_there_is_no_plan():
    assert plan(Memory(problem()), "cosine schedule") is None


def test_a_wish_for_another_reading_changes_nothing_and_is_done_once_it_is_taken():
    told = memory(run("1", 0.9, 0.91, **MOVED))
    idea = person("replicate run 1 under fresh seeds", on="1", kind="replicate")
    told.ideas.learn_person(idea)

    found = idea_plans.plan_for(told, idea, random.Random(0))
    told.learn_again(Again(of=commit_of("1"), purpose="replicate", lines=(trial("1", 2, 0.9),)))

    assert (found.replicate, found.parents, found.seeds, found.idea) == (True, (commit_of("1"),), (2,), idea.id)
    assert told.ideas.status(idea.id) is IdeaStatus.DONE
    assert [(i.id, label) for i, now, label in told.ideas.all(IdeaStatus.DONE)] == [(idea.id, "1")]


def ranked(idea: Idea, priority: float, *, time: str = "2026-02-01", drop: bool = False, id: str = "00000000000000aa") -> Ranking:
    return Ranking(id=id, time=time, by="Ada", idea=idea.id, priority=priority, is_dropped=drop)


def test_the_newest_ranking_of_an_idea_says_when_its_turn_is_whatever_the_order_of_telling():
    first, second = person("wider hidden layer"), person("use momentum", time="2026-01-02")
    said = [ranked(second, 0.1, time="2026-02-01"), ranked(second, 1.0, time="2026-02-03"), ranked(second, 0.2, time="2026-02-02")]

    for rankings in (said, said[::-1]):
        ideas = queue()
        ideas.rank(rankings[0])  # before the idea itself is told
        ideas.learn_person(first)
        ideas.learn_person(second)
        for ranking in rankings[1:]:
            ideas.rank(ranking)

        assert ideas.next_person().id == second.id
        assert ideas.next_person().priority == ideas.get(second.id).priority == 1.0


def test_a_dropped_idea_has_no_turn_hides_its_twins_and_comes_back_with_a_new_ranking():
    ideas = queue()
    idea = person("use momentum")
    ideas.learn_person(idea)
    ideas.rank(ranked(idea, 0.9, drop=True))

    assert ideas.next_person() is None
    assert ideas.status(idea.id) is IdeaStatus.DROPPED
    assert ideas.twin(person("Use  momentum!", on="0", time="2026-01-09")) == idea.id
    ideas.rank(ranked(idea, 0.3, time="2026-03-01"))
    assert ideas.next_person().priority == 0.3


def test_a_reviewers_idea_is_raised_above_the_others_and_what_was_done_stays_done():
    ideas = queue()
    ideas.learn_review(run("0", 1.0), review(("optimizer", "use momentum", 0.5), ("schedule", "cosine schedule", 0.6)))
    low = next(idea for idea, _, _ in ideas.all() if idea.description == "use momentum")

    ideas.rank(ranked(low, 0.9))

    assert ideas.best().id == low.id
    ideas.settle(run("1", 1.0, idea=low.id))
    ideas.rank(ranked(low, 0.9, drop=True, time="2026-03-01"))
    assert ideas.status(low.id) is IdeaStatus.DONE
