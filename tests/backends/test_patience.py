"""When a person hears of trials that wait."""

from __future__ import annotations

import pytest

from evogit.backends import patience
from evogit.backends.patience import Patience


@pytest.fixture
def clock(monkeypatch):
    """`clock(s)` moves time on."""
    now = [1000.0]
    monkeypatch.setattr(patience.time, "monotonic", lambda: now[0])

    def move(seconds: float) -> None:
        now[0] += seconds

    return move


@pytest.fixture
def waits() -> Patience:
    return Patience("for a GPU", "look")


def test_a_wait_is_told_after_a_minute_once_and_again_each_hour(clock, waits):
    waits.see(["a", "b"], {"a", "b"})
    clock(59)
    early = waits.news()
    clock(1)

    told = [waits.news(), waits.news()]

    clock(3600)
    assert early == []
    assert told == [[("2 trials have waited 1 min for a GPU", "look")], []]
    assert waits.news() == [("2 trials have waited 61 min for a GPU", "look")]


def test_who_begins_waits_no_longer_and_who_was_not_asked_about_still_does(clock, waits):
    waits.see(["a", "b", "c"], {"a", "b", "c"})
    clock(70)

    waits.see(["a", "b"], {"b"}, "no capacity")

    assert waits.news() == [("2 trials have waited 1 min for a GPU: no capacity", "look")]


def test_a_job_that_waits_anew_waits_from_then_on(clock, waits):
    waits.see(["a"], {"a"})
    clock(50)
    waits.see(["a"], set())
    waits.see(["a"], {"a"})
    clock(50)

    assert waits.news() == []
    clock(10)
    assert waits.news() == [("a trial has waited 1 min for a GPU", "look")]
