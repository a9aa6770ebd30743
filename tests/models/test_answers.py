"""What is kept of answers: all of an honest one, the ends of one that is too long."""

from __future__ import annotations

from evogit.domain.usage import Call
from evogit.models.answers import ANSWER_CAP, END, HAND_CAP, capped, is_cut


def call(answer: str) -> Call:
    return Call(who="agent", hand="x", answer=answer)


def test_an_answer_up_to_the_cap_is_kept_to_the_letter():
    calls, kept = capped([call("1.json")], {"1.json": "a" * ANSWER_CAP})

    assert (calls, kept) == ((call("1.json"),), {"1.json": "a" * ANSWER_CAP})
    assert not is_cut(kept)


def test_a_longer_one_is_left_by_its_ends_under_a_name_that_says_so():
    calls, kept = capped([call("1.json"), call("2.json"), call("")], {"1.json": "short", "2.json": "a" * ANSWER_CAP + "z"})

    assert [one.answer for one in calls] == ["1.json", "cut-2.json", ""]
    assert kept["1.json"] == "short" and is_cut(kept)
    assert kept["cut-2.json"] == "a" * END + f"\n[... {ANSWER_CAP + 1 - 2 * END} characters left out ...]\n" + "a" * (END - 1) + "z"


def test_all_answers_of_a_hand_together_stay_below_its_cap_but_for_ends():
    _, kept = capped([], {f"{n:02}.json": "a" * ANSWER_CAP for n in range(40)})

    whole = [text for name, text in kept.items() if not name.startswith("cut-")]
    assert len(kept) == 40
    assert sum(map(len, whole)) == HAND_CAP
    assert sum(map(len, kept.values())) < HAND_CAP + 40 * (2 * END + 100)
