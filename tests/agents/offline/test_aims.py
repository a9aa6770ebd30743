from __future__ import annotations

import random
from pathlib import Path

import pytest

from builders import problem
from evogit.agents.offline.agent import OfflineAgent
from evogit.agents.offline.desk import Desk
from evogit.agents.offline.operators import OPERATORS
from evogit.domain.briefing import Briefing, Contrast
from evogit.domain.plan import Aim, Plan
from evogit.search import syntax

TEXT = """import torch
from torch import nn

LR = 1e-3
WIDTH = 64
DROPOUT = 0.1
BETA1 = 0.9
NESTEROV = False
UNUSED_RATE = 0.5


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(8, WIDTH), nn.ReLU(), nn.Dropout(DROPOUT), nn.Linear(WIDTH, 2))


opt = torch.optim.SGD(Net().parameters(), lr=LR, momentum=BETA1, nesterov=NESTEROV)
"""


def aimed(*aims: tuple[str, object], text: str = TEXT):
    wishes = tuple(Aim(gene=f"train.py:{name}", value=value) for name, value in aims)
    return OPERATORS["aim"](Desk({"train.py": text}, random.Random(0), aims=wishes))


def brief(*aims: Aim, tried: frozenset[str] = frozenset(), operators: tuple[str, ...] = ("tune_near",)) -> Briefing:
    plan = Plan(emitter="local_tuner", parents=("a" * 40,), seeds=(0,), rng=5, operators=operators, aims=aims)
    return Briefing(problem=problem(), plan=plan, goal="", sources={"train.py": TEXT}, parent=None, tried=tried)


@pytest.mark.parametrize(
    ("name", "value", "line", "summary"),
    [
        ("LR", 0.002, "LR = 2e-3", "double LR from 0.001 to 0.002"),
        ("LR", 0.0017, "LR = 1.7e-3", "raise LR from 0.001 to 0.0017"),
        ("WIDTH", 96, "WIDTH = 96", "raise WIDTH from 64 to 96"),
        ("WIDTH", 101, "WIDTH = 104", "raise WIDTH from 64 to 104"),
        ("DROPOUT", 0.0, "DROPOUT = 0.0", "lower DROPOUT from 0.1 to 0"),
        ("BETA1", 0.95, "BETA1 = 0.95", "raise BETA1 from 0.9 to 0.95"),
        ("NESTEROV", True, "NESTEROV = True", "turn NESTEROV on"),
    ],
)
def test_an_aim_sets_its_constant_to_the_nearest_value_it_may_have(name, value, line, summary):
    [option] = aimed((name, value))

    assert line in syntax.splice(TEXT, option.edits).splitlines()
    assert option.summary == summary


def test_an_aim_beyond_the_bounds_of_its_role_ends_inside_them():
    [option] = aimed(("LR", 1e9))

    assert "LR = 1e1" in syntax.splice(TEXT, option.edits)


@pytest.mark.parametrize(
    ("name", "value"),
    [("LR", 1e-3), ("LR", "fast"), ("LR", float("nan")), ("LR", -1.0), ("LR", True), ("GONE", 1.0), ("UNUSED_RATE", 0.7), ("WIDTH", 0)],
)
def test_an_aim_that_cannot_be_met_is_no_option(name, value):
    assert aimed((name, value)) == []


def test_an_aim_at_a_component_swaps_it():
    gene = next(g.name for g in Desk({"train.py": TEXT}, random.Random(0)).genes if g.value == "torch.nn.ReLU")

    [option] = aimed((gene, "torch.nn.GELU"))

    assert "nn.GELU()" in syntax.splice(TEXT, option.edits)


def test_aims_are_tried_first_and_in_the_order_of_the_plan():
    wishes = (Aim(gene="train.py:GONE", value=1), Aim(gene="train.py:WIDTH", value=96), Aim(gene="train.py:LR", value=0.002))

    first = OfflineAgent().propose(brief(*wishes), Path())

    assert first.summary == "raise WIDTH from 64 to 96"


def test_an_aim_that_was_run_gives_way_to_the_next_and_at_last_to_the_operators():
    from evogit.search.change import sources_hash

    wishes = (Aim(gene="train.py:WIDTH", value=96), Aim(gene="train.py:LR", value=0.002))
    hashes = [sources_hash({"train.py": TEXT.replace(*swap)}) for swap in (("WIDTH = 64", "WIDTH = 96"), ("LR = 1e-3", "LR = 2e-3"))]

    second = OfflineAgent().propose(brief(*wishes, tried=frozenset(hashes[:1])), Path())
    third = OfflineAgent().propose(brief(*wishes, tried=frozenset(hashes)), Path())

    assert second.summary == "double LR from 0.001 to 0.002"
    assert sources_hash(third.files) not in hashes


def test_what_a_run_added_is_taken_back_though_the_file_went_on():
    after = TEXT.replace(
        "nn.Dropout(DROPOUT), ", "nn.Dropout(DROPOUT),\n            nn.Linear(WIDTH, WIDTH),\n            nn.ReLU(),\n            "
    )
    now = after.replace("LR = 1e-3", "LR = 5e-3")
    contrast = Contrast(run="7", before={"train.py": TEXT}, after={"train.py": after}, gain=0.0)

    [option] = OPERATORS["take_back"](Desk({"train.py": now}, random.Random(0), contrast=contrast))

    assert syntax.splice(now, option.edits) == TEXT.replace("LR = 1e-3", "LR = 5e-3")
    assert option.change == "simplification"


def test_without_a_past_addition_nothing_is_taken_back():
    shorter = TEXT.replace("UNUSED_RATE = 0.5\n", "")
    contrast = Contrast(run="7", before={"train.py": TEXT}, after={"train.py": shorter}, gain=0.0)

    assert OPERATORS["take_back"](Desk({"train.py": shorter}, random.Random(0), contrast=contrast)) == []
    assert OPERATORS["take_back"](Desk({"train.py": TEXT}, random.Random(0))) == []
