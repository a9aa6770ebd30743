"""What somebody meets in their first hour: numbers that are no runs, plain ends of commands, refusals before anything is recorded."""

from __future__ import annotations

from pathlib import Path

import pytest

from evogit.domain.event import Planned, Replicated
from evogit.domain.options import LoopOptions
from evogit.errors import UnknownName
from evogit.lab import Lab
from toys import evogit, make_toy


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    """The toy problem with a measured baseline."""
    top = make_toy(tmp_path / "toy")
    Lab.open(top).start("t1")
    list(Lab.open(top, tag="t1").baseline(2, LoopOptions()))
    return top


def test_a_reading_tells_what_asked_for_it_and_whose_it_is(repo):
    events = list(Lab.open(repo, tag="t1").baseline(4, LoopOptions()))

    [planned] = [e for e in events if isinstance(e, Planned)]
    [read] = [e for e in events if isinstance(e, Replicated)]
    assert (planned.emitter, planned.of) == ("baseline", "0")
    assert (read.run, read.reading) == ("0", planned.run)


def test_a_number_that_a_reading_had_is_known_by_it_until_a_run_has_it(repo):
    list(Lab.open(repo, tag="t1").baseline(4, LoopOptions()))
    lab = Lab.open(repo, tag="t1")

    shown = evogit(repo, "show", "1", "--tag", "t1").stdout

    assert shown.startswith("1 was a reading of run 0, not a run; its numbers are among those of run 0\n\n")
    assert lab.read_by("1") == ["0"] and lab.read_by("0") == lab.read_by("77") == []
    with pytest.raises(UnknownName, match="1 is no run: it was a reading of run 0"):
        lab.diff("1")
    list(lab.loop(LoopOptions(max_runs=1)))
    assert Lab.open(repo, tag="t1").show("1").run.label == "1"
    assert not evogit(repo, "show", "1", "--tag", "t1").stdout.startswith("1 was")
