"""Processes that do not behave: whatever a job starts, nothing of it is left when its outcome is written."""

from __future__ import annotations

from pathlib import Path

import pytest

from evogit.domain.trial import Status
from evogit.testing import output, run


def test_a_daemon_with_a_session_of_its_own_is_ended_with_its_job(backend, make, witness):
    source = (
        witness.hold
        + "if not os.fork():\n os.setsid()\n if not os.fork():\n  signal.signal(15, signal.SIG_IGN); time.sleep(60)\n os._exit(0)\n"
    )

    outcome = run(backend, make(source, witness.path))

    assert (outcome.status, outcome.exit_code) == (Status.OK, 0)
    assert witness.is_alone()
    assert outcome.seconds < 10


def test_a_helper_that_cleans_up_after_its_job_gets_the_time_to(backend, make, tmp_path):
    source = "import os, sys, time\nif os.fork(): os._exit(0)\ntime.sleep(0.05); open(sys.argv[1], 'w').close()\n"

    run(backend, make(source, str(tmp_path / "cleaned")))

    assert (tmp_path / "cleaned").exists()


@pytest.mark.parametrize(
    "stubborn",
    [
        "signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(60)",
        "os.kill(os.getpid(), signal.SIGSTOP); time.sleep(60)",
        "os.fork() or os.setsid() or signal.signal(15, signal.SIG_IGN); os.kill(os.getpid(), signal.SIGSTOP); time.sleep(60)",
    ],
    ids=["deaf", "stopped", "stopped daemon"],
)
def test_time_ends_the_stubborn_too(backend, make, witness, stubborn):
    outcome = run(backend, make(witness.hold + stubborn, witness.path, timeout_s=0.4))

    assert (outcome.status, outcome.exit_code) == (Status.TIMEOUT, None)
    assert witness.is_alone()
    assert outcome.seconds < 10


def test_a_job_may_use_its_grace_to_save_what_it_has(backend, make):
    source = (
        "import signal, time, sys\nsignal.signal(15, lambda *_: (print('saved'), sys.exit(0)))\nprint('ready', flush=True); time.sleep(60)"
    )

    outcome = run(backend, make(source, timeout_s=0.6))

    assert (outcome.status, outcome.exit_code) == (Status.TIMEOUT, None)
    assert output(outcome) == "ready\nsaved\n"
    assert outcome.seconds < 2


def test_processes_that_keep_forking_away_are_caught(backend, make, witness):
    source = (
        witness.hold
        + """
signal.signal(signal.SIGTERM, signal.SIG_IGN)
for number in range(50):
    if not os.fork():
        os.setsid()
        while number < 10:  # these ten are always somebody else
            if os.fork():
                os._exit(0)
        time.sleep(60)
time.sleep(60)
"""
    )

    outcome = run(backend, make(source, witness.path, timeout_s=0.5))

    assert outcome.status is Status.TIMEOUT
    assert "could not be killed" not in outcome.reason
    assert witness.is_alone()


def test_cancel_ends_the_whole_tree(backend, make, witness):
    handle = backend.start(make(witness.hold + "os.fork(); os.fork(); time.sleep(60)", witness.path))
    assert witness.hears() == b"here"

    backend.cancel(handle)
    backend.wait([handle], 20)

    assert backend.collect(handle).status is Status.CANCELLED
    assert witness.is_alone()


def test_two_hundred_megabytes_of_output_take_no_more_room_than_the_cap(backend, make):
    outcome = run(backend, make("import os\nfor _ in range(200): os.write(1, (b'x' * 63 + b'\\n') * 16384)", output_cap=1 << 20))

    assert outcome.status is Status.OK
    assert Path(outcome.folder, "stdout").stat().st_size <= (1 << 20) + 100
    marker = next(line for line in output(outcome).splitlines() if line[0] != "x")
    kept = sum(64 for line in output(outcome).splitlines() if line[0] == "x")
    assert marker == f"[evogit: {200 * (1 << 20) - kept} bytes cut here]"


def test_memory_is_counted_over_the_whole_tree(backend, make):
    source = "import os, time\nfor _ in range(3): os.fork()\nhog = bytearray(os.urandom(1 << 20)) * 40\ntime.sleep(60)"

    outcome = run(backend, make(source, memory_mib=200, timeout_s=30))

    assert outcome.status is Status.MEMORY
    assert outcome.peak_rss_mib > 100  # one of its processes has 50; the kernel may end the tree between two looks at it
    assert outcome.reason == "used more than its 200 MiB"


def test_pages_that_forks_share_are_counted_once(backend, make):
    source = "import os, time\nshared = bytearray(b'1') * (100 << 20)\nfor _ in range(2): os.fork()\ntime.sleep(0.6)"

    outcome = run(backend, make(source, memory_mib=250))

    assert (outcome.status, outcome.reason) == (Status.OK, "")
    assert 100 <= outcome.peak_rss_mib <= 250


def test_a_mapped_data_set_larger_than_the_memory_is_no_fault(backend, make, tmp_path):
    with open(tmp_path / "data", "wb") as file:
        file.truncate(1 << 30)
    source = "import mmap, sys, time\nf = open(sys.argv[1])\nm = mmap.mmap(f.fileno(), 0, prot=mmap.PROT_READ)\nsum(m[0 : 200 << 20 : 4096]); time.sleep(0.3)"

    assert run(backend, make(source, str(tmp_path / "data"), memory_mib=100)).status is Status.OK


def test_an_allocation_that_fails_is_told_as_memory(backend, make):
    outcome = run(backend, make("hog = bytearray(4 << 30)", memory_mib=200))

    assert (outcome.status, outcome.exit_code) == (Status.MEMORY, 1)
    assert "exit code 1" in outcome.reason
