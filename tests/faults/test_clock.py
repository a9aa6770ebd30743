"""The machine's clock is set back by a day while a loop runs: nothing is ordered, named or timed by it."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from faults.runner import Shot, until
from toys import git

# It stands between programs and the clock of the wall: everybody who loads it reads the seconds to add from a file.
SHIM = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static long offset(void) {
    char text[32] = {0};
    const char *name = getenv("CLOCK_OFFSET");
    int fd = name ? open(name, O_RDONLY | O_CLOEXEC) : -1;
    if (fd < 0) return 0;
    if (read(fd, text, 31) < 0) text[0] = 0;
    close(fd);
    return atol(text);
}
int clock_gettime(clockid_t id, struct timespec *now) {
    static int (*real)(clockid_t, struct timespec *);
    if (!real) real = dlsym(RTLD_NEXT, "clock_gettime");
    int done = real(id, now);
    if (id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE) now->tv_sec += offset();
    return done;
}
int gettimeofday(struct timeval *restrict now, void *restrict zone) {
    struct timespec exact;
    int done = clock_gettime(CLOCK_REALTIME, &exact);
    now->tv_sec = exact.tv_sec, now->tv_usec = exact.tv_nsec / 1000;
    return done;
}
time_t time(time_t *out) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (out) *out = now.tv_sec;
    return now.tv_sec;
}
"""


@pytest.fixture
def clock(tmp_path, monkeypatch) -> Path:
    """A file: the seconds in it are added to the clock of every program that a test starts."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("no C compiler: nobody can stand between programs and the clock")
    source, library, offset = tmp_path / "shim.c", tmp_path / "shim.so", tmp_path / "offset"
    source.write_text(SHIM)
    built = subprocess.run([compiler, "-shared", "-fPIC", "-o", library, source, "-ldl"], capture_output=True, text=True, check=False)
    if built.returncode:
        pytest.skip(f"the compiler makes no library here: {built.stderr.splitlines()[0]}")
    set_to(offset, 0)
    monkeypatch.setenv("LD_PRELOAD", str(library))
    monkeypatch.setenv("CLOCK_OFFSET", str(offset))
    set_to(offset, -(10**9))
    if int(subprocess.run(["date", "+%s"], capture_output=True, text=True, check=True).stdout) > time.time() - 10**8:
        pytest.skip("programs here do not ask libc for the time")
    set_to(offset, 0)
    return offset


def set_to(offset: Path, seconds: int) -> None:
    """In one step: a program that reads it meanwhile sees the one or the other."""
    draft = offset.with_name("draft")
    draft.write_text(str(seconds))
    draft.replace(offset)


def test_a_clock_that_is_set_back_while_a_loop_runs_changes_no_order_and_loses_nothing(clock, tmp_path):
    shot = Shot(tmp_path / "toy")
    loop = shot.spawn("--max-runs", "4", "--max-hours", "1", "--workers", "2", hold="2")
    until(lambda: ("2", 0) in shot.diary("begin"))
    set_to(clock, -86400)
    gate = shot.open_gate()
    _, errors = loop.communicate(timeout=60)

    assert loop.returncode == 0, errors
    shot.loop("--max-runs", "2")
    os.close(gate)
    shot.check()
    times = [int(line) for line in git(shot.repo, "log", "--first-parent", "--format=%ct", "autoresearch/t1").split()]
    assert times != sorted(times, reverse=True), "the clock was never seen to go back"
    history = shot.lab().campaign.history
    assert [run.seq for run in history.runs] == sorted(run.seq for run in history.runs)
    assert history.incumbent in history.by_commit


def test_a_loop_that_was_killed_before_the_clock_was_set_back_is_resumed_after_it(clock, tmp_path):
    shot = Shot(tmp_path / "toy")
    shot.killed_at("branch:2", "--max-runs", "3", "--workers", "2")
    set_to(clock, -86400)
    shot.killed_at("intended:3", "--max-runs", "3", "--workers", "2")
    set_to(clock, 86400)

    shot.loop("--max-runs", "2")

    shot.check()
