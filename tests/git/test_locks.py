from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from evogit.errors import Busy
from evogit.git.locks import loop_holder, loop_lock, write_lock
from evogit.git.repository import Repository

TAGS = ["nov20", "a/b", "größe", "実験" * 60, "..", "with space\n"]


@pytest.fixture
def repo(tmp_path: Path) -> Repository:
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    who = ["-c", "user.name=a", "-c", "user.email=a@b"]
    subprocess.run(["git", *who, "commit", "-q", "--allow-empty", "-m", "first"], cwd=tmp_path, check=True)
    return Repository.open(tmp_path)


@contextmanager
def another_process(repo: Repository, lock: str) -> Iterator[subprocess.Popen[str]]:
    """A process that holds `lock` until it is killed."""
    code = "import sys\nfrom evogit.git.locks import loop_lock, write_lock\nfrom evogit.git.repository import Repository\n"
    code += f"repo = Repository.open({str(repo.top)!r})\nwith {lock}:\n    print('held', flush=True)\n    sys.stdin.read()\n"
    process = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stdout.readline() == "held\n"
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def test_write_lock_may_be_entered_again(repo: Repository):
    with write_lock(repo), write_lock(repo, 0.0):
        pass
    with another_process(repo, "write_lock(repo)"), pytest.raises(Busy), write_lock(repo, 0.05):
        pass


def test_inner_exit_does_not_release_the_write_lock(repo: Repository):
    code = "from evogit.git.locks import write_lock\nfrom evogit.git.repository import Repository\n"
    code += f"with write_lock(Repository.open({str(repo.top)!r}), 0.05): pass"
    with write_lock(repo):
        with write_lock(repo):
            pass
        during = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    after = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)

    assert "Busy" in during.stderr
    assert after.returncode == 0


def test_threads_of_one_process_take_turns(repo: Repository):
    inside, most, lock = 0, 0, threading.Lock()

    def work() -> None:
        nonlocal inside, most
        for _ in range(50):
            with write_lock(repo):
                with lock:
                    inside += 1
                    most = max(most, inside)
                with lock:
                    inside -= 1

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert most == 1


def test_a_killed_writer_releases_its_lock(repo: Repository):
    with another_process(repo, "write_lock(repo)") as process:
        process.send_signal(signal.SIGKILL)
        process.wait()

        with write_lock(repo, 5.0):
            assert process.returncode == -signal.SIGKILL


def test_an_exception_inside_releases_both_locks(repo: Repository):
    with pytest.raises(KeyError), loop_lock(repo, "t"), write_lock(repo):
        raise KeyError

    assert loop_holder(repo, "t") == 0
    with another_process(repo, "write_lock(repo)"):
        pass


def test_a_forked_child_neither_holds_nor_keeps_the_lock(repo: Repository):
    ready, done = os.pipe(), os.pipe()
    with write_lock(repo):
        child = os.fork()
        if child == 0:
            try:
                with write_lock(repo, 0.05):
                    os._exit(1)
            except Busy:
                os.write(ready[1], b"x")
                os.read(done[0], 1)
                os._exit(0)
            os._exit(2)
        assert os.read(ready[0], 1) == b"x"
    with another_process(repo, "write_lock(repo, 2.0)"):
        os.write(done[1], b"x")
    assert os.waitpid(child, 0)[1] == 0


@pytest.mark.parametrize("tag", TAGS)
def test_a_second_loop_is_refused_and_told_who_runs(repo: Repository, tag: str):
    with another_process(repo, f"loop_lock(repo, {tag!r})") as process:
        assert loop_holder(repo, tag) == process.pid
        with pytest.raises(Busy, match=f"process {process.pid} "), loop_lock(repo, tag):
            pass


def test_loops_of_other_campaigns_are_not_in_the_way(repo: Repository):
    with loop_lock(repo, "a"), loop_lock(repo, "a/b"), loop_lock(repo, "b"):
        assert loop_holder(repo, "a") == os.getpid()
        with pytest.raises(Busy), loop_lock(repo, "a"):
            pass
    assert loop_holder(repo, "a") == loop_holder(repo, "never ran") == 0


def test_a_killed_loop_holds_nothing(repo: Repository):
    with another_process(repo, "loop_lock(repo, 't')") as process:
        process.send_signal(signal.SIGKILL)
        process.wait()

        assert loop_holder(repo, "t") == 0
        with loop_lock(repo, "t"):
            assert loop_holder(repo, "t") == os.getpid()


def test_asking_who_runs_never_keeps_a_loop_out(repo: Repository):
    stop = threading.Event()

    def ask() -> None:
        while not stop.is_set():
            loop_holder(repo, "t")

    asking = threading.Thread(target=ask)
    asking.start()
    try:
        for _ in range(30):
            with loop_lock(repo, "t"):
                assert loop_holder(repo, "t") == os.getpid()
    finally:
        stop.set()
        asking.join()
