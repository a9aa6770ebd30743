"""A loop whose trials are in a sandbox: what they see, what the ruler sees, and what a person is told."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from evogit.backends.local import LocalBackend
from evogit.lab import Lab
from toys import TOML, TRAIN, evogit, make_toy

ONE_SEED = TOML.replace("[0, 1]", "[0]")
LOOK = """\
import json, os
found = {}
for start in sys.argv[1:]:
    try: found[start] = sorted(os.listdir(start)) if os.path.isdir(start) else open(start).read()
    except OSError as error: found[start] = type(error).__name__
"""


@pytest.fixture(autouse=True)
def needs_a_room(tmp_path):
    """Skip where bubblewrap does not work."""
    backend = LocalBackend(tmp_path / "probe")
    level = backend.level
    backend.close()
    if level != "bubblewrap":
        pytest.skip("no bubblewrap")


def artifact(top: Path, name: str, step: str = "") -> dict:
    return json.loads(Lab.open(top).artifact("0", f"trials/s0/{step}artifacts/{name}"))


def test_a_trial_sees_its_checkout_and_none_of_the_persons_folders(tmp_path, private_home):
    places = [str(tmp_path / "toy"), str(tmp_path / "toy" / ".git"), str(private_home), str(private_home / ".gitconfig"), "/root"]
    train = f'import sys\nsys.argv[1:] = {places!r}\n{LOOK}\nopen(os.environ["EVOGIT_ARTIFACT_DIR"] + "/seen.json", "w").write(json.dumps(found))\n{TRAIN}'
    top = make_toy(tmp_path / "toy", toml=ONE_SEED, train=train)

    evogit(top, "baseline")

    seen = artifact(top, "seen.json")
    assert [seen[place] for place in places[:2]] == ["FileNotFoundError"] * 2
    assert seen[str(private_home)] in ("FileNotFoundError", ["cache"])  # the way to its own checkout may lead through it
    assert seen[str(private_home / ".gitconfig")] == "FileNotFoundError"
    run = json.loads(evogit(top, "show", "0", "--json").stdout)
    assert {trial["sandbox"] for trial in run["trials"]} == {"bubblewrap"}


def ruled(where: Path) -> Path:
    """A problem whose ruler knows labels that nobody else may see; each step writes down what it found."""
    toml = (
        ONE_SEED
        + '\n[evaluate]\npredict = "python predict.py"\ncommand = "python evaluate.py"\n[sandbox]\nhide = ["labels.csv", "secret/**"]\n'
    )
    look = f'import sys\nsys.argv[1:] = ["labels.csv", "secret"]\n{LOOK}\nwhere = os.environ["EVOGIT_ARTIFACT_DIR"]\n'
    extra = {
        "labels.csv": "1,2,3",
        "secret/held.csv": "4",
        "predict.py": look + 'open(where + "/predicted.json", "w").write(json.dumps(found))',
        "evaluate.py": look + "try: open(where + '/forged', 'w'); found['artifacts'] = 'writable'\n"
        "except OSError as error: found['artifacts'] = type(error).__name__\n"
        "print(json.dumps(found)); print('METRIC val_loss=0.5'); print('METRIC params=1')",
    }
    train = look + 'open(where + "/trained.json", "w").write(json.dumps(found))'
    return make_toy(where, toml=toml, train=train, extra=extra)


def test_labels_that_are_hidden_from_the_candidate_are_there_for_the_ruler(tmp_path):
    top = ruled(tmp_path / "toy")

    evogit(top, "baseline")

    assert artifact(top, "trained.json") == artifact(top, "predicted.json", "predict/") == {"labels.csv": "PermissionError", "secret": []}
    scored = json.loads(Lab.open(top).artifact("0", "trials/s0/evaluate/stdout").splitlines()[0])
    assert scored == {"labels.csv": "1,2,3", "secret": ["held.csv"], "artifacts": "OSError"}


def test_they_are_at_the_level_below_as_well(tmp_path, monkeypatch):
    monkeypatch.setenv("EVOGIT_SANDBOX", "landlock")
    backend = LocalBackend(tmp_path / "below")
    level = backend.level
    backend.close()
    if level != "landlock":
        pytest.skip("no Landlock")
    top = ruled(tmp_path / "toy")

    evogit(top, "loop", "--max-runs", "1")

    for seen in (artifact(top, "trained.json"), artifact(top, "predicted.json", "predict/")):
        assert "1,2,3" not in str(seen) and "held.csv" not in str(seen)
    scored = json.loads(Lab.open(top).artifact("0", "trials/s0/evaluate/stdout").splitlines()[0])
    assert (scored["labels.csv"], scored["secret"]) == ("1,2,3", ["held.csv"]) and scored["artifacts"] != "writable"
    assert {trial.sandbox for trial in Lab.open(top).run("0").trials} == {"landlock"}


def test_a_level_that_is_required_and_missing_stops_everything_before_it_begins(tmp_path):
    top = make_toy(tmp_path / "toy", toml=ONE_SEED + '\n[sandbox]\nrequire = "bubblewrap"\n')

    done = evogit(top, "loop", "--max-runs", "1", env={"EVOGIT_SANDBOX": "none"}, check=False)

    assert done.returncode == 2
    assert 'error: the problem requires sandbox "bubblewrap", but "none" is the best here' in done.stderr
    assert "hint: unset EVOGIT_SANDBOX" in done.stderr
    assert not Lab.open(top).runs()
    assert evogit(top, "loop", "--max-runs", "1").returncode == 0


def test_a_loop_without_a_sandbox_says_so_once(tmp_path):
    top = make_toy(tmp_path / "toy", toml=ONE_SEED)

    done = evogit(top, "loop", "--max-runs", "2", env={"EVOGIT_SANDBOX": "none"})

    assert (done.stdout + done.stderr).count("trials run without a sandbox") == 1
    assert "without a sandbox" not in evogit(top, "loop", "--max-runs", "1").stderr


def test_a_file_that_trials_are_not_shown_is_named_with_the_way_to_show_it(tmp_path):
    data = tmp_path / "data.txt"
    data.write_text("0.5")
    toml, train = ONE_SEED, TRAIN + f'\nopen("{data}").read()\n'
    top = make_toy(tmp_path / "toy", toml=toml, train=train)

    done = evogit(top, "loop", "--max-runs", "1", check=False)

    assert done.returncode == 1
    assert f'hint: {data} exists here, but trials do not see it: write it under [sandbox] read = ["{data}"]' in done.stderr
    shown = make_toy(tmp_path / "shown", toml=f'{toml}\n[sandbox]\nread = ["{data}"]\n', train=train)
    assert evogit(shown, "loop", "--max-runs", "1").returncode == 0


def test_a_missing_filter_of_system_calls_is_said_once_and_is_less_than_what_is_required(tmp_path):
    (tmp_path / "without").mkdir()
    (tmp_path / "without" / "pyseccomp.py").write_text("raise RuntimeError('Unable to find libseccomp')\n")  # as it does where that is not
    env = {"PYTHONPATH": os.pathsep.join([str(tmp_path / "without"), os.environ.get("PYTHONPATH", "")])}
    top = make_toy(tmp_path / "toy", toml=ONE_SEED)
    strict = make_toy(tmp_path / "strict", toml=ONE_SEED + '\n[sandbox]\nrequire = "landlock"\n')

    done = evogit(top, "loop", "--max-runs", "1", "--no-ideas", env=env)
    refused = evogit(strict, "loop", "--max-runs", "1", env=env, check=False)

    said = "system calls are not filtered: Unable to find libseccomp"
    assert (done.stdout + done.stderr).count(said) == 1
    assert refused.returncode == 2
    assert f'the problem requires sandbox "landlock", and {said}' in refused.stderr
    assert "apt install libseccomp2" in refused.stderr
    assert evogit(strict, "log", env=env).stdout == ""
    assert said in evogit(top, "doctor", env=env, check=False).stdout
