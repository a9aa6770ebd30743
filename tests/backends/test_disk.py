"""A reserve of the disk is kept, and who ate it is told: on small filesystems of memory, mounted for the test."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

from evogit import removal
from evogit.backends import disk
from toys import dig

PROGRAM = """
import os, subprocess, sys
room, folder = sys.argv[1], sys.argv[2]
if subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={room},nr_inodes=4000", "none", folder]).returncode: sys.exit("no mount")
from pathlib import Path
from evogit.backends.local import LocalBackend
from evogit.domain.trial import Job, View
root = Path(folder); backend = LocalBackend(root / "jobs")
shown = View(readable=(sys.prefix, sys.base_prefix), writable=(folder,))
def run(key, script, **fields):
    told = dict(key=key, label=key, argv=(sys.executable, "-c", script, f"{root}/jobs/{key}/artifacts"), cwd=folder, source=folder,
        env={"PATH": os.defpath}, timeout_s=60, artifact_dir=f"{root}/jobs/{key}/artifacts", view=shown)
    handle = backend.start(Job(**{**told, **fields}))
    outcome = backend.collect(handle)
    print(outcome.status.value, outcome.reason, sep=": ")
    backend.forget(handle)
exec(sys.argv[3])
backend.close()
"""
FILL = (
    "import sys, time, os; f = open(sys.argv[1] + '/big', 'wb'); {more}\\nwhile True: f.write(bytes(1 << 20)); f.flush(); time.sleep(0.002)"
)


def on_small_disk(tmp_path, room: str, program: str) -> list[str]:
    """What the program printed, its jobs on a filesystem of that size."""
    command = ["unshare", "--user", "--map-root-user", "--mount", sys.executable, "-c", PROGRAM, room, str(tmp_path), program]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if "unshare failed" in done.stderr or "no mount" in done.stderr:
        pytest.skip("no user namespaces here")
    assert not done.stderr, done.stderr
    return done.stdout.splitlines()


def test_a_job_that_fills_the_disk_is_ended_before_it_is_full_and_told_so(tmp_path):
    fill = FILL.format(more="")

    said = on_small_disk(tmp_path, "200M", f'run("a", "{fill}"); run("b", "print(1)")')

    assert said[0].startswith("crash: it filled the disk: ") and "MiB" in said[0]
    assert said[1].startswith("ok")


def test_files_that_are_open_and_unlinked_are_the_jobs_too(tmp_path):
    fill = FILL.format(more="os.unlink(f.name)")

    said = on_small_disk(tmp_path, "200M", f'run("a", "{fill}")')

    assert said[0].startswith("crash: it filled the disk: ")


def test_files_without_end_fill_a_disk_as_bytes_do(tmp_path):
    source = "import sys, time\\nfor n in range(100000): open(f'{sys.argv[1]}/{n}', 'w').close(); time.sleep(0.0005)"

    said = on_small_disk(tmp_path, "200M", f'run("a", "{source}")')

    assert said[0].startswith("crash: it filled the disk: ")


def test_a_disk_that_somebody_else_fills_is_not_held_against_the_job(tmp_path):
    program = """
import threading, time
def eat():
    while not (root / "tree/begun").exists(): time.sleep(0.01)
    with open(f"{root}/eaten", "wb") as file:
        while os.statvfs(folder).f_bavail * os.statvfs(folder).f_frsize > 5 << 20: file.write(bytes(1 << 20)); file.flush()
root.joinpath("tree").mkdir(); os.chmod(root / "tree", 0o777)
threading.Thread(target=eat).start()
run("a", "import time; open('begun', 'w').close(); time.sleep(30)", cwd=f"{root}/tree", source=f"{root}/tree", view=View(readable=(sys.prefix, sys.base_prefix)))
"""

    said = on_small_disk(tmp_path, "200M", program)

    assert said[0].startswith("infrastructure: the disk is full")
    assert "not by this job" in said[0]


def test_a_folder_that_its_owner_closed_is_looked_into(tmp_path):
    """As a plain user, from whom a closed folder hides what is in it: root is put into one's shoes."""
    os.chmod(tmp_path, 0o777)
    told, tell = os.pipe()
    if (child := os.fork()) == 0:
        try:
            os.chdir(tmp_path)
            if os.geteuid() == 0:
                os.setuid(65534)
            Path("closed").mkdir()
            Path("closed", "big").write_bytes(bytes(5 << 20))
            Path("closed").chmod(0)
            os.write(tell, repr(disk._size_of(["."])).encode())
        finally:
            os._exit(0)
    os.close(tell)

    files, size, hidden = ast.literal_eval(os.read(told, 100).decode())

    os.close(told)
    os.waitpid(child, 0)
    assert (files, size >= 5 << 20, hidden) == (2, True, "")


def test_a_folder_deeper_than_paths_go_is_told(tmp_path):
    dig(tmp_path, levels=1600)

    files, _, hidden = disk._size_of([str(tmp_path)])
    removal.discard(tmp_path / "d")

    assert (files > 1400, hidden) == (True, "deeper than paths go")


def test_folders_count_as_files_do(tmp_path):
    for n in range(30):
        (tmp_path / f"{n}").mkdir()

    assert disk._size_of([str(tmp_path), str(tmp_path / "3")])[0] == 30


def test_who_hides_what_it_wrote_is_held_to_have_filled_the_disk(tmp_path):
    program = """
run("a", "import os; d = os.open('.', os.O_RDONLY)\\nfor n in range(1600):\\n  os.mkdir('d', dir_fd=d); d = os.open('d', os.O_RDONLY, dir_fd=d)\\nf = os.open('big', os.O_CREAT | os.O_WRONLY, dir_fd=d)\\nwhile True: os.write(f, bytes(1 << 20))", cwd=f"{root}/tree", source=f"{root}/tree", view=View(readable=(sys.prefix, sys.base_prefix)))
"""

    said = on_small_disk(tmp_path, "100M", 'root.joinpath("tree").mkdir(); os.chmod(root / "tree", 0o777)\n' + program)

    assert said[0].startswith("crash: "), said
