"""Archive: the best of each kind of change."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builders import LOSS, baseline, problem, run
from evogit.domain.change import Move
from evogit.domain.metric import Direction, Metric
from evogit.domain.run import Run
from evogit.domain.verdict import Verdict
from evogit.search.archive import FAMILIES, Archive, family_of, size
from evogit.search.lesson import Lesson


def lesson(of: Run) -> Lesson:
    return Lesson(run=of, parent=None, incumbent=None, belief=None, parent_belief=None, incumbent_belief=None, sigma=0.0)


def archive_of(*runs: Run, metric: Metric = LOSS) -> Archive:
    archive = Archive(problem(metrics=(metric,)))
    for one in runs:
        archive.learn(lesson(one))
    return archive


RUNS = st.tuples(
    st.integers(-5, 5),
    st.sampled_from(["activation", "widen layers", "learning rate", "ß ?", ""]),
    st.integers(0, 30),
    st.sampled_from([Verdict.DISCARD, Verdict.CRASH]),
)


@given(st.lists(RUNS, max_size=30), st.sampled_from(list(Direction)))
def test_an_elite_is_never_worse_than_a_run_of_its_niche(drawn, direction):
    runs = [run(str(n + 1), float(x), change=c, lines=(k, 0), verdict=v) for n, (x, c, k, v) in enumerate(drawn)]
    metric = Metric(name="val_loss", direction=direction)

    archive = archive_of(*runs, metric=metric)

    for one in runs:
        if one.verdict is not Verdict.CRASH:
            elite = archive.elite(archive.niche_of(one))
            assert not metric.better(one.mean("val_loss"), elite.mean("val_loss"))
    values = [metric.gain(e.mean("val_loss"), 0.0) for e in archive.elites()]
    assert values == sorted(values, reverse=True)


def test_of_equals_the_earlier_one_stays():
    archive = archive_of(run("1", 0.5, change="activation"), run("2", 0.5, change="activation"))

    assert [r.label for r in archive.elites()] == ["1"]


def test_a_crash_a_baseline_and_a_number_that_is_none_are_nobodys_elite():
    archive = archive_of(baseline(0.1), run("1", 0.1, verdict=Verdict.CRASH), run("2"), run("3", math.nan))

    assert archive.elites() == []
    assert archive.niche_of(baseline(0.1)) == ""


@pytest.mark.parametrize(
    ("change", "family"),
    [
        ("capacity_increase", "capacity"),
        ("weight decay", "regularization"),
        ("Learning-Rate warmup", "schedule"),
        ("initialization", "initialisation"),
        ("swap the nonlinearity", "activation"),
        ("hyperparameter", "hyperparameter"),
        ("recombination", "recombination"),
        ("💥" * 10_000, "other"),
        ("", "other"),
    ],
)
def test_free_text_categories_fall_into_families(change, family):
    assert family_of(change) == family


def test_a_run_without_a_readable_category_goes_by_what_it_moved():
    moved = run("1", 0.5, change="contrarian", moves=(Move("train.py:DROP", 0.1, 0.2, "dropout"),), lines=(1, 1))

    assert archive_of().niche_of(moved) == "regularization/tiny"


def test_there_are_at_most_forty_niches():
    assert 20 <= 3 * len(FAMILIES) <= 40


def test_sizes_are_lines_touched():
    assert [size(run("1", lines=lines)) for lines in ((1, 1), (2, 1), (12, 0), (12, 1))] == ["tiny", "small", "small", "large"]
