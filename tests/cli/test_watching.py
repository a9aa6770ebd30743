"""`status --watch`: on a terminal drawn over what was there, in a pipe a block a change, until the loop ends."""

from __future__ import annotations

import json

import pytest

from cli.test_work import LAB, RUN_IT, on_a_terminal, rows_after
from evogit.errors import UnknownName

# A loop that is seen twice, at the second look with one run more, and then is gone.
ENDING = """
from msgspec.structs import replace
looks, first = [0], lab.status()
def pulse():
    looks[0] += 1
    return (min(looks[0], 3), looks[0] > 3)
def status():
    told = [dict(loop_pid=77), dict(loop_pid=77, runs=9, is_paused=True), dict(loop_pid=77, runs=9), dict(loop_pid=0, runs=10)]
    return replace(first, **told[looks[0] - 1])
lab.pulse, lab.status, lab.refresh = pulse, status, list
"""


@pytest.fixture
def ending(lab):
    exec(ENDING, {"lab": lab})  # noqa: S102 - the same lab as in a process of its own


def test_in_a_pipe_a_block_is_printed_at_each_change_until_the_loop_ends(invoke, ending):
    done = invoke("status", "--watch", "--interval", "0.1")

    assert done.exit_code == 0
    loops = [line.split(maxsplit=1)[1] for line in done.stdout.splitlines() if line.startswith("loop ")]
    assert loops == ["running, process 77", "paused, process 77", "running, process 77", "not running"]
    assert done.stdout.count("\n\nproblem") == 3


def test_json_and_tables_are_repeated_too(invoke, ending):
    lines = invoke("status", "--watch", "--interval", "0.1", "--json").stdout.splitlines()

    assert [(json.loads(line)["runs"], json.loads(line)["is_paused"]) for line in lines] == [(8, False), (9, True), (9, False), (10, False)]


def test_on_a_terminal_the_page_is_drawn_over_itself_and_the_last_one_stays():
    printed = on_a_terminal(LAB + ENDING + RUN_IT, "status", "--watch", "--interval", "0.1", rows=60)

    rows = rows_after(printed)
    assert [row for row in rows if row.startswith("runs")] == [row for row in rows if row.startswith("runs      10")]
    assert rows[0].startswith("problem") and "no loop runs" in rows[-1]


def test_a_terminal_that_is_too_small_shows_the_beginning_and_never_scrolls():
    printed = on_a_terminal(LAB + ENDING + RUN_IT, "status", "--watch", "--interval", "0.1", rows=12, columns=60)

    rows = rows_after(printed)
    assert len(rows) <= 11
    assert "…" in rows and max(map(len, rows)) <= 60


def test_a_campaign_that_somebody_takes_away_ends_it_in_one_line(invoke, lab):
    def gone():
        raise UnknownName("campaign nov20 is gone", hint="evogit prune")

    lab.pulse = gone

    done = invoke("status", "--watch")

    assert (done.exit_code, done.stderr) == (2, "error: campaign nov20 is gone\nhint: evogit prune\n")
