"""What is kept of an output stream."""

from __future__ import annotations

import re

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from evogit.backends.capture import Capture

MARKER = re.compile(rb"\[evogit: (\d+) bytes cut here\]\n")


def keep(path, cap, *chunks):
    capture = Capture(str(path), cap)
    highest = 0
    for chunk in chunks:
        capture.feed(chunk)
        highest = max(highest, path.stat().st_size)
    capture.close()
    assert path.stat().st_size == capture.size
    return path.read_bytes(), highest


def test_what_fits_is_kept_to_the_byte(tmp_path):
    data = bytes(range(256)) * 4

    assert keep(tmp_path / "out", 1024, data[:300], data[300:])[0] == data


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    lengths=st.lists(st.integers(0, 60), min_size=1, max_size=400),
    cap=st.integers(256, 3000),
    step=st.integers(1, 5000),
)
def test_the_middle_is_cut_between_lines_and_counted(tmp_path, lengths, cap, step):
    whole = [b"%d:" % n + b"x" * length for n, length in enumerate(lengths)]
    data = b"".join(line + b"\n" for line in whole)

    kept, highest = keep(tmp_path / "out", cap, *(data[i : i + step] for i in range(0, len(data), step)))

    assert highest <= 1.5 * cap + 64 + step
    if len(data) <= cap:
        assert kept == data
        return
    head, _, tail = MARKER.split(kept) if MARKER.search(kept) else (kept, b"", b"")
    assert len(head) + len(tail) <= cap
    cut = int(MARKER.search(kept)[1])
    assert len(head) + len(tail) + cut == len(data)
    assert data.startswith(head) and data.endswith(tail)
    assert set((head + tail).splitlines()) <= set(whole)


def test_a_stream_without_lines_is_cut_anyway(tmp_path):
    kept, _ = keep(tmp_path / "out", 1000, *[b"a" * 100] * 50, b"b" * 10)

    assert kept.startswith(b"a" * 500 + b"\n[evogit: ")
    assert kept.endswith(b"b" * 10)
    assert len(kept) < 1064


def test_a_full_disk_is_noted_and_the_stream_goes_on():
    capture = Capture("/dev/full", 1000)

    capture.feed(b"lost")
    capture.feed(b"lost too")

    assert capture.error == "No space left on device"
    assert capture.total == 12


def test_a_link_in_the_place_of_the_file_is_not_followed(tmp_path):
    (tmp_path / "out").symlink_to(tmp_path / "elsewhere")

    with pytest.raises(OSError, match="symbolic"):
        Capture(str(tmp_path / "out"), 1000)
