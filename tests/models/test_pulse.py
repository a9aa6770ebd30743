from __future__ import annotations

from evogit.models import pulse


def test_there_is_a_sign_of_life_while_a_model_answers_and_none_afterwards():
    with pulse.beating() as beat:
        before = pulse.so_far()
        beat("text")
        beat("text")
        during = pulse.so_far()

    assert (before, during, pulse.so_far()) == ("", "the model answers, 2 pieces so far", "")
