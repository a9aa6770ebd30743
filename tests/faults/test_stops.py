"""Stopped by a person, by another loop or by a machine that loses its processes: trials end or are tried again, and none is lost."""

from __future__ import annotations

import os
import re
import signal
import subprocess

import pytest

from evogit.backends import processes
from evogit.domain.trial import Status
from faults.runner import EVER_BETTER, KEEPING_A_DIARY, LETTING_THROUGH, Shot, until
from toys import git

# It signs a file in its checkout when it begins, and wants to find its own name there at its end.
MINDING_ITS_CHECKOUT = KEEPING_A_DIARY.replace(
    "import diary", 'import os\nopen("scratch", "w").write(os.environ["EVOGIT_RUN"])\nimport diary'
).replace('if __name__ == "__main__":\n', 'if __name__ == "__main__":\n    assert open("scratch").read() == os.environ["EVOGIT_RUN"]\n')


@pytest.fixture
def shot(tmp_path):
    return Shot(tmp_path / "toy")


def _held(shot: Shot, *args: str, run: str = "1"):
    """A loop whose run `run` waits at the gate in its first trial."""
    loop = shot.spawn(*args, hold=run)
    until(lambda: (run, 0) in shot.diary("begin"))
    return loop


def _kill_watchers(shot: Shot) -> None:
    """SIGKILL to the supervisor of every job that runs; the job dies with it."""
    jobs = shot.lab().repo.cache / "campaigns" / "t1" / "jobs" / "local"
    running = [job for job in jobs.iterdir() if os.path.islink(job / "claim") and not (job / "outcome.json").exists()]
    claims = [os.readlink(job / "claim").split() for job in running]
    processes.send([int(pid) for pid, birth, *_ in claims if processes.birth(int(pid)) == int(birth)], signal.SIGKILL)


def test_a_trial_outlives_its_loop_and_is_taken_up_again_where_it_works(tmp_path):
    shot = Shot(tmp_path / "toy", train=MINDING_ITS_CHECKOUT)
    shot.killed_at("started:3", "--max-runs", "2", hold="1")
    until(lambda: ("1", 0) in shot.diary("begin"))
    loop = shot.spawn("--max-runs", "1")
    said = ""
    while "run 1 seed 0: train started" not in said:  # the loop has it in hand again
        said += loop.stdout.readline()
    gate = shot.open_gate()

    _, errors = loop.communicate(timeout=60)

    os.close(gate)
    assert loop.returncode == 0, errors
    assert "recovered run 1" in said
    assert shot.lab().run("1").crash == ""
    shot.check()


def test_a_persons_commit_is_measured_beside_the_trials_that_run_in_a_checkout_of_its_own(tmp_path):
    shot = Shot(tmp_path / "toy", train=MINDING_ITS_CHECKOUT)
    loop = shot.spawn("--max-runs", "1000", "--workers", "2", "--emitter", "local_tuner", hold="1")
    until(lambda: ("1", 0) in shot.diary("begin"))
    _commit_at(shot.repo, "autoresearch/t1", r"^WIDTH = \d+", "WIDTH = 30")
    until(lambda: any(run.emitter == "person" for run in shot.lab().campaign.history.runs))
    loop.send_signal(signal.SIGINT)
    gate = shot.open_gate()
    _, errors = loop.communicate(timeout=60)
    os.close(gate)

    assert loop.returncode == 130, errors
    shot.loop("--max-runs", "1")
    assert shot.lab().run("1").crash == ""
    shot.check()


def _commit_at(repo, branch: str, old: str, new: str) -> None:
    """A commit of a person at the tip of a branch that moves, from a clone: made again on the new tip until the push is taken."""
    work = repo.parent / "theirs"
    git(repo.parent, "clone", "-q", "-b", branch, str(repo), str(work))
    for _ in range(100):
        git(work, "fetch", "-q")
        git(work, "reset", "-q", "--hard", f"origin/{branch}")
        text = (work / "train.py").read_text()
        (work / "train.py").write_text(re.sub(old, new, text, flags=re.MULTILINE))
        git(work, "commit", "-q", "-am", "wider")
        if "rejected" not in subprocess.run(["git", "push"], cwd=work, capture_output=True, text=True, check=False).stderr:
            return
    raise AssertionError("the branch moved faster than a person pushes")


def test_metrics_that_a_trial_left_in_its_checkout_outlive_the_loop(tmp_path):
    toml = LETTING_THROUGH.replace("mutable =", 'metrics_file = "out/{run_id}.json"\nmutable =')
    written = (
        '    import json, pathlib\n    pathlib.Path("out").mkdir()\n'
        '    seed = int(os.environ["EVOGIT_SEED"])\n'
        '    text = json.dumps({"status": "success", "val_loss": loss(seed), "params": WIDTH * 10})\n'
        '    pathlib.Path("out", os.environ["ACR_RUN_ID"] + ".json").write_text(text)\n'
    )
    head, _, _ = KEEPING_A_DIARY.partition("    print(")
    shot = Shot(tmp_path / "toy", toml=toml, train=head + written)
    shot.killed_at("finished:1", "--max-runs", "1")
    shot.killed_at("finished:2", "--max-runs", "1")

    shot.loop("--max-runs", "1")

    shot.check()
    assert shot.lab().run("0").trials[0].source == "metrics.json"


def test_a_trial_whose_own_processes_are_killed_is_tried_again_and_is_no_crash(shot):
    loop = _held(shot, "--max-runs", "2")
    loop.kill()
    loop.communicate()
    processes.send(shot.processes(), signal.SIGSTOP)  # all at once, as a machine goes down: no supervisor sees its trial die
    processes.send(shot.processes(), signal.SIGKILL)
    until(lambda: not shot.processes())

    shot.loop("--max-runs", "1")

    run = shot.lab().run("1")
    assert (run.trials[0].seed, run.trials[0].attempt, run.trials[0].status) == (0, 2, Status.OK)
    shot.check(ran_again=1)


def test_a_backend_that_loses_a_trial_three_times_ends_the_loop_and_the_next_one_tries_again(shot):
    loop = shot.spawn("--max-runs", "2", hold="1")
    for attempt in range(3):
        until(lambda n=attempt: shot.diary("begin").count(("1", 0)) > n)
        _kill_watchers(shot)
    _, errors = loop.communicate(timeout=60)
    assert loop.returncode == 3, errors
    assert "lost the same trial 3 times" in errors

    shot.loop("--max-runs", "1")

    assert shot.lab().run("1").trials[0].attempt == 4
    shot.check(ran_again=3)


def test_ctrl_c_lets_the_running_trial_finish_and_the_next_loop_goes_on(shot):
    loop = _held(shot, "--max-runs", "4")
    loop.send_signal(signal.SIGINT)
    until(lambda: shot.diary("begin") and _heard(loop, "finishing running trials"))
    gate = shot.open_gate()
    _, errors = loop.communicate(timeout=60)
    os.close(gate)

    assert loop.returncode == 130, errors
    assert ("1", 0) in shot.diary("end")
    shot.loop("--max-runs", "2")
    shot.check()


def test_ctrl_c_twice_cancels_the_trial_which_is_another_attempt_later(shot):
    loop = _held(shot, "--max-runs", "4")
    loop.send_signal(signal.SIGINT)
    until(lambda: _heard(loop, "finishing running trials"))
    loop.send_signal(signal.SIGINT)
    _, errors = loop.communicate(timeout=60)

    assert loop.returncode == 130, errors
    assert shot.in_flight() == {"1": "running"}
    shot.loop("--max-runs", "1")
    assert shot.lab().run("1").trials[0].attempt == 2
    shot.check(ran_again=1)


def _heard(loop, words: str) -> bool:
    """True once the loop has said so on stderr (which it does in its signal handler)."""
    return words in loop.stderr.readline()


def test_a_second_loop_is_refused_in_one_line_that_names_the_first(shot):
    loop = _held(shot, "--max-runs", "2")

    second = shot.loop("--max-runs", "1", check=False)

    assert second.returncode == 2
    assert second.stderr.splitlines()[0] == f"error: process {loop.pid} runs the loop of campaign t1 in this repository"
    assert "Traceback" not in second.stderr
    gate = shot.open_gate()
    loop.communicate(timeout=60)
    os.close(gate)
    shot.check()


@pytest.mark.parametrize("point", ["branch:2", "tip:2", "synced:2"])
def test_a_checkout_on_the_branch_follows_across_a_kill(tmp_path, point):
    shot = Shot(tmp_path / "toy", train=EVER_BETTER)
    git(shot.repo, "switch", "-q", "autoresearch/t1")
    (shot.repo / "README.md").write_text("I am still writing this.\n")
    shot.killed_at(point, "--max-runs", "3")

    shot.loop("--max-runs", "1")

    assert {run.verdict.value for run in shot.lab().campaign.history.runs} == {"keep"}
    assert git(shot.repo, "status", "--porcelain") == " M README.md\n"
    assert git(shot.repo, "symbolic-ref", "HEAD").strip() == "refs/heads/autoresearch/t1"
    shot.check_numbers()


def test_a_commit_and_staged_work_of_a_person_are_theirs_when_a_loop_starts(shot):
    shot.loop("--max-runs", "1")
    git(shot.repo, "switch", "-q", "autoresearch/t1")
    source = (shot.repo / "train.py").read_text()
    (shot.repo / "train.py").write_text(source.replace("MOMENTUM = ", "MOMENTUM = 0.0 + "))
    git(shot.repo, "commit", "-q", "-am", "mine")
    (shot.repo / "train.py").write_text(source.replace("MOMENTUM = ", "MOMENTUM = 0.1 + "))
    git(shot.repo, "add", "train.py")

    shot.killed_at("intended:1", "--max-runs", "1")

    assert git(shot.repo, "symbolic-ref", "HEAD").strip() == "refs/heads/autoresearch/t1"
    assert "0.1 + " in (shot.repo / "train.py").read_text()


@pytest.mark.parametrize("point", ["synced", "branch", "tip", "intended", "outcome", "artifacts", "removed"])
def test_a_new_epoch_is_opened_once_whatever_is_killed_on_the_way(shot, point):
    shot.loop("--max-runs", "1")
    git(shot.repo, "switch", "-q", "autoresearch/t1")
    (shot.repo / "README.md").write_text("Another problem.\n")
    git(shot.repo, "commit", "-q", "-am", "another problem")
    git(shot.repo, "switch", "-q", "main")
    shot.killed_at(point, "--max-runs", "2")

    shot.loop("--max-runs", "2")

    shot.check()
    history = shot.lab().campaign.history
    assert [run.emitter for run in history.runs].count("baseline") == 2
    assert history.epoch == 1 == history.runs[-1].epoch
