"""A backend on a leash: its jobs end with the process that asked for them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import msgspec

from evogit.backends.local import LocalBackend
from evogit.domain.trial import Status
from evogit.testing import job_maker


def test_a_job_ends_when_the_process_that_asked_for_it_is_killed(tmp_path, witness):
    job = job_maker(tmp_path)(witness.hold + "time.sleep(60)", witness.path)
    program = f"""
import sys, signal, msgspec
from pathlib import Path
from evogit.domain.trial import Job
from evogit.backends.local import LocalBackend
backend = LocalBackend(Path({str(tmp_path / "jobs")!r}), leash=True)
print(backend.start(msgspec.json.decode(sys.stdin.buffer.read(), type=Job)), flush=True)
signal.pause()
"""
    owner = subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    owner.stdin.write(msgspec.json.encode(job))
    owner.stdin.close()
    handle = owner.stdout.readline().decode().strip()
    assert witness.hears() == b"here"

    os.kill(owner.pid, signal.SIGKILL)
    owner.wait()
    owner.stdout.close()

    assert witness.hears() == b""
    other = LocalBackend(tmp_path / "jobs")
    assert other.wait([handle], 30) == [handle]
    assert other.collect(handle).status is Status.INFRASTRUCTURE


def test_a_job_ends_when_its_backend_is_closed(tmp_path, witness):
    backend = LocalBackend(tmp_path / "jobs", leash=True)
    backend.start(job_maker(tmp_path)(witness.hold + "time.sleep(60)", witness.path))
    assert witness.hears() == b"here"

    backend.close()

    assert witness.hears() == b""
