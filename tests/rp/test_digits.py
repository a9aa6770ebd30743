"""The default problem, as a trial runs it: four programs, each in a process of its own, in a copy of the folder."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

np = pytest.importorskip("numpy")
pytest.importorskip("torch")
datasets = pytest.importorskip("sklearn.datasets")

DIGITS = Path(__file__).resolve().parents[2] / "rp" / "digits"
TRAINS = pytest.mark.xdist_group("digits")  # so that tests side by side share one training
GOOD = {"predictions": [0] * 900, "params": 10, "latency_ms": 0.5}


def run(folder: Path, *argv: str, **env: str) -> subprocess.CompletedProcess[str]:
    clean = {k: v for k, v in os.environ.items() if not k.startswith("EVOGIT_")}
    return subprocess.run([sys.executable, *argv], cwd=folder, env=clean | env, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """The problem as a checkout has it, in a folder with a space and an umlaut in its name."""
    top = tmp_path_factory.mktemp("a trial, größer")
    return Path(shutil.copytree(DIGITS, top / "digits", ignore=shutil.ignore_patterns("data", "runs", "__pycache__")))


@pytest.fixture(scope="module")
def trial(folder) -> dict[str, object]:
    """One whole trial: data prepared, trained, predicted, scored. About six seconds."""
    top = folder.parent
    env = {"EVOGIT_DATA_DIR": str(top / "data"), "EVOGIT_ARTIFACT_DIR": str(top / "made"), "EVOGIT_SEED": "1"}
    done = [run(folder, script, **env) for script in ("prepare.py", "train.py", "predict.py", "evaluate.py")]
    assert [d.returncode for d in done] == [0, 0, 0, 0], "\n".join(d.stderr for d in done)
    return {"folder": folder, "data": top / "data", "made": top / "made", "env": env, "scored": done[-1].stdout}


PROBE = """
import contextlib, io, json, os, runpy, sys
from pathlib import Path

import task, torch

found, made = {}, Path(sys.argv[1])


def trained(seed):
    os.environ["EVOGIT_SEED"] = str(seed)
    import train

    return train.train(task.begin(), False).state_dict()


def stopped(program, **env):
    os.environ.update(env)
    sys.argv = [program]
    try:
        runpy.run_path(program, run_name="__main__")
    except SystemExit as said:
        return str(said)
    except Exception as fault:
        return type(fault).__name__
    return "ran"


class Bomb:
    def __reduce__(self):
        return os.mkdir, (str(made / "exploded"),)


with contextlib.redirect_stdout(io.StringIO()):
    saved = torch.load(task.weights_file(), weights_only=True)
    mine, other = trained(1), trained(2)
    found["repeats"] = all(torch.equal(saved[name], mine[name]) for name in saved)
    found["varies"] = any(not torch.equal(saved[name], other[name]) for name in saved)
    images = [tuple(image.flatten().tolist()) for images, _ in task.batches(50, 0) for image in images]
    found["budget"] = [len(images), len(set(images[:500])), len(set(images[-500:])), sum(len(b) for b, _ in task.batches(300, 0))]
    weight = torch.nn.Parameter(torch.ones(2))
    for optimizer in (torch.optim.AdamW([weight], lr=0.1), torch.optim.RMSprop([weight], lr=0.1)):
        weight.sum().backward(), optimizer.step(), optimizer.zero_grad()
    found["compiler"] = "torch._dynamo.convert_frame" in sys.modules
    found["compiled"] = torch.compile(lambda x: x + 1, backend="eager")(torch.ones(())).item()
    found["no weights"] = stopped("predict.py", EVOGIT_ARTIFACT_DIR=str(made))
    torch.save(Bomb(), made / "model.pt")
    found["hostile"] = stopped("predict.py")
    found["exploded"] = (made / "exploded").exists()
    found["no data"] = stopped("train.py", EVOGIT_DATA_DIR=str(made))
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def probe(trial, tmp_path_factory) -> dict[str, object]:
    """What one process with torch in it found out, since loading torch takes longer than all else here."""
    done = run(trial["folder"], "-c", PROBE, str(tmp_path_factory.mktemp("probe")), **trial["env"])
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def evaluate(folder: Path, made: Path, text: str) -> subprocess.CompletedProcess[str]:
    made.mkdir(exist_ok=True)
    (made / "predictions.json").write_text(text)
    return run(folder, "evaluate.py", EVOGIT_ARTIFACT_DIR=str(made))


@TRAINS
def test_a_trial_ends_with_one_json_line_of_the_three_metrics(trial):
    metrics = json.loads(trial["scored"])

    assert list(metrics) == ["val_error", "params", "latency_ms"]
    assert 0.03 < metrics["val_error"] < 0.2
    assert metrics["params"] == 13706
    assert 0 < metrics["latency_ms"] < 1000


def test_the_contract_reads_and_names_what_is_there():
    from evogit.problem import load

    problem = load(DIGITS, DIGITS.parents[1])

    assert problem.mutable == ("train.py",)
    assert [m.name for m in problem.metrics] == ["val_error", "params", "latency_ms"]
    assert problem.budget.seeds == (0, 1, 2)


@TRAINS
def test_the_data_folder_holds_no_label_of_the_validation_images(trial):
    validation, train = np.load(trial["data"] / "validation.npz"), np.load(trial["data"] / "train.npz")

    assert sorted(os.listdir(trial["data"])) == ["train.npz", "validation.npz"]
    assert validation.files == ["images"]
    assert validation["images"].shape == (900, 1, 8, 8)
    assert train["labels"].shape == (500,)


@TRAINS
def test_the_rulers_labels_belong_to_the_images_that_were_handed_out(trial):
    answers = run(trial["folder"], "-c", "import prepare, json; print(json.dumps(prepare.validation_labels()))")
    clean, labels = datasets.load_digits(return_X_y=True)
    noisy = np.load(trial["data"] / "validation.npz")["images"].reshape(900, 64)

    nearest = np.argmin(((noisy[:, None] - clean[None] / 16) ** 2).sum(axis=2), axis=1)

    assert (labels[nearest] == json.loads(answers.stdout)).mean() > 0.99


@pytest.mark.slow
@TRAINS
def test_a_smoke_run_saves_weights_that_predict(trial, tmp_path):
    env = trial["env"] | {"EVOGIT_ARTIFACT_DIR": str(tmp_path)}

    done = [run(trial["folder"], *argv, **env) for argv in (("train.py", "--smoke"), ("predict.py",), ("evaluate.py",))]

    assert [d.returncode for d in done] == [0, 0, 0]


@TRAINS
def test_the_ruler_imports_neither_candidate_code_nor_torch_nor_scikit_learn(trial):
    program = "import runpy, sys\nrunpy.run_path('evaluate.py', run_name='__main__')\nprint(sorted({'train', 'task', 'torch', 'sklearn'} & set(sys.modules)))"

    done = run(trial["folder"], "-c", program, **trial["env"])

    assert done.stdout.splitlines()[-1] == "[]", done.stderr


def test_the_ruler_scores_what_it_is_given(folder, tmp_path):
    labels = json.loads(run(folder, "-c", "import prepare; print(prepare.validation_labels())").stdout)
    flawed = [(label + 1) % 10 for label in labels[:9]] + labels[9:]

    metrics = json.loads(evaluate(folder, tmp_path, json.dumps(GOOD | {"predictions": flawed})).stdout)

    assert metrics == {"val_error": 0.01, "params": 10, "latency_ms": 0.5}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "not JSON"),
        ("{", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ("[]", "expected an object"),
        ("{}", "`predictions` must be a list of 900 labels, found NoneType"),
        (json.dumps(GOOD | {"predictions": [0] * 899}), "found 899"),
        (json.dumps(GOOD | {"predictions": [0] * 901}), "found 901"),
        (json.dumps(GOOD | {"predictions": [0] * 899 + [10]}), "`predictions[899]` must be a label of 0 to 9, found '10'"),
        (json.dumps(GOOD | {"predictions": [True] + [0] * 899}), "`predictions[0]`"),
        (json.dumps(GOOD | {"predictions": [0.0] + [0] * 899}), "`predictions[0]`"),
        (json.dumps(GOOD | {"predictions": ["0" * 10_000] + [0] * 899}), "`predictions[0]`"),
        (json.dumps(GOOD | {"params": -1}), "`params`"),
        (json.dumps(GOOD | {"params": True}), "`params`"),
        (json.dumps(GOOD | {"latency_ms": 0}), "`latency_ms`"),
        (json.dumps(GOOD | {"latency_ms": float("nan")}), "`latency_ms`"),
        (json.dumps(GOOD | {"latency_ms": "1"}), "`latency_ms`"),
        (" " * (1 << 20) + json.dumps(GOOD), "larger than"),
    ],
)
def test_the_ruler_refuses_broken_predictions_in_one_line(folder, tmp_path, text, says):
    done = evaluate(folder, tmp_path, text)

    assert done.returncode == 1
    assert done.stdout == ""
    assert says in done.stderr
    assert done.stderr.count("\n") == 1
    assert len(done.stderr) < 200


def test_the_ruler_follows_no_link_and_waits_for_no_pipe(folder, tmp_path):
    (tmp_path / "elsewhere.json").write_text(json.dumps(GOOD))
    (tmp_path / "linked").mkdir()
    (tmp_path / "linked" / "predictions.json").symlink_to(tmp_path / "elsewhere.json")
    (tmp_path / "piped").mkdir()
    os.mkfifo(tmp_path / "piped" / "predictions.json")

    for made in (tmp_path / "linked", tmp_path / "piped", tmp_path / "nothing"):
        done = run(folder, "evaluate.py", EVOGIT_ARTIFACT_DIR=str(made))

        assert (done.returncode, done.stdout) == (1, "")
        assert "no such file" in done.stderr


@TRAINS
def test_the_same_seed_trains_the_same_network_in_another_process(probe):
    assert probe["repeats"]
    assert probe["varies"]


@TRAINS
def test_the_budget_is_a_number_of_images_and_each_pass_shows_every_image_once(probe):
    assert probe["budget"] == [10_000, 500, 500, 9_900]


@TRAINS
def test_training_does_without_the_compiler_and_compiling_still_works(probe):
    assert probe["compiler"] is False
    assert probe["compiled"] == 2.0


@TRAINS
def test_weights_that_hide_code_are_refused(probe):
    assert probe["hostile"] == "UnpicklingError"
    assert not probe["exploded"]


@TRAINS
def test_a_missing_step_is_named(probe):
    assert "run `python prepare.py` first" in probe["no data"]
    assert "run `python train.py` first" in probe["no weights"]


@TRAINS
def test_held_out_images_are_those_of_neither_set_and_come_without_labels(trial, tmp_path):
    done = run(trial["folder"], "holdout.py", "prepare", EVOGIT_DATA_DIR=str(tmp_path))
    labels = json.loads(run(trial["folder"], "-c", "import holdout; print(holdout.labels())").stdout)

    held, seen = np.load(tmp_path / "validation.npz"), np.load(trial["data"] / "validation.npz")["images"].reshape(900, 64)
    images = held["images"].reshape(-1, 64)
    clean, truth = datasets.load_digits(return_X_y=True)
    nearest = np.argmin(((images[:, None] - clean[None] / 16) ** 2).sum(axis=2), axis=1)
    known = np.argmin(((seen[:, None] - clean[None] / 16) ** 2).sum(axis=2), axis=1)
    assert done.returncode == 0 and sorted(os.listdir(tmp_path)) == ["validation.npz"] and held.files == ["images"]
    assert held["images"].shape == (397, 1, 8, 8) and len(labels) == 397
    assert (truth[nearest] == labels).mean() > 0.99
    assert len(set(nearest) & set(known)) < 10  # noise makes the nearest of a few another one
    assert np.std(images - clean[nearest] / 16) == pytest.approx(0.15, abs=0.01)


@TRAINS
def test_the_same_network_is_scored_on_them_by_the_same_rules(trial, tmp_path):
    shutil.copytree(trial["made"], tmp_path / "made", ignore=shutil.ignore_patterns("predictions.json"))
    env = trial["env"] | {"EVOGIT_DATA_DIR": str(tmp_path / "data"), "EVOGIT_ARTIFACT_DIR": str(tmp_path / "made")}
    missing = run(trial["folder"], "holdout.py", **env)

    done = [run(trial["folder"], *argv, **env) for argv in (("holdout.py", "prepare"), ("predict.py",), ("holdout.py",))]

    assert missing.returncode == 1 and "no such file" in missing.stderr
    assert [d.returncode for d in done] == [0, 0, 0], done[-1].stderr
    assert 0.02 < json.loads(done[-1].stdout)["val_error"] < 0.25
    assert run(trial["folder"], "evaluate.py", **env).returncode == 1  # 397 answers are not the validation set's


def test_the_contract_declares_held_out_data_and_freezes_their_ruler():
    from evogit.problem import is_mutable, load

    problem = load(DIGITS, DIGITS.parents[1])

    assert problem.holdout.command == "python holdout.py" and problem.holdout.prepare
    assert not is_mutable(problem, "rp/digits/holdout.py")
