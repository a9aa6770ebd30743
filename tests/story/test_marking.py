"""Runs marked to be picked later: set, listed, taken home, taken off; beside other clones and odd labels."""

from __future__ import annotations

import json

import pytest

from evogit.errors import UnknownName
from evogit.git import refs
from evogit.lab import Lab
from toys import evogit, git


def labels(lab: Lab) -> list[str]:
    return [run.label for run in lab.marks()]


def test_marked_runs_are_picked_in_the_order_of_their_decisions_and_stay_marked(book):
    git(book, "branch", "home")
    evogit(book, "mark", "5", "2", "--tag", "t1")

    evogit(book, "pick", "--marked", "--onto", "home", "--tag", "t1")

    assert git(book, "log", "--reverse", "--format=%s", "main..home").splitlines() == ["smaller steps", "twice the width", "more momentum"]
    assert labels(Lab.open(book, tag="t1")) == ["2", "5"]
    assert [json.loads(line)["run"] for line in evogit(book, "mark", "--json", "--tag", "t1").stdout.splitlines()] == ["2", "5"]


def test_a_mark_is_a_ref_that_is_set_and_taken_off_any_number_of_times(book):
    lab = Lab.open(book, tag="t1")

    for _ in range(2):
        lab.mark("incumbent")
    assert git(book, "rev-parse", "refs/evogit/t1/marks/5").strip() == lab.run("5").commit
    for _ in range(2):
        lab.mark("5", on=False)
    assert labels(lab) == []
    assert refs.mark("t1", "ab12/3") == "refs/evogit/t1/marks/ab12%2F3"


def test_a_wrong_name_marks_nothing_and_no_mark_at_all_is_said(book):
    done = evogit(book, "mark", "1", "99", "--tag", "t1", check=False)
    nothing = evogit(book, "pick", "--marked", "--tag", "t1", check=False)

    assert done.returncode == 2 and "no run '99'" in done.stderr
    assert labels(Lab.open(book, tag="t1")) == []
    assert nothing.returncode == 2 and "no run is marked" in nothing.stderr
    with pytest.raises(UnknownName):
        Lab.open(book, tag="t1").mark("99")


def test_marks_go_into_the_archive_and_come_back(book):
    evogit(book, "mark", "3", "--tag", "t1")
    evogit(book, "prune", "t1")
    assert git(book, "for-each-ref", "refs/evogit/t1/") == ""

    evogit(book, "prune", "--restore", "t1")

    assert labels(Lab.open(book, tag="t1")) == ["3"]
