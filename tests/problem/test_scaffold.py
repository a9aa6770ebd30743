from __future__ import annotations

from pathlib import Path

import pytest

from evogit.errors import UserError
from evogit.problem import load
from evogit.problem.scaffold import create, guess, write

TORCH = """
import argparse, json, os
import torch
from model import Net
from src.layers import Block
import dataset

def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--smoke", action="store_true")
    args = parser.parse_args()
    torch.manual_seed(int(os.environ.get("EVOGIT_SEED", 0)))
    for epoch in range(args.epochs):
        print(f"epoch {epoch} train_loss: {0.3:.4f}")
    results = {"train_loss": 0.2, "val_loss": 0.3, "params": 10}
    results["val_acc"] = 0.9
    print(json.dumps(results))

if __name__ == "__main__":
    main()
"""


def folder(top: Path, **files: str) -> Path:
    for name, text in files.items():
        path = top / name.replace("__", "/").replace("_py", ".py").replace("_md", ".md").replace("_lock", ".lock").replace("_txt", ".txt")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return top


def test_a_torch_script_is_understood_and_the_contract_loads(tmp_path):
    top = folder(
        tmp_path / "my net",
        train_py=TORCH,
        model_py="class Net: pass\n",
        src__layers_py="class Block: pass\n",
        dataset_py="x = 1\n",
        evaluate_py="x = 1\n",
        README_md="goal",
        requirements_txt="torch\n",
    )

    found = create(top)
    problem = load(top, top)

    assert problem.name == "my net"
    assert problem.goal == "README.md"
    assert problem.mutable == ("train.py", "model.py", "src/layers.py")
    assert problem.command == "python train.py"
    assert problem.smoke == "python train.py --smoke"
    assert [(m.name, m.direction.value) for m in problem.metrics] == [
        ("val_loss", "minimize"),
        ("val_acc", "maximize"),
        ("params", "minimize"),
    ]
    assert problem.budget.seeds == (0, 1, 2)
    said = "\n".join(found.said)
    assert "dataset.py" in said
    assert "evaluate.py is here" in said
    assert "requirements.txt" in said


def test_a_metric_printed_in_words_comes_with_the_line_to_add(tmp_path):
    found = guess(folder(tmp_path, main_py="acc = 1\nprint('test accuracy:', acc)\nprint('Final accuracy: %.3f' % acc)\n"))

    assert [(m.name, m.direction.value) for m in found.metrics] == [("test_accuracy", "maximize"), ("accuracy", "maximize")]
    assert found.command == "python main.py"
    assert any('print(f"METRIC test_accuracy={value}")' in line for line in found.said)


def test_words_before_a_number_are_taken_for_a_metric_nobody_reads(tmp_path):
    text = "losses = {}\nfor i in range(3):\n    print(f\"step {i}: train loss {losses['train']:.4f}, val loss {losses['val']:.4f}\")\n"

    found = guess(folder(tmp_path, train_py=text))

    assert [m.name for m in found.metrics] == ["val_loss"]
    assert any("METRIC val_loss={value}" in line for line in found.said)


def test_a_module_that_hands_out_tasks_stays_frozen(tmp_path):
    found = guess(folder(tmp_path, train_py="import task, optim\nprint('METRIC acc=1')\n", task_py="x = 1\n", optim_py="x = 1\n"))

    assert found.mutable == ("train.py", "optim.py")


def test_metric_lines_and_the_summary_behind_a_rule_are_readable(tmp_path):
    one = guess(folder(tmp_path / "a", train_py="x = 1\nprint(f'METRIC val_bpb={x:.3f}')\nprint(f'loss: {x}')\n"))
    two = guess(folder(tmp_path / "b", train_py="x = 1\nprint('---')\nprint(f'val_error:    {x:.6f}')\n"))

    assert [m.name for m in one.metrics] == ["val_bpb"]
    assert [m.name for m in two.metrics] == ["val_error"]
    assert not any("does not read" in line for line in one.said + two.said)


def test_metrics_written_to_a_file_are_seen(tmp_path):
    text = "import json\nmetrics = {'status': 'success', 'metrics': {'f1': 1.0, 'latency_ms': 2}}\njson.dump(metrics, open('metrics.json', 'w'))\n"

    found = guess(folder(tmp_path, train_py=text))

    assert [(m.name, m.direction.value) for m in found.metrics] == [("f1", "maximize"), ("latency_ms", "minimize")]


def test_nothing_printed_is_said_and_still_gives_a_contract(tmp_path):
    top = folder(tmp_path, train_py="x = 1\n")

    found = create(top)

    assert load(top, top).primary.name == "val_loss"
    assert any("assumed" in line for line in found.said)
    assert any("EVOGIT_SEED" in line for line in found.said)


def test_epochs_and_uv_shape_the_commands(tmp_path):
    text = "import click\n@click.command()\n@click.option('--epochs', default=3)\ndef main(epochs): print(f'METRIC loss={epochs}')\n"

    found = guess(folder(tmp_path, scripts__train_py=text, uv_lock=""))

    assert found.command == "uv run scripts/train.py"
    assert found.smoke == "uv run scripts/train.py --epochs 1"


def test_the_only_script_with_a_main_guard_is_taken(tmp_path):
    top = folder(
        tmp_path, helpers_py="x = 1\n", mnist_py="if __name__ == '__main__':\n    print('METRIC acc=1')\n", setup_py="", test_x_py=""
    )

    assert guess(top).command == "python mnist.py"


def test_a_script_that_does_not_parse_is_said(tmp_path):
    top = folder(tmp_path, train_py="def f(:\n")

    found = create(top)

    assert any("does not parse" in line for line in found.said)
    assert load(top, top).mutable == ("train.py",)


def test_a_recognised_layout_is_written_as_it_already_works(tmp_path):
    top = folder(tmp_path, goal_prompt_md="g", train_eval_py="x", model_py="x")
    before = load(top, top)

    create(top)
    after = load(top, top)

    same = ("name", "goal", "mutable", "command", "smoke", "append", "metrics", "metrics_file", "budget")
    assert [getattr(after, key) for key in same] == [getattr(before, key) for key in same]
    assert after.layout == "evogit"


def test_an_existing_contract_is_never_overwritten(tmp_path):
    folder(tmp_path, train_py=TORCH)
    (tmp_path / "evogit.toml").write_text("mine")

    with pytest.raises(UserError, match="exists already") as error:
        create(tmp_path)

    assert error.value.hint
    assert (tmp_path / "evogit.toml").read_text() == "mine"


def test_a_dangling_link_counts_as_existing(tmp_path):
    folder(tmp_path, train_py=TORCH)
    (tmp_path / "evogit.toml").symlink_to(tmp_path / "nowhere")

    with pytest.raises(UserError, match="exists already"):
        create(tmp_path)


def test_a_folder_without_a_script_is_told_so(tmp_path):
    with pytest.raises(UserError, match="no Python training script") as error:
        guess(tmp_path)
    with pytest.raises(UserError, match="no folder"):
        guess(tmp_path / "nowhere")

    assert "docs/problem.md" in error.value.hint


def test_names_that_toml_would_trip_over_are_quoted(tmp_path):
    top = folder(tmp_path / 'a "b" \\ é', train_py=TORCH)
    (top / "train.py").rename(top / "train it.py")

    create(top)

    problem = load(top, top)
    assert problem.name == 'a "b" \\ é'
    assert problem.mutable == ("train it.py",)
    assert problem.command == "python 'train it.py'"


def test_every_section_stands_in_the_file(tmp_path):
    text = write(guess(folder(tmp_path, train_py=TORCH)))

    for section in (
        "[problem]",
        "[evaluate]",
        "[[metric]]",
        "[budget]",
        "[data]",
        "[sandbox]",
        "[decide]",
        "[search]",
        "[holdout]",
        "[backend.",
        "[prices.",
    ):
        assert section in text
