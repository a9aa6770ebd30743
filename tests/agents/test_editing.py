from __future__ import annotations

import math

import pytest

from builders import problem
from evogit.agents.editing import TOOLS, Editor, replay
from evogit.domain.plan import Forecast
from evogit.models.talk import Use

SOURCES = {"train.py": "LR = 0.1\nWIDTH = 8\nWIDTH2 = 8\n"}


def editor(**more) -> Editor:
    return Editor(problem(**more), SOURCES)


def use(name: str, **arguments) -> Use:
    return Use(id="1", name=name, arguments=arguments)


def finish(predicted: object = None, **more) -> Use:
    said = {"mutation_type": "optimizer", "mutation_summary": "raise LR", "hypothesis": "it is too small", "predicted": predicted}
    return use("finish", **{**said, **more})


def test_a_passage_that_occurs_once_is_replaced():
    desk = editor()

    result = desk.carry_out(use("replace_in_file", path="./train.py", old="LR = 0.1", new="LR = 0.2"))

    assert not result.is_error
    assert desk.changed == {"train.py": "LR = 0.2\nWIDTH = 8\nWIDTH2 = 8\n"}


@pytest.mark.parametrize(
    ("asked", "why"),
    [
        (use("replace_in_file", path="train.py", old="= 8", new="= 9"), "occurs 2 times"),
        (use("replace_in_file", path="train.py", old="lr = 0.1", new=""), "occurs 0 times"),
        (use("replace_in_file", path="train.py", old="", new="x"), "is empty"),
        (use("replace_in_file", path="train.py", old="LR"), "lacks new"),
        (use("replace_in_file", path="train.py", old=1, new="x"), "old must be text"),
        (use("write_file", path="train.py", text="x", mode="w"), "takes no mode"),
        (use("write_file", path="evaluate.py", text="x"), "evaluate.py is frozen: only train.py"),
        (use("write_file", path="evogit.toml", text="x"), "frozen"),
        (use("write_file", path="../train.py", text="x"), "no path below"),
        (use("write_file", path="/etc/passwd", text="x"), "no path below"),
        (use("write_file", path="a/../train.py", text="x"), "no path below"),
        (use("write_file", path="train.py", text="x" * 600_000), "the limit is"),
        (use("write_file", path="train.py", text="\ud800"), "UTF-8"),
        (use("rm", path="train.py"), "no tool 'rm'"),
        (Use(id="1", name="write_file", fault="the arguments are no JSON object"), "no JSON object"),
        (finish(), "nothing is changed"),
    ],
)
def test_what_cannot_be_done_is_said_and_changes_nothing(asked, why):
    desk = editor()

    result = desk.carry_out(asked)

    assert result.is_error and why in result.text
    assert desk.changed == {} and desk.said is None


def test_new_files_are_made_where_the_globs_allow_them():
    desk = editor(mutable=("*.py",), folder="rp/toy")

    assert not desk.carry_out(use("write_file", path="layers.py", text="x = 1\n")).is_error
    assert desk.carry_out(use("write_file", path="data.csv", text="1\n")).is_error
    assert list(desk.changed) == ["layers.py"]


@pytest.mark.parametrize(
    ("predicted", "forecast"),
    [
        ({"mean": 0.2, "spread": 0.01}, Forecast(mean=0.2, spread=0.01)),
        ({"mean": 1, "spread": 2}, Forecast(mean=1.0, spread=2.0)),
        *[
            (nonsense, None)
            for nonsense in (
                None, {}, "low", [0.2, 0.1], {"mean": 0.2}, {"mean": None, "spread": None}, {"mean": 0.2, "spread": 0}, {"mean": 0.2, "spread": -1},
                {"mean": math.nan, "spread": 1}, {"mean": math.inf, "spread": 1}, {"mean": True, "spread": 1}, {"mean": "0.2", "spread": 1},
                {"mean": 10**400, "spread": 1},
            )
        ],
    ],
)  # fmt: skip
def test_a_prediction_counts_if_it_can_be_scored(predicted, forecast):
    desk = editor()
    desk.carry_out(use("write_file", path="train.py", text="LR = 1\n"))

    result = desk.carry_out(finish(predicted))

    assert not result.is_error
    assert desk.said.forecast == forecast
    assert bool(desk.said.ignored) is (forecast is None)


def test_an_edit_after_finish_takes_the_finish_back():
    desk = editor()
    desk.carry_out(use("write_file", path="train.py", text="LR = 1\n"))
    desk.carry_out(finish())

    desk.carry_out(use("write_file", path="train.py", text="LR = 2\n"))

    assert desk.said is None


def test_recorded_uses_give_the_same_files_again():
    uses = [use("replace_in_file", path="train.py", old="LR = 0.1", new="LR = 0.2"), use("write_file", path="x", text=""), finish()]
    desk = editor()
    for each in uses:
        desk.carry_out(each)

    again = replay(problem(), SOURCES, None, uses)

    assert again.files == desk.files and again.said == desk.said


def test_the_schemas_are_strict():
    for tool in TOOLS:
        assert tool.schema["additionalProperties"] is False
        assert tool.schema["required"] == list(tool.schema["properties"])
