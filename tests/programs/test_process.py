"""A program is run to its end, fed and emptied, and nothing of it is left."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from evogit.backends.processes import HAS_PROC, birth
from evogit.errors import UserError
from evogit.programs import process


def run(tmp_path: Path, code: str, *, stdin: str = "", timeout_s: float = 20, names: tuple[str, ...] = (), **caps: int) -> process.Ended:
    (tmp_path / "work").mkdir(exist_ok=True)
    with process.private_home() as home:
        env = process.clean_env(home, names)
        argv = [sys.executable, "-c", code]
        return process.run(argv, stdin=stdin, cwd=tmp_path / "work", env=env, timeout_s=timeout_s, **caps)


def test_a_program_reads_its_stdin_and_its_streams_are_kept_apart(tmp_path):
    ended = run(tmp_path, "import sys; sys.stdout.write(sys.stdin.read()[::-1]); sys.stderr.write('aside')", stdin="drawer")

    assert (ended.code, ended.stdout, ended.stderr, ended.how) == (0, b"reward", b"aside", "")


@pytest.mark.parametrize(
    ("code", "how"),
    [("raise SystemExit(3)", "exit code 3"), ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "it died of SIGSEGV")],
)
def test_a_bad_end_is_said_in_words(tmp_path, code, how):
    assert run(tmp_path, code).how == how


def test_more_than_a_pipe_holds_passes_both_ways_without_a_deadlock(tmp_path):
    code = "import sys; sys.stdout.write('x' * 3_000_000); sys.stdout.flush(); sys.stderr.write(str(len(sys.stdin.read())))"

    ended = run(tmp_path, code, stdin="y" * 2_000_000)

    assert (len(ended.stdout), ended.stderr) == (3_000_000, b"2000000")


def test_a_program_that_does_not_read_its_stdin_ends_all_the_same(tmp_path):
    assert run(tmp_path, "print('done')", stdin="y" * 2_000_000).stdout == b"done\n"


def test_output_above_its_cap_keeps_the_beginning_and_the_end(tmp_path):
    ended = run(tmp_path, "print('first'); print('x' * 5_000_000); print('last')", stdout_cap=10_000)

    assert len(ended.stdout) < 10_100
    assert ended.stdout.startswith(b"first\n") and ended.stdout.endswith(b"last\n")
    assert f"{ended.cut} bytes cut here".encode() in ended.stdout
    assert ended.cut > 4_900_000


def test_a_hang_ends_with_its_time(tmp_path):
    ended = run(tmp_path, "import time; print('begun', flush=True); time.sleep(600)", timeout_s=0.5)

    assert ended.code is None
    assert "after" in ended.how
    assert ended.stdout == b"begun\n"
    assert ended.seconds < 15


SPAWN = """
import os, subprocess, sys, time
nap = [sys.executable, "-c", "import time; time.sleep(600)"]
print(subprocess.Popen(nap).pid, flush=True)
print(subprocess.Popen(nap, start_new_session=True).pid, flush=True)
if os.fork() == 0:
    os.setsid()
    print(subprocess.Popen(nap).pid, flush=True)
    os._exit(0)
os.wait()
"""


@pytest.mark.skipif(not HAS_PROC, reason="processes that left their group are found through /proc")
@pytest.mark.parametrize("rest", ["", "time.sleep(600)"], ids=["ends", "hangs"])
def test_nothing_that_a_program_started_outlives_it(tmp_path, rest):
    ended = run(tmp_path, SPAWN + rest, timeout_s=3 if rest else 20)

    pids = [int(word) for word in ended.stdout.split()]
    assert len(pids) == 3
    assert [pid for pid in pids if birth(pid) is not None] == []
    assert ended.seconds < 15


@pytest.mark.skipif(not HAS_PROC, reason="processes are found through /proc")
def test_what_a_killed_loop_left_at_work_in_the_folder_is_ended_first(tmp_path):
    nap = "import os, sys, time; print(os.getpid(), flush=True); time.sleep(600)"
    (tmp_path / "work").mkdir()
    program = f"""
import sys
from pathlib import Path
from evogit.programs import process
process.run([sys.executable, "-c", {nap!r}], stdin="", cwd=Path({str(tmp_path / "work")!r}), env={{}}, timeout_s=600)
"""
    loop = subprocess.Popen([sys.executable, "-c", program])
    left = wait_for_mark(tmp_path / "work")
    loop.kill()
    loop.wait()

    run(tmp_path, "pass")

    assert birth(left) is None


def wait_for_mark(folder: Path) -> int:
    """The process that works in a folder, once there is one."""
    for _ in range(200_000):
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                if os.readlink(f"/proc/{pid}/cwd") == str(folder):
                    return int(pid)
            except OSError:
                continue
    raise AssertionError("nobody came")


def test_the_environment_is_clean_and_has_what_was_named(tmp_path, monkeypatch):
    monkeypatch.setenv("SOME_API_KEY", "planted-key-1")
    monkeypatch.setenv("OTHER_API_KEY", "planted-key-2")

    seen = json.loads(run(tmp_path, "import os, json; print(json.dumps(dict(os.environ)))", names=("OTHER_API_KEY", "UNSET")).stdout)

    assert "SOME_API_KEY" not in seen
    assert seen["OTHER_API_KEY"] == "planted-key-2"
    assert seen["HOME"] != os.environ["HOME"]
    assert not Path(seen["HOME"]).exists()


def test_a_program_that_cannot_be_started_is_the_persons_to_mend(tmp_path):
    with pytest.raises(UserError, match="no-such-program"):
        process.run(["no-such-program"], stdin="", cwd=tmp_path, env={}, timeout_s=1)
