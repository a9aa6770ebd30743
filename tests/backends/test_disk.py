"""A reserve of the disk is kept, and who ate it is told: on small filesystems of memory, mounted for the test."""

from __future__ import annotations

import subprocess
import sys

import pytest

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
