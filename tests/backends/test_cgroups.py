"""Control groups: real groups with real processes in them, as far as this machine lets us make any."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from evogit.backends import cgroups, processes
from evogit.domain.trial import Status
from evogit.testing import run

PACKAGE = Path(cgroups.__file__).resolve().parents[2]
PLACES = cgroups.places()

# What a supervisor does: enter a group, set limits, run a program in it, ask.
SUPERVISE = """
import json, os, sys
from evogit.backends import cgroups
places, memory_mib, pids, source = json.loads(sys.argv[1])
group = cgroups.Group.enter(places)
group.limit(memory_mib, pids)
pid = os.fork()
if pid == 0:
    with open("/proc/self/oom_score_adj", "w") as file:
        file.write("500")
    os.execv(sys.executable, [sys.executable, "-I", "-S", "-c", source])
code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
print(json.dumps([code, group.memory_kills(), group.has_hit_memory(), group.refused_processes()]))
"""


def supervise(source: str, memory_mib: int = 0, pids: int = 0, places: cgroups.Places = PLACES) -> list:
    """[exit code, kills for memory, limit reached, refused processes] of a program in a group."""
    command = [sys.executable, "-c", SUPERVISE, json.dumps([places, memory_mib, pids, source])]
    with subprocess.Popen(command, cwd=PACKAGE, stdout=subprocess.PIPE, text=True) as process:
        said = process.communicate(timeout=60)[0]
    cgroups.remove(places, process.pid)
    return json.loads(said.splitlines()[-1])


def controllers() -> list[str]:
    """What can be limited here."""
    source = "from evogit.backends import cgroups; print(*cgroups.Group.enter(cgroups.places()).controllers)"
    with subprocess.Popen([sys.executable, "-c", source], cwd=PACKAGE, stdout=subprocess.PIPE, text=True) as process:
        said = process.communicate(timeout=60)[0]
    cgroups.remove(PLACES, process.pid)
    return said.split()


needs_memory = pytest.mark.skipif("memory" not in controllers(), reason="no group here can limit memory")
needs_pids = pytest.mark.skipif("pids" not in controllers(), reason="no group here can limit processes")


def groups_of(pid: int) -> list[str]:
    return [name for folders in PLACES.values() for folder in folders for name in os.listdir(folder) if name.startswith(f"{pid}.")]


@needs_memory
def test_more_memory_than_allowed_is_killed_and_counted():
    code, kills, has_hit, _ = supervise("hog = bytearray(400 << 20)", memory_mib=100)

    assert (code, kills, has_hit) == (-9, 1, True)


@needs_memory
def test_all_of_the_memory_that_is_allowed_may_be_used():
    assert supervise("hog = bytearray(92 << 20)", memory_mib=100) == [0, 0, False, 0]  # the interpreter itself takes the rest


@needs_memory
def test_memory_of_two_processes_counts_together():
    source = "import os; child = os.fork(); hog = bytearray(90 << 20); code = os.waitpid(child, 0)[1] if child else 0; os._exit(code > 0)"

    code, kills, has_hit, _ = supervise(source, memory_mib=100)

    assert (code != 0, kills > 0, has_hit) == (True, True, True)


@needs_memory
def test_a_big_file_may_be_written_read_and_mapped_under_a_small_limit(tmp_path):
    source = f"""
import mmap, os
with open({str(tmp_path / "big")!r}, "w+b") as file:
    for _ in range(300):
        file.write(bytes(1 << 20))
    file.flush()
    file.seek(0)
    while file.read(1 << 20):
        pass
    data = mmap.mmap(file.fileno(), 0)
    for at in range(0, len(data), 4096):
        data[at] = 1
    print(sum(data[at] for at in range(0, len(data), 4096)))
"""

    assert supervise(source, memory_mib=40)[:2] == [0, 0]


@needs_memory
def test_without_a_limit_nothing_is_killed():
    assert supervise("hog = bytearray(300 << 20)") == [0, 0, False, 0]


@needs_pids
def test_a_fork_bomb_is_refused_and_counted():
    source = """
import os
while True:
    try:
        os.fork() or os._exit(0)
    except OSError:
        break
"""

    code, _, _, refused = supervise(source, pids=20)

    assert (code, refused > 0) == (0, True)


@needs_pids
def test_as_many_processes_as_allowed_may_run():
    source = "import os\nfor _ in range(9):\n    os.fork() or os._exit(0)"  # the program itself is the tenth; zombies count

    assert supervise(source, pids=10) == [0, 0, False, 0]


@needs_pids
def test_what_is_left_in_the_group_of_a_dead_supervisor_is_killed_with_it():
    source = """
import os, sys
if os.fork() == 0:
    os.setsid()
    os.closerange(0, 3)
    os.execve("/bin/sleep", ["sleep", "60"], {})
"""
    command = [sys.executable, "-c", SUPERVISE, json.dumps([PLACES, 0, 0, source])]
    with subprocess.Popen(command, cwd=PACKAGE, stdout=subprocess.PIPE) as process:
        process.communicate(timeout=60)
    group = os.path.join(PLACES["pids"][0], groups_of(process.pid)[0])
    left = [int(pid) for pid in processes.read(f"{group}/cgroup.procs").split()]

    cgroups.remove(PLACES, process.pid)

    assert left
    assert [processes.birth(pid) for pid in left] == [None] * len(left)
    assert groups_of(process.pid) == []


@needs_pids
def test_a_sweep_takes_the_groups_of_the_dead_and_leaves_those_of_the_living():
    enter = SUPERVISE.partition("group.limit")[0]
    command = [sys.executable, "-c", f"{enter}\nprint('in', flush=True)\nsys.stdin.read()", json.dumps([PLACES, 0, 0, ""])]
    dead, living = (subprocess.Popen(command, cwd=PACKAGE, stdin=subprocess.PIPE, stdout=subprocess.PIPE) for _ in range(2))
    for process in (dead, living):
        assert process.stdout.readline() == b"in\n"
    dead.kill()
    dead.wait()
    before = groups_of(dead.pid)

    cgroups.sweep(PLACES)

    assert before
    assert groups_of(dead.pid) == []
    assert groups_of(living.pid)
    assert living.poll() is None
    living.communicate()
    dead.communicate()
    cgroups.sweep(PLACES)
    assert groups_of(living.pid) == []


def test_a_group_of_another_process_that_had_the_same_number_is_left_alone():
    cgroups.remove(PLACES, os.getpid(), birth=1)
    cgroups.remove(PLACES, 1)

    assert groups_of(os.getpid()) == groups_of(1) == []


def test_where_no_group_can_be_made_the_program_runs_without(tmp_path):
    places = {"memory": ("/proc/no/such/place",), "pids": (str(tmp_path / "file/below"),)}
    (tmp_path / "file").touch()

    assert supervise("print('it runs')", memory_mib=10, pids=10, places=places) == [0, 0, False, 0]

    cgroups.sweep(places)


def test_somebody_who_may_not_make_groups_has_none():
    if os.geteuid() != 0:
        pytest.skip("root alone can start a program as somebody else")
    source = "from evogit.backends import cgroups; import os; os.setgid(65534); os.setuid(65534); print(*cgroups.Group.enter(cgroups.places()).controllers)"

    assert subprocess.check_output([sys.executable, "-c", source], cwd=PACKAGE, text=True) == "\n"


# jobs of the local backend


@needs_pids
def test_a_fork_bomb_is_ended_at_once_and_told_as_what_it_is(backend, make):
    source = """
import os
while True:
    try:
        os.fork()
    except OSError:
        pass
"""

    outcome = run(backend, make(source, timeout_s=120))

    assert (outcome.status, outcome.exit_code) == (Status.CRASH, None)
    assert "processes and threads" in outcome.reason
    assert outcome.seconds < 60


@needs_memory
def test_a_worker_that_is_killed_for_memory_tells_on_its_job(backend, make):
    source = "import os\nif os.fork() == 0: hog = [bytearray(1 << 20) for _ in range(600)]\nos.wait()\nraise SystemExit(3)"

    outcome = run(backend, make(source, memory_mib=100, timeout_s=30))

    assert (outcome.status, outcome.reason) == (Status.MEMORY, "used more than its 100 MiB")


def test_the_group_of_a_job_is_gone_when_the_job_is(backend, make, until):
    outcome = run(backend, make("print(open('/proc/self/cgroup').read())"))

    assert outcome.status is Status.OK
    supervisor = int(os.readlink(Path(outcome.folder, "claim")).split()[0])
    until(lambda: groups_of(supervisor) == [])


@needs_pids
def test_whoever_hid_from_a_supervisor_that_was_killed_is_found_in_its_group(monkeypatch, backend, make, witness):
    monkeypatch.setenv("EVOGIT_SANDBOX", "none")  # a room would take him with it
    source = (
        witness.hold
        + """
os.set_inheritable(fd, True)
if os.fork() == 0:
    os.setsid()
    os.execve(sys.executable, [sys.executable, "-c", "import os, time; os.write(%d, b'hidden'); time.sleep(60)" % fd], {})
time.sleep(60)
"""
    )
    handle = backend.start(make(source, witness.path))
    said = b""
    while b"hidden" not in said:
        said += witness.hears()

    os.kill(int(os.readlink(Path(json.loads(handle)["folder"], "claim")).split()[0]), signal.SIGKILL)

    assert backend.collect(handle).status is Status.INFRASTRUCTURE
    assert witness.hears() == b""
