"""The turn, work beside the loop, and how many candidates are made ready."""

from __future__ import annotations

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evogit.errors import ServiceDown
from evogit.turns import Beside, Pace, Turn


def test_one_thread_at_a_time_has_the_turn():
    turn, inside, most, done = Turn(), [], [], threading.Barrier(9)

    def work():
        for _ in range(50):
            with turn.taken():
                inside.append(1)
                most.append(len(inside))
                inside.pop()
        done.wait()

    for _ in range(8):
        threading.Thread(target=work).start()
    done.wait()

    assert max(most) == 1


def test_who_has_the_turn_may_take_it_again_and_has_it_until_the_last_block_is_left():
    turn = Turn()
    with turn.taken():
        with turn.taken():
            pass
        held = turn.is_mine

    assert held
    assert not turn.is_mine


def test_away_lets_another_thread_in_and_takes_the_turn_back():
    turn, heard = Turn(), []
    with turn.taken():
        with turn.away():
            released = not turn.is_mine
            beside = Beside(turn, lambda: heard.append("beside"), threading.Event())
            beside.wait()
        back = turn.is_mine

    assert (released, back) == (True, True)
    assert heard == ["beside"]


def test_away_gives_the_turn_back_to_its_owner_when_the_slow_thing_fails():
    turn = Turn()

    with turn.taken(), pytest.raises(ServiceDown), turn.away():
        raise ServiceDown("out of reach")

    assert not turn.is_mine


def test_away_of_a_thread_without_the_turn_changes_nothing():
    turn = Turn()

    with turn.away():
        mine = turn.is_mine

    assert not mine


def test_work_beside_the_loop_waits_for_the_turn_rings_the_bell_and_gives_what_it_made():
    turn, bell = Turn(), threading.Event()
    with turn.taken():
        beside = Beside(turn, lambda: (turn.is_mine, "made"), bell)
        waits = not beside.is_over
    rang = bell.wait(30)

    assert waits and rang
    assert beside.take() == (True, "made")
    assert beside.seconds >= 0


def test_what_work_beside_the_loop_raises_is_raised_where_it_is_taken():
    def fail():
        raise ServiceDown("out of reach")

    beside = Beside(Turn(), fail, threading.Event())
    beside.wait()

    with pytest.raises(ServiceDown, match="out of reach"):
        beside.take()


def test_with_one_slot_nothing_is_made_ahead():
    pace = Pace()
    pace.made(60)
    pace.ran(1)

    assert pace.ahead(1) == 0


def test_before_anything_was_timed_one_candidate_is_made_ahead():
    assert Pace().ahead(8) == 1


@pytest.mark.parametrize(("workers", "run_s", "ahead"), [(8, 2.0, 2), (4, 0.2, 1), (3, 2.0, 0), (8, 60.0, 0), (8, 0.0, 0)])
def test_of_a_quick_hand_a_few_candidates_are_made_ahead_where_runs_are_short_and_slots_many(workers, run_s, ahead):
    pace = Pace()
    pace.ran(run_s)

    assert pace.ahead(workers, is_quick=True) == ahead


@given(st.integers(2, 64), st.floats(0.001, 10_000), st.floats(0.001, 10_000))
def test_as_many_are_made_ahead_as_slots_fall_free_while_one_is_made(workers, made_s, run_s):
    pace = Pace()
    pace.made(made_s)
    pace.ran(run_s)

    ahead = pace.ahead(workers)

    assert 1 <= ahead <= workers
    assert ahead == workers or ahead >= workers * made_s / run_s - 0.5
