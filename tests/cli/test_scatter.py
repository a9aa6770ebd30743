from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from evogit.cli.page import Page
from evogit.cli.scatter import Point, draw
from evogit.domain.metric import Direction, Metric

LOSS = Metric(name="val_loss", direction=Direction.MINIMIZE)
SCORE = Metric(name="score", direction=Direction.MAXIMIZE)
PAGE = Page(width=80, height=24, unicode=True, colour=False, terminal=True)
ASCII = Page(width=80, height=24, unicode=False, colour=False, terminal=True)


def test_points_stand_where_their_numbers_say():
    lines = draw([Point(x=0, y=1, label="a"), Point(x=10, y=0, label="b"), Point(x=10, y=1)], SCORE, LOSS, PAGE, width=20, height=5)

    assert lines[0].strip() == "val_loss (↓ is better)"
    assert lines[1].endswith("│●a                 ·")
    assert lines[5].endswith("│                  b●")
    assert "score (→ is better)" in lines[-1]


def test_runs_that_share_a_cell_share_a_name():
    points = [Point(x=0, y=0, label="183"), Point(x=0, y=0, label="191"), Point(x=10, y=1, label="7")]

    drawn = draw(points, SCORE, LOSS, PAGE, width=20, height=5)

    assert drawn[5].endswith("│●183,191")
    crowded = draw([*points, Point(x=0, y=0, label="200")], SCORE, LOSS, PAGE, width=10, height=5)
    assert crowded[5].endswith("│●183+2")


def test_one_point_is_no_picture():
    assert draw([Point(x=1, y=1, label="a")], SCORE, LOSS, PAGE) == []


def test_an_axis_over_two_decades_is_logarithmic_and_says_so():
    lines = draw([Point(x=x, y=1) for x in (1, 10, 100, 1000)], LOSS, LOSS, ASCII, width=31, height=1)

    assert lines[1].split("|")[1] == ".         .         .         ."
    assert "log" in lines[-1]


@given(st.lists(st.tuples(st.floats(-1e9, 1e9), st.floats(-1e9, 1e9), st.text("0123456789/", max_size=6)), min_size=2, max_size=30))
def test_any_points_fit_the_frame(points):
    lines = draw([Point(x=x, y=y, label=label) for x, y, label in points], LOSS, SCORE, ASCII, width=30, height=8)

    frame = lines[1:9]
    assert len(lines) == 11
    assert all(len(line.split("|", 1)[1]) <= 30 and line.isascii() for line in frame)
