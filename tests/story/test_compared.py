"""Only what may be compared is compared: replicates, epochs that begin while runs are in the air, other arguments, old parents."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from evogit.domain.event import Decided, TrialStarted
from evogit.domain.options import LoopOptions
from evogit.git import artifacts
from evogit.lab import Lab
from toys import TOML, TRAIN, evogit, git, make_toy

ONE_SEED = TOML.replace("[0, 1]", "[0]")
BRANCH = "autoresearch/t1"
# No two trials give the same number: whoever reads one twice is seen.
NEVER_THE_SAME = TRAIN.replace("import random\n", "import random\nimport time\n").replace(
    'loss(int(os.environ.get("EVOGIT_SEED", "0")))', "(0.3 + time.time_ns() % 10**9 / 1e12)"
)


def lab_of(repo: Path) -> Lab:
    return Lab.open(repo, tag="t1")


def searching(count: int, workers: int = 1) -> LoopOptions:
    return LoopOptions(max_runs=count, workers=workers, emitters=("local_tuner",))


def push(repo: Path, name: str, text: str) -> str:
    """A person's commit at the tip, from a clone of theirs."""
    work = repo.parent / f"theirs-{len(list(repo.parent.iterdir()))}"
    git(repo.parent, "clone", "-q", "-b", BRANCH, str(repo), str(work))
    (work / name).write_text(text)
    git(work, "commit", "-q", "-am", f"another {name}")
    git(work, "push", "-q")
    return git(work, "rev-parse", "HEAD").strip()


def test_every_replicate_is_a_trial_of_its_own_and_keeps_its_files(tmp_path):
    top = make_toy(tmp_path / "toy", toml=ONE_SEED, train=NEVER_THE_SAME)
    evogit(top, "start", "t1")

    evogit(top, "loop", "--tag", "t1", "--max-runs", "3", "--agent", "noop")
    evogit(top, "loop", "--tag", "t1", "--max-runs", "2", "--agent", "noop")

    lab = lab_of(top)
    [baseline] = lab.runs()
    readings = [t.metrics["val_loss"] for t in (*baseline.trials, *lab.campaign.history.replicates[baseline.commit])]
    assert len(set(readings)) == len(readings) == 6
    kept = {path.partition("/")[0] for path in artifacts.listing(lab.repo, "t1", baseline.commit)}
    assert len([folder for folder in kept if folder.startswith("replicate-")]) == 5


def test_a_loop_knows_the_noise_that_more_baseline_seeds_showed(repo):
    evogit(repo, "baseline", "--tag", "t1", "--seeds", "4")

    told = json.loads(evogit(repo, "status", "--tag", "t1", "--json").stdout)
    bench = lab_of(repo)._bench(LoopOptions())
    assert told["spread"] > 0
    assert bench.memory.spread.std == pytest.approx(told["spread"])
    bench.close()


@pytest.mark.parametrize("workers", [1, 3])
def test_frozen_files_that_change_while_a_trial_runs_open_an_epoch_after_it(repo, workers):
    mine = ""
    for event in lab_of(repo).loop(searching(workers + 1, workers)):
        if isinstance(event, TrialStarted) and not mine:
            mine = push(repo, "README.md", "Another problem.\n")

    lab = lab_of(repo)
    history = lab.campaign.history
    assert history.epoch == 1
    assert [(r.emitter, r.epoch) for r in history.runs[-2:]] == [("baseline", 1), ("local_tuner", 1)]
    assert {r.epoch for r in history.runs[:-2]} == {0}
    assert mine in git(repo, "rev-list", BRANCH).split()
    assert git(repo, "show", f"{BRANCH}:README.md") == "Another problem.\n"
    assert git(repo, "for-each-ref", "refs/evogit/t1/inflight") == ""
    assert not [finding for finding in lab.doctor() if finding.level == "error"]


def test_an_epoch_that_waits_is_opened_by_the_next_loop(repo):
    events = lab_of(repo).loop(searching(2))
    mine = ""
    for event in events:
        if isinstance(event, TrialStarted) and not mine:
            mine = push(repo, "evogit.toml", ONE_SEED.replace("timeout_s = 20", "timeout_s = 15"))
        if isinstance(event, Decided):
            break
    events.close()

    waiting = lab_of(repo)
    list(waiting.loop(searching(1)))

    history = lab_of(repo).campaign.history
    assert history.epoch == 1
    assert [(r.emitter, r.epoch) for r in history.runs] == [("baseline", 0), ("local_tuner", 0), ("baseline", 1), ("local_tuner", 1)]
    assert lab_of(repo).problem.budget.timeout_s == 15


def test_a_flight_that_was_in_the_air_is_measured_under_its_own_contract(repo):
    events = lab_of(repo).loop(searching(2))
    for event in events:
        if isinstance(event, TrialStarted):
            break
    events.close()
    push(
        repo,
        "evogit.toml",
        ONE_SEED.replace('"val_loss"', '"params"', 1).replace('[[metric]]\nname = "params"\ndirection = "minimize"\n\n', ""),
    )

    list(lab_of(repo).loop(searching(2)))

    history = lab_of(repo).campaign.history
    assert [r.epoch for r in history.runs] == [0, 0, 1, 1]
    assert "val_loss" in history.runs[1].readings
    assert "val_loss" not in history.runs[2].readings


def test_a_persons_run_with_other_arguments_is_compared_with_a_baseline_that_had_them(repo):
    (repo / "train.py").write_text(TRAIN.replace("LR = 0.1", "LR = 0.02"))

    evogit(repo, "run", "--tag", "t1", "--", "--dataset", "other")

    told = lab_of(repo).runs()
    assert [(r.emitter, r.epoch, r.trials[0].arm) for r in told] == [
        ("baseline", 0, ""),
        ("baseline", 1, "--dataset other"),
        ("person", 1, "--dataset other"),
    ]


def test_more_baseline_seeds_with_other_arguments_are_no_readings_of_the_old_baseline(repo):
    evogit(repo, "baseline", "--tag", "t1", "--seeds", "2", "--", "--dataset", "other")

    history = lab_of(repo).campaign.history
    assert [r.epoch for r in history.runs] == [0, 1]
    assert list(history.replicates) == [history.runs[1].commit]


def test_a_persons_run_on_a_run_of_an_older_epoch_is_refused(repo):
    (repo / "train.py").write_text(TRAIN.replace("LR = 0.1", "LR = 0.02"))
    evogit(repo, "baseline", "--tag", "t1", "--seeds", "1", "--", "--dataset", "other")

    done = evogit(repo, "run", "--tag", "t1", "--parent", "0", "--", "--dataset", "other", check=False)

    assert done.returncode == 2
    assert "belongs to epoch 0" in done.stderr


def test_what_a_smoke_run_left_is_no_result_of_the_real_run(tmp_path):
    smoke = 'mutable = ["train.py"]\nsmoke = "python train.py --smoke"'
    silent = (
        '    import json, pathlib, sys\n    if "--smoke" in sys.argv:\n'
        '        text = json.dumps({"status": "success", "val_loss": 0.0})\n'
        '        pathlib.Path(os.environ["EVOGIT_ARTIFACT_DIR"], "metrics.json").write_text(text)\n'
        "    elif LR == 0.1:\n"
        '        print("METRIC val_loss=1.0")\n        print("METRIC params=1")\n'
    )
    head, _, _ = TRAIN.partition("    print(")
    top = make_toy(tmp_path / "toy", toml=ONE_SEED.replace('mutable = ["train.py"]', smoke), train=head + silent)
    evogit(top, "start", "t1")
    (top / "train.py").write_text((head + silent).replace("LR = 0.1", "LR = 0.02"))

    evogit(top, "run", "--tag", "t1", check=False)

    assert [(r.verdict.value, r.mean("val_loss")) for r in lab_of(top).runs()] == [("keep", 1.0), ("crash", None)]


def test_a_campaign_whose_branch_was_deleted_is_not_started_over_its_refs(repo):
    git(repo, "branch", "-q", "-D", BRANCH)

    done = evogit(repo, "start", "t1", check=False)

    assert done.returncode == 2
    assert "was here before" in done.stderr
    assert git(repo, "for-each-ref", f"refs/heads/{BRANCH}") == ""
