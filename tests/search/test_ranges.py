"""Where a constant may go next: never across zero, never to a share of one, never by a leap."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evogit.search.ranges import FACTOR, plausible

NUMBERS = st.floats(-1e6, 1e6, allow_subnormal=False) | st.integers(-1000, 1000)


@pytest.mark.parametrize(
    ("to", "start", "other", "family", "next_"),
    [
        (-0.01, 0.0, 0.01, "decay", None),
        (1.8, 0.9, 0.45, "momentum", 0.95),
        (1.8, 0.9, 0.0, "", 0.95),
        (800_000.0, 40_000, 2000, "steps", 80_000),
        (0.5, 0.1, 0.02, "lr", 0.4),
        (0.001, 0.1, 10.0, "lr", 0.025),
        (2.0, 1.0, 0.5, "", None),
        (3, 2, 1, "depth", 3),
        (math.inf, 1.0, 0.5, "", None),
        (0.5, -1.0, -2.0, "", None),
    ],
)
def test_a_proposal_ends_where_it_stops_being_plausible(to, start, other, family, next_):
    assert plausible(to, start, other, family) == (pytest.approx(next_) if next_ is not None else None)


@given(NUMBERS, NUMBERS, NUMBERS)
def test_no_proposal_takes_a_new_sign_or_a_leap(to, start, other):
    found = plausible(to, start, other)

    if found is not None:
        assert found == 0 or (min(start, other) < 0 if found < 0 else max(start, other) > 0)
        assert abs(found) <= FACTOR * max(abs(start), abs(other)) * (1 + 1e-9)
