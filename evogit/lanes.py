"""The lineage of runs as lanes, one line a run, newest first: a child is linked to its parent's lane, a recombination to both.

It draws with letters and knows nothing of terminals. A line that crosses a lane without touching it leaves that lane whole.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

BEYOND = ""  # stands for every ancestor that is on no line
_ASCII = str.maketrans("│─├┤┼╯╰╮╭┴┬", "|-||+'`.,++")
_UPSIDE_DOWN = str.maketrans("╯╮╰╭┴┬", "╮╯╭╰┬┴")


def draw(
    order: Sequence[str], parents: Mapping[str, Sequence[str]], glyphs: Mapping[str, str], trunk: str = ""
) -> list[tuple[str, str, str]]:
    """A line a commit of `order` (children before parents): what stands left of its glyph, the glyph, what stands right.

    trunk: the commit whose lane is the leftmost one. A parent that is not in `order` keeps its lane open to the end.
    Costs O(commits * lanes).
    """
    lanes: list[str | None] = [trunk] if trunk in glyphs else []
    begun = [False] * len(lanes)  # the trunk's lane is open before anything is drawn in it
    lines = []
    under: int | None = None  # a glyph that nothing unrelated may stand under, for it would look like its parent
    for commit in order:
        above = [lane is not None and begun[i] for i, lane in enumerate(lanes)]
        line = list(dict.fromkeys(parents.get(commit, ())))
        here, links = _place(lanes, commit, line, under)
        under = None if len(line) == 1 and lanes[here] is None else here
        begun += [False] * (len(lanes) - len(begun))
        begun = [b or i == here or i in links for i, b in enumerate(begun)]
        below = [lane is not None and begun[i] for i, lane in enumerate(lanes)]
        lines.append(_line(here, links, above, below, glyphs[commit]))
        while lanes and lanes[-1] is None:
            lanes.pop()
        begun = [b and lanes[i] is not None for i, b in enumerate(begun[: len(lanes)])]
    return lines


def _place(lanes: list[str | None], commit: str, parents: list[str], under: int | None) -> tuple[int, set[int]]:
    """Put a commit into `lanes`, which change: the lane it is in, and the lanes that it is linked to."""
    waiting = [i for i, lane in enumerate(lanes) if lane == commit]
    links = set(waiting[1:])
    for i in waiting:
        lanes[i] = None
    first, others = (parents[0], parents[1:]) if parents else (None, [])
    known = lanes.index(first) if first in lanes and first is not None else None
    here = waiting[0] if waiting else _free(lanes, after=-1 if known is None else known, avoid=set() if under is None else {under})
    if known is not None and known < here:
        links.add(known)
    else:
        lanes[here] = first
    for other in others:
        if other not in lanes:
            lane = _free(lanes, after=max(links | {here}), avoid=set())
            lanes[lane] = other
        links.add(lanes.index(other))
    return here, links - {here}


def _free(lanes: list[str | None], after: int, avoid: set[int]) -> int:
    """An empty lane to the right of `after` that is not to be avoided, made if there is none."""
    at = after + 1
    while at in avoid or (at < len(lanes) and lanes[at] is not None):
        at += 1
    lanes.extend([None] * (at + 1 - len(lanes)))
    return at


def _line(here: int, links: set[int], above: list[bool], below: list[bool], glyph: str) -> tuple[str, str, str]:
    low, high = min(links | {here}), max(links | {here})
    last = max([high, *(i for i, on in enumerate(below) if on), *(i for i, on in enumerate(above) if on)])
    letters = []
    for i in range(last + 1):
        up, down = i < len(above) and above[i], i < len(below) and below[i]
        letters.append(glyph if i == here else _letter(up, down, i in links, left=low < i <= high, right=low <= i < high))
        letters.append("─" if low <= i < high else " ")
    return "".join(letters[: 2 * here]), glyph, "".join(letters[2 * here + 1 :]).rstrip()


def _letter(up: bool, down: bool, linked: bool, *, left: bool, right: bool) -> str:
    if not linked:
        return "│" if up or down else "─" if left and right else " "
    both = left and right
    if up and down:
        return "┼" if both else "┤" if left else "├"
    if up:
        return "┴" if both else "╯" if left else "╰"
    return "┬" if both else "╮" if left else "╭"


def spell(lane: str, *, upside_down: bool = False, ascii_: bool = False) -> str:
    """A piece of a line as it is printed: turned over where parents stand above children, in letters that every terminal has."""
    lane = lane.translate(_UPSIDE_DOWN) if upside_down else lane
    return lane.translate(_ASCII) if ascii_ else lane


def narrow(drawn: tuple[str, str, str], width: int, mark: str) -> tuple[str, str, str]:
    """A line of `draw` in `width` >= 3 cells: what is cut is marked, and the glyph is never what is cut."""
    left, glyph, right = drawn
    if len(left) + 1 + len(right) <= width:
        return drawn
    if len(left) + 2 <= width:
        return left, glyph, right[: width - len(left) - 2] + mark
    return left[: width - 2] + mark, glyph, ""


def nearest_shown(shown: Sequence[str], parents: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    """Commit -> its nearest ancestors among `shown`; BEYOND where a line of descent meets none. Costs O(history)."""
    wanted = set(shown)
    return {commit: _ancestors(commit, wanted, parents) for commit in shown}


def _ancestors(commit: str, wanted: set[str], parents: Mapping[str, Sequence[str]]) -> list[str]:
    found: dict[str, None] = {}
    seen: set[str] = set()
    queue = list(parents.get(commit, ()))
    while queue:
        at = queue.pop(0)
        if at in seen:
            continue
        seen.add(at)
        if at in wanted:
            found[at] = None
        else:
            above = parents.get(at, ())
            queue.extend(above)
            if not above:
                found[BEYOND] = None
    if len(found) > 1:
        found.pop(BEYOND, None)
    return list(found)
