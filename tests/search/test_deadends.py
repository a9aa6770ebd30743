"""Dead ends: they rest on an assumption, and fall with it."""

from __future__ import annotations

from builders import baseline, problem, run
from evogit.domain.belief import Belief
from evogit.domain.change import Move
from evogit.domain.run import Run
from evogit.domain.verdict import Verdict
from evogit.search.deadends import LOSSES, DeadEnds
from evogit.search.lesson import Lesson
from evogit.search.memory import Memory
from evogit.search.topics import topics

KEY = "gene:train.py:DROPOUT+"
MORE_DROPOUT = (Move("train.py:DROPOUT", 0.1, 0.3, "dropout"),)
LOST = {"gain": -1.0, "p_harm": 0.99, "p_gain": 0.0}
GAINED = {"gain": 1.0, "p_gain": 0.95, "p_harm": 0.0}


def lesson(of: Run, parent: Run | None = None, **belief) -> Lesson:
    return Lesson(
        run=of,
        parent=parent or baseline(0.5),
        incumbent=None,
        belief=Belief(mean=0.5, variance=0.0, **belief) if belief else None,
        parent_belief=None,
        incumbent_belief=None,
        sigma=0.1,
        topics=topics(of),
    )


def keep(label: str, family: str, change: str = "") -> Run:
    moves = (Move(f"train.py:{family.upper()}", 1.0, 2.0, family),) if family else ()
    return run(label, 0.4, verdict=Verdict.KEEP, moves=moves, change=change)


def closed_dropout(ends: DeadEnds | None = None) -> DeadEnds:
    ends = ends or DeadEnds()
    for label in ("1", "2"):
        ends.learn(lesson(run(label, 0.9, moves=MORE_DROPOUT), **LOST))
    return ends


def test_a_topic_that_lost_twice_and_never_gained_is_closed():
    (end,) = closed_dropout().closed()

    assert (end.key, end.runs, end.since_seq) == (KEY, ("1", "2"), 2)
    assert "width" in end.assumption
    assert end.statement.startswith("raising DROPOUT does not pay while")


def test_the_keep_that_changes_the_assumption_opens_a_dead_end():
    ends = closed_dropout()
    ends.learn(lesson(keep("3", "width"), **GAINED))

    assert not ends.is_closed(KEY)
    (opened,) = ends.reopened()
    assert (opened.dead_end.key, opened.by, opened.because) == (KEY, "3", "it changed width")


def test_a_keep_that_changes_something_else_leaves_it_closed():
    ends = closed_dropout()
    ends.learn(lesson(keep("3", "batch", change="hyperparameter"), **GAINED))

    assert ends.is_closed(KEY)
    assert ends.reopened() == []


def test_a_structural_keep_touches_the_roles_of_its_category():
    ends = closed_dropout()
    ends.learn(lesson(keep("3", "", change="capacity_increase"), **GAINED))

    assert not ends.is_closed(KEY)


def test_a_discard_opens_nothing():
    ends = closed_dropout()
    ends.learn(lesson(run("3", 0.5, moves=(Move("train.py:WIDTH", 1, 2, "width"),)), gain=0.1, p_gain=0.3))

    assert ends.is_closed(KEY)


def test_a_gain_opens_the_topic_itself_and_its_losses_are_forgotten():
    ends = closed_dropout()
    ends.learn(lesson(run("3", 0.4, moves=MORE_DROPOUT), **GAINED))
    assert not ends.is_closed(KEY)
    assert ends.reopened()[0].because == "it paid"

    ends.learn(lesson(run("4", 0.9, moves=MORE_DROPOUT), **LOST))

    assert not ends.is_closed(KEY)


def test_losses_from_before_the_keep_do_not_count_after_it():
    ends = DeadEnds()
    ends.learn(lesson(run("1", 0.9, moves=MORE_DROPOUT), **LOST))
    ends.learn(lesson(keep("2", "width"), **GAINED))
    ends.learn(lesson(run("3", 0.9, moves=MORE_DROPOUT), parent=baseline(0.5), **LOST))  # its parent is older than the keep
    ends.learn(lesson(run("4", 0.9, moves=MORE_DROPOUT), parent=keep("2", "width"), **LOST))
    assert not ends.is_closed(KEY)

    ends.learn(lesson(run("5", 0.9, moves=MORE_DROPOUT), parent=keep("2", "width"), **LOST))

    assert [end.runs for end in ends.closed()] == [("4", "5")]


def test_crashes_and_losses_within_the_noise_close_nothing():
    ends = DeadEnds()
    for n in range(1, 9):
        ends.learn(lesson(run(str(n), verdict=Verdict.CRASH, moves=MORE_DROPOUT)))
        ends.learn(lesson(run(str(n + 10), 0.5, moves=MORE_DROPOUT), gain=-0.05, p_gain=0.3))
        ends.learn(lesson(run(str(n + 20), 0.5, moves=MORE_DROPOUT), gain=0.0, p_gain=0.0))

    assert ends.closed() == []


def test_a_wider_claim_takes_more_losses():
    ends = DeadEnds()
    closed_at = {}
    for n in range(1, 8):
        moves = (Move(f"train.py:DROP{n % 2}", 0.1, 0.3, "dropout"),)
        ends.learn(lesson(run(str(n), 0.9, moves=moves, change="regularization"), **LOST))
        for key in ("role:dropout+", "change:regularization"):
            if ends.is_closed(key):
                closed_at.setdefault(key, n)

    assert closed_at == {"role:dropout+": LOSSES["role"], "change:regularization": LOSSES["change"]}


def test_a_topic_that_rests_on_nobody_knows_what_is_opened_by_any_keep():
    ends = DeadEnds()
    for label in ("1", "2"):
        ends.learn(lesson(run(label, 0.9, moves=(Move("train.py:MAGIC", 1, 2),)), **LOST))
    assert ends.is_closed("gene:train.py:MAGIC+")

    ends.learn(lesson(keep("3", "batch"), **GAINED))

    assert ends.closed() == []


def test_memory_closes_what_lost_and_opens_it_by_the_keep_that_matters():
    lessons = [baseline(10.0, 10.1, 9.9), *(run(str(n), 15.0, 15.1, 14.9, moves=MORE_DROPOUT) for n in (1, 2))]
    memory = Memory.of(problem(), lessons)
    assert memory.dead_ends.is_closed(KEY)

    other = Move("train.py:BATCH", 64, 32, "batch")
    memory.learn(run("3", 5.0, 5.1, 4.9, moves=(other,), verdict=Verdict.KEEP))
    assert memory.dead_ends.is_closed(KEY)

    memory.learn(run("4", 2.0, 2.1, 1.9, moves=(Move("train.py:WIDTH", 8, 16, "width"),), parents=("3",), verdict=Verdict.KEEP))
    assert not memory.dead_ends.is_closed(KEY)
    assert [o.by for o in memory.dead_ends.reopened()] == ["4"] * len(memory.dead_ends.reopened())
