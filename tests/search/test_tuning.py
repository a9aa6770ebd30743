from __future__ import annotations

import math
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from builders import baseline, commit_of, problem, run
from evogit.domain.change import Move
from evogit.domain.verdict import Verdict
from evogit.search import genes
from evogit.search.memory import Memory
from evogit.search.tuning import MOST_AIMS, back, place, reversed_step, tune


class Shelf:
    """Sources by commit; every other commit has the baseline's."""

    def __init__(self, text: str, **others: str) -> None:
        self.text, self.others = text, {commit_of(k.lstrip("r")): v for k, v in others.items()}

    def sources(self, commit: str) -> dict[str, str]:
        return {"train.py": self.others.get(commit, self.text)}


ONE = "LR = 1e-3\n"
TWO = "LR = 1e-3\nWIDTH = 64\n"


def moved(label: str, loss: float, name: str, old: object, new: object, parents: tuple[str, ...] = ("0",), **more):
    return run(label, loss, parents=parents, moves=(Move(f"train.py:{name}", old, new, genes.families.role(name)),), **more)


def remembered(text: str, *runs, **others: str) -> Memory:
    return Memory.of(problem(), [baseline(1.0, 1.004, 0.996), *runs], Shelf(text, **others))


def first_values(memory: Memory, parent: str = "0", draws: int = 60, name: str = "LR", **more) -> list[float]:
    """The value wished for LR in each of many draws where it came first."""
    found = [tune(memory, memory.by_commit[commit_of(parent)], random.Random(n), **more).aims for n in range(draws)]
    return [aims[0].value for aims in found if aims and aims[0].gene == f"train.py:{name}"]


def test_without_sources_there_is_nothing_to_wish_for():
    memory = Memory.of(problem(), [baseline(1.0)])

    assert tune(memory, memory.baseline, random.Random(0)).aims == ()


def test_a_direction_that_paid_is_followed_and_one_that_lost_is_left():
    up = remembered(ONE, moved("1", 0.9, "LR", 1e-3, 2e-3), moved("2", 1.1, "LR", 1e-3, 5e-4))
    down = remembered(ONE, moved("1", 1.1, "LR", 1e-3, 2e-3), moved("2", 0.9, "LR", 1e-3, 5e-4))

    assert sum(v > 1e-3 for v in first_values(up)) >= 55
    assert sum(v < 1e-3 for v in first_values(down)) >= 55


def test_the_step_grows_after_success_and_shrinks_after_an_overshoot():
    grown = remembered(
        ONE,
        moved("1", 0.9, "LR", 1e-3, 2e-3, verdict=Verdict.KEEP),
        moved("2", 0.8, "LR", 2e-3, 4e-3, parents=("1",), verdict=Verdict.KEEP),
        r2="LR = 4e-3\n",
    )
    overshot = remembered(
        ONE,
        moved("1", 0.9, "LR", 1e-3, 2e-3, verdict=Verdict.KEEP),
        moved("2", 1.1, "LR", 2e-3, 4e-3, parents=("1",)),
        r1="LR = 2e-3\n",
    )

    steps = [math.log2(v / 4e-3) for v in first_values(grown, "2")]
    smaller = [math.log2(v / 2e-3) for v in first_values(overshot, "1")]
    assert sorted(steps)[len(steps) // 2] > 0.6
    assert sorted(smaller)[len(smaller) // 2] < 0.5
    assert sum(s < 1.0 for s in smaller) >= 0.9 * len(smaller)


def test_the_gene_that_pays_is_wished_for_first():
    memory = remembered(
        TWO,
        *(moved(str(n), 0.8, "LR", 1e-3, 1e-3 * 1.5**n) for n in (1, 2)),
        *(moved(str(n), 1.0, "WIDTH", 64, 64 * n) for n in (3, 4)),
    )

    assert len(first_values(memory)) >= 40


def test_a_crash_turns_the_tuner_round():
    memory = remembered(ONE, *(run(str(n), verdict=Verdict.CRASH, moves=(Move("train.py:LR", 1e-3, 1e-3 * 2**n, "lr"),)) for n in (1, 2)))

    assert sum(v < 1e-3 for v in first_values(memory)) >= 36


def test_a_plateau_allows_larger_steps():
    memory = remembered(ONE)

    near = max(abs(math.log2(v / 1e-3)) for v in first_values(memory))
    far = max(abs(math.log2(v / 1e-3)) for v in first_values(memory, far=True))
    assert near < 1.6 < far


def test_a_switch_is_turned_once():
    text = "FLIP = False\n"
    memory = remembered(text, moved("1", 1.2, "FLIP", False, True))

    assert [a.value for a in tune(remembered(text), memory.baseline, random.Random(0)).aims] == [True]
    assert tune(memory, memory.baseline, random.Random(0)).aims == ()


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.floats(0.2, 5.0), st.floats(0.5, 2.0), st.booleans()), max_size=12),
    st.integers(0, 1000),
    st.sampled_from((1e-3, 64)),
)
def test_no_value_that_was_measured_is_ever_wished_for(history, seed, start):
    name = "WIDTH" if isinstance(start, int) else "LR"
    gene = genes.find(f"{name} = {start}\n", "train.py")[0]
    runs = [
        moved(str(i + 1), loss, name, start, back(gene, math.log2(start * factor)), verdict=Verdict.KEEP if kept else Verdict.DISCARD)
        for i, (factor, loss, kept) in enumerate(history)
    ]
    memory = remembered(f"{name} = {start}\n", *runs)

    tuned = tune(memory, memory.baseline, random.Random(seed))

    seen = {start, *(m.new for r in runs for m in r.moves)}
    assert len(tuned.aims) <= MOST_AIMS
    assert all(a.value not in seen and a.value > 0 and type(a.value) is type(start) for a in tuned.aims)
    assert math.isfinite(tuned.gain) and tuned.spread >= 0


@given(st.sampled_from(["LR = 0.003", "WIDTH = 64", "DROPOUT = 0.25", "BETA = 0.95", "N_LAYER = 3"]), st.floats(-3, 3))
def test_a_value_taken_to_its_scale_and_back_stays_on_its_side(line, step):
    gene = genes.find(line + "\n", "train.py")[0]
    at = place(gene, gene.value)

    value = back(gene, at + step)

    assert type(value) is type(gene.value)
    assert value == gene.value or (value > gene.value) == (step > 0)


@pytest.mark.parametrize(
    ("line", "old", "new", "expected"),
    [
        ("LR = 1e-3", 1e-3, 2e-3, 5e-4),
        ("LR = 2e-3", 1e-3, 2e-3, 1e-3),
        ("WIDTH = 64", 64, 32, 128),
        ("FLIP = True", False, True, False),
        ("FLIP = False", False, True, None),
        ("LR = 1e-3", 0.0, 2e-3, None),
    ],
)
def test_a_step_is_reversed_on_the_genes_own_scale(line, old, new, expected):
    gene = genes.find(line + "\n", "train.py")[0]

    got = reversed_step(gene, old, new)

    assert got == (False if expected is False else expected)
