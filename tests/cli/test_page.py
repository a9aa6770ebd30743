from __future__ import annotations

import dataclasses
import io
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evogit.cli.page import Column, Page, cells, page_on


def page(width: int | None = 80, **more: object) -> Page:
    return Page(**{"width": width, "height": 24, "unicode": True, "colour": False, "terminal": width is not None, **more})


class Terminal(io.StringIO):
    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


@pytest.fixture
def plain_environment(monkeypatch):
    for name in ("NO_COLOR", "LC_ALL", "LC_CTYPE", "COLUMNS", "LINES"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("LANG", "en_GB.UTF-8")
    monkeypatch.setenv("TERM", "xterm")
    return monkeypatch


@given(st.lists(st.tuples(st.text(max_size=60), st.text(max_size=60), st.text(max_size=9)), min_size=1, max_size=5), st.integers(40, 200))
def test_no_line_of_a_table_is_wider_than_the_page(rows, width):
    columns = [Column("name", least=8), Column("words", least=8), Column("n", right=True)]
    rows = [[c.replace("\n", " ") for c in row] for row in rows]

    lines = page(width).table(columns, rows)

    assert all(cells(line) <= width for line in lines)


def test_a_pipe_cuts_nothing():
    words = "w" * 500

    assert words in page(None).table([Column("", least=8)], [[words]])[0]


def test_optional_columns_go_before_a_page_overflows():
    columns = [Column("a"), Column("b", optional=True), Column("c", least=4)]
    row = ["a" * 20, "b" * 20, "c" * 20]

    assert page(70).table(columns, [row])[1].split() == row
    assert page(50).table(columns, [row])[1].split() == [row[0], row[1], "c" * 5 + "…"]
    assert page(40).table(columns, [row])[1].split() == [row[0], "c" * 17 + "…"]


def test_wide_letters_take_two_cells_and_marks_none():
    assert cells("学習") == 4
    assert cells("e\u0301") == 1
    assert page().fit("学習率を下げる", 7) == "学習率…"


def test_what_is_cut_is_marked_in_letters_the_page_has():
    assert page(unicode=False).fit("learning", 5) == "lear~"


@given(st.lists(st.text(max_size=30), min_size=4, max_size=4), st.integers(40, 90))
def test_columns_that_nobody_called_flexible_fit_as_well(words, width):
    columns = [Column("a title that is long"), Column("another", right=True), Column("one more of them", right=True), Column("last")]

    lines = page(width).table(columns, [[w.replace("\n", " ") for w in words]])

    assert all(cells(line) <= width for line in lines)


def test_the_most_optional_column_goes_first():
    columns = [Column("a"), Column("b", optional=1), Column("c", optional=2), Column("d", optional=1)]

    assert page(50).table(columns, [["a" * 12, "b" * 12, "c" * 12, "d" * 12]])[0].split() == ["a", "b", "d"]
    assert page(40).table(columns, [["a" * 14, "b" * 14, "c" * 12, "d" * 14]])[0].split() == ["a", "b"]


def test_a_column_that_folds_goes_on_below_and_loses_nothing():
    words = " ".join(f"word{i}" for i in range(20))
    columns = [Column("n", right=True), Column("", least=20, folds=True)]

    lines = page(44).table(columns, [["7", [(words, ""), (" (run 3)", "quiet")]], ["12", "short"]])

    assert lines[1].startswith(" 7  word0 ") and all(line.startswith("    word") or "short" in line for line in lines[2:])
    assert " ".join(line.strip() for line in lines[1:-1]) == f"7  {words} (run 3)"
    assert page(None).table(columns, [["7", words]])[1] == f"7  {words}"


def test_a_cut_between_two_styles_is_marked_as_well():
    cell = [("abc", "title"), ("defgh", "quiet")]

    assert page(40).table([Column("", least=3), Column("")], [[cell, "x" * 35]]) == ["ab…  " + "x" * 35]
    assert page(40).table([Column("", least=3), Column("")], [[cell, "x" * 34]]) == ["abc…  " + "x" * 34]


@pytest.mark.parametrize(
    "name, value, colour", [("NO_COLOR", "1", False), ("NO_COLOR", "", True), ("TERM", "dumb", False), ("TERM", "xterm", True)]
)
def test_colour_is_for_terminals_that_want_it(plain_environment, name, value, colour):
    plain_environment.setenv(name, value)

    assert page_on(Terminal()).colour is colour
    assert page_on(Terminal(), colour=False).colour is False
    assert page_on(io.StringIO()).colour is False


@pytest.mark.parametrize(
    "environment, unicode",
    [
        ({"LANG": "en_GB.UTF-8"}, True),
        ({"LANG": "C"}, False),
        ({"LANG": ""}, False),
        ({"LANG": "C", "LC_CTYPE": "C.UTF-8"}, False),  # Python's own doing, see PEP 538
        ({"LANG": "C", "LC_CTYPE": "de_DE.UTF-8"}, True),
        ({"LANG": "de_DE.UTF-8", "LC_ALL": "C"}, False),
        ({"LANG": "C", "LC_ALL": "C.UTF-8"}, True),
    ],
)
def test_letters_follow_the_locale(plain_environment, environment, unicode):
    for name, value in environment.items():
        plain_environment.setenv(name, value)

    assert page_on(Terminal()).unicode is unicode


def test_a_diff_cannot_drive_the_terminal():
    lines = page(colour=True).diff("--- a/x\n+++ b/x\n@@ -1 +1 @@\n-old\n+new\x1b[2J\n same")

    assert "\x1b[2J" not in "".join(lines)
    assert lines[4] == "\x1b[32m+new[2J\x1b[0m"
    assert lines[5] == " same"


def test_a_long_line_is_folded_between_words_and_in_a_pipe_left_alone():
    page = Page(width=30, height=9, unicode=True, colour=False, terminal=True)
    text = "one two three four five six seven eight " + "x" * 40

    folded = page.fold(text, hang=2)

    assert " ".join(line.strip() for line in folded) == text
    assert all(len(line) <= 30 for line in folded[:-1]) and folded[-1].strip() == "x" * 40
    assert {line[:2] for line in folded[1:]} == {"  "}
    assert dataclasses.replace(page, width=None).fold(text) == [text]


def test_a_folded_command_is_one_command_for_a_shell():
    page = Page(width=30, height=9, unicode=True, colour=False, terminal=True)
    command = "echo one two three four five six seven eight nine ten"

    folded = page.fold_command(command)

    assert len(folded) > 1 and max(map(len, folded)) <= 30
    assert subprocess.run("\n".join(folded), shell=True, capture_output=True, text=True, check=True).stdout == command[5:] + "\n"
