"""A hard cap: what could pass it is not begun, whatever happens between a reservation and its settlement."""

from __future__ import annotations

import threading

import pytest

from evogit.domain.usage import Call
from evogit.errors import CapReached, UserError
from evogit.purse import Purse


def test_what_fits_is_reserved_and_what_it_did_not_use_comes_back():
    purse = Purse(1.0)

    ticket = purse.reserve(0.8, "x")
    assert purse.left == pytest.approx(0.2)
    ticket.settle(0.3)

    assert (purse.spent, purse.held, purse.left) == (0.3, 0.0, pytest.approx(0.7))


def test_what_could_pass_the_cap_is_refused_and_nothing_is_held_for_it():
    purse = Purse(1.0, spent=0.5)

    with pytest.raises(CapReached, match=r"the next call could pass --max-cost 1 \(\$0\.5000 spent\)"):
        purse.reserve(0.51, "x")

    assert purse.left == pytest.approx(0.5)
    assert purse.refusal


def test_the_last_cent_can_be_spent():
    purse = Purse(0.3)
    for _ in range(3):
        purse.reserve(0.1, "x").settle(0.1)

    assert purse.left == pytest.approx(0.0)
    assert not purse.refusal


def test_a_refusal_that_waiting_may_mend_is_not_the_end():
    purse = Purse(1.0)
    ticket = purse.hold(0.9)
    with pytest.raises(CapReached):
        purse.hold(0.5)
    assert not purse.refusal

    ticket.settle(0.1)

    assert purse.hold(0.5).usd == 0.5


def test_settling_twice_counts_once():
    purse = Purse(1.0)
    ticket = purse.reserve(0.5, "x")

    ticket.settle(0.2)
    ticket.settle(0.2)

    assert purse.spent == 0.2


def test_a_call_whose_cost_stays_unknown_is_charged_its_reservation():
    purse = Purse(1.0)

    purse.reserve(0.5, "x").settle(None)

    assert purse.spent == 0.5


def test_a_call_that_a_hand_forgot_to_settle_is_charged_and_holds_nothing_up():
    purse = Purse(1.0)
    trial = purse.hold(0.1)
    purse.reserve(0.5, "x")

    purse.end_calls()

    assert (purse.spent, purse.held) == (0.5, 0.1)
    trial.settle(0.0)


def test_an_unknown_price_is_refused_under_a_cap_with_the_model_and_the_table_to_write():
    with pytest.raises(UserError) as fault:
        Purse(1.0).reserve(None, "openai", "my-model")

    assert "my-model" in fault.value.message
    assert '[prices."my-model"]' in fault.value.hint


def test_without_a_cap_everything_fits_and_is_counted():
    purse = Purse()

    purse.reserve(None, "x").settle(0.5)
    purse.reserve(1e9, "x").settle(2.0)
    purse.reserve_rest("x").settle(1.0)

    assert purse.spent == 3.5
    assert not purse.refusal


def test_a_program_that_tells_its_cost_afterwards_is_given_all_that_is_left_and_nothing_once_it_is_gone():
    purse = Purse(1.0)

    ticket = purse.reserve_rest("claude-code")
    assert ticket.usd == 1.0
    ticket.settle(1.2)  # it went over: a fact, and the last one

    with pytest.raises(CapReached):
        purse.reserve_rest("claude-code")


def test_what_is_about_to_be_paid_is_told_before_it_is_and_a_refused_call_is_not():
    purse, told = Purse(1.0), []
    purse.before_paying = lambda *call: told.append((*call, purse.held))

    purse.reserve(0.4, "x", "m")
    with pytest.raises(CapReached):
        purse.reserve(0.7, "x", "m")
    purse.hold(0.1)

    assert told == [("x", "m", 0.4, 0.0)]


def test_whoever_wrote_a_call_down_beforehand_is_told_once_what_came_of_it():
    purse, told = Purse(1.0), []
    purse.before_paying = lambda *call: lambda usd, call: told.append((usd, call))
    call = Call(who="agent", hand="x", usd=0.2)

    purse.reserve(0.4, "x", "m").settle(0.2, call)
    ticket = purse.reserve(0.3, "x", "m")
    purse.end_calls()
    ticket.settle(0.1)

    assert told == [(0.2, call), (None, None)]


def test_calls_of_a_hand_without_a_purse_are_charged_and_one_without_a_price_is_the_last():
    purse = Purse(1.0)

    purse.charge([Call(who="agent", hand="x", usd=0.25), Call(who="agent", hand="x", model="m", usd=None)])

    assert purse.spent == 0.25
    assert "m" in purse.refusal


def test_twenty_threads_together_never_pass_the_cap():
    purse, paid, begin = Purse(1.0), [], threading.Barrier(20)

    def spend():
        begin.wait()
        for _ in range(50):
            try:
                ticket = purse.reserve(0.01, "x")
            except CapReached:
                return
            assert purse.spent + purse.held <= 1.0 + 1e-6
            ticket.settle(0.01)
            paid.append(1)

    threads = [threading.Thread(target=spend) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(paid) == 100
    assert purse.spent == pytest.approx(1.0)
