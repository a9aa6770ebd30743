"""Who did it: effects are planted, and the part that has one is the part that is named."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evogit.domain.change import Move
from evogit.reviewers.heuristic.attribution import LIKELY, Case, attribute
from evogit.reviewers.heuristic.parts import parts
from evogit.search import change

BEFORE = """\
LR = 0.001
WIDTH = 16


class Net:
    def forward(self, x):
        x = self.one(x)
        x = relu(x)
        return self.two(x)


def train(model):
    step(model)
    log(model)
"""


def edited(*pairs: tuple[str, str]) -> str:
    text = BEFORE
    for old, new in pairs:
        assert old in text
        text = text.replace(old, new)
    return text


def parts_of(*pairs: tuple[str, str]):
    before, after = {"train.py": BEFORE}, {"train.py": edited(*pairs)}
    return parts(change.diff(before, after), change.moves(before, after))


def test_parts_have_names_that_are_found_in_the_file():
    found = parts_of(("LR = 0.001", "LR = 0.002"), ("relu(x)", "gelu(x)"), ("    log(model)\n", ""))

    assert [part.name for part in found] == [
        "`LR = 0.002` (train.py:1)",
        "the hunk in Net.forward `x = gelu(x)` (train.py:8)",
        "the hunk in train `without log(model)` (train.py:14)",
    ]


def test_two_children_share_a_part_wherever_their_other_lines_put_it():
    alone = parts_of(("relu(x)", "gelu(x)"))
    beside = parts_of(("WIDTH = 16\n", "WIDTH = 16\nDEPTH = 3\n"), ("relu(x)", "gelu(x)"))

    assert {part.key for part in alone} < {part.key for part in beside}


@pytest.mark.parametrize(
    "diff", ["", "garbage\n+++", "@@ -1 +1 @@\n-a\n+b", "--- a/x\n+++ b/x\n@@ -1 +1 @@\n-a\n\\ No newline at end of file\n+b"]
)
def test_a_diff_of_any_kind_is_read(diff):
    assert len(parts(diff, ())) <= 1


@given(st.text(max_size=300), st.lists(st.tuples(st.text(max_size=9), st.floats(), st.floats()), max_size=3))
def test_no_text_is_too_odd_for_a_diff(diff, moves):
    assert isinstance(parts(diff, [Move(g, a, b) for g, a, b in moves]), list)


def case(keys: str, gain: float, sd: float = 0.1) -> Case:
    return Case(keys=frozenset(keys), gain=gain, sd=sd)


def test_a_part_that_gained_without_the_others_is_the_responsible_one():
    effects = attribute(case("abc", 1.0), [case("a", 1.0), case("bc", 0.0), case("bd", 0.1)])

    assert effects[0].key == "a"
    assert effects[0].p_strongest >= LIKELY
    assert effects[0].seen == 1


def test_without_siblings_nobody_can_tell_the_parts_apart():
    effects = attribute(case("abc", 1.0), [])

    assert all(e.p_strongest < LIKELY for e in effects)
    assert effects[0].mean == pytest.approx(effects[1].mean)


def test_the_part_that_did_the_harm_is_named_for_a_loss():
    effects = attribute(case("ab", -1.0), [case("a", 0.0), case("b", -1.0)])

    assert effects[0].key == "b"
    assert effects[0].p_strongest >= LIKELY


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_a_planted_effect_is_found_among_noisy_siblings(sign):
    named = wrong = 0
    for seed in range(60):
        rng = random.Random(seed)
        letters = "abcdef"
        planted = rng.choice(letters)
        mine = frozenset({planted, *rng.sample(letters, 2)})
        others = [frozenset(rng.sample(letters, 2)) for _ in range(8)]
        read = {keys: sign * (planted in keys) + rng.gauss(0, 0.2) for keys in [mine, *others]}
        effects = attribute(Case(keys=mine, gain=read[mine], sd=0.2), [Case(keys=k, gain=read[k], sd=0.2) for k in others])
        if effects[0].p_strongest >= LIKELY:
            named += 1
            wrong += effects[0].key != planted
    assert named >= 45
    assert wrong <= 2


@given(
    st.lists(st.tuples(st.frozensets(st.sampled_from("abcd")), st.floats(-1e9, 1e9), st.floats(0, 1e9)), max_size=40),
    st.sampled_from([2.0**-20, 2.0**20]),
)
def test_the_unit_of_the_metric_changes_nobodys_part_in_it(siblings, unit):
    mine = case("ab", 1.0)
    others = [Case(keys=k, gain=g, sd=s) for k, g, s in siblings]

    here = attribute(mine, others)
    there = attribute(
        Case(keys=mine.keys, gain=unit, sd=0.1 * unit), [Case(keys=c.keys, gain=c.gain * unit, sd=c.sd * unit) for c in others]
    )

    assert [(e.key, e.p_strongest) for e in here] == [(e.key, e.p_strongest) for e in there]
    assert all(0.0 <= e.p_strongest <= 1.0 for e in here)


@given(st.floats(), st.lists(st.tuples(st.frozensets(st.sampled_from("abcd")), st.floats(), st.floats(min_value=0)), max_size=10))
def test_no_number_is_too_odd_to_be_attributed(gain, siblings):
    said = attribute(Case(keys=frozenset("ab"), gain=gain, sd=0.1), [Case(keys=k, gain=g, sd=s) for k, g, s in siblings])

    assert {e.key for e in said} <= {"a", "b"}
    assert all(0.0 <= e.p_strongest <= 1.0 for e in said)
