"""How far apart two edits are: what counts as the same edit, and what must never."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evogit.search.novelty import NEAR, distance, nearest, tokens

TRAIN = """\
LR = 0.001
WIDTH = 64
PAIR = (32, 32)

def build():
    return nn.Sequential(nn.Linear(64, WIDTH), nn.ReLU(), nn.Linear(WIDTH, WIDTH), nn.ReLU(), nn.Linear(WIDTH, 10))

def train(model, data):
    total = 0
    for x, y in data:
        total += step(model, x, y, LR)
    return total
"""


def edit(old: str, new: str, text: str = TRAIN) -> str:
    assert old in text
    return text.replace(old, new, 1)


def far(one: str, other: str) -> float:
    return distance(*(tokens({"train.py": TRAIN}, {"train.py": text}) for text in (one, other)))


def second(old: str, new: str) -> str:
    at = TRAIN.rindex(old)
    return TRAIN[:at] + new + TRAIN[at + len(old) :]


WARM = edit("    total = 0\n", "    total = 0\n    warm = 100\n    rate = LR * min(1, total / warm)\n")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (edit("0.001", "0.002"), edit("0.001", "0.003")),
        (edit("0.001", "0.002"), edit("64", "128")),
        (edit("(32, 32)", "(64, 32)"), edit("(32, 32)", "(32, 64)")),
        (edit("(32, 32)", "(64, 64)"), edit("(32, 32)", "(64, 32)")),
        (edit("nn.ReLU", "nn.GELU"), second("nn.ReLU", "nn.GELU")),
        (edit("nn.ReLU", "nn.GELU"), edit("nn.ReLU", "nn.SiLU")),
        (WARM, edit("0.001", "0.002", WARM)),
        (edit("0.001", "0.002"), edit("0.001", "-0.002")),
    ],
)
def test_edits_that_differ_in_what_they_do_are_not_near(one, other):
    assert far(one, other) > NEAR


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (WARM, WARM.replace("warm", "heat").replace("rate", "speed")),
        (WARM, WARM.replace("    warm = 100\n", "    # a comment\n    warm = (100)\n\n")),
        (WARM, WARM.replace("warm = 100", "warm = 104")),
        (edit("0.001", "0.002"), edit("0.001", "0.00205")),
        (edit("0.001", "2e-3"), edit("0.001", "0.002")),
    ],
)
def test_the_same_edit_in_other_dress_is_near(one, other):
    assert far(one, other) <= NEAR


def test_new_names_that_are_somebody_elses_still_count():
    def call(name: str) -> str:
        return edit("step(model", f"step.{name}(model")

    assert far(call("fast"), call("safe")) > NEAR


def test_formatting_alone_changes_nothing():
    assert tokens({"train.py": TRAIN}, {"train.py": TRAIN.replace(" = ", "  =  ") + "\n# end\n"}) == frozenset()


def test_files_that_do_not_parse_or_are_not_python_are_compared_as_text():
    before = {"a.py": "x = = 1\n", "b.yaml": "lr: 1\n"}

    one = tokens(before, {**before, "b.yaml": "lr: 2\n"})

    assert distance(one, tokens(before, {**before, "b.yaml": "lr: 2  \n"})) == 0
    assert distance(one, tokens(before, {**before, "a.py": "x = = 2\n"})) == 1
    assert tokens(before, {"a.py": "x = = 1\n"})


def test_the_nearest_is_named_with_its_distance():
    mine = tokens({"t.py": "A = 1\n"}, {"t.py": "A = 2\n"})

    assert nearest(mine, [("1", frozenset({"+x"})), ("2", mine), ("3", mine)]) == ("2", 0.0)
    assert nearest(mine, []) == ("", 1.0)


EDITS = st.lists(st.sampled_from(["0.001", "0.002", "0.00205", "0.0021", "nn", "(", "1", "1.04", "1.08"]), max_size=5)


@given(EDITS, EDITS)
def test_distance_is_symmetric_bounded_and_zero_for_the_same(left, right):
    before = {"t.txt": "LR 0.5\nkeep\nDEPTH 3\n"}
    one, other = (tokens(before, {"t.txt": f"LR {' '.join(words)}\nkeep\nDEPTH 3\n"}) for words in (left, right))

    assert distance(one, other) == pytest.approx(distance(other, one))
    assert 0 <= distance(one, other) <= 1
    assert distance(one, one) == 0


@given(st.floats(1e-6, 1e6), st.floats(0.953, 1.047))
def test_numbers_within_five_percent_agree(value, factor):
    before = {"t.py": "LR = 7e9\n"}

    one, other = (tokens(before, {"t.py": f"LR = {v!r}\n"}) for v in (value, value * factor))

    assert distance(one, other) == pytest.approx(0)
