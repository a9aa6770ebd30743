"""Rooms of a person who is not root: there the job, the owner of the room and the processes that hold it are one user.

Where the tests run as root they become another user for it; else they run as they are.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from evogit.backends import sandbox, syscalls
from tamper import TRICKS
from tamper.host import CANARY

USER = 65534
BEGIN = """
import json, os, sys
from pathlib import Path
from evogit.backends import cgroups, processes, sandbox
from evogit.backends.local import LocalBackend
from evogit.testing import job_maker, output, run

top = Path(sys.argv[1])
(top / "made").mkdir()
backend, make = LocalBackend(top / "jobs"), job_maker(top / "made", sys.argv[2])

def end(source, *arguments, **fields):
    outcome = run(backend, make(source, *arguments, **fields))
    return [outcome.status.value, outcome.reason, output(outcome), output(outcome, "stderr")]

if backend.level != "bubblewrap":
    sys.exit(f"no room: {sandbox.refusals()}")
"""
ATTEMPT = """
import errno, os
def attempt(do):
    try: return do()
    except OSError as error: return errno.errorcode[error.errno]
"""


@pytest.fixture
def ordinary() -> Callable[[str], object]:
    """`ordinary(program)` runs Python as a user who is not root and returns what it printed as JSON. It has `backend`, `make` and
    `end(source)`, which is [status, reason, stdout, stderr] of a job."""
    here = [str(Path(sandbox.__file__).parents[2]), *(path for path in sys.path if "site-packages" in path)]
    words = ["env", f"PYTHONPATH={os.pathsep.join(here)}", "HOME=/nonexistent"]
    if os.geteuid() == 0:
        words = ["setpriv", "--reuid", str(USER), "--regid", str(USER), "--clear-groups", *words]
    pythons = (sys.executable, "/usr/bin/python3", "/usr/local/bin/python3") if shutil.which(words[0]) else ()
    python = next((path for path in pythons if _works([*words, path, "-c", "import msgspec, pytest, evogit"])), "")
    if not python:
        pytest.skip("no Python that another user can run")
    room = Path("/var/tmp") / f"evogit-test-{os.getpid()}"
    room.mkdir()
    if os.geteuid() == 0:
        os.chown(room, USER, USER)

    def run(program: str) -> object:
        command = [*words, python, "-c", BEGIN + program + "\nbackend.close()", str(room), python]
        done = subprocess.run(command, capture_output=True, text=True, cwd="/", check=False)
        if "no room: " in done.stderr:
            pytest.skip(done.stderr.strip())
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    yield run
    shutil.rmtree(room)


def _works(command: list[str]) -> bool:
    return subprocess.run(command, capture_output=True, cwd="/", check=False).returncode == 0


def test_a_job_of_an_ordinary_user_ends_as_roots_do(ordinary):
    seen, seven, fault, missing, late, suicide, leftover = ordinary("""
print(json.dumps([end("import os; print(os.getuid(), sorted(os.listdir('/')), os.path.exists('/root'))"),
    end("raise SystemExit(7)"), end("import os; os.kill(os.getpid(), 11)"), end("", argv=("nowhere",)),
    end("import time; time.sleep(60)", timeout_s=0.5), end("import os; os.kill(2, 9); import time; time.sleep(60)"),
    end("import os, time\\nif os.fork(): os._exit(0)\\ntime.sleep(0.05); print('cleaned')")]))
""")

    user = USER if os.geteuid() == 0 else os.geteuid()
    assert seen[0] == "ok" and seen[2].startswith(f"{user} ") and "'home'" not in seen[2]
    assert [end[1] for end in (seven, fault, missing, late)] == [
        "exit code 7",
        "killed by SIGSEGV",
        "command not found: nowhere",
        "ran past its 0.5 s",
    ]
    assert suicide[1] == "killed by SIGKILL"  # whoever ends the room ends itself
    assert leftover[2] == "cleaned\n"


def test_tricks_against_whoever_holds_the_room_fail_though_it_is_the_same_user(ordinary):
    names = ("the memory of the loop", "root again", "programs that are root", "devices of the host", "switches of the kernel")
    tricks = [trick.in_train.replace("@CANARY@", CANARY) for trick in TRICKS if trick.name in names]
    assert len(tricks) == len(names)

    begin = "import os\nfrom pathlib import Path\ndef loot(text): print(text)\n"
    ends = ordinary(f"print(json.dumps([end({begin!r} + trick) for trick in {tricks!r}]))")

    assert [end[:1] + end[2:] for end in ends] == [["ok", "", ""]] * len(names)


def test_what_holds_the_room_shows_nothing_and_has_the_filter_as_well(ordinary):
    source = f"""{ATTEMPT}
print(attempt(lambda: os.kill(1, 0)), os.listdir("/proc/1"), os.listdir("/proc/2"), [
    attempt(lambda: os.listdir(f"/proc/{{n}}/{{where}}")) for n in (1, 2) for where in ("fd", "map_files", "task", "root", "cwd")], flush=True)
import time; time.sleep(60)
"""

    said, filters = ordinary(f"""
handle = backend.start(make({source!r}))
said = next(backend.follow(handle))[1].decode()
supervisor = int(os.readlink(Path(json.loads(handle)["folder"], "claim")).split()[0])
filters = {{}}
for pid in processes.descendants(supervisor):
    told = dict(line.split(":\\t", 1) for line in Path(f"/proc/{{pid}}/status").read_text().splitlines() if ":\\t" in line)
    filters[told["NSpid"].split()[-1] if "\\t" in told["NSpid"] else "outside"] = told["Seccomp"]
backend.cancel(handle)
backend.wait([handle], None)
print(json.dumps([said, filters]))
""")

    assert said == f"None [] [] {['ENOENT'] * 10}\n"
    assert {filters[number] for number in ("1", "2", "3")} == {"0" if syscalls.missing() else "2"}


def test_nothing_is_written_where_no_size_is_set(ordinary):
    places = ["/", "/etc", "/dev", "/proc/1", "/tmp", "/dev/shm"]
    source = f"{ATTEMPT}\nfor place in {places!r}: print(place, attempt(lambda: open(place + '/hoard', 'w').close()))"

    status, _, said, _ = ordinary(f"print(json.dumps(end({source!r})))")

    assert status == "ok"
    assert dict(line.split() for line in said.splitlines()) == {place: "EROFS" for place in places[:4]} | {
        place: "None" for place in places[4:]
    }


HOARDS = {
    "a file without a folder": "fd = os.memfd_create('hoard')\nfor n in range(160): os.write(fd, bytes(1 << 20))",
    "many of them": "for n in range(40):\n    fd = os.memfd_create('hoard'); os.write(fd, bytes(4 << 20))",
    "files in /tmp": "for n in range(10): open(f'/tmp/{n}', 'wb').write(bytes(16 << 20))",
}


def test_files_that_are_memory_count_where_no_control_group_does(ordinary):
    sources = {name: f"import os, time\n{source}\ntime.sleep(30)" for name, source in HOARDS.items()}
    honest = "import mmap, os, time\nfd = os.memfd_create('batch'); os.truncate(fd, 40 << 20)\nbatch = mmap.mmap(fd, 40 << 20)\nfor n in range(40): batch[n << 20:(n + 1) << 20] = b'x' * (1 << 20)\ntime.sleep(0.5)"

    counted, ends, honest = ordinary(f"""
print(json.dumps([[place for place in cgroups.places().get("memory", ()) if os.access(os.path.dirname(place), os.W_OK)],
    {{name: end(source, memory_mib=64) for name, source in {sources!r}.items()}}, end({honest!r}, memory_mib=72)]))
""")

    assert {name: end[0] for name, end in ends.items()} == dict.fromkeys(HOARDS, "memory")
    assert counted or {end[1] for end in ends.values()} == {"used more than its 64 MiB"}
    assert honest[0] == "ok"  # what is mapped and open counts once
