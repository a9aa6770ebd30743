"""The line to a process that speaks to Ray, beside one that speaks to nobody: it takes what it is told first, and then reads no more."""

from __future__ import annotations

import contextlib
import threading
import time
from types import SimpleNamespace

import pytest

from evogit.backends import ray_driver, ray_line
from evogit.backends.ray_line import Line
from evogit.errors import BackendDown

DEAF = """
import sys
sys.path[0] = sys.argv[1]
import os, signal
from evogit.backends.ray_line import read_frame, write_frame
requests, answers = os.fdopen(0, "rb"), os.fdopen(1, "wb")
read_frame(requests)
write_frame(answers, (0, "job", None))
signal.pause()
"""
LARGE = b"x" * (1 << 20)  # more than a pipe holds


@pytest.fixture
def line(tmp_path, monkeypatch):
    """A line to a process that connects, and is deaf from then on."""
    monkeypatch.setattr(ray_line, "LAUNCH", DEAF)
    return Line({}, tmp_path / "ray.log")


def test_a_large_request_to_a_driver_that_does_not_read_is_given_up_in_its_time_and_so_are_the_others(line):
    began, said = time.monotonic(), []

    def ask(*told: bytes) -> None:
        with pytest.raises(BackendDown) as down:
            line.ask("start", *told, within_s=1)
        said.append(down.value.message)

    askers = [threading.Thread(target=ask, args=told) for told in ((LARGE,), (LARGE,), ())]
    for asker in askers:
        asker.start()
    for asker in askers:
        asker.join()

    assert time.monotonic() - began < 15  # a process starts within
    assert any("has not answered for 1 s" in words for words in said)
    assert len(said) == 3


def test_a_line_to_a_driver_that_does_not_read_can_be_closed(line):
    peer = line._connected()
    asker = threading.Thread(target=lambda: pytest.raises(BackendDown, peer.ask, "start", LARGE, within_s=60))
    asker.start()

    line.close("leave", within_s=0.5)

    asker.join()
    assert peer._process.returncode is not None


def test_a_driver_that_ends_leaves_no_thread_behind(line):
    before = set(threading.enumerate())
    peer = line._connected()
    its = set(threading.enumerate()) - before

    peer.end()

    for thread in its:
        thread.join(5)
    assert len(its) == 2
    assert not any(thread.is_alive() for thread in its)
    with pytest.raises(BackendDown, match="broke"):
        peer.ask("knows", within_s=5)


@pytest.mark.parametrize(("failures", "tries", "raises"), [(0, 1, False), (3, 4, False), (4, 4, True)])
def test_a_server_for_clients_that_does_not_begin_is_asked_again(failures, tries, raises):
    asked = []

    def init(**told) -> None:
        asked.append(told["address"])
        if len(asked) <= failures:
            raise ConnectionError("Initialization failure from server:\nStarting Ray client server failed.")

    ray = SimpleNamespace(init=init, shutdown=lambda: None)
    with pytest.raises(ConnectionError) if raises else contextlib.nullcontext():
        ray_driver._connect(ray, "ray://head:10001", "evogit")

    assert asked == ["ray://head:10001"] * tries


def test_any_other_fault_of_connecting_is_told_at_once():
    asked = []

    def init(**told) -> None:
        asked.append(told)
        raise ConnectionError("version mismatch")

    with pytest.raises(ConnectionError, match="mismatch"):
        ray_driver._connect(SimpleNamespace(init=init), "head:6379", "evogit")

    assert len(asked) == 1
