"""Candidates that cheat, each with a trick of its own, run by the real loop in the real sandbox. See `tamper/`."""

from __future__ import annotations

import re

import pytest

from tamper import TRICKS, harness


@pytest.fixture(scope="session")
def bases(tmp_path_factory):
    """A measured baseline for each contract that tricks ask for, made once."""
    return harness.Bases(tmp_path_factory.mktemp("bases"), "bubblewrap")


def name(trick: harness.Trick) -> str:
    return re.sub(r"\W+", "-", f"{trick.family}-{trick.name}")


@pytest.mark.parametrize("trick", TRICKS, ids=name)
def test_a_trick_changes_no_number_and_learns_no_secret(trick, bases, tmp_path):
    if why := harness.refusal("bubblewrap"):
        pytest.skip(f"bubblewrap does not work here: {why}")
    harness.judge(harness.attempt(trick, bases.fresh(trick, tmp_path), "bubblewrap"))


def test_there_are_enough_of_them_and_no_two_alike():
    assert len(TRICKS) >= 60
    assert len({name(trick) for trick in TRICKS}) == len(TRICKS)
    assert {trick.family for trick in TRICKS} == {"ruler", "report", "claim", "problem", "hidden", "escape", "harm", "left", "poison"}
    assert all(trick.holds in harness.LEVELS for trick in TRICKS)
