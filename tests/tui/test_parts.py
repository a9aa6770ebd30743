"""What screens are made of, without a screen: the book, what is shown of it, plots, diffs, folded text."""

from __future__ import annotations

import math

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from builders import LOSS, PARAMS, baseline, commit_of, run, trial
from evogit.domain.report import RunDetail
from evogit.domain.sight import Sight
from evogit.domain.trial import Crash
from evogit.domain.verdict import Verdict
from evogit.present import age, clean, noise_floor
from evogit.tui import cells, code, plot
from evogit.tui.book import Book
from evogit.tui.canvas import Canvas
from evogit.tui.letters import KINDS, Letters, verdict_of
from evogit.tui.story import story
from evogit.tui.view import View, order
from evogit.tui.widgets.grid import GAP, Column, fit
from evogit.tui.widgets.lanes import Twig, grow, narrowed
from evogit.tui.widgets.paper import folded
from evogit.tui.widgets.scatter import sketch_of
from evogit.tui.widgets.sheets import as_text
from stills import StillLab, crowd

PLAIN, FULL = Letters(False), Letters(True)


@pytest.fixture(scope="module")
def book() -> Book:
    lab = StillLab()
    whole = lab.whole()
    found = Book("nov20", "digits", (LOSS, PARAMS), spread=whole.spread)
    found.extend(whole.runs)
    found.front = frozenset(r.commit for r in lab.frontier())
    return found


def said(line) -> str:
    return "".join(text for text, _ in line)


# letters ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("letters", [FULL, PLAIN], ids=["unicode", "ascii"])
def test_no_two_kinds_share_a_letter(letters):
    assert len({letters[kind] for kind in KINDS}) == len(KINDS)
    assert letters.unicode or all(letters[kind].isascii() for kind in KINDS)
    drawn = [letters[name] for name in (*KINDS, "band", "above", "below", "mark", "flag", "stop", "about")] + list(letters["dots"])
    assert len(set(drawn)) == len(drawn)


@given(st.floats(-1, 3), st.integers(1, 40), st.booleans())
def test_a_meter_is_as_wide_as_it_was_asked_to_be(share, width, unicode):
    full, empty = Letters(unicode).meter(share, width)

    assert len(full) + len(empty) == width


# noise --------------------------------------------------------------------------------------------------------------------


def test_a_gain_inside_the_noise_is_marked_as_such_and_has_no_direction():
    made = Book("c", "p", (LOSS,), spread=0.002)
    made.extend([baseline(0.100, 0.102), run("1", 0.0995, 0.1005), run("2", 0.090, 0.091), run("3", 0.120, 0.121)])

    near, better, worse = (said(cells.gain(made.over_parent(r), 4, FULL)) for r in made.runs[1:])

    assert (near, better, worse) == ("≈ -0.0010", "▲ -0.0105", "▼ +0.0195")


def test_noise_of_a_single_reading_is_the_campaigns_and_says_so():
    made = Book("c", "p", (LOSS,), spread=0.002)
    made.extend([baseline(0.100, 0.104), run("1", 0.09)])

    assert said(cells.value(made, made.runs[0], "val_loss", FULL)) == "0.1020 ±0.0028"
    assert said(cells.value(made, made.runs[1], "val_loss", FULL)) == "0.0900 ±0.0020?"


def test_runs_of_different_epochs_are_not_compared():
    made = Book("c", "p", (LOSS,), spread=0.002)
    made.extend([baseline(0.1), run("1", 0.05, epoch=1)])

    assert made.over_parent(made.runs[1]) is None


def test_the_floor_of_noise_falls_with_the_readings_and_is_none_where_nothing_is_known():
    assert noise_floor(0.002, 1, 1) == pytest.approx(1.96 * 0.002 * math.sqrt(2))
    assert noise_floor(0.002, 4, 4) == pytest.approx(noise_floor(0.002, 1, 1) / 2)
    assert noise_floor(0.0, 3, 3) == noise_floor(0.1, 0, 3) == 0.0


@pytest.mark.parametrize("seconds, words", [(0, "now"), (42, "42s"), (420, "7m"), (18_000, "5h"), (260_000, "3d"), (5_000_000, "8w")])
def test_ages_are_short(seconds, words):
    assert age(seconds) == words


# book and view --------------------------------------------------------------------------------------------------------------


def test_a_book_that_grew_is_as_one_that_was_made_at_once(book):
    grown = Book("nov20", "digits", (LOSS, PARAMS), spread=0.0011)
    grown.extend(book.runs[:20])
    grown.values("val_loss")
    for each in book.runs[20:]:
        grown.extend([each])

    assert grown.values("val_loss") == book.values("val_loss")
    assert grown.children == book.children and grown.said == book.said
    assert grown.best_so_far("val_loss") == book.best_so_far("val_loss")


def test_the_best_so_far_is_the_incumbents_line(book):
    kept = [at for at, each in enumerate(book.runs) if each.is_kept]

    assert [at for at, _ in book.best_so_far("val_loss")] == kept


def test_words_must_all_be_there_and_those_with_a_dash_must_not(book):
    def found(text: str) -> set[str]:
        return {book.runs[at].label for at in order(book, View(text=text))}

    tuners = {r.label for r in book.runs if r.emitter == "local_tuner"}
    assert found("emitter:local_tuner") == tuners
    assert found("LOCAL_tuner keep") == {r.label for r in book.runs if r.label in tuners and r.is_kept}
    assert found("emitter:local -keep") == {r.label for r in book.runs if r.label in tuners and not r.is_kept}
    assert found("no such words") == set()


@pytest.mark.parametrize("sort", ["run", "val_loss", "params", "gain", "verdict", "emitter", "agent", "cost", "took"])
def test_every_order_shows_every_run_once_and_what_has_no_value_last(book, sort):
    shown = order(book, View(sort=sort))

    assert sorted(shown) == list(range(len(book)))
    if sort in ("val_loss", "params"):
        values = [book.values(sort)[at] for at in shown]
        known = [v for v in values if v is not None]
        assert known == sorted(known) and values[len(known) :] == [None] * (len(values) - len(known))


def test_shares_over_time_are_of_all_runs(book):
    shares = book.share_over_time(8)

    assert all(sum(row[at] for row in shares.values()) == pytest.approx(1.0) for at in range(8))


# plots --------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(20, 4), (70, 9), (160, 40)])
@pytest.mark.parametrize("letters", [FULL, PLAIN], ids=["unicode", "ascii"])
@pytest.mark.parametrize("x", ["run", "params"])
def test_a_plot_is_as_large_as_it_was_asked_to_be_and_every_run_has_a_place(book, size, letters, x):
    sketch = sketch_of(book, x, "val_loss")

    picture = plot.draw(sketch, *size, letters)

    assert len(picture.lines) == size[1]
    assert all(cell_len(said(line)) <= size[0] for line in picture.lines)
    assert set(picture.at) == {place for points in sketch.kinds.values() for _, _, place in points}
    assert letters.unicode or all(said(line).isascii() for line in picture.lines)


def test_one_run_that_diverged_does_not_flatten_the_others():
    made = Book("c", "p", (LOSS,))
    made.extend([baseline(0.1), *(run(str(n), 0.1 + 0.001 * n) for n in range(1, 40)), run("40", 1e30)])

    sketch = sketch_of(made, "run", "val_loss")
    picture = plot.draw(sketch, 80, 20, FULL)

    assert sketch.y.high < 1
    assert picture.at[40][1] == 0 and FULL["above"] in said(picture.lines[0])


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), max_size=30), st.integers(10, 90), st.integers(4, 30))
def test_no_numbers_break_a_plot(values, width, height):
    made = Book("c", "p", (LOSS,))
    made.extend([baseline(1.0), *(run(str(n), value) for n, value in enumerate(values, 1))])

    lines = plot.draw(sketch_of(made, "run", "val_loss"), width, height, FULL).lines

    assert len(lines) == height


@pytest.mark.parametrize("letters", [FULL, PLAIN], ids=["unicode", "ascii"])
def test_in_a_crowd_a_keep_is_a_letter_and_discards_alone_are_dots_beside_a_line_of_strokes(letters):
    made = Book("c", "p", (LOSS, PARAMS))
    made.extend(crowd(3000))

    picture = plot.draw(sketch_of(made, "run", "val_loss"), 120, 18, letters)
    rows = [said(line) for line in picture.lines]

    signs = {kind: {rows[y][x] for at, (x, y) in picture.at.items() if made.kind(made.runs[at]) == kind} for kind in ("keep", "discard")}
    assert signs["keep"] <= {letters["keep"], letters["incumbent"]}
    assert signs["discard"] & (set(".:") if not letters.unicode else {chr(0x2800 + bits) for bits in range(1, 256)})
    dots = [
        text for line in picture.lines for text, ink in line if ink == "line" and any(0x2800 <= ord(c) < 0x2900 or c == "." for c in text)
    ]
    assert not dots
    legend = said(plot.legend({"keep": 1, "discard": 2}, letters, 80, plot.dotted({"discard": 2000}, 120, 18)))
    assert legend == f"{letters['keep']} keep  {letters['dots']} discard"


@given(st.integers(20, 140))
def test_a_legend_names_every_kind_that_is_there_in_the_room_there_is(room):
    line = plot.legend(dict.fromkeys(KINDS, 3), FULL, room)

    assert cell_len(said(line)) <= room
    assert all(FULL[kind] in said(line) for kind in KINDS)


def test_below_the_plot_stand_numbers_of_runs_where_these_runs_are():
    made = Book("c", "p", (LOSS,))
    labels = [n for n in range(100) if n % 5 != 1]  # the others were readings
    made.extend([baseline(0.1), *(run(str(n), 0.1) for n in labels[1:])])

    ticks = plot._ticks(sketch_of(made, "run", "val_loss", list(range(40, 48))).x, 8)

    assert [(made.runs[int(at)].label, text) for at, text in ticks] == [
        ("50", "50"), ("52", "52"), ("54", "54"), ("57", "56"), ("58", "58")
    ]  # fmt: skip


def test_a_part_of_the_runs_shows_the_part_of_the_best_line_that_is_over_them(book):
    places = list(range(40, 60))

    sketch = sketch_of(book, "run", "val_loss", places)
    nothing = sketch_of(book, "run", "val_loss", [])

    held = [value for at, value in book.best_so_far("val_loss") if at <= 40][-1]
    assert sketch.best[0] == (40.0, held) and all(40 <= at <= 59 for at, _ in sketch.best)
    assert not nothing.counts


def test_a_line_without_colour_is_made_of_strokes():
    canvas = Canvas(4, 2, FULL, is_fine=False)
    canvas.across(0, 5, 0, "line")
    canvas.down(5, 0, 7, "line")
    canvas.across(5, 7, 7, "line")

    assert [said(row) for row in canvas.rows()] == ["──╮ ", "  ╰─"]


# a run's story --------------------------------------------------------------------------------------------------------------


def told_of(book: Book, run_, width: int) -> str:
    detail = RunDetail(run=run_, parents=(), plan="", diff="", extra_trials=(), reviews=(), files={})
    return "\n".join(said(line).rstrip() for line in story(Sight(detail=detail), book, FULL, width))


def test_a_run_of_the_frontier_says_first_what_its_verdict_is(book):
    words = {r.label: told_of(book, r, 90).partition("verdict     ")[2].partition("\n")[0] for r in book.runs if r.commit in book.front}
    best = book.run(book.incumbent)

    assert all(
        book.run(commit).verdict.value in words[book.run(commit).label].split(":")[0] or book.run(commit).near_miss for commit in book.front
    )
    assert all("on the frontier:" in said_ for label, said_ in words.items() if label != best.label)
    assert "verdict     keep" in told_of(book, best, 90) and "the incumbent:" in told_of(book, best, 90)


@pytest.mark.parametrize("width", [32, 44, 58, 90])
def test_every_metric_of_a_run_is_shown_whatever_the_room(width):
    metrics = [msgspec.structs.replace(LOSS, name=f"m{n}") for n in range(4)]
    made = Book("c", "p", metrics)
    crash = Crash(kind="RuntimeError", message="mat1 and mat2 shapes cannot be multiplied", where="train.py:42")
    fine = msgspec.structs.replace(trial("1", 0, 0.0), metrics={m.name: float(n) for n, m in enumerate(metrics)})
    broken = msgspec.structs.replace(trial("1", 1, 0.0), metrics={}, crash=crash)
    made.extend([msgspec.structs.replace(run("1", 0.1), trials=(fine, broken))])

    text = told_of(made, made.runs[0], width)

    assert all(f" m{n}" in text for n in range(4)) and ("memory" in text) == (width >= 58)
    assert " ".join(text.split()).count("cannot be multiplied at train.py:42") == 1
    assert all(cell_len(line) <= width for line in text.split("numbers")[1].split("what it")[0].splitlines())


# lineage --------------------------------------------------------------------------------------------------------------------


def test_dead_ends_of_a_run_are_one_line_until_they_are_unfolded(book):
    folded_, all_ = grow(book, set(), FULL), grow(book, set(), FULL, is_all=True)

    heaped = [at for twig in folded_ for at in twig.ends]
    assert len(all_) == len(book) and not any(twig.ends for twig in all_)
    assert sorted(heaped + [book.at[t.commit] for t in folded_ if not t.ends]) == list(range(len(book)))
    assert all(not book.runs[at].is_kept and not book.children.get(book.runs[at].commit) for at in heaped)


@given(st.integers(0, 40), st.integers(0, 40), st.integers(3, 30))
def test_lanes_that_are_cut_keep_their_glyph_and_say_so(left, right, width):
    twig = Twig("c", "│" * left, "●", "─" * right)

    line = said(narrowed(twig, width, "keep", FULL))

    assert "●" in line and len(line) == min(width, left + 1 + right)
    assert (FULL["cut"] in line) == (left + 1 + right > width)


# code and text ----------------------------------------------------------------------------------------------------------------


DIFF = """\
diff --git a/train.py b/train.py
--- a/train.py
+++ b/train.py
@@ -1,4 +1,4 @@ def f():
 import math
-LR = 0.10  # \x1b[31mred\x1b[0m
+LR = 0.12  # \u202ereversed
 s = '''
 three'''
"""


def test_a_diff_has_its_lines_their_numbers_and_no_control_characters():
    rows = code.rows(DIFF)

    texts = [said(row.line) for row in rows]
    assert texts[0] == "train.py" and texts[1].strip() == "@@ -1,4 +1,4 @@ def f():"
    assert texts[3] == "    2      - LR = 0.10  # [31mred[0m" and rows[3].below == "removed"
    assert texts[4] == "         2 + LR = 0.12  # reversed" and rows[4].below == "added"
    assert ("keyword", "import") in [(ink, text) for text, ink in rows[2].line]
    assert [text for text, ink in rows[5].line if ink == "string"] == ["'''"]


def test_the_words_that_changed_in_a_line_are_marked():
    rows = code.rows(DIFF.replace("  # \x1b[31mred\x1b[0m", "").replace("  # \u202ereversed", ""))

    assert [text for text, ink in rows[3].line if ink == "removed-word"] == ["0"]
    assert [text for text, ink in rows[4].line if ink == "added-word"] == ["2"]


@pytest.mark.parametrize(
    "text", ["", "\n", "diff --git a/x b/x\nBinary files differ\n", "@@ broken", "+++ b/x.py\n@@ -1 +1 @@\n-a\n+b\n\\ No newline"]
)
def test_odd_diffs_are_shown_as_far_as_they_go(text):
    assert all(said(row.line).isprintable() for row in code.rows(text))


@given(st.lists(st.tuples(st.text(), st.sampled_from(["", "name"])), max_size=5), st.integers(4, 60), st.integers(0, 1))
def test_folding_loses_no_letter_and_keeps_to_the_width(line, width, hang):
    shown = [(clean(text), ink) for text, ink in line]

    lines = folded(shown, width, hang)

    assert "".join(map(said, lines)).replace(" ", "") == "".join(text for text, _ in shown).replace(" ", "")
    assert all(cell_len(said(each).rstrip(" ")) <= width for each in lines)


def test_a_progress_bar_is_its_last_state():
    assert as_text(b"10 %\r50 %\r100 %\r\ndone\x1b[2J\n") == ["100 %", "done[2J"]


@given(st.integers(10, 200))
def test_columns_never_take_more_than_there_is_unless_none_can_go(width):
    columns = [Column("a", "a", 6), Column("b", "b", 20, rank=2), Column("c", "c", 10, rank=1), Column("d", "d", 8, share=True)]

    shown = fit(columns, width)

    used = 1 + sum(size for _, size in shown) + GAP * (len(shown) - 1)
    assert used <= width or [c.key for c, _ in shown] == ["a", "d"]


def test_a_certified_keep_is_another_kind_than_a_keep():
    kept = run("1", 0.09, verdict=Verdict.KEEP, incumbent=commit_of("1"))

    assert verdict_of(kept) == "keep"
    assert verdict_of(run("2", 0.09, verdict=Verdict.KEEP, certified=True)) == "certified"
