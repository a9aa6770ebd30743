"""Which job comes next: a function of the jobs and outcomes in the flight, and of what one more seed could change."""

from __future__ import annotations

import os

import msgspec
import pytest

from builders import commit_of, problem
from evogit import removal
from evogit.domain.flight import Flight, FlightState, JobRecord
from evogit.domain.plan import Plan
from evogit.domain.problem import Evaluate
from evogit.domain.trial import Outcome, Status
from evogit.errors import BackendDown
from evogit.stages import execute
from evogit.stages.execute import LOST_TRIES, Rest, Step, next_step
from toys import dig

PLAIN = problem()
RULED = problem(evaluate=Evaluate(command="python evaluate.py", predict="python predict.py"))


def flight(**more) -> Flight:
    plan = Plan(emitter="local_tuner", parents=(commit_of("0"),), seeds=(0, 1, 2), rng=0)
    return Flight(campaign="toy", number=1, label="1", clone="ab12", state=FlightState.RUNNING, plan=plan, **more)


def job(seed: int, step: str = "train", attempt: int = 1) -> JobRecord:
    return JobRecord(key=f"{seed}-{step}-{attempt}", seed=seed, step=step, attempt=attempt, handle="h")


def ended(*jobs: JobRecord, status: Status = Status.OK) -> dict[str, Outcome]:
    fields = {"status": status, "exit_code": 0, "seconds": 1.0, "peak_rss_mib": 1, "started": "2026-01-01T00:00:00Z", "folder": ""}
    return {j.key: Outcome(key=j.key, **fields) for j in jobs}


def after(contract, jobs, outcomes, *, wants: bool = True, **more):
    return next_step(contract, flight(**more), jobs, outcomes, lambda n: wants, LOST_TRIES)


def test_the_first_seed_is_trained_first():
    assert after(PLAIN, [], {}) == Step(seed=0, step="train", attempt=1)


def test_a_locked_ruler_makes_a_chain_of_three_jobs():
    train, predict, evaluate = (job(0, step) for step in ("train", "predict", "evaluate"))

    assert after(RULED, [train], ended(train)) == Step(seed=0, step="predict", attempt=1)
    assert after(RULED, [train, predict], ended(train, predict)) == Step(seed=0, step="evaluate", attempt=1)
    assert after(RULED, [train, predict, evaluate], ended(train, predict, evaluate)) == Step(seed=1, step="train", attempt=1)


def test_a_job_that_runs_is_waited_for():
    assert after(PLAIN, [job(0)], {}) is Rest.WAITING


def test_a_seed_that_can_change_nothing_is_not_begun():
    assert after(PLAIN, [job(0)], ended(job(0)), wants=False) is Rest.DONE


def test_a_seed_that_was_begun_is_ended_even_if_it_can_change_nothing_any_more():
    intended = JobRecord(key="1-train-1", seed=1, step="train")

    assert after(PLAIN, [job(0), job(1)], ended(job(0)), wants=False) is Rest.WAITING
    assert after(PLAIN, [job(0), intended], ended(job(0)), wants=False) == Step(seed=1, step="train", attempt=1)
    chain = [job(0, "train"), job(0, "predict"), job(0, "evaluate"), job(1, "train")]
    assert after(RULED, chain, ended(*chain), wants=False) == Step(seed=1, step="predict", attempt=1)


def test_a_failed_trial_buys_no_further_seed():
    assert after(PLAIN, [job(0)], ended(job(0), status=Status.CRASH)) is Rest.DONE


@pytest.mark.parametrize("status", [Status.INFRASTRUCTURE, Status.CANCELLED])
def test_a_trial_that_was_lost_or_cancelled_is_tried_again(status):
    assert after(PLAIN, [job(0)], ended(job(0), status=status)) == Step(seed=0, step="train", attempt=2)


def test_a_trial_that_is_lost_again_and_again_is_the_backends_fault():
    lost = [job(0, attempt=n + 1) for n in range(LOST_TRIES)]

    with pytest.raises(BackendDown):
        after(PLAIN, lost, ended(*lost, status=Status.INFRASTRUCTURE))


def test_a_smoke_run_comes_first_and_its_failure_ends_the_flight():
    gated = problem(smoke="python train.py --smoke")
    smoke = job(0, "smoke")

    assert after(gated, [], {}) == Step(seed=0, step="smoke", attempt=1)
    assert after(gated, [smoke], ended(smoke)) == Step(seed=0, step="train", attempt=1)
    assert after(gated, [smoke], ended(smoke, status=Status.CRASH)) is Rest.DONE


def test_folders_deeper_than_any_path_are_no_hindrance(tmp_path):
    dig(tmp_path)
    (tmp_path / "told.txt").write_text("found")
    kept = {}

    execute._gather_artifacts(tmp_path, kept)
    removal.discard(tmp_path / "d")

    assert kept["artifacts/told.txt"] == b"found"
    assert os.listdir(tmp_path) == ["told.txt"]


def gathered(tmp_path, folder: str = "") -> dict[str, bytes]:
    """What is kept of a job whose checkout and artifacts lie where the test has put them."""
    for name in ("checkout", "artifacts"):
        (tmp_path / name).mkdir(exist_ok=True)
    [outcome] = ended(job(0)).values()
    return execute.gather(problem(folder=folder), flight(), outcome, tmp_path / "checkout", tmp_path / "artifacts", lambda path: False)


@pytest.mark.parametrize("folder", ["", "rp/toy"])
@pytest.mark.parametrize("link", ["runs", "runs/run_000001", "runs/run_000001/metrics.json", "rp"])
def test_a_result_is_read_through_no_link(tmp_path, folder, link):
    outside = tmp_path / "outside"
    top = tmp_path / "checkout" / folder
    real = outside / "rp/toy/runs/run_000001/metrics.json"
    real.parent.mkdir(parents=True)
    real.write_text('{"host": 1}')
    place = tmp_path / "checkout" / link if link == "rp" else top / link
    place.parent.mkdir(parents=True)
    place.symlink_to(outside / "rp" if link == "rp" else outside / "rp/toy" / link)

    assert [name for name in gathered(tmp_path, folder) if name.startswith("workspace/")] == []


def test_a_result_where_it_belongs_is_kept(tmp_path):
    place = tmp_path / "checkout/rp/toy/runs/run_000001"
    place.mkdir(parents=True)
    (place / "metrics.json").write_text("{}")

    assert gathered(tmp_path, "rp/toy")["workspace/runs/run_000001/metrics.json"] == b"{}"


def test_outputs_are_hashed_as_far_as_there_are_bytes_left_for_it_and_under_names_of_any_bytes(tmp_path):
    folder = tmp_path / "artifacts"
    folder.mkdir()
    for name in (b"a", b"b\xff", b"c"):
        with open(os.path.join(os.fsencode(folder), name), "wb") as file:
            file.truncate(1 << 20)
    os.truncate(folder / "c", 1 << 40)
    kept: dict[str, bytes] = {}

    execute._gather_artifacts(folder, kept, hashed=(1 << 20) + 1)

    outputs = msgspec.json.decode(kept["outputs.json"])
    assert [(out["path"], out["bytes"], "sha256" in out) for out in outputs] == [
        ("a", 1 << 20, True), ("b?", 1 << 20, False), ("c", 1 << 40, False),
    ]  # fmt: skip


def test_what_a_killed_removal_left_is_removed_like_anything_else(tmp_path):
    (tmp_path / ".trash" / "half" / "deep").mkdir(parents=True)
    (tmp_path / ".trash" / "half" / "file").write_text("x")

    removal.discard(tmp_path / ".trash")

    assert os.listdir(tmp_path) == []
