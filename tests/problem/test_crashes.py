from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evogit.problem.crashes import clean, crash_of


def ran(tmp_path, **files: str):
    for name, text in files.items():
        (tmp_path / f"{name}.py").write_text(text)
    done = subprocess.run([sys.executable, "train.py"], cwd=tmp_path, capture_output=True, check=False)
    assert done.returncode != 0
    return crash_of(done.stderr, done.stdout, lambda path: path == "train.py", [str(tmp_path)])


def test_an_exception_is_named_with_the_line_of_mutable_code(tmp_path):
    crash = ran(
        tmp_path, train="import lib\ndef go():\n    lib.fail()\ngo()\n", lib="def fail():\n    raise ValueError('bad shape (3, 4)')\n"
    )

    assert (crash.kind, crash.message, crash.where) == ("ValueError", "bad shape (3, 4)", "train.py:3")


def test_a_chained_exception_is_the_last_one(tmp_path):
    crash = ran(tmp_path, train="try:\n    1 / 0\nexcept ZeroDivisionError as e:\n    raise RuntimeError('outer') from e\n")

    assert (crash.kind, crash.message, crash.where) == ("RuntimeError", "outer", "train.py:4")


def test_a_syntax_error_points_to_its_line(tmp_path):
    crash = ran(tmp_path, train="x = 1\ny = = 2\n")

    assert (crash.kind, crash.message, crash.where) == ("SyntaxError", "invalid syntax", "train.py:2")


def test_an_exception_of_a_library_is_named_without_its_module(tmp_path):
    crash = ran(tmp_path, train="import json\njson.loads('{')\n")

    assert crash.kind == "JSONDecodeError"
    assert crash.where == "train.py:2"


def test_endless_recursion_and_bare_and_long_exceptions_are_read(tmp_path):
    assert ran(tmp_path, train="def f():\n    f()\nf()\n").kind == "RecursionError"
    assert ran(tmp_path, train="assert False\n") == crash_of(
        b'Traceback (most recent call last):\n  File "train.py", line 1, in <module>\nAssertionError\n', b"", lambda p: True
    )
    crash = ran(tmp_path, train="raise ValueError('a\\n' + 'b' * 1000 + '\\x1b[31m\\x00\\u202e')\n")
    assert crash.message == "a"
    assert ran(tmp_path, train="raise ValueError('\\n  second')\n").message == "second"


def test_warnings_behind_a_traceback_do_not_hide_it():
    stderr = b'Traceback (most recent call last):\n  File "/w/train.py", line 7, in f\n    x()\n    ~^^\nKeyError: 3\nresource_tracker: 1 leaked\n'

    crash = crash_of(stderr, b"", lambda path: path == "train.py", ["/elsewhere", "/w/"])

    assert (crash.kind, crash.message, crash.where) == ("KeyError", "3", "train.py:7")


def test_a_segmentation_fault_is_a_signal_with_its_frame():
    stderr = b'Fatal Python error: Segmentation fault\n\nCurrent thread 0x1 (most recent call first):\n  File "/w/lib.py", line 1 in g\n  File "/w/train.py", line 9 in f\n'

    crash = crash_of(stderr, b"", lambda path: path == "train.py", ["/w"])

    assert (crash.kind, crash.where) == ("signal", "train.py:9")
    assert "Segmentation fault" in crash.message


@pytest.mark.parametrize(
    ("stderr", "stdout", "message"),
    [
        (b"\x1b[31m/bin/sh: 1: foo: not found\x1b[0m\n\n", b"", "/bin/sh: 1: foo: not found"),
        (b"", b"epoch 1\rdisk is full\r\n", "disk is full"),
        (b"", b"", ""),
        (b"\xff\xfe\x00", b"", "\ufffd\ufffd"),
    ],
)
def test_other_programs_are_quoted_by_their_last_line(stderr, stdout, message):
    crash = crash_of(stderr, stdout)

    assert (crash.kind, crash.message, crash.where) == ("exit", message, "")


@pytest.mark.parametrize(
    "stderr",
    [
        b"\n" * 3_000_000,
        b'  File "a", line 1, in x\n' * 100_000,
        b"a." * 1_000_000 + b"!",
        b'  File "a", line 1\n' + b"a." * 500_000 + b"!",
        b"\x1b[" * 1_000_000,
        b'File "' * 300_000,
    ],
)
@pytest.mark.timeout(10)
def test_a_flood_is_read_in_no_time(stderr):
    assert len(crash_of(stderr, stderr).message) <= 300


PIECES = st.sampled_from(
    [b'  File "train.py", line 3, in f\n', b"ValueError: x\n", b"Traceback (most recent call last):\n", b"  | ", b"\x1b[", b"\n", b"\xff"]
)


@given(st.lists(PIECES | st.binary(max_size=20), max_size=20).map(b"".join))
def test_a_crash_is_always_one_printable_line(stderr):
    crash = crash_of(stderr, b"", lambda path: path == "train.py")

    assert crash.message == clean(crash.message)
    assert crash.kind.isprintable()
    assert "\n" not in crash.where
