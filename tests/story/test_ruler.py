"""The locked ruler against candidates that forge, shadow and tamper, and what people see of a number that was printed by its own maker."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from evogit.git.objects import put_paths
from evogit.lab import Lab
from toys import TOML, TRAIN, evogit, git, make_toy

LOCKED = (
    TOML.replace("[0, 1]", "[0]")
    .replace("[budget]", '[evaluate]\npredict = "python predict.py"\ncommand = "python evaluate.py"\n\n[budget]')
    .replace('[[metric]]\nname = "params"\ndirection = "minimize"\n', "")
)
HELPER = "import os\nfrom pathlib import Path\n\n\ndef out(name):\n    return Path(os.environ['EVOGIT_ARTIFACT_DIR'], name)\n"
PREDICT = "from helper import out\n\nout('predictions.json').write_text(out('weights').read_text())\n"
EVALUATE = (
    "import json, sys\nfrom helper import out\n\nprint(sys.path, file=sys.stderr)\n"
    "print(json.dumps({'val_loss': abs(float(json.loads(out('predictions.json').read_text())) - 3)}))\n"
)
CANDIDATE = "import os\nfrom helper import out\n\nGUESS = 1.0\nout('weights').write_text(str(GUESS))\nprint('METRIC val_loss=0.0')\n"
FORGED = "print('{\\\"val_loss\\\": -1.0}'); import os; os._exit(0)\\n"  # what a shadow would print in the ruler's place
SCATTER = f"""
for place in {{places}}:
    for name in ("sitecustomize.py", "usercustomize.py", "x.pth", "prepare.py", "json.py", "conftest.py", "helper.py"):
        with open(os.path.join(place, name), "w") as file:
            file.write("{FORGED}")
"""


@pytest.fixture
def locked(tmp_path) -> Path:
    repo = make_toy(
        tmp_path / "locked", toml=LOCKED, train=CANDIDATE, extra={"helper.py": HELPER, "predict.py": PREDICT, "evaluate.py": EVALUATE}
    )
    evogit(repo, "start", "t1")
    evogit(repo, "baseline", "--seeds", "1", "--tag", "t1")
    return repo


def measure(repo: Path, train: str, *args: str) -> dict:
    """What a person's `evogit run` of that train.py is recorded as."""
    (repo / "train.py").write_text(train)
    evogit(repo, "run", "--tag", "t1", "-m", "a trick", *args, check=False)
    git(repo, "checkout", "-q", "--", ".")
    return json.loads(evogit(repo, "log", "--tag", "t1", "--json").stdout.splitlines()[-1])


def kept(repo: Path, run: str, path: str) -> str:
    return evogit(repo, "show", run, "--tag", "t1", "--file", path, check=False).stdout


def test_the_baseline_is_measured_by_the_evaluator_whatever_it_prints(locked):
    run = json.loads(evogit(locked, "log", "--tag", "t1", "--json").stdout)

    assert (run["metrics"]["val_loss"]["mean"], run["reported"], run["flags"]) == (2.0, None, [])


def test_files_left_in_home_and_in_the_artifact_folder_are_not_imported_by_the_ruler(locked):
    places = "(os.environ['HOME'], os.environ['TMPDIR'], os.environ['EVOGIT_ARTIFACT_DIR'])"
    run = measure(locked, CANDIDATE.replace("1.0", "2.0") + SCATTER.replace("{places}", places))

    assert run["verdict"] == "keep", run
    assert run["metrics"]["val_loss"]["values"] == [1.0]
    assert any("sitecustomize" in flag for flag in run["flags"])


def test_the_ruler_looks_for_modules_in_its_own_checkout_alone(locked):
    run = measure(locked, CANDIDATE.replace("1.0", "2.0"))

    searched = kept(locked, run["run"], "trials/s0/evaluate/stderr")
    assert "/slots/t1/ruler-0/tree" in searched
    assert "/slots/t1/0/" not in searched


@pytest.mark.parametrize(
    ("trick", "named"),
    [
        ("open('json.py', 'w').write('')", "json.py appeared in front of the standard library's json"),
        ("open('evaluate.py', 'a').write('#')", "evaluate.py was changed"),
        ("os.remove('predict.py')", "predict.py was deleted"),
        ("os.remove('helper.py'); os.symlink('/dev/null', 'helper.py')", "helper.py was replaced"),
        ("os.mkdir('helper'); open('helper/__init__.py', 'w').close()", "appeared in front of the frozen module helper"),
        ("os.mkdir('__pycache__'); open('__pycache__/predict.cpython-311.pyc', 'w').close()", "in front of the frozen module predict"),
    ],
)
def test_a_trial_that_changes_frozen_code_while_it_runs_has_no_number(unheld, locked, trick, named):
    run = measure(locked, CANDIDATE.replace("1.0", "2.9") + trick + "\n")

    assert (run["verdict"], run["metrics"]) == ("crash", {})
    assert run["crash"].startswith("tampered: ")
    assert named in run["crash"]
    assert named in kept(locked, run["run"], "trials/s0/tampered")


def test_predictions_made_by_training_are_gone_before_predict_runs(locked):
    forged = CANDIDATE + "out('predictions.json').write_text('3.0')\n"
    run = measure(locked, forged)

    assert run["metrics"]["val_loss"]["values"] == [2.0]
    assert "made before predict ran" in kept(locked, run["run"], "trials/s0/taken_out.json")
    assert [f["path"] for f in json.loads(kept(locked, run["run"], "trials/s0/listing.json"))] == ["weights"]
    assert [f["path"] for f in json.loads(kept(locked, run["run"], "trials/s0/predict/listing.json"))] == ["predictions.json", "weights"]


@pytest.mark.parametrize("point", ["finished:1", "intended:2", "finished:2", "started:3", "finished:3"])
def test_a_loop_killed_between_the_jobs_of_a_trial_goes_on_and_forged_predictions_are_still_gone(locked, point):
    forged = CANDIDATE.replace("1.0", "2.5") + "out('predictions.json').write_text('3.0')\n"
    (locked / "train.py").write_text(forged)
    killed = evogit(locked, "run", "--tag", "t1", "-m", "forged", env={"EVOGIT_FAILPOINT": point}, check=False)
    git(locked, "checkout", "-q", "--", ".")

    evogit(locked, "loop", "--tag", "t1", "--max-runs", "1", "--agent", "noop")

    runs = [json.loads(line) for line in evogit(locked, "log", "--tag", "t1", "--json").stdout.splitlines()]
    assert killed.returncode < 0
    assert [run["metrics"]["val_loss"]["values"] for run in runs if run["emitter"] == "person"] == [[0.5]]


def test_a_script_that_writes_into_a_tracked_log_is_no_cheat(tmp_path):
    logs = TRAIN.replace("if __name__", 'open("train.log", "a").write("x")\nopen("notes.yaml", "a").write("x")\n\nif __name__')
    repo = make_toy(tmp_path / "logs", toml=TOML.replace("[0, 1]", "[0]"), train=logs, extra={"train.log": "", "notes.yaml": ""})
    evogit(repo, "start", "t1")
    evogit(repo, "baseline", "--seeds", "1", "--tag", "t1")
    run = measure(repo, logs.replace("LR = 0.1", "LR = 0.01"))

    assert run["verdict"] == "keep", run  # notes.yaml is code-like, and the baseline writes into it too


# what people see -------------------------------------------------------------------------------------------------------


def test_a_self_reported_number_and_an_open_sandbox_are_named_wherever_they_are_shown(unheld, tmp_path):
    repo = make_toy(tmp_path / "open")
    evogit(repo, "start", "t1")
    evogit(repo, "baseline", "--tag", "t1")

    assert "self-reported (metric-line)" in evogit(repo, "show", "0", "--tag", "t1").stdout
    assert "self-reported (metric-line)" in evogit(repo, "status", "--tag", "t1").stdout
    assert evogit(repo, "leaderboard", "--tag", "t1").stdout.startswith("self-reported: ")
    for command in (("show", "0"), ("status",), ("leaderboard",)):
        assert "none: " in evogit(repo, *command, "--tag", "t1").stdout
    assert "declare [evaluate]" in evogit(repo, "doctor", "--tag", "t1", check=False).stdout
    assert "declare [evaluate]" in evogit(repo, "start", "t2").stdout


CHEAT = TRAIN + '    import atexit\n    atexit.register(print, "METRIC val_loss=0.0001")\n'
ANSWER = "import pathlib\npathlib.Path('train.py').write_text({text!r})\n"


def test_a_person_s_trick_is_measured_and_flagged_with_its_line(repo):
    run = measure(repo, CHEAT)

    line = CHEAT.count("\n") - 1
    assert run["verdict"] != "reject"
    assert any(flag.startswith(f"train.py:{line} imports atexit") for flag in run["flags"])
    assert f"train.py:{line} imports atexit" in evogit(repo, "show", run["run"], "--tag", "t1").stdout
    assert "! " in evogit(repo, "log", "--tag", "t1", env={"LC_ALL": "C"}).stdout
    assert "Evogit-Flags: [" in git(repo, "log", "-1", "--format=%B", "autoresearch/t1")


def test_the_search_s_trick_is_a_reject_that_names_the_line(repo, tmp_path):
    script = tmp_path / "agent.py"
    script.write_text(ANSWER.format(text=CHEAT))
    evogit(repo, "loop", "--tag", "t1", "--max-runs", "1", "--agent", "command", "--agent-command", f"python {script}")

    run = json.loads(evogit(repo, "log", "--tag", "t1", "--json").stdout.splitlines()[-1])
    assert run["verdict"] == "reject"
    told = evogit(repo, "show", run["run"], "--tag", "t1").stdout
    assert "imports atexit (hooks)" in told
    assert "evogit run" in told


def test_a_tree_that_differs_from_the_baseline_in_a_frozen_file_is_seen(repo):
    campaign = Lab.open(repo, tag="t1").campaign
    tree = campaign.repo.tree_of(campaign.history.baseline)

    assert campaign.strayed(tree) == []
    assert campaign.strayed(put_paths(campaign.repo, tree, {"train.py": b"LR = 1\n"})) == []
    assert campaign.strayed(put_paths(campaign.repo, tree, {"README.md": b"x", "new/evaluate.py": b"", "program.md": None})) == [
        "README.md",
        "new/evaluate.py",
        "program.md",
    ]


def test_decisions_without_flags_are_read_as_before(repo):
    assert "Evogit-Flags" not in git(repo, "log", "-1", "--format=%B", "autoresearch/t1")
    assert json.loads(evogit(repo, "log", "--tag", "t1", "--json").stdout)["flags"] == []
