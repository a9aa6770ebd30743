"""When two sets of readings of one program agree, and which hands can make their proposals again."""

from __future__ import annotations

import pytest

import paying_hands
from evogit import registry
from evogit.errors import UnknownName
from evogit.purse import Purse
from evogit.replaying import is_within_noise, replayer_of


@pytest.mark.parametrize(
    ("before", "after", "spread", "agrees"),
    [
        ((0.1,), (0.1,), 0.0, True),
        ((0.1,), (0.1001,), 0.0, False),
        ((0.1,), (0.14,), 0.01, True),
        ((0.1,), (0.15,), 0.01, False),
        ((0.1,) * 9, (0.12,) * 9, 0.01, False),
        ((), (), 0.01, True),
        ((0.1,), (), 0.01, False),
    ],
)
def test_readings_agree_within_three_standard_deviations_of_their_difference(before, after, spread, agrees):
    assert is_within_noise(before, after, spread) is agrees


def test_the_offline_agent_can_replay_and_what_is_not_here_cannot():
    assert replayer_of("offline") is not None
    assert replayer_of("noop") is None
    assert replayer_of("replay:nov20") is None
    assert replayer_of("nobody") is None


def test_a_hand_that_wants_the_purse_gets_it_and_no_person_can_give_one(tmp_path, monkeypatch):
    paying_hands.install(tmp_path / "plugins", monkeypatch)
    purse = Purse(1.0)

    registry.check("agents", "paid", {"what": "edit"})
    hand = registry.make("agents", "paid", {"what": "edit"}, purse=purse)

    assert hand.purse is purse
    assert registry.make("agents", "noop", {}, purse=purse).name == "noop"
    with pytest.raises(UnknownName, match="purse is no option"):
        registry.check("agents", "paid", {"purse": "5"})
    with pytest.raises(UnknownName) as fault:
        registry.check("agents", "paid", {"colour": "red"})
    assert fault.value.hint == "its options are what, model"
