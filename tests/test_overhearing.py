"""Jobs that are heard while they run."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest

from evogit.backends.local import LocalBackend
from evogit.domain.trial import Job
from evogit.errors import BackendDown
from evogit.overhearing import KEPT, Overheard

PATIENCE_S = 60.0


@pytest.fixture
def backend(tmp_path, unheld):
    made = LocalBackend(tmp_path / "jobs")
    (tmp_path / "jobs").mkdir()
    yield made
    made.close()


def job(tmp_path: Path, source: str) -> Job:
    work = tmp_path / "work"
    work.mkdir(exist_ok=True)
    (work / "main.py").write_text(source)
    return Job(
        key="heard", label="1 seed 0 train", argv=(sys.executable, "main.py"), cwd=str(work), source=str(work),
        env={"PATH": "/usr/bin:/bin", "PYTHONUNBUFFERED": "1"}, artifact_dir=str(tmp_path / "artifacts"), timeout_s=PATIENCE_S,
    )  # fmt: skip


def until(is_so, what: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not is_so():
        assert time.monotonic() < deadline, f"never: {what}"
        time.sleep(0.01)


def test_a_job_is_heard_while_it_runs_and_over_when_it_has_ended(backend, tmp_path):
    handle = backend.start(job(tmp_path, "import sys, time\nprint('begun')\nprint('aside', file=sys.stderr)\ntime.sleep(60)\n"))

    heard = Overheard(lambda: LocalBackend(backend.root), "heard", handle)

    until(lambda: heard.tail("stdout", 100) == (b"begun\n", 6) and heard.tail("stderr", 3) == (b"de\n", 6), "both streams")
    assert not heard.is_over
    backend.cancel(handle)
    until(lambda: heard.is_over, "the end")
    assert heard.fault == ""


def test_of_much_output_the_end_is_kept(backend, tmp_path):
    handle = backend.start(job(tmp_path, "import os\nfor n in range(40): os.write(1, b'%05d' % n + b'x' * 19995)\n"))

    heard = Overheard(lambda: LocalBackend(backend.root), "heard", handle)

    until(lambda: heard.is_over, "the end")
    data, whole = heard.tail("stdout", 1 << 30)
    assert (len(data), whole) == (KEPT, 800_000)
    assert heard.tail("stdout", 5) == (b"xxxxx", 800_000)


def test_a_job_is_heard_by_its_key_from_when_it_begins(backend, tmp_path):
    heard = Overheard(lambda: LocalBackend(backend.root), "heard")
    assert heard.tail("stdout", 100) == (b"", 0)

    backend.start(job(tmp_path, "print('begun')\n"))

    until(lambda: heard.is_over, "the end")
    assert heard.tail("stdout", 100) == (b"begun\n", 6)


def test_a_backend_that_is_away_is_told_in_words():
    def away():
        raise BackendDown("the head of the cluster does not answer")

    heard = Overheard(away, "heard", "handle")

    until(lambda: heard.is_over, "the end")
    assert heard.fault == "the head of the cluster does not answer" and heard.tail("stdout", 9) == (b"", 0)
