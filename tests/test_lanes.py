from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from evogit.lanes import BEYOND, draw, narrow, nearest_shown, spell


def drawing(order: str, parents: dict[str, str], trunk: str = "") -> list[str]:
    return ["".join(parts) for parts in draw(order, parents, {c: c for c in order}, trunk)]


def test_a_chain_is_one_lane():
    assert drawing("cba", {"c": "b", "b": "a"}) == ["c", "b", "a"]


def test_discards_hang_off_the_trunk_and_keeps_are_the_trunk():
    lines = drawing("edcba", {"e": "c", "d": "c", "c": "a", "b": "a"}, trunk="c")

    assert lines == ["╭─e", "├─d", "c", "├─b", "a"]


def test_a_second_lineage_joins_at_the_common_parent():
    assert drawing("dcba", {"d": "b", "c": "a", "b": "a"}, trunk="d") == ["d", "│ c", "b │", "a─╯"]


def test_a_recombination_touches_both_parents():
    assert drawing("cba", {"c": "ba"}) == ["c─╮", "b │", "  a"]


def test_a_recombination_that_was_not_kept_hangs_off_two_lanes():
    lines = drawing("fedcba", {"f": "d", "e": "dc", "d": "b", "c": "a", "b": "a"}, trunk="f")

    assert lines == ["f", "├─e─╮", "d   │", "│   c", "b   │", "a───╯"]


def test_a_line_that_crosses_a_lane_leaves_it_whole():
    lines = drawing("fedcba", {"f": "d", "e": "c", "d": "a", "c": "a", "b": "a"}, trunk="f")

    assert lines[1] == "│ e"


def test_a_parent_that_is_not_on_the_page_keeps_its_lane_open():
    assert drawing("cb", {"c": "a", "b": "a"}) == ["c", "├─b"]


def test_upside_down_turns_the_corners_over():
    assert spell("●─╮", upside_down=True) == "●─╯"
    assert spell("├─┼─╯", ascii_=True) == "|-+-'"


def test_what_is_too_wide_is_cut_with_a_mark_and_keeps_its_glyph():
    assert narrow(("│ │ ", "●", "─╮ │"), 7, "~") == ("│ │ ", "●", "─~")
    assert narrow(("├─│─│─", "●", "─╮"), 6, "~") == ("├─│─~", "●", "")
    assert narrow(("├─│─", "●", "─╮"), 7, "~") == ("├─│─", "●", "─╮")


@given(st.integers(0, 30), st.integers(0, 30), st.integers(3, 40))
def test_a_line_of_any_length_fits_with_its_glyph(before, after, width):
    left, glyph, right = narrow(("│ " * before, "●", " │" * after), width, "~")

    assert glyph == "●"
    assert len(left) + 1 + len(right) == min(2 * before + 1 + 2 * after, width)
    assert ("~" in left + right) == (2 * before + 1 + 2 * after > width)


def test_hidden_ancestors_are_bridged():
    parents = {"e": "d", "d": "cb", "c": "a", "b": "a", "a": ""}

    assert nearest_shown("ea", parents) == {"e": ["a"], "a": []}
    assert nearest_shown("ec", parents)["e"] == ["c"]
    assert nearest_shown("e", parents)["e"] == [BEYOND]


@st.composite
def histories(make):
    size = make(st.integers(1, 25))
    parents = {
        str(i): make(st.lists(st.sampled_from([str(j) for j in range(i)]), max_size=2, unique=True)) if i else [] for i in range(size)
    }
    return [str(i) for i in reversed(range(size))], parents


@given(histories(), st.booleans())
def test_lines_lead_from_every_run_to_its_parents_and_nowhere_else(history, has_trunk):
    order, parents = history

    lines = draw(order, parents, {c: "*" for c in order}, trunk=order[0] if has_trunk else "")

    assert len(lines) == len(order)
    grid = [left + glyph + right for left, glyph, right in lines]
    at = {c: (row, len(lines[row][0])) for row, c in enumerate(order)}
    for child, its_parents in parents.items():
        reached = descend(grid, at[child], len(its_parents))
        assert {at[p] for p in its_parents} == reached


DOWN, LEFT, RIGHT = (1, 0), (0, -1), (0, 1)
OPEN_TO = {DOWN: "│├┤┼╯╰┴", LEFT: "─├┼╭╰┬┴", RIGHT: "─┤┼╮╯┬┴"}
# How a lane is read: what comes down a lane goes on down it, or ends at the run of that row; a run's own lines go sideways, then down.
LEAVES = {
    "─": [LEFT, RIGHT],
    "├": [DOWN],
    "┤": [DOWN],
    "╮": [DOWN],
    "╭": [DOWN],
    "╯": [],
    "╰": [],
    "┴": [LEFT, RIGHT],
    "┬": [DOWN, LEFT, RIGHT],
    "┼": [DOWN, LEFT, RIGHT],
}


def descend(grid: list[str], start: tuple[int, int], parents: int) -> set[tuple[int, int]]:
    """Glyphs that can be reached from a glyph along lines, downwards and sideways, never back and never through a glyph."""
    found, seen = set(), set()
    hangs = parents == 1 and grid[start[0]][: start[1]].endswith("─")  # then what stands under it is no kin of it
    todo = [(start, way) for way in ((LEFT,) if hangs else (DOWN, LEFT, RIGHT))]
    while todo:
        step = todo.pop()
        if step in seen:
            continue
        seen.add(step)
        (row, column), (down, across) = step
        row, column = row + down, column + across
        letter = grid[row][column] if row < len(grid) and 0 <= column < len(grid[row]) else " "
        if letter == "*":
            found.add((row, column))
        elif letter == "│" and across:
            todo.append(((row, column), (down, across)))  # a crossing: the line goes on behind the lane
        elif letter in OPEN_TO[down, across]:
            ways = LEAVES[letter] if across else [DOWN]
            if down and letter in "╯╰┴":
                found.add((row, grid[row].index("*")))
                continue
            todo += [((row, column), way) for way in ways if not across or way != (0, -across)]
    return found
