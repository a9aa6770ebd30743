"""What a candidate weighs against the incumbent: a clock is believed where it can be."""

from __future__ import annotations

import pytest

from evogit.weighing import slower


def test_trials_that_differ_by_less_than_a_second_are_as_fast_as_each_other():
    assert slower(0.02, 0.05) is None
    assert slower(10.4, 10.0) is None


def test_a_trial_that_is_seconds_faster_is_faster():
    assert slower(5.0, 10.0) == pytest.approx(-0.5)


@pytest.mark.parametrize("times", [(None, 1.0), (1.0, None)])
def test_what_was_not_timed_is_not_compared(times):
    assert slower(*times) is None
