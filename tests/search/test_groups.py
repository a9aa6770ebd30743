"""Groups: kept up to date piece by piece, they say what all of them say at once."""

from __future__ import annotations

import math
from statistics import median

from hypothesis import given
from hypothesis import strategies as st

from evogit.search.groups import FEW, LENIENT, LIKELY, MANY, Groups, _quantile, _variance

READINGS = st.one_of(
    st.lists(st.integers(-40, 40).map(float), max_size=7),
    st.lists(st.sampled_from([0.0, 1e-170, 2e-170, 1e170, -1e170, 1.7e308, -1.7e308]), max_size=3),
)


@given(st.lists(st.tuples(st.integers(0, 14), st.none() | READINGS), max_size=50))
def test_what_was_put_and_dropped_one_by_one_is_what_stands_at_the_end(steps):
    groups, whole = Groups(), {}
    for run, readings in steps:
        if readings is None:
            groups.drop(str(run))
            whole.pop(str(run), None)
        else:
            groups.put(str(run), readings)
            whole[str(run)] = readings

        kept = plainly_trusted({name: _variance(values) for name, values in whole.items() if _variance(values)[1]})
        assert {name for name in whole if groups.speaks(name)} == set(kept)
        freedom = sum(f for _, f in kept.values())
        variance = math.fsum(s2 * (f / freedom) for s2, f in kept.values()) if freedom else 0.0
        assert groups.pooled() == (variance, freedom)


def plainly_trusted(groups: dict[str, tuple[float, int]]) -> dict[str, tuple[float, int]]:
    """The rule in its own words: nothing infinite; none without a spread among many with one; none above what is likely."""
    finite = {run: group for run, group in groups.items() if math.isfinite(group[0])}
    moving = {run: group for run, group in finite.items() if group[0] > 0}
    if 2 * len(moving) <= len(finite):
        return finite
    if len(moving) < FEW:
        return moving
    middle = median(variance / _quantile(freedom, 0.0) for variance, freedom in moving.values())
    patience = 1.0 if len(moving) >= MANY else LENIENT
    return {run: (s2, f) for run, (s2, f) in moving.items() if s2 / _quantile(f, LIKELY) <= patience * middle}
