"""A tag's name stands for its run, for every command that takes one."""

from __future__ import annotations

import pytest

from evogit.errors import UnknownName
from evogit.lab import Lab
from toys import evogit, git


def test_a_run_is_found_by_the_name_of_its_tag(book):
    evogit(book, "tag", "5", "paper", "--tag", "t1")
    git(book, "tag", "light", Lab.open(book, tag="t1").run("2").commit)
    git(book, "tag", "mine", "main")
    lab = Lab.open(book, tag="t1")

    assert (lab.run("paper").label, lab.run("light").label) == ("5", "2")
    assert [run.label for run in lab.runs(since="light")] == ["3", "4", "5"]
    assert "run 5" in evogit(book, "show", "paper", "--tag", "t1").stdout.splitlines()[0]
    for name in ("mine", "no/such", "../heads/main", "a b", "x..y"):
        with pytest.raises(UnknownName):
            lab.run(name)


def test_a_label_wins_over_a_tag(book):
    evogit(book, "tag", "5", "2", "--tag", "t1")

    assert Lab.open(book, tag="t1").run("2").label == "2"
