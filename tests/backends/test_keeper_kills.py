"""Whoever is killed, at whatever moment: no job runs twice, none is lost without a word, no process stays behind."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import threading
from pathlib import Path

import msgspec
import pytest

from evogit.backends import local, processes
from evogit.domain.trial import Status
from evogit.testing import output, run

LOOP = """
import sys, msgspec
from pathlib import Path
from evogit.backends.local import LocalBackend
from evogit.domain.trial import Job
backend = LocalBackend(Path(sys.argv[1]))
handle = backend.start(msgspec.json.decode(sys.stdin.buffer.read(), type=Job))
print(backend._keeper.pid, handle, flush=True)
backend.wait([handle], None)
"""


def folder_of(handle: str) -> Path:
    return Path(json.loads(handle)["folder"])


def make_fifo(path: Path) -> None:
    os.mkfifo(path)
    path.chmod(0o666)  # a sandbox may run the job as another user


def supervisor_of(handle: str) -> int:
    return int(os.readlink(folder_of(handle) / "claim").split()[0])


def start_loop(tmp_path, job) -> tuple[subprocess.Popen, int, str]:
    """A process in a group of its own that starts `job` and waits: itself, its keeper, the job's handle."""
    command = [sys.executable, "-c", LOOP, str(tmp_path / "jobs")]
    loop = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True)
    loop.stdin.write(msgspec.json.encode(job))
    loop.stdin.close()
    keeper, _, handle = loop.stdout.readline().decode().strip().partition(" ")
    loop.stdout.close()
    return loop, int(keeper), handle


def test_a_keeper_whose_loop_was_killed_leaves_when_its_last_job_has_ended(backend, make, tmp_path, until):
    make_fifo(tmp_path / "go")
    loop, keeper, handle = start_loop(tmp_path, make("import sys; print(open(sys.argv[1]).read())", str(tmp_path / "go")))
    loop.kill()
    loop.wait()
    assert processes.birth(keeper) is not None

    (tmp_path / "go").write_text("survived")

    assert backend.wait([handle], 20) == [handle]
    assert output(backend.collect(handle)) == "survived\n"
    until(lambda: processes.birth(keeper) is None)


def test_ctrl_c_in_the_terminal_reaches_neither_keeper_nor_job(backend, make, tmp_path):
    make_fifo(tmp_path / "go")
    loop, _, handle = start_loop(tmp_path, make("import sys; print(open(sys.argv[1]).read())", str(tmp_path / "go")))

    os.killpg(loop.pid, signal.SIGINT)
    loop.wait()
    (tmp_path / "go").write_text("undisturbed")

    assert backend.wait([handle], 20) == [handle]
    assert output(backend.collect(handle)) == "undisturbed\n"


def test_jobs_go_on_and_new_ones_start_when_the_keeper_is_killed(backend, make, tmp_path):
    make_fifo(tmp_path / "go")
    first = backend.start(make("import sys; print(open(sys.argv[1]).read())", str(tmp_path / "go")))

    os.kill(backend._keeper.pid, signal.SIGKILL)

    assert output(run(backend, make("print('second')"))) == "second\n"
    (tmp_path / "go").write_text("first")
    assert backend.wait([first], 20) == [first]
    assert output(backend.collect(first)) == "first\n"


def test_a_keeper_that_does_not_answer_is_replaced(backend, make, monkeypatch, until):
    run(backend, make("pass"))
    frozen = backend._keeper.pid
    os.kill(frozen, signal.SIGSTOP)
    monkeypatch.setattr(local, "ANSWER_S", 0.5)
    job = make("print('done')")

    handle = backend.start(job)
    os.kill(frozen, signal.SIGCONT)  # it now reads the request that was given up

    backend.wait([handle], None)
    assert output(backend.collect(handle)) == "done\n"
    until(lambda: processes.birth(frozen) is None)


def test_a_job_dies_with_its_supervisor_and_is_infrastructure(backend, make, until):
    handle = backend.start(make("import os, time\nos.fork() or (os.setsid(), print('begun', flush=True))\ntime.sleep(60)"))
    until(lambda: (folder_of(handle) / "stdout").read_text() == "begun\n")
    mark = f"EVOGIT_JOB={json.loads(handle)['key']}".encode()
    assert len(processes.marked(mark)) >= 2

    os.kill(supervisor_of(handle), signal.SIGKILL)

    assert backend.wait([handle], 10) == [handle]
    outcome = backend.collect(handle)
    assert (outcome.status, outcome.exit_code) == (Status.INFRASTRUCTURE, None)
    assert outcome.reason == "the process that watched the job died"
    assert outcome.started
    assert output(outcome) == "begun\n"
    until(lambda: processes.marked(mark) == [])
    assert backend.start(make("", key=outcome.key)) == handle  # it is not run again under the same key


def test_a_machine_that_shuts_down_is_not_the_candidates_fault(backend, make):
    handle = backend.start(make("import time; time.sleep(60)"))

    os.kill(supervisor_of(handle), signal.SIGTERM)
    backend.wait([handle], None)

    assert backend.collect(handle).status is Status.INFRASTRUCTURE


def test_kills_at_random_moments_leave_an_outcome_and_no_process(backend, make):
    choice, pause = random.Random(20), threading.Event()
    seen = []
    for number in range(16):
        job = make("import os\nos.fork()\nprint('done')")
        handle = backend.start(job)
        pause.wait(choice.random() * 0.06)
        victim = backend._keeper.pid if number % 4 == 0 else supervisor_of(handle)
        processes.send([victim], signal.SIGKILL)

        assert backend.wait([handle], 10) == [handle]
        seen.append(backend.collect(handle).status)
        assert backend.collect(handle).status is seen[-1]
        assert processes.marked(f"EVOGIT_JOB={job.key}".encode()) == []
    assert set(seen) <= {Status.OK, Status.INFRASTRUCTURE}


@pytest.mark.parametrize("damage", ["no outcome", "half an outcome", "less output", "another boot", "empty folder"])
def test_what_a_crash_of_the_machine_tore_is_infrastructure(backend, make, damage, until):
    handle = backend.start(make("print('a line of output')"))
    backend.wait([handle], None)
    until(lambda: processes.birth(supervisor_of(handle)) is None)
    folder = folder_of(handle)
    if damage == "half an outcome":
        (folder / "outcome.json").write_text('{"v": 1, "key": ')
    elif damage == "less output":
        (folder / "stdout").write_text("a line")
    else:
        (folder / "outcome.json").unlink()
    if damage == "another boot":
        (folder / "claim").unlink()
        (folder / "claim").symlink_to(f"{os.getpid()} {processes.birth(os.getpid())} 00000000 2026-01-01T00:00:00.000Z")
    if damage == "empty folder":
        (folder / "claim").unlink()

    outcome = backend.collect(handle)

    assert outcome.status is Status.INFRASTRUCTURE
    assert {"another boot": "restarted", "less output": "crash", "empty folder": "nothing is left"}.get(damage, "watched") in outcome.reason


def test_a_reused_process_id_is_not_taken_for_the_supervisor(backend, make):
    handle = backend.start(make("pass"))
    backend.wait([handle], None)
    folder = folder_of(handle)
    (folder / "outcome.json").unlink()
    (folder / "claim").unlink()
    (folder / "claim").symlink_to(f"{os.getpid()} 1 {processes.boot()} 2026-01-01T00:00:00.000Z")

    assert backend.wait([handle], 5) == [handle]
    backend.cancel(handle)  # would end this test run


def test_a_supervisor_that_was_killed_before_it_had_a_job_costs_no_job(backend, make, until):
    run(backend, make("pass"))
    until(lambda: len(processes.descendants(backend._keeper.pid)) == 1)
    [spare] = processes.descendants(backend._keeper.pid)
    os.kill(spare, signal.SIGKILL)

    assert run(backend, make("print('here')")).status is Status.OK
    assert (backend.root / "keeper.log").read_text() == ""


def test_a_supervisor_without_a_job_leaves_with_its_keeper(backend, make, until):
    run(backend, make("pass"))
    until(lambda: len(processes.descendants(backend._keeper.pid)) == 1)
    [spare] = processes.descendants(backend._keeper.pid)
    os.kill(backend._keeper.pid, signal.SIGKILL)

    until(lambda: processes.birth(spare) is None)


def test_the_keeper_leaves_no_zombies_and_leaves_itself_on_close(backend, make, until):
    for _ in range(5):
        run(backend, make("pass"))
    keeper = backend._keeper.pid
    until(lambda: len(processes.descendants(keeper)) == 1)  # the next job's supervisor
    [spare] = processes.descendants(keeper)

    backend.close()

    assert processes.birth(keeper) is processes.birth(spare) is None
    assert (backend.root / "keeper.log").read_text() == ""


def test_the_keeper_needs_nothing_but_the_standard_library():
    source = "import sys; sys.path.append(sys.argv[1]); import evogit.backends.keeper; print(*sys.modules)"
    top = Path(local.__file__).parents[2]

    done = subprocess.run([sys.executable, "-I", "-S", "-c", source, str(top)], capture_output=True, text=True, check=True)

    foreign = {name.split(".")[0] for name in done.stdout.split()} - sys.stdlib_module_names - {"evogit", "__main__"}
    assert foreign == set()
