from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evogit.search import syntax
from evogit.search.recombine import resolve_conflict

BASE = "import torch\nfrom torch import nn\nLR = 0.1\nWIDTH = 64\nACT = nn.ReLU\nBETAS = (0.9, 0.95)\n\n\ndef main():\n    run(LR)\n"


def test_moves_of_different_genes_on_neighbouring_lines_are_both_taken():
    ours, theirs = BASE.replace("LR = 0.1", "LR = 0.2"), BASE.replace("WIDTH = 64", "WIDTH = 128")

    merged = resolve_conflict(BASE, ours, theirs, random.Random(0))

    assert merged == BASE.replace("LR = 0.1", "LR = 0.2").replace("WIDTH = 64", "WIDTH = 128")


def test_moves_of_two_elements_of_one_tuple_are_both_taken():
    ours, theirs = BASE.replace("0.9,", "0.8,"), BASE.replace("0.95", "0.99")

    assert "(0.8, 0.99)" in resolve_conflict(BASE, ours, theirs, random.Random(0))


def test_a_gene_that_both_moved_is_chosen_by_the_generator():
    ours, theirs = BASE.replace("LR = 0.1", "LR = 0.2"), BASE.replace("LR = 0.1", "LR = 0.05").replace("nn.ReLU", "nn.GELU")

    merged = [resolve_conflict(BASE, ours, theirs, random.Random(seed)) for seed in range(8)]

    assert any("LR = 0.2" in m and "GELU" in m for m in merged)
    assert all(m != ours for m in merged)


def test_lines_that_both_rewrote_come_from_one_side_whole():
    ours = BASE.replace("    run(LR)\n", "    warm(LR)\n    run(LR)\n")
    theirs = BASE.replace("    run(LR)\n", "    train(LR)\n")

    assert resolve_conflict(BASE, ours, theirs, random.Random(0)) in (ours, theirs)


def test_a_rewritten_block_beside_a_moved_gene_keeps_both():
    ours = BASE.replace("def main():\n    run(LR)", "def main():\n    for _ in range(3):\n        run(LR)")
    theirs = BASE.replace("0.95", "0.99")

    merged = resolve_conflict(BASE, ours, theirs, random.Random(1))

    assert "for _ in range(3)" in merged and "0.99" in merged


@pytest.mark.parametrize(("base", "ours", "theirs"), [(None, BASE, BASE), (BASE, None, BASE), (BASE, BASE, None), (BASE, "x = (", BASE)])
def test_what_cannot_be_merged_is_left(base, ours, theirs):
    assert resolve_conflict(base, ours, theirs, random.Random(0)) is None


numbers = st.sampled_from(["0.1", "0.2", "0.4"])
body = st.lists(st.sampled_from(["a = {}\n", "b = f(x, gain={})\n", "if a:\n    c = {}\n", "# note\n", "d = 'é'\n"]), max_size=6)
files = st.tuples(body, st.lists(numbers, min_size=6, max_size=6)).map(
    lambda pair: "".join(line.format(n) for line, n in zip(pair[0], pair[1]))
)


@given(files, files, files, st.integers(0, 99))
def test_the_result_parses_and_is_the_same_for_the_same_generator(base, ours, theirs, seed):
    merged = resolve_conflict(base, ours, theirs, random.Random(seed))

    assert merged == resolve_conflict(base, ours, theirs, random.Random(seed))
    assert merged is None or syntax.read(merged) is not None


@given(files, files)
def test_where_one_side_did_nothing_the_other_side_is_the_result(base, theirs):
    assert resolve_conflict(base, base, theirs, random.Random(0)) == theirs
