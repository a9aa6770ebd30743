"""What holds of memory whatever a campaign went through: any order of asking, any unit, any nonsense among the readings."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evogit.domain.run import Run
from evogit.domain.verdict import Verdict
from evogit.errors import WorkFailed
from evogit.policies.phases import Phases
from evogit.policies.sw_ucb import SlidingWindowUcb
from evogit.policies.thompson import Thompson
from evogit.policies.topk import TopK
from evogit.policies.uniform import Uniform
from evogit.registry import find, names
from evogit.search.memory import Memory
from evogit.stages.choose import choose
from lessons import EMITTERS, KINDS, Story, picture, unit_problem

POLICIES = (SlidingWindowUcb, Thompson, Uniform, Phases, TopK)
WILD = (math.nan, math.inf, -math.inf)
steps = st.lists(st.tuples(st.sampled_from(KINDS), st.integers(0, 2**20)), max_size=40)
noises = st.sampled_from((0.0, 0.01, 0.1))
quick = settings(max_examples=25, deadline=None)


@given(steps=steps, noise=noises)
@quick
def test_memory_folded_at_once_answers_as_memory_that_learnt_one_lesson_at_a_time_and_was_asked_after_each(steps, noise):
    lessons = Story(unit_problem(min_delta=0.01), noise=noise).tell(steps).lessons
    kept = Memory(unit_problem(min_delta=0.01))
    for lesson in lessons:
        kept.take(lesson)
        picture(kept)

    folded = Memory.of(unit_problem(min_delta=0.01), lessons)

    assert picture(folded) == picture(kept)


@given(steps=steps, noise=noises, share=st.floats(0, 1))
@quick
def test_memory_that_went_on_after_a_restart_answers_as_one_that_never_stopped(steps, noise, share):
    story = Story(unit_problem(), noise=noise).tell(steps)
    cut = round(share * len(story.lessons))

    restarted = Memory.of(unit_problem(), story.lessons[:cut])
    for lesson in story.lessons[cut:]:
        restarted.take(lesson)

    assert picture(restarted) == picture(story.memory)


@given(steps=steps, noise=noises)
@quick
def test_choosing_changes_nothing_that_memory_answers(steps, noise):
    memory = Story(unit_problem(), noise=noise).tell(steps).memory
    before = picture(memory)

    plans = [_chosen(memory) for _ in range(2)]

    assert plans[0] == plans[1]
    assert picture(memory) == before


def _chosen(memory: Memory):
    try:
        return choose(memory, [find("emitters", name)() for name in names("emitters")], SlidingWindowUcb(), random.Random(7))
    except WorkFailed:
        return None


@pytest.mark.parametrize("policy", POLICIES)
@given(steps=steps, noise=noises, count=st.integers(1, len(EMITTERS)), floor=st.sampled_from((0.02, 0.1, 0.5)), spoilt=st.booleans())
@settings(max_examples=12, deadline=None)
def test_chances_sum_to_one_and_none_is_below_the_floor_whatever_memory_holds(policy, steps, noise, count, floor, spoilt):
    memory = Story(unit_problem(floor=floor), noise=noise, spoilt=WILD if spoilt else ()).tell(steps).memory

    chances = policy().chances(memory, EMITTERS[:count])

    assert list(chances) == list(EMITTERS[:count])
    assert math.isclose(sum(chances.values()), 1.0, rel_tol=1e-9)
    assert min(chances.values()) >= min(floor, 1 / count) - 1e-12


@given(steps=steps, noise=noises, power=st.integers(-30, 30), min_delta=st.sampled_from((0.0, 0.03125)))
@quick
def test_another_unit_of_the_primary_metric_changes_no_verdict_of_a_campaign(steps, noise, power, min_delta):
    unit = 2.0**power
    plain = Story(unit_problem(1.0, min_delta), noise=noise).tell(steps)

    scaled = Story(unit_problem(unit, min_delta), noise=noise, unit=unit).tell(steps)

    assert _verdicts(scaled) == _verdicts(plain)
    assert _words(scaled) == _words(plain)


def _verdicts(story: Story) -> list[tuple[str, Verdict, bool, int, str]]:
    return [(r.label, r.verdict, r.near_miss, len(r.trials), r.incumbent) for r in story.lessons if isinstance(r, Run)]


def _words(story: Story) -> dict[str, object]:
    """What is concluded without a unit."""
    memory = story.memory
    return {
        "conjectures": [(c.key, c.helps, c.for_, c.against) for c in memory.conjectures.standing()],
        "dead ends": [end.statement for end in memory.dead_ends.closed()],
        "certificates": {run.label: memory.certification.status(run.commit) for run in memory.by_commit.values()},
        "pool": [run.label for run in memory.pool()],
        "chances": {policy.name: policy().chances(memory, EMITTERS) for policy in (SlidingWindowUcb, Uniform)},
    }


@given(steps=st.lists(st.tuples(st.sampled_from([k for k in KINDS if k != "judged"]), st.integers(0, 2**20)), max_size=30), noise=noises)
@quick
def test_a_reading_that_is_no_finite_number_never_makes_an_incumbent(steps, noise):
    story = Story(unit_problem(), noise=noise, spoilt=WILD).tell(steps)
    memory = story.memory

    assert all(math.isfinite(r.mean("val_loss")) for r in story.lessons if isinstance(r, Run) and r.is_kept)
    assert all(math.isfinite(run.mean("val_loss")) for run in (*memory.pool(), *memory.archive.elites()))
    assert math.isfinite(memory.spread.std)
    assert all(b is None or math.isfinite(b.mean) for b in map(memory.belief, memory.by_commit))
    _chosen(memory)
