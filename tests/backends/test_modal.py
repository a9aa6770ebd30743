"""The Modal backend, against a loopback service that Modal's own client talks to: the contract, and what only this place has."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import grpclib
import msgspec
import pytest
from grpclib.const import Status as Code
from modal_proto import api_pb2

from evogit import registry
from evogit.backends.local import LocalBackend
from evogit.backends.modal import aboard, asking, logs, watching
from evogit.backends.modal import backend as module
from evogit.backends.modal.aboard import Teller
from evogit.backends.modal.backend import ModalBackend
from evogit.domain.trial import Job, Status
from evogit.errors import BackendDown, UserError
from evogit.testing import BackendContract, job_maker, output, run
from evogit.turns import Asking
from loopback_modal import Service, serving
from toys import TOML, evogit, git, make_toy

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "run_experiment.py"
FAST = "from evogit.backends.modal import backend as m, watching; watching.LOOK_S = (0.02, 0.1); "


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """One service for all of these tests: Modal's client keeps its connection as long as a process lives."""
    with serving(tmp_path_factory.mktemp("modal")) as (service, env):
        yield service, env


@pytest.fixture
def service(served, monkeypatch, until) -> Service:
    """The service, with nothing left of the tests before."""
    service, env = served
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    for name in ("MODAL_PROFILE", "MODAL_ENVIRONMENT", "AUTORESEARCH_MODAL_APP_NAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(watching, "LOOK_S", (0.02, 0.1))
    monkeypatch.setattr(module, "LATE_S", (0.0, 0.2, 0.8))
    service.environment = {"EVOGIT_SANDBOX": "none", "PATH": f"{Path(sys.executable).parent}:{os.defpath}"}
    service.calls.clear()
    yield service
    service.faults.clear()
    service.silent.clear()
    service.publishes_late, service.router.keeps = 0.0, 1 << 30
    service.end_all()
    until(lambda: all(container.over.is_set() for container in service.containers.values()))


@pytest.fixture
def backend(service, tmp_path) -> ModalBackend:
    return ModalBackend(tmp_path / "jobs", slots=4)


@pytest.fixture
def make(tmp_path):
    return job_maker(tmp_path)


def container_of(service: Service, job: Job):
    return next(c for c in service.containers.values() if c.definition.name == job.key)


class TestModalBackend(BackendContract):
    recipe = FAST + "from pathlib import Path; backend = m.ModalBackend(Path('{root}') / 'jobs')"
    overlap_s = 1.5

    @pytest.fixture
    def backend(self, service, tmp_path):
        service.environment = {"EVOGIT_SANDBOX": "none"}  # and a PATH as the contract's jobs have it
        return ModalBackend(tmp_path / "jobs", slots=4)


def test_it_is_found_by_its_name():
    assert registry.find("backends", "modal") is ModalBackend


# what is asked of Modal


def test_a_trial_asks_for_what_its_budget_says_and_for_no_network(backend, make, service):
    job = make("pass", gpus=2, gpu_kind="h100", cpus=4, memory_mib=2048, timeout_s=60.0)

    run(backend, job)

    asked = container_of(service, job).definition
    assert (asked.resources.gpu_config.gpu_type, asked.resources.gpu_config.count) == ("H100", 2)
    assert (asked.resources.milli_cpu, asked.resources.memory_mb) == (4000, 2048 + module.HEADROOM_MIB)
    assert asked.timeout_secs == 60 + module.SETUP_S
    assert asked.network_access.network_access_type == asked.network_access.BLOCKED
    assert [(mount.mount_path, mount.sub_path) for mount in asked.volume_mounts] == [("/mnt/evogit/job", f"/{job.key}")]


@pytest.mark.parametrize("lock", ["uv.lock", "requirements.txt", "nothing"])
def test_the_image_has_the_packages_of_the_lock_file_and_evogit_apart_from_them(backend, make, service, lock):
    job = make("import os; print(os.environ.get('UV_PROJECT_ENVIRONMENT'), os.environ.get('VIRTUAL_ENV'))")
    job = msgspec.structs.replace(
        job, env={**job.env, "VIRTUAL_ENV": sys.prefix, "UV_PROJECT_ENVIRONMENT": "/here", "UV_PYTHON": "/here/python"}
    )
    checkout = Path(job.source)
    if lock == "uv.lock":
        (checkout / "pyproject.toml").write_text('[project]\nname = "p"\nversion = "0"\ndependencies = ["numpy"]\n')
    if lock != "nothing":
        (checkout / lock).write_text("numpy==2.4.6\n")

    outcome = run(backend, job)

    image = container_of(service, job).definition.image_id
    built = "\n".join(service.layers(image))
    assert "python -m venv /opt/evogit" in built and "bubblewrap" in built
    assert ("/.uv/uv sync" in built) == (lock == "uv.lock")
    assert ("--frozen" in built) == (lock == "uv.lock")
    assert ("pip install -r" in built) == (lock == "requirements.txt")
    assert output(outcome) == ("/.uv/.venv None\n" if lock == "uv.lock" else "None None\n")


def test_what_was_uploaded_once_is_not_uploaded_again(backend, make, service):
    run(backend, make("print(1)"))
    before = len(service.blobs)

    job = make("print(1)")
    run(backend, job)

    assert len(service.blobs) <= before + 1  # the order names the job
    assert service.layers(container_of(service, job).definition.image_id)


def test_data_and_caches_are_brought_once_and_cannot_be_changed(backend, make, service, tmp_path, monkeypatch):
    service.environment = {}  # the best sandbox that works shows them
    for name in ("DATA", "HF"):
        monkeypatch.setenv(f"AUTORESEARCH_MODAL_{name}_VOLUME_NAME", f"{name.lower()}-{tmp_path.name}")
    data, cache, hub = (tmp_path / name for name in ("prepared", "shards", "huggingface"))
    home = tmp_path / "home-of-job"
    for folder in (data / "deep", cache, hub, home / ".cache"):
        folder.mkdir(parents=True)
    (data / "deep" / "words.bin").write_bytes(b"words")
    (cache / "shard.bin").write_bytes(b"shard")
    (hub / "model.bin").write_bytes(b"model")
    (home / ".cache" / "autoresearch").symlink_to(cache)
    source = """
import os
read = lambda *parts: open(os.path.join(*parts), "rb").read()
print(read(os.environ["EVOGIT_DATA_DIR"], "deep/words.bin"), read(os.environ["HOME"], ".cache/autoresearch/shard.bin"))
print(read(os.environ["HF_HOME"], "model.bin"))
"""
    told = {"HOME": str(home), "HF_HOME": str(hub), "EVOGIT_DATA_DIR": str(data), "PATH": os.defpath}

    def job() -> Job:
        made = make(source, data=str(data), env=told)
        view = msgspec.structs.replace(made.view, writable=(str(home),), readable=(*made.view.readable, str(hub)))
        return msgspec.structs.replace(made, view=view)

    first, second = job(), job()
    outcomes = [run(backend, first), run(backend, second)]

    assert [output(outcome) for outcome in outcomes] == ["b'words' b'shard'\nb'model'\n"] * 2
    uploads = [name for volume in service.volumes.values() if tmp_path.name in volume.name for name in volume.uploads]
    assert sorted(Path(name).name for name in uploads) == ["model.bin", "shard.bin", "words.bin"]
    mounts = container_of(service, second).definition.volume_mounts
    assert [mount.read_only for mount in mounts if not mount.mount_path.endswith("/job")] == [True, True]


def test_an_app_of_another_name_is_one_variable(backend, make, service, monkeypatch):
    monkeypatch.setenv("AUTORESEARCH_MODAL_APP_NAME", "autoresearch")

    job = make("print('ran')")

    assert output(run(backend, job)) == "ran\n"
    assert "autoresearch-jobs" in {volume.name for volume in service.volumes.values()}


def test_values_of_the_environment_are_not_written_down_here(backend, make):
    outcome = run(backend, make("", env={"PATH": os.defpath, "TOKEN": "sesame"}))

    assert all(b"sesame" not in path.read_bytes() for path in Path(outcome.folder).iterdir() if path.is_file())


# one sandbox a key


def test_a_second_place_that_starts_the_key_finds_the_sandbox_or_its_result(backend, make, tmp_path, service):
    job = make("import uuid, time; time.sleep(0.5); print(uuid.uuid4())")
    elsewhere, later = ModalBackend(tmp_path / "elsewhere"), ModalBackend(tmp_path / "later")

    outcomes = []
    for place in (backend, elsewhere):
        handle = place.start(job)
        outcomes.append((place, handle))
    said = {output(place.collect(handle)) for place, handle in outcomes}
    said.add(output(run(later, job)))

    assert len(said) == 1
    assert len([c for c in service.containers.values() if c.definition.name == job.key]) == 2


def test_a_start_that_was_cut_short_is_found_again(backend, make, service):
    running, ended, never = make("import time; time.sleep(60)"), make("print('ended')"), make("")
    for job in (running, ended):
        backend.start(job)
    backend.collect(backend.find(ended.key))
    for job in (running, ended):
        (backend.root / job.key / "sandbox").unlink()
    (backend.root / ended.key / "outcome.json").unlink()

    found = [ModalBackend(backend.root).find(job.key) for job in (running, ended, never)]

    assert [bool(handle) for handle in found] == [True, True, False]
    assert output(backend.collect(found[1])) == "ended\n"
    backend.cancel(found[0])
    assert backend.collect(found[0]).status is Status.CANCELLED


def test_modal_is_not_asked_about_what_another_backend_began_in_the_same_place(backend, make, service):
    job = make("pass")
    run(LocalBackend(backend.root), job)

    assert (backend.find(job.key), service.calls) == ("", [])


# how it ends


@pytest.mark.parametrize("generation", ["1", "0"], ids=["new sandboxes", "sandboxes as GPUs get them"])
def test_output_is_followed_while_the_job_runs_and_kept_when_it_is_cancelled(backend, make, service, generation, monkeypatch):
    monkeypatch.setenv("MODAL_SANDBOX_V2", generation)
    handle = backend.start(make("import os, time; os.write(1, bytes(range(256))); os.write(2, b'err'); time.sleep(60)"))
    heard = {"stdout": b"", "stderr": b""}
    for stream, data in backend.follow(handle):
        heard[stream] += data
        if heard == {"stdout": bytes(range(256)), "stderr": b"err"}:
            backend.cancel(handle)

    outcome = backend.collect(handle)

    assert outcome.status is Status.CANCELLED
    assert {name: Path(outcome.folder, name).read_bytes() for name in heard} == heard


def test_logs_with_a_gap_are_made_good_from_the_result(backend, make, service):
    service.router.keeps = 40_000
    handle = backend.start(make("import os; os.write(1, os.urandom(300_000)); os.write(2, b'err')"))
    heard = {"stdout": b"", "stderr": b""}

    for stream, data in backend.follow(handle):
        heard[stream] += data

    folder = Path(backend.collect(handle).folder)
    assert heard == {name: (folder / name).read_bytes() for name in heard}
    assert len(heard["stdout"]) == 300_000


def test_a_gap_in_the_logs_that_makes_one_line_of_two_is_no_output(capsys):
    Teller()("stdout", os.urandom(2 * aboard.PIECE))
    first, second = capsys.readouterr().out.splitlines()

    joined = first[:8000] + second[8000:]

    assert [aboard.untold(line)[1] for line in (first, second)] == [0, aboard.PIECE]
    assert aboard.untold(joined) is None


def test_a_container_that_is_taken_away_is_the_backends_fault_and_its_output_is_kept(backend, make, service):
    job = make("import time; print('begun', flush=True); time.sleep(60)")
    handle = backend.start(job)
    assert next(backend.follow(handle)) == ("stdout", b"begun\n")

    os.killpg(container_of(service, job).process.pid, signal.SIGKILL)

    outcome = backend.collect(handle)
    assert outcome.status is Status.INFRASTRUCTURE
    assert output(outcome) == "begun\n"
    assert "container" in outcome.reason


def test_a_container_that_is_told_to_end_by_others_than_us_is_the_backends_fault(backend, make, service):
    job = make("import time; print('begun', flush=True); time.sleep(60)")
    handle = backend.start(job)
    assert next(backend.follow(handle)) == ("stdout", b"begun\n")

    os.kill(container_of(service, job).process.pid, signal.SIGTERM)  # as before a preemption: there is time to hand in a result

    outcome = backend.collect(handle)
    assert (outcome.status, outcome.reason) == (Status.INFRASTRUCTURE, "Modal took the container away")
    assert output(outcome) == "begun\n"
    assert backend.collect(handle) == outcome


def test_a_container_that_breaks_says_why(backend, make, service):
    job = make("")
    service.environment = {"TMPDIR": "/no/such/folder", "PYTHONPATH": "/no/such", "PYTHONHOME": "/no/such"}

    outcome = run(backend, job)

    assert outcome.status is Status.INFRASTRUCTURE
    assert "ended with code 1: " in outcome.reason


def test_a_result_that_shows_late_is_waited_for(backend, make, service):
    service.publishes_late = 0.4

    assert output(run(backend, make("print('late')"))) == "late\n"


def test_a_campaign_runs_on_modal(service, tmp_path):
    repo = make_toy(tmp_path / "toy", toml=TOML.replace("[0, 1]", "[0]"))
    evogit(repo, "start", "t1")

    evogit(repo, "loop", "--tag", "t1", "--backend", "modal", "--max-runs", "1")

    said = git(repo, "log", "autoresearch/t1", "--format=%B")
    assert said.count('"backend":"modal"') == 2
    assert '"status":"ok"' in said


def test_the_best_sandbox_that_works_in_a_container_holds_the_trial(backend, make, service):
    service.environment = {}

    outcome = run(backend, make("print('held')"))

    assert output(outcome) == "held\n"
    assert outcome.sandbox in ("bubblewrap", "landlock", "none")


# what is wrong


@pytest.mark.parametrize(
    ("call", "code", "kind", "words"),
    [
        ("SandboxCreateV2", Code.RESOURCE_EXHAUSTED, BackendDown, "Modal has no room: quota of 10 sandboxes"),
        ("SandboxCreateV2", Code.PERMISSION_DENIED, UserError, "Modal does not allow it: quota"),
        ("AppGetOrCreate", Code.UNAUTHENTICATED, UserError, "Modal does not know you: quota"),
        ("VolumePutFiles2", Code.NOT_FOUND, BackendDown, "Modal is out of reach: quota"),
    ],
)
def test_what_modal_refuses_is_one_line_and_a_hint(backend, make, service, call, code, kind, words):
    service.faults[call] = grpclib.GRPCError(code, "quota of 10 sandboxes\nmore words")

    with pytest.raises(kind) as error:
        backend.start(make(""))

    assert error.value.message.startswith(words) and "\n" not in error.value.message
    assert error.value.hint


def test_a_quota_that_modal_would_have_us_wait_for_is_told_and_its_client_says_nothing(backend, make, service, capfd):
    later = [api_pb2.RPCRetryPolicy(retry_after_secs=1000.0)]
    service.faults["SandboxCreateV2"] = grpclib.GRPCError(Code.RESOURCE_EXHAUSTED, "quota of 10 sandboxes", later)

    with pytest.raises(BackendDown, match="Modal has no room: quota of 10 sandboxes") as error:
        backend.start(make(""))

    assert "the workspace's limits" in error.value.hint
    assert capfd.readouterr() == ("", "")


def test_a_throttled_call_is_made_again_and_its_client_says_nothing(backend, make, service, capfd, until):
    later = [api_pb2.RPCRetryPolicy(retry_after_secs=0.1)]
    service.faults["SandboxCreateV2"] = grpclib.GRPCError(Code.RESOURCE_EXHAUSTED, "too many at once", later)
    starting = Asking(lambda: run(backend, make("print('ran')")))
    until(lambda: service.calls.count("SandboxCreateV2") > 2)

    service.faults.clear()

    assert output(starting.take()) == "ran\n"
    assert capfd.readouterr() == ("", "")


# a service that is silent, or away for a moment


@pytest.fixture
def impatient(monkeypatch):
    """Once it is called, half a second is long enough for an answer."""
    monkeypatch.setattr(asking, "PULSE_S", 0.1)
    return lambda: monkeypatch.setattr(asking, "ANSWER_S", 0.5)


@pytest.mark.parametrize("call", ["start", "find", "cancel", "resources"])
def test_no_call_waits_for_a_service_that_is_silent(backend, make, service, impatient, call):
    running, cut_short, fresh = make("import time; time.sleep(60)"), make("import time; time.sleep(60)"), make("")
    handle = backend.start(running)
    backend.start(cut_short)
    (backend.root / cut_short.key / "sandbox").unlink()
    service.silent.add("*")
    impatient()

    with pytest.raises(BackendDown, match="Modal did not answer in 0.5 s") as error:
        {
            "start": lambda: backend.start(fresh), "find": lambda: backend.find(cut_short.key),
            "cancel": lambda: backend.cancel(handle), "resources": backend.resources,
        }[call]()  # fmt: skip

    assert error.value.hint


def test_a_service_that_falls_silent_in_the_middle_of_a_start_is_given_up_and_what_it_makes_later_is_ended(
    backend, make, service, impatient, until, monkeypatch
):
    job = make("import time; time.sleep(60)")
    service.silent.add("SandboxCreateV2")
    starting = Asking(lambda: backend.start(job))
    until(lambda: "SandboxCreateV2" in service.calls)
    service.silent.add("AppGetOrCreate")
    impatient()

    with pytest.raises(BackendDown, match="did not answer"):
        starting.take()
    monkeypatch.setattr(asking, "ANSWER_S", 30.0)
    service.silent.clear()
    until(lambda: any(c.definition.name == job.key and c.over.is_set() for c in service.containers.values()))

    assert not (backend.root / job.key / "sandbox").exists()
    assert backend.find(job.key) == ""
    handle = backend.start(job)
    assert backend.wait([handle], 0) == []
    backend.cancel(handle)


def test_a_start_that_takes_long_goes_on_as_long_as_modal_answers_others(backend, make, service, impatient, until):
    service.silent.add("SandboxCreateV2")
    starting = Asking(lambda: run(backend, make("print('ran')")))
    until(lambda: "SandboxCreateV2" in service.calls and service.calls.count("AppGetOrCreate") > 8)

    service.silent.clear()

    assert output(starting.take()) == "ran\n"


def test_who_waits_gets_back_in_time_and_is_told_after_a_while_that_nobody_answers(backend, make, service, impatient, monkeypatch):
    monkeypatch.setattr(watching, "HASTE_S", 0.05)
    monkeypatch.setattr(watching, "PATIENCE_S", 0.8)
    handle = backend.start(make("print('ran')"))
    service.silent.add("*")
    impatient()

    began = time.monotonic()
    first = backend.wait([handle], 0.1)
    took_s = time.monotonic() - began
    with pytest.raises(BackendDown, match="Modal did not answer"):
        backend.wait([handle], None)
    told, again = backend.news(), backend.news()
    service.silent.clear()

    assert (first, took_s < 0.5) == ([], True)
    assert (len(told), again) == (1, [])
    assert told[0][0].endswith("; trials that run go on") and told[0][1]
    assert output(backend.collect(handle)) == "ran\n"


def test_a_service_that_is_away_for_a_moment_ends_no_wait(backend, make, service, until):
    handle = backend.start(make("print('ran')"))
    service.faults["*"] = grpclib.GRPCError(Code.UNAVAILABLE, "we are deploying")
    waiting = Asking(lambda: backend.wait([handle], None))
    until(lambda: backend._watch._news)

    service.faults.clear()

    assert waiting.take() == [handle]
    assert output(backend.collect(handle)) == "ran\n"


def test_sandboxes_are_looked_at_with_growing_pauses_however_often_somebody_waits(backend, make, service, monkeypatch):
    monkeypatch.setattr(watching, "LOOK_S", (0.05, 0.8))
    handles = [backend.start(make("import time; time.sleep(60)")) for _ in range(2)]
    service.calls.clear()

    for _ in range(60):
        backend.wait(handles, 0.02)

    assert 2 <= len([call for call in service.calls if call.startswith("SandboxWait")]) <= 2 * 6
    for handle in handles:
        backend.cancel(handle)


def test_logs_that_say_nothing_after_the_end_are_not_waited_for(backend, make, service, monkeypatch):
    monkeypatch.setattr(logs, "QUIET_S", 0.1)
    monkeypatch.setenv("MODAL_SANDBOX_V2", "0")
    service.silent.add("SandboxGetLogs")

    handle = backend.start(make("print('said')"))

    assert list(backend.follow(handle)) == [("stdout", b"said\n")]


def test_a_service_out_of_reach_is_two_lines_and_nothing_more(tmp_path):
    program = (
        "import sys; from pathlib import Path; from evogit.backends.modal import asking; asking.ANSWER_S = 0.3\n"
        "from evogit.backends.modal.backend import ModalBackend; from evogit.errors import BackendDown\n"
        "try: ModalBackend(Path(sys.argv[1])).resources()\n"
        "except BackendDown as error: print(error.message)\n"
    )
    env = {**os.environ, "MODAL_SERVER_URL": "http://127.0.0.1:1", "MODAL_TOKEN_ID": "ak-x", "MODAL_TOKEN_SECRET": "as-x"}

    done = subprocess.run([sys.executable, "-c", program, str(tmp_path)], env=env, capture_output=True, text=True, check=False, timeout=60)

    assert (done.stdout, done.stderr) == ("Modal did not answer in 0.3 s\n", "")


# options


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"slots": "x"}, "slots"), ({"slots": 0}, "slots"), ({"slots": 1.5}, "slots"), ({"slots": True}, "slots"),
        ({"python": 3.12}, "python"), ({"apt": 3}, "apt"), ({"apt": [3]}, "apt"), ({"region": 3}, "region"), ({"cloud": ["aws"]}, "cloud"),
    ],
)  # fmt: skip
def test_a_wrong_option_is_named(tmp_path, options, said):
    with pytest.raises(UserError) as caught:
        ModalBackend(tmp_path / "jobs", **options)

    assert caught.value.message.startswith(f"[backend.modal] {said}")
    assert caught.value.hint


def test_packages_are_a_list_or_have_commas_between_them(tmp_path):
    told = [ModalBackend(tmp_path / "jobs", apt=apt)._options.packages for apt in ("ffmpeg,sox", ["ffmpeg", "sox"], ("ffmpeg", "sox"))]

    assert told == [("ffmpeg", "sox")] * 3


def test_a_gpu_that_modal_does_not_have_is_named_with_those_it_has(backend, make):
    with pytest.raises(UserError, match="Invalid GPU type: RTX9090") as error:
        backend.start(make("", gpus=1, gpu_kind="RTX9090"))

    assert "H100" in error.value.hint


def test_an_image_that_cannot_be_built_is_the_persons_to_mend(service, make, tmp_path):
    with pytest.raises(UserError, match="could not be built"):
        ModalBackend(tmp_path / "jobs", apt=["no-such-package"]).start(make(""))


def test_a_path_that_is_no_utf8_is_named(backend, make):
    with pytest.raises(UserError, match="no UTF-8"):
        backend.start(make("", cwd=os.fsdecode(b"/nowhere/\xff")))


def test_a_missing_package_is_named_with_what_to_install(backend, make, monkeypatch):
    monkeypatch.setitem(sys.modules, "modal", None)

    with pytest.raises(UserError) as error:
        backend.start(make(""))

    assert "pip install 'evogit[modal]'" in error.value.hint


# by hand


def experiment(folder: Path, source: str, *options: str, **more) -> list[str]:
    return [sys.executable, str(SCRIPT), "--backend", "modal", *options, "--", "python", "-c", source]


@pytest.fixture
def folder(tmp_path) -> Path:
    folder = tmp_path / "work"
    folder.mkdir()
    (folder / "note.txt").write_text("as it stands")
    return folder


def test_a_command_runs_on_modal_and_ctrl_c_ends_its_sandbox(service, folder):
    source = "import time; print(open('note.txt').read(), flush=True); open('made.txt', 'w').write('made'); time.sleep(60)"
    with subprocess.Popen(experiment(folder, source), cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        first = process.stdout.readline()

        process.send_signal(signal.SIGINT)

        assert process.wait(60) == 130
        assert first == b"as it stands\n"
    assert all(container.over.is_set() for container in service.containers.values())


def test_a_commands_exit_code_and_files_come_back_from_modal(service, folder):
    source = "open('made.txt', 'w').write('made'); raise SystemExit(7)"

    done = subprocess.run(experiment(folder, source, "--in-place"), cwd=folder, capture_output=True, check=False, timeout=60)

    assert done.returncode == 7, done.stderr
    assert (folder / "made.txt").read_text() == "made"


def test_without_a_token_it_is_said_how_to_get_one(service, folder):
    env = {name: value for name, value in os.environ.items() if not name.startswith("MODAL_TOKEN")}

    done = subprocess.run(experiment(folder, "pass"), cwd=folder, env=env, capture_output=True, text=True, check=False, timeout=60)

    assert done.returncode == 2
    assert "run `modal token new`" in done.stderr
    assert "Traceback" not in done.stderr
