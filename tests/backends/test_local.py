"""The local backend: the contract, and jobs that do not behave."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from evogit.backends import local, processes
from evogit.backends.local import LocalBackend
from evogit.domain.trial import Status
from evogit.errors import BackendDown, UserError
from evogit.testing import BackendContract, output, run


def folder_of(handle: str) -> Path:
    return Path(json.loads(handle)["folder"])


class TestLocalBackend(BackendContract):
    recipe = "from pathlib import Path; from evogit.backends.local import LocalBackend; backend = LocalBackend(Path('{root}') / 'jobs')"

    @pytest.fixture
    def backend(self, tmp_path):
        backend = LocalBackend(tmp_path / "jobs", slots=2)
        yield backend
        backend.close()


# what a job is given


@pytest.fixture
def ignored():
    """What a shell ignores for what it starts in the background, and other jobs of a terminal."""
    numbers = (signal.SIGINT, signal.SIGQUIT, signal.SIGTSTP)
    before = [signal.signal(number, signal.SIG_IGN) for number in numbers]
    yield
    for number, handler in zip(numbers, before):
        signal.signal(number, handler)


def test_the_job_has_nothing_of_its_supervisor_but_the_mark(ignored, backend, make):
    # Python itself ignores SIGPIPE and SIGXFSZ; signals 32 and 33 belong to the C library, and no program can set them back.
    source = """
import json, os
lines = dict(line.split(":\\t", 1) for line in open("/proc/self/status").read().splitlines() if ":\\t" in line)
not_ours = 1 << 12 | 1 << 24 | 1 << 31 | 1 << 32
print(json.dumps({"env": dict(os.environ), "ignored": int(lines["SigIgn"], 16) & ~not_ours, "blocked": int(lines["SigBlk"], 16),
    "files": sorted(map(int, os.listdir("/proc/self/fd")))[:-1], "leads": os.getsid(0) == os.getpid()}))
"""
    job = make(source)

    seen = json.loads(output(run(backend, job)))

    assert seen["env"] == {**job.env, "EVOGIT_JOB": job.key} | ({"LC_CTYPE": "C.UTF-8"} if "LC_CTYPE" in seen["env"] else {})
    assert (seen["ignored"], seen["blocked"], seen["files"], seen["leads"]) == (0, 0, [0, 1, 2], True)


def test_a_pipe_that_nobody_reads_any_more_ends_its_writer(backend, make):
    outcome = run(backend, make("", argv=("sh", "-c", "yes | head -n 1")))

    assert (outcome.status, output(outcome), output(outcome, "stderr")) == (Status.OK, "y\n", "")


def test_output_can_be_read_while_the_job_runs(backend, make, witness, until):
    handle = backend.start(make(witness.hold + "print('step 1', flush=True); time.sleep(60)", witness.path))

    until(lambda: (folder_of(handle) / "stdout").read_text() == "step 1\n")

    backend.cancel(handle)
    assert output(backend.collect(handle)) == "step 1\n"


def test_time_and_memory_are_measured(backend, make):
    outcome = run(
        backend,
        make("import time\nhog = bytearray(b'1') * (90 << 20)\nend = time.process_time() + 0.2\nwhile time.process_time() < end: pass"),
    )

    assert 90 <= outcome.peak_rss_mib <= 130
    assert 0.2 <= outcome.cpu_s <= outcome.seconds + 0.05


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"argv": ("./script",)}, "not executable: ./script"),
        ({"argv": ("./nowhere.sh",)}, "cannot run ./nowhere.sh: the interpreter in its first line does not exist"),
        ({"argv": ("./missing",)}, "command not found: ./missing"),
        ({"argv": ()}, "argv must not be empty"),
        ({"argv": ("echo", "a\0b")}, "embedded null byte"),
        ({"argv": ("echo", "x" * (1 << 20))}, "Argument list too long"),
        ({"cwd": "/no/such/folder"}, "cannot enter the folder /no/such/folder: No such file or directory"),
    ],
)
def test_what_cannot_start_is_a_crash_that_says_why(backend, make, change, reason):
    job = make("")
    Path(job.cwd, "script").write_text("#!/bin/sh\n")
    Path(job.cwd, "nowhere.sh").write_text("#!/no/such/interpreter\n")
    os.chmod(Path(job.cwd, "nowhere.sh"), 0o755)

    outcome = run(backend, make("", **{"cwd": job.cwd, **change}))

    assert outcome.status is Status.CRASH
    assert reason in outcome.reason


@pytest.mark.parametrize("memory_mib", [1 << 43, 10**15, 10**20])
def test_a_limit_beyond_what_the_kernel_can_count_is_none(backend, make, memory_mib):
    outcome = run(backend, make("print('runs')", memory_mib=memory_mib))

    assert (outcome.status, outcome.reason, output(outcome)) == (Status.OK, "", "runs\n")


def test_values_of_the_environment_are_not_written_down(backend, make):
    outcome = run(backend, make("", env={"PATH": os.defpath, "TOKEN": "sesame"}))

    assert "TOKEN" in Path(outcome.folder, "job.json").read_text()
    assert all(b"sesame" not in p.read_bytes() for p in Path(outcome.folder).iterdir() if p.is_file())


# the backend's own books


def test_a_key_that_two_loops_start_at_once_runs_once(backend, make, tmp_path):
    others = [LocalBackend(tmp_path / "jobs") for _ in range(4)]
    job = make("import sys; open(sys.argv[1], 'a').write('ran\\n')", str(tmp_path / "count"))
    barrier = threading.Barrier(len(others))
    threads = [threading.Thread(target=lambda other=other: (barrier.wait(), other.start(job))) for other in others]

    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert run(backend, job).status is Status.OK

    for other in others:
        other.close()
    assert (tmp_path / "count").read_text() == "ran\n"


def test_one_backend_serves_many_threads(backend, make):
    jobs, outcomes = [make(f"print({number})") for number in range(12)], {}
    threads = [threading.Thread(target=lambda job=job: outcomes.update({job.key: run(backend, job)})) for job in jobs]

    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert [output(outcomes[job.key]) for job in jobs] == [f"{number}\n" for number in range(12)]


def test_waiting_works_where_processes_have_no_descriptors(backend, make, monkeypatch):
    monkeypatch.delattr(os, "pidfd_open")

    assert run(backend, make("print('done')")).status is Status.OK
    handle = backend.start(make("import time; time.sleep(60)"))
    assert backend.wait([handle], 0.05) == []
    backend.cancel(handle)
    assert backend.collect(handle).status is Status.CANCELLED


def test_descendants_are_found_where_the_kernel_lists_no_children(make, monkeypatch):
    with subprocess.Popen(["sh", "-c", "sleep 60 & echo $!; wait"], stdout=subprocess.PIPE, start_new_session=True) as shell:
        sleeper = int(shell.stdout.readline())
        real = os.path.exists
        monkeypatch.setattr(os.path, "exists", lambda path: real(path) and not str(path).endswith("/children"))

        found = processes.descendants(shell.pid)
        os.killpg(shell.pid, signal.SIGKILL)

    assert found == [sleeper]


def test_forget_removes_deep_and_locked_folders(backend, make):
    source = """
import os, sys
os.chdir(sys.argv[1])
os.makedirs("locked/inner"); open("locked/inner/file", "w").close(); os.chmod("locked/inner", 0); os.chmod("locked", 0o500)
for _ in range(1500):
    os.mkdir("a-name-of-some-length"); os.chdir("a-name-of-some-length")
"""
    job = make("")
    job = make(source, str(backend.root / "x"), artifact_dir=str(backend.root / job.key / "unused"))
    (backend.root / "x").mkdir(parents=True)
    handle = backend.start(job)
    backend.wait([handle], None)
    shutil.move(backend.root / "x", folder_of(handle) / "x")

    backend.forget(handle)

    assert not folder_of(handle).exists()
    assert list(backend.root.glob(".forgotten-*")) == []


def test_forget_ends_a_job_that_still_runs(backend, make, witness):
    handle = backend.start(make(witness.hold + "time.sleep(60)", witness.path))
    assert witness.hears() == b"here"

    backend.forget(handle)

    assert witness.is_alone()
    assert not folder_of(handle).exists()


def test_forget_leaves_artifacts_that_lie_elsewhere(backend, make, tmp_path):
    handle = backend.start(
        make("import sys; open(sys.argv[1] + '/kept', 'w').close()", str(tmp_path / "mine"), artifact_dir=str(tmp_path / "mine"))
    )
    backend.wait([handle], None)

    backend.forget(handle)

    assert (tmp_path / "mine" / "kept").exists()


def test_a_root_that_cannot_be_written_is_the_backends_fault(make, tmp_path):
    (tmp_path / "file").write_text("")

    with pytest.raises(BackendDown, match="cannot write") as caught:
        LocalBackend(tmp_path / "file" / "jobs").start(make(""))

    assert caught.value.hint


def test_a_key_that_is_no_plain_name_is_refused(backend, make):
    with pytest.raises(ValueError, match="no plain name"):
        backend.start(make("", key="../escape"))


@pytest.mark.skipif(not shutil.which("unshare"), reason="needs unshare")
def test_a_full_disk_is_infrastructure_and_the_keeper_lives_on(tmp_path):
    program = f"""
import subprocess, sys
if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=400k", "none", {str(tmp_path)!r}]).returncode: sys.exit("no mount")
from pathlib import Path
from evogit.backends.local import LocalBackend
from evogit.domain.trial import Job
from evogit.errors import BackendDown, UserError
root = Path({str(tmp_path)!r}); backend = LocalBackend(root)
def run(key, *argv):
    handle = backend.start(Job(key=key, label=key, argv=argv, cwd="/", source="/", env={{"PATH": "/usr/bin:/bin"}}, timeout_s=20, artifact_dir=f"{{root}}/{{key}}/artifacts"))
    outcome = backend.collect(handle)
    print(outcome.status.value, outcome.reason)
    return handle
first = run("fills", "sh", "-c", "head -c 2000000 /dev/zero")
try: run("none-left", "true")
except BackendDown as error: print("down", error.message)
backend.forget(first)
run("again", "true")
backend.close()
"""
    command = ["unshare", "--user", "--map-root-user", "--mount", sys.executable, "-c", program]

    done = subprocess.run(command, capture_output=True, text=True, check=False)

    if "unshare failed" in done.stderr or "no mount" in done.stderr:
        pytest.skip("no user namespaces here")
    lines = done.stdout.splitlines()
    assert lines[0].startswith("infrastructure "), done.stderr
    assert "No space left on device" in lines[0] or "the disk is full" in lines[0]
    assert lines[1].startswith("down ") and "No space left on device" in lines[1]
    assert lines[2].strip() == "ok"


def test_resources_count_what_this_process_may_use(backend):
    assert backend.resources()["cpus"] == len(os.sched_getaffinity(0))
    assert LocalBackend(backend.root).resources()["slots"] == len(os.sched_getaffinity(0))
    assert len(local.devices.found()) == len([n for n in os.listdir("/dev") if n.startswith("nvidia") and n[6:].isdigit()])


@pytest.mark.parametrize(
    ("told", "said"),
    [
        ({"slots": "x"}, "[backend.local] slots: expected a whole number, got text"),
        ({"slots": 1.5}, "[backend.local] slots: expected a whole number, got a number"),
        ({"slots": 0}, "[backend.local] slots: expected a whole number >= 1"),
        ({"slots": -3}, "[backend.local] slots: expected a whole number >= 1"),
        ({"leash": "maybe"}, "[backend.local] leash: expected true or false, got text"),
    ],
)
def test_an_option_of_the_wrong_type_is_named(tmp_path, told, said):
    with pytest.raises(UserError) as refused:
        LocalBackend(tmp_path, **told)

    assert refused.value.message == said
    assert "slots, leash" in refused.value.hint
