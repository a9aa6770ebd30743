"""Cloud Run's own: bundles sent once, one look for all jobs, nothing run twice, machines that go, errors in one line, what stays."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from evogit.backends.cloud.backend import CloudRunBackend
from evogit.backends.cloud.watching import Handle
from evogit.domain.trial import Job, Status
from evogit.errors import BackendDown, UserError
from evogit.testing import output, run
from loopback_cloud import BUCKET

JOBS = "evogit-trials/toy/"
WITNESS = "open({!r}, 'a').write('ran\\n')"


@pytest.fixture(autouse=True)
def _unheld(unheld):
    """Containers are what these tests are about; the sandbox in them is the contract's affair, and takes 0.2 s to find."""


@pytest.fixture
def witness(tmp_path_factory) -> Path:
    """A file that no job's folder holds: a program that appends to it is heard wherever it runs."""
    path = tmp_path_factory.mktemp("witness") / "heard"
    path.touch()
    return path


@pytest.fixture
def folder(tmp_path_factory) -> Path:
    """A folder of the container's own, which is no folder of the job's."""
    return tmp_path_factory.mktemp("container") / "dataset"


def killed_after_launch(cloud, spec, root: Path, job: Job) -> int:
    """Start a job in a process that is killed once its execution was asked for; the process's exit code."""
    program = f"""
import sys, msgspec
from pathlib import Path
from evogit.backends.cloud.backend import CloudRunBackend
from evogit.domain.trial import Job
backend = CloudRunBackend(Path({str(root)!r}), spec={str(spec)!r}, endpoint={cloud.url!r}, poll_s=0.01)
backend.start(msgspec.json.decode(sys.stdin.buffer.read(), type=Job))
"""
    env = {**os.environ, "EVOGIT_FAILPOINT": "launched"}
    return subprocess.run([sys.executable, "-c", program], input=msgspec.json.encode(job), env=env, check=False).returncode


# what travels


def test_a_tree_is_sent_once_for_all_jobs_of_it_and_what_one_job_left_goes_with_the_next(backend, cloud, make, tmp_path):
    shared = str(tmp_path / "artifacts" / "trial")
    write = make("import sys; open(sys.argv[1], 'w').write('weights')", f"{shared}/model", tree="a" * 40, artifact_dir=shared)
    run(backend, write)

    again = (write.argv[0], "-c", "import sys; print(open(sys.argv[1]).read())", f"{shared}/model")
    outcome = run(backend, msgspec.structs.replace(write, key="again", argv=again))

    assert output(outcome) == "weights\n"
    assert len(cloud.storage.names(BUCKET, "evogit-sources/")) == 1
    assert sum("uploadType=multipart" in request and "POST" in request for request in cloud.requests) < 20
    assert len([name for name in cloud.storage.names(BUCKET, JOBS) if "/parcels/" in name]) == 1


def test_bundles_that_nobody_needs_go_after_a_week_and_what_is_not_ours_stays(made, cloud, make):
    from datetime import datetime, timedelta, timezone

    old = (datetime.now(timezone.utc) - timedelta(days=8)).strftime("%Y-%m-%dT%H:%M:%SZ")
    for name in ("a" * 32, "notes.txt"):
        cloud.storage.write(BUCKET, f"evogit-sources/toy/{name}", b"old")
        cloud.storage.date(BUCKET, f"evogit-sources/toy/{name}", old)

    run(made(), make("pass", tree="b" * 40))

    left = [name.rpartition("/")[2] for name in cloud.storage.names(BUCKET, "evogit-sources/toy/")]
    assert "notes.txt" in left and "a" * 32 not in left and len(left) == 2


def test_only_what_the_spec_includes_travels(backend, spec, make):
    spec.write_text(spec.read_text() + "files: {include: [kept.txt], required: [main.py]}\n")
    job = make("import os; print(sorted(os.listdir('.')))")
    for name in ("kept.txt", "left.txt"):
        Path(job.cwd, name).write_text(name)

    assert output(run(backend, job)) == "['kept.txt', 'main.py']\n"


def test_a_checkout_that_lacks_a_required_file_is_a_crash_and_nothing_is_asked_of_the_service(backend, spec, cloud, make):
    spec.write_text(spec.read_text() + "files: {required: [weights.npz]}\n")

    outcome = run(backend, make("pass"))

    assert (outcome.status, outcome.reason) == (Status.CRASH, "cloud_runner.yaml requires weights.npz, which this checkout lacks")
    assert cloud.requests == []
    assert backend.find(outcome.key)


def test_a_trial_is_told_of_its_data_its_place_and_what_spec_and_person_add(made, spec, cloud, make, folder):
    cloud.storage.write(BUCKET, "data/words.txt", b"words")
    spec.write_text(spec.read_text() + f"dataset: {{uri: 'gs://elsewhere/', container_dir: {folder}}}\nenv: {{EPOCHS: 2, LR: 0.1}}\n")
    source = "import os; print(*(os.environ[n] for n in ('DATASET_DIR', 'DATASET_URI', 'EPOCHS', 'LR', 'REGION')));"
    source += "print(open(os.environ['DATASET_DIR'] + '/words.txt').read())"

    outcome = run(made(dataset=f"gs://{BUCKET}/data/", env={"EPOCHS": "7"}), make(source))

    assert output(outcome) == f"{folder} gs://{BUCKET}/data/ 7 0.1 loopback1\nwords\n"


def test_a_bucket_is_mounted_by_cloud_run_where_that_is_asked(made, spec, cloud, make, folder):
    cloud.storage.write(BUCKET, "sets/v1/words.txt", b"mounted")
    spec.write_text(spec.read_text() + f"dataset: {{uri: 'gs://{BUCKET}/sets/v1/', container_dir: {folder}, mode: mount}}\n")

    outcome = run(made(), make("import os; print(open(os.environ['DATASET_DIR'] + '/words.txt').read())"))

    assert output(outcome) == "mounted\n"
    (job,) = cloud.run.jobs.values()
    assert job.template.template.volumes[0].gcs.mount_options == ["only-dir=sets/v1"]


def test_the_problems_own_data_is_where_the_spec_puts_the_data_set(made, spec, cloud, make, tmp_path):
    cloud.storage.write(BUCKET, "data/words.txt", b"there")
    (tmp_path / "prepared").mkdir()
    (tmp_path / "prepared/words.txt").write_text("here")
    job = make("import os; print(open(os.environ['EVOGIT_DATA_DIR'] + '/words.txt').read())", data=str(tmp_path / "prepared"))
    job = msgspec.structs.replace(job, env={**job.env, "EVOGIT_DATA_DIR": job.data})

    sent = run(made(), job)
    spec.write_text(spec.read_text() + f"dataset: {{uri: 'gs://{BUCKET}/data/', container_dir: {tmp_path}/dataset}}\n")
    fetched = run(made(), msgspec.structs.replace(job, key="fetched"))

    assert (output(sent), output(fetched)) == ("here\n", "there\n")


def test_folders_that_the_spec_names_are_the_trials_own_and_uv_is_left_out(backend, make):
    job = make("import sys; open(sys.argv[1] + '/out.txt', 'w').write('kept')")
    argv = ("uv", "run", "--with", "numpy", "/workspace/app/main.py", "/workspace/artifacts")
    job = msgspec.structs.replace(job, argv=argv, env={"PATH": "/nobodys/environment/bin:/usr/bin"})

    outcome = run(backend, job)

    assert outcome.reason == ""
    assert Path(job.artifact_dir, "out.txt").read_text() == "kept"


def test_what_only_the_image_knows_goes_before_what_home_says(backend, cloud, make):
    cloud.containers.image = {"LD_LIBRARY_PATH": "/usr/local/nvidia/lib64", "SECRET_OF_IMAGE": "x"}
    job = make("import os; print(os.environ['LD_LIBRARY_PATH'], 'SECRET_OF_IMAGE' in os.environ)")

    outcome = run(backend, msgspec.structs.replace(job, env={**job.env, "LD_LIBRARY_PATH": "/opt/home/lib"}))

    assert output(outcome) == "/usr/local/nvidia/lib64:/opt/home/lib False\n"


def test_a_trial_without_a_limit_is_kept_below_its_containers(backend, spec, make):
    spec.write_text(spec.read_text() + "cloud_run: {memory: 512Mi}\n")

    outcome = run(backend, make("import time; hog = bytearray(400 << 20); time.sleep(60)"))

    assert outcome.status is Status.MEMORY


# one service job, one look


def test_there_is_one_service_job_for_a_kind_of_container_and_each_trial_is_an_execution_with_a_time_of_its_own(made, cloud, make):
    for timeout_s in (30.0, 60.0):
        run(made(), make("pass", timeout_s=timeout_s))

    (job,) = cloud.run.jobs.values()
    container = job.template.template.containers[0]
    assert re.fullmatch(r"projects/loopback-project/locations/loopback1/jobs/evogit-toy-[0-9a-f]{12}", job.name)
    assert container.image == "loopback1-docker.pkg.dev/loopback-project/images/toy-runner:latest"
    assert job.template.template.service_account == "runner@loopback-project.iam.gserviceaccount.com"
    assert (job.template.task_count, job.template.template.max_retries) == (1, 0)
    assert cloud.asked(":run") == 2


def test_executions_are_given_their_own_time(backend, cloud, make):
    cloud.run.is_full = True
    handles = [backend.start(make("pass", timeout_s=timeout_s)) for timeout_s in (30.0, 60.0)]

    times = [execution.template.timeout.total_seconds() for execution in cloud.run.executions.values()]

    assert times == [930.0, 960.0]
    for handle in handles:
        backend.cancel(handle)


def test_a_gpu_is_asked_for_in_the_services_words(backend, spec, cloud, make):
    spec.write_text(spec.read_text() + "cloud_run: {gpu: 1, gpu_type: nvidia-l4}\n")
    cloud.run.is_full = True

    handle = backend.start(make("pass"))

    (job,) = cloud.run.jobs.values()
    task = job.template.template
    assert dict(task.containers[0].resources.limits) == {"cpu": "4", "memory": "16Gi", "nvidia.com/gpu": "1"}
    assert (task.node_selector.accelerator, task.gpu_zonal_redundancy_disabled) == ("nvidia-l4", True)
    assert json.loads(cloud.storage.read(BUCKET, f"{JOBS}jobs/{Handle.read(handle).key}/ticket.json"))["order"]["job"]["gpus"] == 1
    backend.cancel(handle)


def test_a_look_at_many_jobs_is_one_listing_however_many_they_are(backend, cloud, make):
    cloud.run.is_full = True
    handles = [backend.start(make("pass")) for _ in range(4)]
    backend.wait(handles, 0.2)
    del cloud.requests[:]

    assert backend.wait(handles, 0.5) == []

    listings = cloud.asked("ended%2F")
    assert 1 <= listings <= 0.5 / 0.01
    assert cloud.asked("/executions?") <= listings
    assert len(cloud.requests) <= 2 * listings + 1
    for handle in handles:
        backend.cancel(handle)


def test_pauses_between_looks_grow(made, cloud, make):
    backend = made()
    cloud.run.is_full = True
    handle = backend.start(make("pass"))
    backend.wait([handle], 0.6)
    first = cloud.asked("ended%2F")

    backend.wait([handle], 0.5)

    assert first >= 5
    assert cloud.asked("ended%2F") - first <= 0.5 / 0.08
    backend.cancel(handle)


# nothing runs twice


def test_a_loop_that_is_killed_after_it_asked_for_an_execution_finds_it_again(backend, cloud, spec, make, witness, tmp_path):
    job = make(WITNESS.format(str(witness)))

    code = killed_after_launch(cloud, spec, tmp_path / "jobs", job)
    handle = backend.find(job.key)

    assert code == -signal.SIGKILL
    assert backend.start(job) == handle != ""
    assert backend.wait([handle], 60) == [handle]
    assert backend.collect(handle).status is Status.OK
    assert witness.read_text() == "ran\n"
    assert len(cloud.run.begun) == 1


def test_an_execution_that_nobody_can_see_yet_is_asked_for_again_and_the_second_one_leaves(
    backend, cloud, spec, make, witness, tmp_path, monkeypatch
):
    monkeypatch.setattr("evogit.backends.cloud.watching.PATIENCE", 0)
    job = make(WITNESS.format(str(witness)) + "; import time; time.sleep(1)")
    cloud.run.hides_executions = True
    cloud.run.is_full = True

    killed_after_launch(cloud, spec, tmp_path / "jobs", job)
    assert backend.find(job.key) == ""
    handle = backend.start(job)
    cloud.run.hides_executions = False
    cloud.run.release()

    assert backend.wait([handle], 60) == [handle]
    assert backend.collect(handle).status is Status.OK
    assert cloud.containers.wait_for_all(60)
    assert witness.read_text() == "ran\n"
    assert len(cloud.run.begun) == 2
    assert sorted("has claimed the job" in log for log in cloud.containers.logs(2)) == [False, True]


def test_another_machine_finds_a_job_by_its_key_and_takes_its_outcome(backend, cloud, spec, make, tmp_path):
    job = make("print('from afar')")
    backend.start(job)

    other = CloudRunBackend(tmp_path / "other", spec=str(spec), endpoint=cloud.url, poll_s=0.01)
    handle = other.find(job.key)

    assert output(other.collect(handle)) == "from afar\n"
    assert other.find("0" * 24) == ""


def test_a_job_that_is_cancelled_before_its_container_starts_never_runs(backend, cloud, make, witness):
    cloud.run.is_full = True
    handle = backend.start(make(WITNESS.format(str(witness))))

    backend.cancel(handle)
    outcome = backend.collect(handle)
    cloud.run.executions_restart()

    assert outcome.status is Status.CANCELLED
    assert cloud.containers.wait_for_all(60)
    assert witness.read_text() == ""
    assert len(cloud.run.begun) == 1


# machines that go


@pytest.mark.parametrize("way", ["lose", "evict"])
def test_a_job_whose_machine_goes_is_infrastructure_and_says_so(backend, cloud, make, witness, until, way):
    handle = backend.start(make(WITNESS.format(str(witness)) + "; import time; time.sleep(60)"))
    until(witness.read_text, 60)

    getattr(cloud.run, way)(cloud.run.begun[0])

    assert backend.wait([handle], 60) == [handle]
    outcome = backend.collect(handle)
    assert outcome.status is Status.INFRASTRUCTURE
    said = (
        "ended while the trial ran, and handed nothing in" if way == "lose" else "the execution was ended from outside while the trial ran"
    )
    assert said in outcome.reason


def test_an_execution_that_fails_before_it_claims_says_what_cloud_run_says(backend, cloud, make):
    cloud.run.is_full = True
    handle = backend.start(make("pass"))

    cloud.run.fail_pending("Image 'x' not found.")

    outcome = backend.collect(handle)
    assert outcome.status is Status.INFRASTRUCTURE
    assert outcome.reason.endswith("ended before the trial began, and handed nothing in: Image 'x' not found.")


def test_data_that_is_not_there_is_infrastructure_and_named(backend, spec, make, tmp_path):
    spec.write_text(spec.read_text() + f"dataset: {{uri: 'gs://{BUCKET}/nothing/', container_dir: {tmp_path}/dataset}}\n")

    outcome = run(backend, make("pass"))

    assert outcome.status is Status.INFRASTRUCTURE
    assert f"there is nothing below gs://{BUCKET}/nothing/" in outcome.reason


def test_an_execution_that_somebody_removed_is_given_up_in_time(made, cloud, make, monkeypatch):
    monkeypatch.setattr("evogit.backends.cloud.watching.PATIENCE", 2)
    backend = made()
    cloud.run.is_full = True
    handle = backend.start(make("pass"))

    cloud.run.executions.clear()

    assert backend.wait([handle], 60) == [handle]
    assert backend.collect(handle).reason == "its execution is not there any more"


# output


def test_output_comes_while_the_job_runs_and_its_log_is_grouped_by_event(backend, make, tmp_path_factory):
    gate = tmp_path_factory.mktemp("gate") / "open"
    source = f"import os, sys, time\nprint('one', flush=True)\nwhile not os.path.exists({str(gate)!r}): time.sleep(0.02)\nprint('two', file=sys.stderr)"
    handle = backend.start(make(source))

    heard = []
    for stream, data in backend.follow(handle):
        heard.append((stream, data))
        gate.touch()

    assert heard == [("stdout", b"one\n"), ("stderr", b"two\n")]
    logs = {path.name: path.read_text() for path in Path(backend.collect(handle).folder, "logs").iterdir()}
    assert set(logs) == {"claimed.log", "command.log", "ended.log"}
    assert re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ ok; [\d,]+ bytes handed in\n", logs["ended.log"])


# errors, each in one line


@pytest.mark.parametrize(
    "part, status, message, kind, said, hint",
    [
        (":run", 429, "Quota exceeded for GPUs", BackendDown, "starting an execution: over a quota: ", "start fewer at a time (slots)"),
        (":run", 403, "run.jobs.runWithOverrides", UserError, "starting an execution: permission denied: ", "`evogit cloud doctor` names"),
        ("/upload/", 401, "token", UserError, "the credentials are refused: ", "gcloud auth application-default login"),
        ("/jobs?", 400, "Image 'x' not found", UserError, "refused: ", "evogit cloud deploy-image"),
        ("/upload/", 503, "backend error", BackendDown, "Google Cloud is out of reach: ", "once it answers again"),
        ("/upload/", 404, "The specified bucket does not exist.", UserError, "not found: ", "`evogit cloud doctor` says what is missing"),
    ],
)
def test_an_error_of_the_service_is_one_line_and_the_same_start_works_once_it_is_mended(
    made, cloud, make, monkeypatch, part, status, message, kind, said, hint
):
    monkeypatch.setattr("evogit.backends.cloud.clients.TRIES", 2)
    backend, job = made(), make("print('mended')")
    cloud.fail(part, status, message, times=2)

    with pytest.raises(kind) as caught:
        backend.start(job)
    cloud.faults.clear()

    assert said in caught.value.message and (status == 401 or message in caught.value.message) and "\n" not in caught.value.message
    assert hint in caught.value.hint
    assert output(run(backend, job)) == "mended\n"


def test_what_passes_by_itself_is_tried_again_and_nobody_hears_of_it(backend, cloud, make):
    for part in (":run", "/upload/", "ended%2F"):
        cloud.fail(part, 503)
        cloud.fail(part, 429)

    assert run(backend, make("pass")).status is Status.OK


@pytest.mark.parametrize(
    "message",
    [
        "rateLimitExceeded: The rate of changes to this object is too high.",
        "quotaExceeded: Too much.",
        "Quota exceeded for quota metric 'Run'",
    ],
)
def test_a_403_for_a_rate_or_a_quota_is_tried_again_and_no_lack_of_permission(made, cloud, make, monkeypatch, message):
    monkeypatch.setattr("evogit.backends.cloud.clients.TRIES", 2)
    backend, job = made(), make("print('goes on')")
    cloud.fail(":run", 403, message, times=3)

    with pytest.raises(BackendDown, match="starting an execution: over a quota: ") as caught:
        backend.start(job)

    assert "start fewer at a time" in caught.value.hint
    assert output(run(backend, job)) == "goes on\n"


def test_a_permission_that_has_to_do_with_quotas_is_still_one(made, cloud, make):
    message = "The API requires a quota project, which is not set by default."
    cloud.fail(":run", 403, message)

    with pytest.raises(UserError, match="permission denied: The API requires a quota project"):
        made().start(make("pass"))


def test_a_person_hears_of_a_trial_that_has_long_had_no_container_and_only_while_it_has_none(backend, cloud, make, monkeypatch, until):
    monkeypatch.setattr("evogit.backends.patience.TOLD_S", 0.0)
    monkeypatch.setattr("evogit.backends.patience.AGAIN_S", 0.0)
    cloud.run.is_full = True
    handle, told = backend.start(make("pass")), []

    until(lambda: told.extend(backend.news() if backend.wait([handle], 0.02) == [] else []) or told, 60)
    cloud.run.release()
    backend.wait([handle], None)

    assert [message for message, _ in told] == ["a trial has waited 0 min for a container of Cloud Run: Waiting for GPU capacity."]
    assert "gcloud run jobs executions list" in told[0][1]
    assert backend.news() == []


def test_a_container_at_work_waits_for_nothing_whatever_its_execution_counts(backend, cloud, make, witness, monkeypatch, until):
    monkeypatch.setattr("evogit.backends.patience.TOLD_S", 0.0)
    monkeypatch.setattr("evogit.backends.cloud.watching.SURE_S", 0.0)
    handle = backend.start(make(WITNESS.format(str(witness)) + "; import time; time.sleep(60)"))
    until(witness.read_text, 60)
    cloud.run.executions[cloud.run.begun[0]].running_count = 0
    looks = cloud.asked("/executions?")

    until(lambda: backend.wait([handle], 0.02) or cloud.asked("/executions?") > looks + 1, 60)

    assert backend.news() == []
    backend.cancel(handle)


@pytest.mark.parametrize(
    "told, said",
    [
        ({"slots": 0}, "slots: expected a whole number >= 1"),
        ({"poll_s": "fast"}, "poll_s: expected a number, got text"),
        ({"poll_s": -1}, "poll_s: expected a number > 0"),
        ({"env": 3}, "env: expected a table, got a whole number"),
        ({"env": "x"}, "env: expected a table, got text"),
        ({"spec": 3}, "spec: expected text, got a whole number"),
        ({"keep": "some"}, "no option 'some'"),
    ],
)
def test_an_option_of_the_wrong_type_is_named(tmp_path, told, said):
    with pytest.raises(UserError) as refused:
        CloudRunBackend(tmp_path, **told)

    assert said in refused.value.message
    assert refused.value.hint


def test_a_region_without_that_gpu_says_where_to_look(backend, spec, cloud, make):
    spec.write_text(spec.read_text() + "cloud_run: {gpu: 1, gpu_type: nvidia-rtx-pro-6000}\n")

    with pytest.raises(UserError, match="GPU type nvidia-rtx-pro-6000 is not available in this region") as caught:
        backend.start(make("pass"))

    assert "cloud_run.gpu_type" in caught.value.hint


def test_a_service_out_of_reach_and_missing_credentials_are_told_apart(made, make, monkeypatch, tmp_path):
    monkeypatch.setattr("evogit.backends.cloud.clients.TRIES", 1)
    for name in ("GOOGLE_APPLICATION_CREDENTIALS", "CLOUDSDK_CONFIG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("google.auth.compute_engine._metadata._NO_GCE_CHECK", True)

    with pytest.raises(BackendDown, match="Google Cloud is out of reach: 127.0.0.1: Connection refused$"):
        made(endpoint="http://127.0.0.1:9").start(make("pass"))
    with pytest.raises(UserError, match="there are no credentials for Google Cloud") as caught:
        made(endpoint="").resources()

    assert caught.value.hint == "gcloud auth application-default login"


def test_a_missing_extra_is_named(made, make, monkeypatch):
    monkeypatch.setitem(sys.modules, "google.cloud.run_v2", None)

    with pytest.raises(UserError, match="Google Cloud's clients are not installed") as caught:
        made().start(make("pass"))

    assert "evogit[gcp]" in caught.value.hint


def test_a_backend_is_made_without_any_of_googles_libraries():
    program = "import sys; from evogit.backends.cloud.backend import CloudRunBackend; CloudRunBackend('.');"
    program += "sys.exit(len({'google', 'yaml', 'requests', 'grpc'} & set(sys.modules)) - ('google' in sys.modules))"

    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_resources_tell_containers_and_what_nobody_knows(made, spec):
    plain = made().resources()
    spec.write_text(spec.read_text() + "cloud_run: {gpu: 1, gpu_type: nvidia-l4, cpu: 4}\n")
    gpus = made(slots=5, sandbox="bubblewrap").resources()

    assert (plain["slots"], plain["sandbox"]) == (8, "none")
    assert "service account" in plain["caveat"][0]
    assert {**gpus, "place": ""} == {"slots": 5, "cpus": 20, "gpus": 5, "kinds": ["nvidia-l4"], "sandbox": "bubblewrap", "place": ""}


# what stays


@pytest.mark.parametrize(
    "keep, source, left",
    [
        ("failures", "print('fine')", []),
        ("failures", "raise SystemExit(3)", ["result"]),
        ("nothing", "raise SystemExit(3)", []),
        ("all", "pass", ["result"]),
    ],
)
def test_success_leaves_nothing_in_the_bucket_and_failure_what_tells_why(made, cloud, make, keep, source, left):
    backend = made(keep=keep)
    handle = backend.start(make(source))
    backend.collect(handle)

    backend.forget(handle)

    kept = [name.rpartition("/")[2] for name in cloud.storage.names(BUCKET, JOBS)]
    assert [name for name in kept if not name.startswith("0")] == left
    assert len(cloud.run.executions) == len(left)
    assert backend.find(Handle.read(handle).key) == ""


def test_values_of_the_environment_are_not_written_on_this_machine(backend, make, tmp_path):
    job = make("pass")

    handle = backend.start(msgspec.structs.replace(job, env={**job.env, "PLAIN_NAME": "a-value-of-somebody"}))
    backend.collect(handle)

    texts = [path.read_text(errors="replace") for path in (tmp_path / "jobs").rglob("*") if path.is_file()]
    assert any("PLAIN_NAME" in text for text in texts)
    assert not any("a-value-of-somebody" in text for text in texts)
