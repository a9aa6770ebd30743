from __future__ import annotations

import json

import pytest

from evogit.domain.metric import Direction
from evogit.errors import ProblemError
from evogit.problem import argv, load

RP = ("goal_prompt.md", "train_eval.py", "model.py")


def folder_with(top, *names):
    for name in names:
        (top / name).write_text("x = 1\n")
    return top


def test_autoresearch_needs_no_contract(tmp_path):
    problem = load(folder_with(tmp_path, "program.md", "prepare.py", "train.py"), tmp_path)

    assert (problem.layout, problem.goal, problem.mutable) == ("autoresearch", "program.md", ("train.py",))
    assert argv(problem, problem.command, 3) == ("uv", "run", "train.py")
    assert (problem.primary.name, problem.primary.direction) == ("val_bpb", Direction.MINIMIZE)
    assert problem.budget.timeout_s == 600


def test_evolyth_runs_with_its_own_arguments(tmp_path):
    problem = load(folder_with(tmp_path, *RP), tmp_path)

    assert (problem.layout, problem.goal, problem.mutable) == ("evolyth", "goal_prompt.md", ("model.py",))
    assert argv(problem, problem.command, 3) == ("python", "train_eval.py", "--dataset", "synthetic", "--run-id", "run_000003")
    assert argv(problem, problem.smoke, 3)[2:5] == ("--dry-run", "--dataset", "synthetic")
    assert [(m.name, m.direction.value) for m in problem.objectives] == [
        ("score", "maximize"),
        ("val_accuracy", "maximize"),
        ("parameter_count", "minimize"),
        ("model_bytes", "minimize"),
        ("latency_ms", "minimize"),
    ]
    assert problem.metrics_file == "runs/{run_id}/metrics.json"


def test_arguments_after_the_dashes_replace_evolyths_own(tmp_path):
    problem = load(folder_with(tmp_path, *RP), tmp_path)

    found = argv(problem, problem.command, 3, ["--dataset", "cifar10", "--epochs", "2"])

    assert found == ("python", "train_eval.py", "--dataset", "cifar10", "--run-id", "run_000003", "--epochs", "2")


def test_rp_contract_sets_what_it_names(tmp_path):
    folder_with(tmp_path, "goal_prompt.md", "go.py", "net.py")
    options = {
        "rp_id": "tiny",
        "mutable_file": "net.py",
        "train_script": "go.py",
        "metrics_template": "out/{run_id}.json",
        "run_args": ["--dataset", "cifar 10"],
        "smoke_args": "--fast --n 1",
        "somebody_elses": {"key": 1},
    }
    (tmp_path / "rp_contract.json").write_text(json.dumps(options))

    problem = load(tmp_path, tmp_path)

    assert (problem.name, problem.mutable, problem.metrics_file) == ("tiny", ("net.py",), "out/{run_id}.json")
    assert problem.events_file == "runs/{run_id}/events.jsonl"
    assert argv(problem, problem.command, 1)[:4] == ("python", "go.py", "--dataset", "cifar 10")
    assert argv(problem, problem.smoke, 1)[2:5] == ("--fast", "--n", "1")


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ('{"mutable_file": 3}', "mutable_file"),
        ('{"run_args": [1]}', r"run_args\[0\]"),
        ('{"run_args": 3}', "run_args"),
        ('{"run_args": "\'open"}', "run_args"),
        ('{"mutable_file": "../model.py"}', "mutable_file"),
        ('{"mutable_file": "modle.py"}', "mutable_file.*modle.py"),
        ('{"mutable_file": "train_eval.py"}', "mutable_file"),
        ('{"mutable_file": "goal_prompt.md"}', "mutable_file"),
        ('{"train_script": "/bin/sh"}', "train_script"),
        ('{"metrics_template": "/etc/{run_id}"}', "metrics_template"),
        ("[]", "table"),
        ("{", "not JSON"),
        ("\xff", "not JSON"),
        ('{"a": ' + "[" * 100_000, "not JSON"),
    ],
)
def test_a_broken_rp_contract_is_one_line(tmp_path, text, key):
    folder_with(tmp_path, *RP)
    (tmp_path / "rp_contract.json").write_bytes(text.encode("latin-1"))

    with pytest.raises(ProblemError, match=f"rp_contract.json.*{key}") as error:
        load(tmp_path, tmp_path)

    assert error.value.hint
    assert "\n" not in error.value.message


@pytest.mark.parametrize("names", [("program.md", "train.py"), ("goal_prompt.md", "model.py"), ("train_eval.py", "model.py"), ()])
def test_half_a_layout_is_no_problem(tmp_path, names):
    folder_with(tmp_path, *names)

    with pytest.raises(ProblemError, match="no evogit.toml"):
        load(tmp_path, tmp_path)


def test_evogit_toml_goes_before_a_layout(tmp_path):
    folder_with(tmp_path, *RP)
    (tmp_path / "evogit.toml").write_text(
        '[problem]\nmutable = ["model.py"]\ncommand = "python train_eval.py"\n[[metric]]\nname = "x"\ndirection = "minimize"\n'
    )

    assert load(tmp_path, tmp_path).layout == "evogit"
