"""Killed around a call of a model: what was paid for is not bought twice, and what may have been paid is on record."""

from __future__ import annotations

import pytest

import paying_hands
from evogit.failpoint import GIVEN_UP_POINTS, PAID_POINTS, POINTS
from evogit.git import flights
from faults.runner import Shot
from paying_hands import COST, WORST, calls

PAID = ("--agent", "paid", "--reviewer", "paid", "--emitter", "local_tuner")


@pytest.fixture
def log(tmp_path, monkeypatch):
    return paying_hands.install(tmp_path / "plugins", monkeypatch)


@pytest.fixture
def shot(tmp_path):
    return Shot(tmp_path / "toy")


def test_a_paid_candidate_is_not_bought_twice_when_the_loop_is_killed_after_the_pin(shot, log):
    shot.killed_at("pinned", *PAID, "--max-runs", "1")
    assert calls(log) == ["reviewer", "agent"]  # the baseline's review came first

    shot.loop(*PAID, "--max-runs", "1")

    assert calls(log) == ["reviewer", "agent", "reviewer"]
    assert [run.spent.calls for run in shot.lab().campaign.history.runs] == [1, 2]
    shot.check()


@pytest.mark.parametrize("point", [p for p in POINTS if p not in ("planned", "candidate", "reviewed")])
def test_wherever_the_loop_is_killed_every_call_is_on_record_once(shot, log, point):
    shot.killed_at(point, *PAID, "--max-runs", "2")

    shot.loop(*PAID, "--max-runs", "1")

    runs = shot.lab().campaign.history.runs
    assert sum(run.spent.calls for run in runs) == len(calls(log))
    assert sum(run.cost_usd for run in runs) == pytest.approx(len(calls(log)) * COST)
    shot.check()


@pytest.mark.parametrize("point", PAID_POINTS)
@pytest.mark.parametrize("count", [1, 2, 3])
def test_a_call_that_was_about_to_be_made_is_charged_and_told_as_one_of_unknown_price(shot, log, point, count):
    shot.killed_at(f"{point}:{count}", *PAID, "--max-runs", "1")
    [stored] = [stored for stored in flights.listing(shot.lab().repo, "t1") if stored.flight.calls]
    assert stored.flight.reserved_usd == pytest.approx(WORST)
    assert [call.error for call in stored.flight.calls] == ["the loop ended before it was told what came of it"]

    events = shot.loop(*PAID, "--max-cost", f"{WORST * 1.5}", "--json").stdout

    assert "could pass --max-cost" in events
    assert len(calls(log)) == count - 1  # what the killed call may have cost leaves no room for another one
    shot.loop(*PAID, "--max-runs", "1")
    shot.check()
    assert sum(run.unpriced for run in shot.lab().campaign.history.runs) == 1


def test_an_agent_that_was_paid_to_change_nothing_is_not_asked_again(shot, log):
    idle = ("--agent", "paid", "--agent-option", "what=nothing", "--emitter", "local_tuner", "--max-runs", "1")
    shot.killed_at("intended:3", *idle)  # after the two trials of the baseline

    shot.loop(*idle)

    assert calls(log) == ["agent"]
    assert shot.lab().status().cost_usd == pytest.approx(COST)


@pytest.mark.parametrize("point", GIVEN_UP_POINTS)
def test_a_call_before_a_service_went_down_is_on_record_wherever_the_loop_is_killed(shot, log, point):
    shot.killed_at(point, "--agent", "paid", "--agent-option", "what=tire", "--emitter", "local_tuner", "--max-runs", "1")

    [stored] = [stored for stored in flights.listing(shot.lab().repo, "t1") if stored.flight.calls]
    assert calls(log) == ["agent"]
    assert [(call.usd, call.error) for call in stored.flight.calls] == [(pytest.approx(COST), "")]
    assert stored.flight.reserved_usd == 0.0


def test_of_a_conversation_that_was_killed_late_the_calls_that_were_answered_are_charged_at_what_they_cost(shot, log):
    twice = ("--agent", "paid", "--agent-option", "what=twice", "--emitter", "local_tuner")
    shot.killed_at("paying:2", *twice, "--max-runs", "1")  # the second call of one conversation

    [stored] = [stored for stored in flights.listing(shot.lab().repo, "t1") if stored.flight.calls]
    assert [call.usd for call in stored.flight.calls] == [pytest.approx(COST), None]
    assert stored.flight.reserved_usd == pytest.approx(COST + WORST)
    shot.loop(*twice, "--max-runs", "1", "--max-cost", f"{COST + WORST + 2 * WORST}")
    shot.check()
    [_, run] = shot.lab().campaign.history.runs
    assert (run.spent.calls, run.unpriced) == (4, 1)
    assert run.cost_usd == pytest.approx(3 * COST)
