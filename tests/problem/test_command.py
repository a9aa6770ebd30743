from __future__ import annotations

import subprocess

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evogit.domain.metric import Direction, Metric
from evogit.domain.problem import Budget, Problem
from evogit.errors import ProblemError
from evogit.problem import command

PROBLEM = Problem(
    name="p",
    folder="",
    layout="evogit",
    goal="",
    mutable=("train.py",),
    command="python train.py",
    metrics=(Metric(name="loss", direction=Direction.MINIMIZE),),
)


@pytest.mark.parametrize(
    ("text", "extra", "result"),
    [
        ("python train.py", "", "python train.py"),
        ("python train.py", "--epochs 2", "python train.py --epochs 2"),
        ("python train.py --epochs 1", "--epochs 2", "python train.py --epochs 2"),
        ("python train.py --epochs=1", "--epochs 2", "python train.py --epochs 2"),
        ("python train.py --epochs 1", "--epochs=2", "python train.py --epochs=2"),
        ("python train.py --epochs=1 --lr 3", "--epochs=2", "python train.py --epochs=2 --lr 3"),
        ("python train.py --epochs 1 --lr 3", "--lr 4", "python train.py --epochs 1 --lr 4"),
        ("python train.py --epochs 1 data.csv", "--epochs 2", "python train.py --epochs 2 data.csv"),
        ("python train.py --epochs=1 data.csv", "--epochs 2", "python train.py --epochs 2 data.csv"),
        ("python train.py --layers 4 5", "--layers 1 2 3", "python train.py --layers 1 2 3"),
        ("python train.py --fast data", "--fast", "python train.py --fast data"),
        ("python train.py --epochs 1 --epochs 3", "--epochs 2", "python train.py --epochs 2"),
        ("python train.py --data a", "--data b --data c", "python train.py --data b --data c"),
        ("python train.py --epochs 1", "more.csv", "python train.py --epochs 1 more.csv"),
        ("python train.py a.csv", "b.csv --x", "python train.py a.csv --x b.csv"),
        ("python train.py --lr -1", "--lr -0.5", "python train.py --lr -0.5"),
        ("python train.py --lr -1e-3 x", "--lr -.5", "python train.py --lr -.5 x"),
        ("python train.py -e 1", "-e 2", "python train.py -e 2"),
        ("python train.py --epoch 1", "--epochs 2", "python train.py --epoch 1 --epochs 2"),
        ("python train.py lr=0.1 seed=3", "lr=0.2", "python train.py lr=0.2 seed=3"),
        ("python train.py lr=0.1", "+opt.name=x", "python train.py lr=0.1 +opt.name=x"),
        ("python train.py --x 1 -- a", "--y 2", "python train.py --x 1 --y 2 -- a"),
        ("python train.py", "-- -a", "python train.py -- -a"),
        ("python -m pkg.train -m 3", "-m 4", "python -m pkg.train -m 4"),
        ("python -u train.py", "-u", "python -u train.py -u"),
        ("uv run --python 3.10 train.py", "--python x", "uv run --python 3.10 train.py --python x"),
        ("torchrun --nproc-per-node 2 train.py --lr 1", "--lr 2", "torchrun --nproc-per-node 2 train.py --lr 2"),
        ("./main --config a.yaml train --lr 1", "--config b.yaml", "./main --config b.yaml train --lr 1"),
    ],
)
def test_arguments_of_the_user_replace_what_they_repeat(text, extra, result):
    assert list(command.argv(PROBLEM, text, 3, extra.split())) == result.split()


def test_appended_arguments_get_the_run_and_can_be_replaced():
    problem = msgspec.structs.replace(PROBLEM, append=("--run-id", "{run_id}"))

    assert command.argv(problem, "python t.py --dataset synthetic", 3) == (
        "python",
        "t.py",
        "--dataset",
        "synthetic",
        "--run-id",
        "run_000003",
    )
    assert command.argv(problem, "python t.py", 3, ["--run-id", "x"]) == ("python", "t.py", "--run-id", "x")


def test_quotes_are_a_shells():
    assert command.argv(PROBLEM, "python 'my train.py' --name \"a b\" c\\ d", 1)[1:] == ("my train.py", "--name", "a b", "c d")


@pytest.mark.parametrize(
    "text",
    [
        "a | b",
        "a && b",
        "a; b",
        "a > x",
        "a < x",
        "echo $HOME",
        'echo "$HOME"',
        "echo `x`",
        "X=1 a",
        "a *.py",
        "a ~/x",
        "(a)",
        "a &",
        "a\nb",
        'a "`b`"',
    ],
)
def test_what_only_a_shell_understands_goes_to_one(text):
    found = command.argv(PROBLEM, text, 1, ["--name", "a b; rm"])

    assert found[:2] == ("/bin/sh", "-c")
    assert found[2] == f"{text} --name 'a b; rm'"


@pytest.mark.parametrize("text", ["python 'a|b'", 'python "a > b"', "python 'x$y' a~b", "a\\$b", "python 'a*' a#b --x=1", "p [1,2] {a}"])
def test_what_is_quoted_or_harmless_needs_no_shell(text):
    assert not command.needs_shell(text)


def test_a_shell_command_runs_with_its_arguments():
    found = command.argv(PROBLEM, "echo one && printf '%s|'", 1, ["a b", "$c"])

    assert subprocess.run(found, capture_output=True, text=True, check=True).stdout == "one\na b|$c|"


@pytest.mark.parametrize("text", ["", "   ", "python 'train.py", "''"])
def test_a_command_that_cannot_be_split_says_why(text):
    with pytest.raises(ProblemError, match="command"):
        command.argv(PROBLEM, text, 1)


WORDS = st.lists(st.text(alphabet="abc-=1. '\"", min_size=1, max_size=6), max_size=6)


@given(WORDS, WORDS)
def test_every_word_of_the_user_arrives_and_none_is_invented(words, extra):
    merged = command.merge(["prog", *words], extra)

    assert merged[0] == "prog"
    assert all(merged.count(word) >= extra.count(word) for word in extra)
    assert all(word in words or word in extra for word in merged[1:])


@given(WORDS)
def test_splitting_what_a_shell_would_quote_gives_the_words_back(words):
    import shlex

    text = shlex.join(["prog", *words])

    assert not command.needs_shell(text)
    assert command.split(text) == ["prog", *words]


def test_a_trial_is_told_run_seed_time_and_folders():
    problem = msgspec.structs.replace(PROBLEM, budget=Budget(train_s=20))

    env = command.trial_env(problem, label="ab12/3", number=3, seed=7, train_s=0.5, artifact_dir="/out", data_dir="/data")

    assert env == {
        "EVOGIT_RUN": "ab12/3",
        "EVOGIT_SEED": "7",
        "EVOGIT_TRAIN_S": "0.5",
        "EVOGIT_ARTIFACT_DIR": "/out",
        "EVOGIT_DATA_DIR": "/data",
        "PYTHONUNBUFFERED": "1",
        "ACR_RUN_ID": "run_000003",
        "ACR_ARTIFACT_DIR": "/out",
        "AUTORESEARCH_SEED": "7",
    }


def test_what_is_not_set_has_no_variable():
    env = command.trial_env(PROBLEM, label="1", number=1, seed=0, artifact_dir="/out")

    assert "EVOGIT_TRAIN_S" not in env
    assert "EVOGIT_DATA_DIR" not in env
    timed = msgspec.structs.replace(PROBLEM, budget=Budget(train_s=20))
    assert command.trial_env(timed, label="1", number=1, seed=0, artifact_dir="/out")["EVOGIT_TRAIN_S"] == "20"
