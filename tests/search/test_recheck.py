"""When the incumbent is read once more, and when it is not."""

from __future__ import annotations

import pytest

from builders import baseline, commit_of, problem, run, trial
from evogit.domain.problem import Budget, Decide
from evogit.domain.run import Again
from evogit.domain.verdict import Verdict
from evogit.search.memory import Memory
from evogit.search.recheck import due

GAIN = run("1", 0.0985, 0.0983, verdict=Verdict.KEEP)


def campaign(*more, **fields) -> Memory:
    return Memory.of(problem(**fields), [baseline(0.10, 0.101, 0.099), *more])


def test_a_new_incumbent_is_read_under_a_seed_that_it_was_not_read_under():
    assert due(campaign(GAIN)) == (commit_of("1"), (2,))
    assert due(campaign(run("1", 0.0985, 0.0983, 0.0984, verdict=Verdict.KEEP))) == (commit_of("1"), (3,))


@pytest.mark.parametrize("purpose", ["replicate", "certify"])
def test_once_read_since_its_decision_it_is_left_alone(purpose):
    again = Again(of=commit_of("1"), purpose=purpose, lines=(trial("1", 7, 0.055),))

    assert due(campaign(GAIN, again)) is None


@pytest.mark.parametrize(
    "memory",
    [
        campaign(),
        campaign(run("1", 0.05)),
        campaign(run("1", 0.1, 0.102, verdict=Verdict.KEEP)),
        campaign(run("1", 0.05, 0.052, verdict=Verdict.KEEP)),
        campaign(GAIN, decide=Decide(rule="greedy")),
        campaign(GAIN, budget=Budget(seeds=(0,))),
        Memory.of(problem(), [baseline(0.1, 0.1, 0.1), run("1", 0.05, 0.05, verdict=Verdict.KEEP)]),
        Memory.of(problem(), []),
    ],
    ids=["baseline", "discard", "simpler", "sure", "plain rule", "one seed", "exact", "empty"],
)
def test_where_another_reading_teaches_nothing_none_is_taken(memory):
    assert due(memory) is None
